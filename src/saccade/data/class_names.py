"""Files that name classes: classes.txt, label_colors.txt, class_dict.csv and their like."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from saccade.data.classes import MAX_INDEX, Colour
from saccade.errors import FileProblem

NAME_FILES = (
    "classes.txt", "names.txt", "class_names.txt", "labels.txt", "codes.txt", "label_colors.txt",
    "labelmap.txt", "class_dict.csv", "classes.csv",
)  # fmt: skip
"""Where names of classes are looked for, in the folder itself."""


@dataclass(frozen=True)
class NamedClass:
    """A line of a file of names; what it does not say is None."""

    name: str
    index: int | None = None
    colour: Colour | None = None


def read_names(path: Path) -> dict[str, NamedClass]:
    """Names of classes, with the index or the colour that the file gives them.

    A line is "name", "index name", "index: name", "red green blue name", or of a table with commas and a head
    naming ``name`` and ``r``, ``g``, ``b`` (or red, green, blue) or ``index``.

    Raises:
        FileProblem: where it cannot be read, or says a name twice.
    """
    expected = "names of classes, one a line"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        found = getattr(error, "strerror", None) or "bytes that are not UTF-8"
        raise FileProblem(path, expected, found) from error
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    rows = (
        list(_table_rows(lines)) if lines and "name" in _cells(lines[0]) else [_named(line) for line in lines]
    )
    found_twice = [name for name, n in Counter(row.name for row in rows).items() if n > 1]
    if not rows or found_twice:
        found = f"{found_twice[0]!r} more than once" if found_twice else "none"
        raise FileProblem(path, expected, found)
    return {row.name: row for row in rows}


def _cells(line: str) -> list[str]:
    return [cell.strip().lower() for cell in line.split(",")]


def _table_rows(lines: list[str]) -> Iterator[NamedClass]:
    for row in csv.DictReader(lines, fieldnames=_cells(lines[0])):
        cells = {key: (value or "").strip() for key, value in row.items() if isinstance(value, str)}
        if _cells(",".join(cells.values())) == _cells(lines[0]):
            continue
        rgb = [cells.get(long, cells.get(long[0], "")) for long in ("red", "green", "blue")]
        colour = tuple(map(int, rgb)) if all(map(_is_byte, rgb)) else None
        index = cells.get("index", cells.get("id", ""))
        yield NamedClass(cells["name"], int(index) if index.isdigit() else None, colour)  # type: ignore[arg-type]


_RGB_NAME = re.compile(r"(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,:]+(\S.*)")
_NAME_RGB = re.compile(r"(\S.*?)[\s,:]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})(?::.*)?")
_INDEX_NAME = re.compile(r"(\d{1,5})[\s,:;=]+(\S.*)")


def _named(line: str) -> NamedClass:
    if (match := _RGB_NAME.fullmatch(line)) and all(map(_is_byte, match.groups()[:3])):
        return NamedClass(match[4].strip(), None, (int(match[1]), int(match[2]), int(match[3])))
    if (match := _NAME_RGB.fullmatch(line)) and all(map(_is_byte, match.groups()[1:])):
        return NamedClass(match[1].strip(), None, (int(match[2]), int(match[3]), int(match[4])))
    if (match := _INDEX_NAME.fullmatch(line)) and int(match[1]) <= MAX_INDEX:
        return NamedClass(match[2].strip(), int(match[1]))
    return NamedClass(line)


def _is_byte(text: str) -> bool:
    return text.isdigit() and int(text) <= 255


def names_file(root: Path) -> Path | None:
    """The first of :data:`NAME_FILES` that lies in ``root``; None without."""
    return next((root / name for name in NAME_FILES if (root / name).is_file()), None)
