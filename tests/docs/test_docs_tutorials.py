"""The tutorials run as they stand, from an empty folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from saccade.cli import main

PAGES = Path(__file__).parents[2] / "docs" / "tutorials"
NEEDS = {"geotiff": "rasterio"}


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of the fenced blocks, in order."""
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    """The arguments of each ``saccade`` line; a line that is no such command would be passed over unseen."""
    lines = [shlex.split(line) for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    assert all(words[0] == "saccade" for words in lines), text
    return [words[1:] for words in lines]


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_a_tutorial_runs_from_an_empty_folder(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    if page.stem in NEEDS:
        pytest.importorskip(NEEDS[page.stem], reason=f"{NEEDS[page.stem]} is not installed")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, str(page), "exec"), names)
        else:
            for words in commands(text):
                assert main(words) == 0, shlex.join(words)


def test_there_are_four_tutorials() -> None:
    assert len(list(PAGES.glob("*.md"))) == 4
