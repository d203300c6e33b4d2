"""``classes.json``: read with all its faults at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from saccade.data.classes import MAX_CLASSES, MAX_INDEX, ClassTable, Colour, default_colours
from saccade.data.jsonfile import read_json
from saccade.errors import DataFaults, Fault, nearest_name

_TOP_FIELDS = ("classes", "ignore_index")
_CLASS_FIELDS = ("index", "name", "colour")


def read_classes(path: Path) -> tuple[ClassTable | None, list[Fault]]:
    """The class table of a ``classes.json``, or None where a fault stands in the way of one."""
    value, faults = read_json(path)
    if value is None:
        return None, faults
    return parse_classes(value, path)


def classes_from_dict(value: dict[str, Any], origin: Path | str = "classes") -> ClassTable:
    """The inverse of :meth:`ClassTable.as_dict`.

    Raises:
        DataFaults: all faults, where ``value`` is not such a dictionary.
    """
    table, faults = parse_classes(value, Path(origin))
    if table is None:
        raise DataFaults(faults)
    return table


def parse_classes(value: dict[str, Any], path: Path) -> tuple[ClassTable | None, list[Fault]]:
    """As :func:`read_classes`, from the parsed JSON; ``path`` is only named in the faults."""
    faults = _unknown_fields(value, _TOP_FIELDS, path, "")
    ignored = value.get("ignore_index")
    if ignored is not None and not _is_index(ignored):
        faults.append(Fault(path, f"ignore_index to be an integer in 0..{MAX_INDEX} or null", repr(ignored)))
    rows = value.get("classes")
    if not isinstance(rows, list) or not rows:
        found = "no classes" if rows in (None, []) else repr(rows)[:60]
        return None, [*faults, Fault(path, "a list of classes with index, name and colour", found)]
    for number, row in enumerate(rows):
        faults += _row_faults(row, path, f"class {number}: ")
    if faults:
        return None, faults
    faults = [*_repeats(rows, "index", path), *_repeats(rows, "name", path)]
    scored = [row for row in rows if row["index"] != ignored]
    if not 1 <= len(scored) <= MAX_CLASSES:
        faults.append(Fault(path, f"between 1 and {MAX_CLASSES} classes that are scored", str(len(scored))))
    return (None, faults) if faults else (_table(scored, ignored), [])


def _table(rows: list[dict[str, Any]], ignored: int | None) -> ClassTable:
    fallback = default_colours(len(rows))
    colours: list[Colour] = [tuple(row.get("colour") or fallback[k]) for k, row in enumerate(rows)]
    names = tuple(row["name"] for row in rows)
    return ClassTable(names, tuple(row["index"] for row in rows), tuple(colours), ignored)


def _row_faults(row: Any, path: Path, where: str) -> list[Fault]:
    if not isinstance(row, dict):
        return [Fault(path, f"{where}an object with index, name and colour", repr(row)[:60])]
    faults = _unknown_fields(row, _CLASS_FIELDS, path, where)
    checks: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
        ("index", _is_index, f"an integer in 0..{MAX_INDEX}"),
        ("name", lambda name: isinstance(name, str) and bool(name.strip()), "a text that is not empty"),
        ("colour", lambda colour: colour is None or _is_colour(colour), "[red, green, blue] in 0..255"),
    )
    for field, is_good, expected in checks:
        if not is_good(row.get(field)):
            found = repr(row[field])[:60] if field in row else "none"
            faults.append(Fault(path, f"{where}{field} to be {expected}", found))
    return faults


def _unknown_fields(value: dict[str, Any], known: tuple[str, ...], path: Path, where: str) -> list[Fault]:
    return [
        Fault(path, f"{where}only the fields {', '.join(known)}", f"{field!r}; {nearest_name(field, known)}")
        for field in value
        if field not in known
    ]


def _repeats(rows: list[dict[str, Any]], field: str, path: Path) -> list[Fault]:
    values = [row[field] for row in rows]
    repeated = sorted({value for value in values if values.count(value) > 1})
    return [Fault(path, f"each class {field} once", f"{value!r} more than once") for value in repeated]


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INDEX


def _is_colour(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_is_index(v) and v <= 255 for v in value)
