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
from numba import njit
from numba.core.dispatcher import Dispatcher

import saccade
from saccade.runtime import kernels, progress

SOURCE = Path(saccade.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))

PACKAGE = {
    "__init__.py": "",
    "_number_kernels.py": "STEP = 1\n",
    "deep/__init__.py": "from ._kernels import called as door\n",
    "deep/_kernels.py": """
from saccade.runtime.kernels import inlined, kernel
from .. import _number_kernels as numbers
from .._number_kernels import (
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
    "_chosen_kernels.py": """
from numba.extending import overload

def chosen(x):
    raise NotImplementedError

@overload(chosen)
def _chosen(x):
    return lambda x: x + 1000
""",
    "_middle_kernels.py": """
from saccade.runtime.kernels import kernel
from package.deep._kernels import called

@kernel
def middle(x):
    return called(x)
""",
    "_top_kernels.py": """
import package._middle_kernels as between
from package._chosen_kernels import chosen
from package.deep import door
from package.deep._kernels import small, stepped, by_module
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
from package import apart, _top_kernels as top

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
    (package.parent / "kept" / "_top_kernels.0123456789ab.txt").write_text("not a kernel")

    edit(package / "deep" / "_kernels.py", "x + 10\n", "x + 20\n")
    edit(package / "deep" / "_kernels.py", "x + 100\n", "x + 200\n")
    edit(package / "_chosen_kernels.py", "x + 1000", "x + 2000")
    edit(package / "_number_kernels.py", "STEP = 1", "STEP = 2")
    answers, hits = json.loads(run(package))
    assert answers == {
        "calls": 20,
        "calls_by_door": 20,
        "has_inlined": 200,
        "has_overload": 2000,
        "has_number": 4,
        "apart": 5,
    }
    assert hits == dict.fromkeys(answers, 0)

    after = kept(package)
    assert len(after) == len(before), "kernels that nothing will ask for were left"
    assert not set(after) & set(before)
    assert (package.parent / "kept" / "_top_kernels.0123456789ab.txt").exists()

    again, hits = json.loads(run(package))
    assert again == answers
    assert hits == dict.fromkeys(answers, 1) | {"apart": 0}


def test_a_kernel_outside_of_kernel_files_runs_and_is_not_kept(package: Path) -> None:
    """Its file may take code from anywhere, so nothing tells when what was kept of it is old."""
    assert run(package, "from package.apart import apart; print(apart(0), apart.__qualname__)") == "5 apart\n"
    assert kept(package) == []


def test_a_file_of_numbers_that_was_loaded_before_an_edit_does_not_make_old_code_new(package: Path) -> None:
    late = f"""
import package._number_kernels, package._chosen_kernels, package._apart_kernels
from pathlib import Path
file = Path({str(package)!r}) / "_number_kernels.py"
file.write_text(file.read_text().replace("STEP = 1", "STEP = 2"))
from package.deep._kernels import stepped
print(stepped(0))
"""
    (package / "_apart_kernels.py").write_text(PACKAGE["apart.py"])
    assert run(package, late) == "1\n"
    assert run(package, "from package.deep._kernels import stepped; print(stepped(0))") == "2\n"


def test_a_file_that_is_loaded_after_an_edit_does_not_make_new_code_old(package: Path) -> None:
    """The process knew the old text of a file that it had not loaded; then the edit is taken back."""
    file = package / "deep" / "_kernels.py"
    old, changed = file.read_text(), file.stat().st_mtime_ns
    (package / "_apart_kernels.py").write_text(PACKAGE["apart.py"])
    late = f"""
import package._apart_kernels
from pathlib import Path
file = Path({str(file)!r})
file.write_text(file.read_text().replace("x + 10\\n", "x + 20\\n"))
from package._middle_kernels import middle
print(middle(0))
"""
    assert run(package, late) == "20\n"
    file.write_text(old)
    os.utime(file, ns=(changed, changed))
    assert run(package, "from package._middle_kernels import middle; print(middle(0))") == "10\n"


def test_a_process_that_began_before_an_edit_does_not_keep_old_code_as_new(package: Path) -> None:
    """It has the old called kernel in memory and imports the caller only after the edit."""
    late = f"""
import package.deep._kernels
from pathlib import Path
file = Path({str(package)!r}) / "deep" / "_kernels.py"
file.write_text(file.read_text().replace("x + 10\\n", "x + 20\\n"))
from package._middle_kernels import middle
print(middle(0))
"""
    assert run(package, late) == "10\n"
    assert run(package, "from package._middle_kernels import middle; print(middle(0))") == "20\n"


def test_a_module_that_is_loaded_again_after_an_edit_is_made_of_the_new_text(package: Path) -> None:
    again = f"""
import importlib, package.deep._kernels, package._middle_kernels
from pathlib import Path
print(package._middle_kernels.middle(0))
file = Path({str(package)!r}) / "deep" / "_kernels.py"
file.write_text(file.read_text().replace("x + 10\\n", "x + 20\\n"))
importlib.reload(package.deep._kernels)
print(importlib.reload(package._middle_kernels).middle(0))
"""
    assert run(package, again) == "10\n20\n"
    assert run(package, "from package._middle_kernels import middle; print(middle(0))") == "20\n"


def test_kernels_stay_functions_where_the_compiler_is_switched_off(package: Path) -> None:
    code = "from package._top_kernels import calls; print(calls(0), calls.__qualname__, type(calls).__name__)"
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
from package._top_kernels import calls
calls(0)
print(calls.__name__, calls.__qualname__, calls.__module__, pickle.loads(pickle.dumps(calls))(1))
open("travels", "wb").write(pickle.dumps(calls))
"""
    place = f"import os; os.chdir({str(package.parent)!r})\n"
    assert run(package, place + code) == "calls calls package._top_kernels 11\n"
    assert run(package, place + "import pickle; print(pickle.load(open('travels', 'rb'))(2))") == "12\n"


def imported_modules(path: Path) -> Iterator[str]:
    """Modules that the import statements of a file name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


FOREIGN = {"__future__", "llvmlite", "math", "numba", "numpy", "typing"}


def test_kernel_files_import_each_other_and_nothing_else_of_the_package() -> None:
    files = [path for path in MODULES if path.name.endswith("_kernels.py")]
    assert len(files) > 5
    for path in files:
        for module in imported_modules(path):
            foreign = module.partition(".")[0] in FOREIGN
            ours = module == "saccade.runtime.kernels" or module.endswith("_kernels")
            assert foreign or (ours and module.startswith("saccade.")), f"{path} imports {module}"


def test_all_kernels_live_in_kernel_files() -> None:
    users = [path for path in MODULES if "saccade.runtime.kernels" in imported_modules(path)]
    assert [path for path in users if not path.name.endswith("_kernels.py")] == []


def test_only_one_file_calls_the_compiler() -> None:
    maker = re.compile(r"(?<!torch\.)\b(njit|jit|vectorize|guvectorize|stencil|cfunc)\b(?!`)")
    callers = [path.name for path in MODULES if maker.search(path.read_text(encoding="utf-8"))]
    assert callers == ["kernels.py"], "use @kernel and @inlined of saccade.runtime.kernels"


def names_in(code: CodeType) -> set[str]:
    return set(code.co_names).union(*(names_in(c) for c in code.co_consts if isinstance(c, CodeType)))


def test_the_digest_covers_every_file_that_a_kernel_takes_something_from() -> None:
    for room in ("grids", "metrics", "rasters", "warp"):
        __import__(f"saccade.{room}")
    covered = {file for file, _ in kernels.kernel_files(str(SOURCE))}
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
                        assert inspect.getfile(source) in covered
                        seen += inspect.getfile(source) != path
    assert seen > 20


@pytest.mark.parametrize(
    ("patience", "told_to_speak", "lines"), [(0, True, 1), (0, False, 0), (1e9, True, 0)]
)
def test_long_compiling_is_told_once(
    patience: float, told_to_speak: bool, lines: int, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(kernels, "PATIENCE", patience)
    monkeypatch.setattr(progress, "_told_to_speak", None)
    progress.Voice(told_to_speak)
    monkeypatch.setattr(kernels.TOLD, "told", False)
    for number in range(2):
        njit(eval(f"lambda x: x + {number}"))(1)
    assert capsys.readouterr().err == f"{kernels.COMPILING}\n" * lines


def test_seconds_of_compiling_are_those_of_all_kernels(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told, now = kernels.CompilingTold(), [0.0]
    monkeypatch.setattr(kernels, "PATIENCE", 2.0)
    monkeypatch.setattr(kernels.time, "monotonic", lambda: now[0])
    progress.Voice(True)
    said = []
    for seconds in (0.8, 0.8, 0.8, 0.8):
        told.on_start(None)
        told.on_start(None)  # a kernel that it calls
        told.on_end(None)
        now[0] += seconds
        told.on_end(None)
        now[0] += 100  # of work in between, which does not count
        said.append(capsys.readouterr().err)
    assert said == ["", "", "", f"{kernels.COMPILING}\n"]
