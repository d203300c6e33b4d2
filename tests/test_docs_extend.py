"""The pages in docs/extend are followed: their files written, their Python and commands run, in order."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

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
    for name in set(sys.modules) - modules:
        if Path(getattr(sys.modules[name], "__file__", None) or os.sep).parent == tmp_path:
            del sys.modules[name]


def follow(page: Path) -> int:
    """Does what the page says in the working folder; the number of blocks that were run."""
    text = page.read_text(encoding="utf-8")
    blocks = [(kind, code) for kind, code in _BLOCK.findall(text) if kind in ("python", "sh")]
    for kind, code in blocks:
        if kind == "sh":
            for line in filter(lambda line: not line.startswith("export "), code.splitlines()):
                command, *words = shlex.split(line)
                assert command == "saccade" and main([*words, "-q"]) == 0, line
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
