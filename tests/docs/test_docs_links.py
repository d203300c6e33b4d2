"""What the pages point at is there: files, headings, and the names of the program."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TOP = ("README.md", "CONTRIBUTING.md", "CHANGES.md")
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in TOP)])
FOLDERS = "benchmarks|configs|docs|src|tests"
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def dead_links(page: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"\w+://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            yield target


def resolve(name: str) -> Any:
    """The object of a dotted name: the longest module, then attributes."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            value = getattr(value, part)
        return value
    raise AttributeError(name)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page: Path) -> None:
    assert not list(dead_links(page))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = re.findall(rf"`((?:{FOLDERS})/[\w/.]+\.\w+)`", prose(page))
    assert not [path for path in named if not (ROOT / path).exists()]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_names_that_a_page_says_are_those_of_the_program(page: Path) -> None:
    missing = []
    for name in re.findall(r"`(saccade(?:\.\w+)+)[`(]", prose(page)):
        try:
            resolve(name)
        except AttributeError:
            missing.append(name)
    assert not missing


def test_the_architecture_names_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    source = ROOT / "src" / "saccade"
    rooms = [path.parent.name for path in source.glob("*/__init__.py")]
    files = [path.name for path in source.glob("[a-z]*.py")]
    assert not [name for name in (*rooms, *files) if f"`{name}`" not in text]


def test_the_reference_has_every_public_name() -> None:
    import saccade

    text = (ROOT / "docs" / "reference" / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^::: saccade\.(\w+)$", text, re.MULTILINE)
    assert sorted(listed) == sorted(set(saccade.__all__) - {"__version__"})


ROOMS = sorted(path.parent.name for path in (ROOT / "src" / "saccade").glob("*/__init__.py"))


@pytest.mark.parametrize("room", sorted({*ROOMS} - {"cli", "runtime"}))
def test_the_reference_has_every_public_name_of_a_room(room: str) -> None:
    """The site lists a room by its ``__all__`` as it is written; names that are computed, and functions whose
    module has their name, must be listed one by one."""
    folder, reference = ROOT / "src" / "saccade" / room, ROOT / "docs" / "reference"
    pages = "\n".join(page.read_text(encoding="utf-8") for page in reference.glob("*.md"))
    listed = set(re.findall(r"^::: ([\w.]+)$", pages, re.MULTILINE))
    module = importlib.import_module(f"saccade.{room}")
    public = {name for name in getattr(module, "__all__", ()) if callable(getattr(module, name))}
    listing = (
        (folder / "__init__.py").read_text(encoding="utf-8").partition("__all__ = ")[2].partition("]")[0]
    )
    written = set(re.findall(r'"(\w+)"', listing))
    alone = public - (written - {path.stem for path in folder.glob("*.py")})
    assert not {name for name in alone if not any(entry.endswith(f".{name}") for entry in listed)}
    assert f"saccade.{room}" in listed or alone == public
