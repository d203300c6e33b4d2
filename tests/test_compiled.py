"""Kernels kept on disk are never run after a file that they were made of has changed."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import pytest
from numba.core.dispatcher import Dispatcher

import saccade
from saccade.runtime import kernels

SOURCE = Path(saccade.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))

PACKAGE = {
    "__init__.py": "",
    "numbers.py": "STEP = 1\n",
    "deep/__init__.py": "from .called import called as door\n",
    "deep/called.py": """
from saccade.runtime.kernels import inlined, kernel
from .. import numbers
from ..numbers import (
    STEP as BY,
)

@kernel
def called(x):
    return x + 10

@inlined
def small(x):
    return x + 100

@kernel
def stepped(x):
    return x + BY

@kernel
def by_module(x):
    return x + numbers.STEP
""",
    "chosen.py": """
from numba.extending import overload

def chosen(x):
    raise NotImplementedError

@overload(chosen)
def _chosen(x):
    return lambda x: x + 1000
""",
    "middle.py": """
from saccade.runtime.kernels import kernel
from package.deep import called

@kernel
def middle(x):
    return called.called(x)
""",
    "top.py": """
import package.middle as between
from package.chosen import chosen
from package.deep import door
from package.deep.called import small, stepped, by_module
from saccade.runtime.kernels import kernel

middle = between.middle

@kernel
def calls(x):
    return middle(x)

@kernel
def calls_by_door(x):
    return door(x)

@kernel
def has_inlined(x):
    return small(x)

@kernel
def has_overload(x):
    return chosen(x)

@kernel
def has_number(x):
    return stepped(x) + by_module(x)
""",
    "apart.py": "from saccade.runtime.kernels import kernel\n\n@kernel\ndef apart(x):\n    return x + 5\n",
    "__main__.py": """
import json
from package import apart, top

kernels = [top.calls, top.calls_by_door, top.has_inlined, top.has_overload, top.has_number, apart.apart]
answers = {kernel.__qualname__: kernel(0) for kernel in kernels}
hits = {kernel.__qualname__: sum(kernel.stats.cache_hits.values()) for kernel in kernels}
print(json.dumps([answers, hits]))
""",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    for name, text in PACKAGE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def run(package: Path, code: str = "import runpy; runpy.run_module('package')", **changes: str) -> str:
    """What a new process prints that looks for packages beside ``package``."""
    settings = {**os.environ, "NUMBA_CACHE_DIR": str(package.parent / "kept"), **changes}
    settings["PYTHONPATH"] = os.pathsep.join([str(package.parent), str(SOURCE.parent)])
    done = subprocess.run(
        [sys.executable, "-c", code], env=settings, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def kept(package: Path) -> list[str]:
    return sorted(file.name for file in (package.parent / "kept").rglob("*.nb[ic]"))


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def test_a_kernel_is_compiled_anew_where_a_file_that_it_calls_has_changed(package: Path) -> None:
    answers, _ = json.loads(run(package))
    assert answers == {
        "calls": 10,
        "calls_by_door": 10,
        "has_inlined": 100,
        "has_overload": 1000,
        "has_number": 2,
        "apart": 5,
    }
    before = kept(package)
    (package.parent / "kept" / "top.0123456789ab.txt").write_text("not a kernel")

    edit(package / "deep" / "called.py", "x + 10\n", "x + 20\n")
    edit(package / "deep" / "called.py", "x + 100\n", "x + 200\n")
    edit(package / "chosen.py", "x + 1000", "x + 2000")
    edit(package / "numbers.py", "STEP = 1", "STEP = 2")
    answers, hits = json.loads(run(package))
    assert answers == {
        "calls": 20,
        "calls_by_door": 20,
        "has_inlined": 200,
        "has_overload": 2000,
        "has_number": 4,
        "apart": 5,
    }
    assert hits == dict.fromkeys(answers, 0) | {"apart": 1}

    after = kept(package)
    assert len(after) == len(before), "kernels that nothing will ask for were left"
    assert [name for name in after if name in before] == [n for n in before if n.startswith("apart.")]
    assert (package.parent / "kept" / "top.0123456789ab.txt").exists()

    again, hits = json.loads(run(package))
    assert again == answers
    assert hits == dict.fromkeys(answers, 1)


def test_a_process_that_began_before_an_edit_does_not_keep_old_code_as_new(package: Path) -> None:
    """It has the old called kernel in memory and imports the caller only after the edit."""
    late = f"""
