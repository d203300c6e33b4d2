"""The pages in docs/extend are followed: their files written, their Python and commands run, in order."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from saccade.cli import main

PAGES = sorted((Path(__file__).parent.parent / "docs" / "extend").glob("*.md"))
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# file: (\S+)\n")


@pytest.fixture
def workplace(tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with DATA in it, where Python finds modules, as with PYTHONPATH=.; what is registered and
    imported there is forgotten afterwards."""
    from saccade.data.open import FORMATS
    from saccade.rasters.open import OTHERS
    from saccade.rasters.suffixes import OWN_SUFFIXES
    from saccade.samplers import recipe

    shutil.copytree(tiny_data, tmp_path / "DATA")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(recipe, "_REGISTERED", recipe.recipes())
    formats, others, modules = dict(FORMATS), list(OTHERS), set(sys.modules)
    yield tmp_path
    FORMATS.clear()
    FORMATS.update(formats)
    OTHERS[:] = others
    OWN_SUFFIXES.clear()
    for name in set(sys.modules) - modules:
        if Path(getattr(sys.modules[name], "__file__", None) or os.sep).parent == tmp_path:
            del sys.modules[name]


def program(words: list[str]) -> int:
    """Exit code of ``python FILE ...``."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", words)
        runpy.run_path(words[0], run_name="__main__")
    return int(ended.value.code or 0)


def follow(page: Path) -> int:
    """Does what the page says in the working folder; the number of blocks that were run."""
    text = page.read_text(encoding="utf-8")
    blocks = [(kind, code) for kind, code in _BLOCK.findall(text) if kind in ("python", "sh")]
    for kind, code in blocks:
        if kind == "sh":
            for line in filter(lambda line: not line.startswith("export "), code.splitlines()):
                command, *words = shlex.split(line)
                assert command in ("saccade", "python"), line
                assert (main([*words, "-q"]) if command == "saccade" else program(words)) == 0, line
        elif named := _FILE.match(code):
            Path(named[1]).write_text(code, encoding="utf-8")
        else:
            exec(compile(code, str(page), "exec"), {"__name__": "page"})
    return len(blocks)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_can_be_followed(page: Path, workplace: Path, one_thread: None) -> None:
    assert follow(page) >= 2


def test_there_is_a_page_for_each_thing_that_is_added() -> None:
    assert {page.stem.removeprefix("add_a_") for page in PAGES} == {
        "sampler",
        "network",
        "data_set",
        "raster_format",
        "metric",
    }


def module_of(file: str) -> ModuleType:
    return importlib.import_module(".".join(Path(file).relative_to("src").with_suffix("").parts))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_constant_lies_in_the_file_that_the_page_names(page: Path) -> None:
    text = " ".join(page.read_text(encoding="utf-8").split())
    pairs = re.findall(r"`([A-Z_]+)`[^`.]* (?:in|of) `(src/saccade/[\w/]+\.py)`", text)
    assert [(name, file) for name, file in pairs if not hasattr(module_of(file), name)] == []
    files = re.findall(r"`(src/saccade/[\w/]+(?:\.py|/))`", text)
    assert files and [file for file in files if not (PAGES[0].parents[2] / file).exists()] == []


def test_the_constants_of_pages_are_found() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert {"SAMPLERS", "PUBLISHED", "_KINDS"} <= set(re.findall(r"`([A-Z_]+)`", text))


@pytest.mark.parametrize(
    ("page", "owner"),
    [("add_a_sampler", "saccade.samplers:Recipe"), ("add_a_network", "saccade.networks.published:UPerNet")],
)
def test_a_call_that_a_page_names_has_the_arguments_of_the_code(page: str, owner: str) -> None:
    module, _, name = owner.partition(":")
    kind = getattr(importlib.import_module(module), name)
    text = next(path for path in PAGES if path.stem == page).read_text(encoding="utf-8")
    tables = [line for line in text.splitlines() if line.startswith("|")]
    named = re.findall(r"`(made|\w+)\(([^)`]*)\)`", text if page == "add_a_network" else "\n".join(tables))
    named = [(call, given) for call, given in named if call == "made" or hasattr(kind, call)]
    assert named
    for call, given in named:
        signature = inspect.signature(kind if call == "made" else getattr(kind, call))
        described = [word.partition("=") for word in given.split(", ") if word]
        plain = [(key, value) for key, _, value in described]
        arguments = {key: value for key, value in signature.parameters.items() if key != "self"}
        keys = [key for key, _ in plain]
        if call == "made":
            positional = [key for key, _, _ in described if f"{key}=" not in given]
            assert positional == list(arguments)[: len(positional)] and set(keys) <= set(arguments)
        else:
            assert keys == list(arguments), call
        needed = [key for key, value in arguments.items() if value.default is inspect.Parameter.empty]
        assert set(needed) <= set(keys), call
        assert all(str(arguments[key].default) == value for key, value in plain if value), call