import package.deep.called
from pathlib import Path
file = Path({str(package)!r}) / "deep" / "called.py"
file.write_text(file.read_text().replace("x + 10\\n", "x + 20\\n"))
from package.middle import middle
print(middle(0))
"""
    assert run(package, late) == "10\n"
    assert run(package, "from package.middle import middle; print(middle(0))") == "20\n"


def test_a_module_that_is_loaded_again_after_an_edit_is_made_of_the_new_text(package: Path) -> None:
    again = f"""
import importlib, package.deep.called, package.middle
from pathlib import Path
print(package.middle.middle(0))
file = Path({str(package)!r}) / "deep" / "called.py"
file.write_text(file.read_text().replace("x + 10\\n", "x + 20\\n"))
importlib.reload(package.deep.called)
print(importlib.reload(package.middle).middle(0))
"""
    assert run(package, again) == "10\n20\n"
    assert run(package, "from package.middle import middle; print(middle(0))") == "20\n"


def test_kernels_stay_functions_where_the_compiler_is_switched_off(package: Path) -> None:
    code = "from package.top import calls; print(calls(0), calls.__qualname__, type(calls).__name__)"
    assert run(package, code, NUMBA_DISABLE_JIT="1") == "10 calls function\n"
    assert kept(package) == []


def test_a_kernel_in_an_archive_is_not_kept_but_runs(package: Path) -> None:
    code = f"""
import shutil, sys
shutil.make_archive("{package}", "zip", "{package.parent}", "package")
sys.path[0:1] = ["{package}.zip"]
from package import apart
print(apart.apart(0), "package.zip" in apart.__file__)
"""
    assert run(package, code) == "5 True\n"
    assert kept(package) == []


def test_a_kernel_is_found_by_its_name_and_travels_between_processes(package: Path) -> None:
    code = """
import pickle
from package.top import calls
calls(0)
print(calls.__name__, calls.__qualname__, calls.__module__, pickle.loads(pickle.dumps(calls))(1))
open("travels", "wb").write(pickle.dumps(calls))
"""
    place = f"import os; os.chdir({str(package.parent)!r})\n"
    assert run(package, place + code) == "calls calls package.top 11\n"
    assert run(package, place + "import pickle; print(pickle.load(open('travels', 'rb'))(2))") == "12\n"


def parsed_imports(path: Path) -> Iterator[str]:
    """Modules named by the import statements of a file, as the parser of the language sees them."""
    package = ("saccade", *path.relative_to(SOURCE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def file_of(module: str) -> Path | None:
    stem = SOURCE.parent.joinpath(*module.split("."))
    return next((f for f in (stem.with_suffix(".py"), stem / "__init__.py") if f in MODULES), None)


def test_the_reader_of_imports_finds_what_the_parser_finds() -> None:
    for path in MODULES:
        expected = {str(file) for module in parsed_imports(path) if (file := file_of(module))}
        found = set(kernels._imported(str(path), path.read_text(encoding="utf-8")))
        assert found >= expected, path
        assert len(found - expected) <= 1, f"{path}: {found - expected}"


def test_only_one_file_calls_the_compiler() -> None:
    maker = re.compile(r"\b(njit|jit|vectorize|guvectorize|stencil|cfunc)\b(?!`)")
    callers = [path.name for path in MODULES if maker.search(path.read_text(encoding="utf-8"))]
    assert callers == ["kernels.py"], "use @kernel and @inlined of saccade.runtime.kernels"


def names_in(code: CodeType) -> set[str]:
    return set(code.co_names).union(*(names_in(c) for c in code.co_consts if isinstance(c, CodeType)))


def test_the_digest_covers_every_file_that_a_kernel_takes_something_from() -> None:
    rooms = "grids", "metrics.objects", "metrics.boundary", "rasters.journal", "warp"
    for room in rooms:
        __import__(f"saccade.{room}")
    seen = 0
    for module in [m for name, m in sys.modules.items() if name.startswith("saccade.")]:
        for made in [v for v in vars(module).values() if isinstance(v, Dispatcher)]:
            function = made.py_func
            path = inspect.getfile(function)
            digest, _, name = function.__qualname__.partition(".")
            assert digest == kernels.digest_of(path)
            assert name == made.__qualname__
            for used in names_in(function.__code__):
                value = function.__globals__.get(used)
                if isinstance(value, Dispatcher | FunctionType | ModuleType):
                    source = value.py_func if isinstance(value, Dispatcher) else value
                    if getattr(source, "__module__", source.__name__).startswith("saccade."):
                        assert inspect.getfile(source) in kernels.files_of(path)
                        seen += inspect.getfile(source) != path
    assert seen > 20
