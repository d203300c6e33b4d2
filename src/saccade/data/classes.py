"""The classes of a data set, from ``classes.json``: what mask values mean, and the ids that training sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from saccade.errors import DataFaults, Fault, InvalidInput, nearest_name
from saccade.runtime.reading import read_json

MAX_CLASSES = 255
MAX_INDEX = 65535

BACKGROUND = ("background", "_background_", "bg", "rest")
"""Names, in any case, of classes that are what lies around the objects."""

QUIET = (150, 150, 150)
"""The colour of a background where a data set gives no colours."""

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class ClassTable:
    """The scored classes of a data set, in the order of their ids 0..K-1.

    Masks on disk hold *indices*, which need not be contiguous and may mark ignored pixels by any value.
    Everything that computes sees *ids*: 0..K-1, with ignored pixels always :attr:`ignore_index` = 255.

    Attributes:
        names: K names, unique.
        indices: K values in mask files, each in [0, 65535], unique.
        colours: K colours (red, green, blue), each in [0, 255].
        file_ignore_index: the value of ignored pixels in mask files; None where none is ignored. A class
            that is listed under this value is not scored and stands in no table.
        void: further values in mask files that are ignored, as official label sets have several.
        aliases: further values in mask files that mean a class: (value, index) each.
        negative_ignore: the value of ignored pixels in mask files where it is below 0; it is read as
            ``file_ignore_index``.
        ignore_index: the id of ignored pixels after :meth:`encode`: 255, whatever the files use.

    Raises:
        InvalidInput: when the lengths differ, K is 0 or above 255, or names or indices repeat.

    Examples:
        >>> import numpy as np
        >>> from saccade.data import ClassTable
        >>> table = ClassTable(("sea", "boat"), (0, 7), ((0, 0, 90), (255, 255, 255)), file_ignore_index=255)
        >>> table.encode(np.array([[0, 7, 255]])).tolist()
        [[0, 1, 255]]
        >>> table.decode(np.array([[0, 1]])).tolist()
        [[0, 7]]
    """

    names: tuple[str, ...]
    indices: tuple[int, ...]
    colours: tuple[Colour, ...]
    file_ignore_index: int | None = None
    void: tuple[int, ...] = ()
    aliases: tuple[tuple[int, int], ...] = ()
    negative_ignore: int | None = None

    ignore_index: ClassVar[int] = 255

    def __post_init__(self) -> None:
        count = len(self.names)
        if not 1 <= count <= MAX_CLASSES:
            raise InvalidInput("classes", f"between 1 and {MAX_CLASSES} scored classes", count)
        if len(self.indices) != count or len(self.colours) != count:
            lengths = (count, len(self.indices), len(self.colours))
            raise InvalidInput("names, indices and colours", "of equal length", lengths)
        for what, values in (("class names", self.names), ("class indices", self.indices)):
            if len(set(values)) != count:
                raise InvalidInput(what, "different from each other", values)
        if any(not 0 <= index <= MAX_INDEX for index in self.indices):
            raise InvalidInput("class indices", f"in 0..{MAX_INDEX}", self.indices)
        if both := set(self.ignored_values) & set(self.indices):
            raise InvalidInput("ignored values", "of no scored class", both)

    def __len__(self) -> int:
        """K, the number of scored classes."""
        return len(self.names)

    @property
    def allowed_values(self) -> tuple[int, ...]:
        """The values that a mask file may hold: the classes' indices, aliases and the ignored values."""
        return (*self.indices, *(value for value, _ in self.aliases), *self.ignored_values)

    @property
    def ignored_values(self) -> tuple[int, ...]:
        """The values of mask files that count nowhere, each once."""
        first = () if self.file_ignore_index is None else (self.file_ignore_index,)
        return tuple(dict.fromkeys((*first, *self.void)))

    @cached_property
    def palette(self) -> NDArray[np.uint8]:
        """(256, 3) uint8: the colour of each mask value; grey of its own value where no class has it."""
        palette = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        for index, colour in zip(self.indices, self.colours, strict=True):
            if index < 256:
                palette[index] = colour
        return palette

    def encode(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Mask values (any shape, integer) to ids 0..K-1 and 255; not a copy where they already are those.

        Raises:
            InvalidInput: when a value is neither a class nor the ignored one.
        """
        table = self._id_of_value
        top = int(values.max(initial=0))
        if int(values.min(initial=0)) < 0 or top >= len(table) or np.take(table, values).min(initial=0) < 0:
            raise InvalidInput("mask values", f"among {self.allowed_values}", "others")
        return self.encode_valid(values)

    def encode_valid(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """As :meth:`encode`, for values that are known to be allowed (their histogram was checked)."""
        if self._is_identity and values.dtype == np.uint8:
            return values
        return np.take(self._id_of_value.astype(np.uint8), values)

    def decode(self, ids: NDArray[Any]) -> NDArray[Any]:
        """Ids 0..K-1 (any shape, integer) to the indices of mask files.

        The result is uint8, or uint16 where an index is above 255. Id 255 becomes the file's
        ignored value, or stays 255 where the files have none.
        """
        ignored = 255 if self.file_ignore_index is None else self.file_ignore_index
        wide = max(*self.indices, ignored) > 255
        table = np.full(256, ignored, np.uint16 if wide else np.uint8)
        table[: len(self)] = self.indices
        return np.take(table, ids)

    def against_the_rest(self, name: str) -> ClassTable:
        """Two classes of these: "rest" and ``name``; raises InvalidInput where there is none of that name."""
        if name not in self.names or len(self) < 2:
            fix = nearest_name(name, self.names)
            raise InvalidInput("target", "the name of one of several classes", repr(name), fix)
        chosen = self.indices[self.names.index(name)]
        others = [index for index in self.indices if index != chosen]
        aliases = [(value, index if index == chosen else others[0]) for value, index in self.aliases]
        aliases += [(index, others[0]) for index in others[1:]]
        colours = ((0, 0, 0), self.colours[self.names.index(name)])
        return ClassTable(
            ("rest", name), (others[0], chosen), colours, self.file_ignore_index, self.void, tuple(aliases),
            self.negative_ignore,
        )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """What a ``classes.json`` of label files that we write holds: ``void`` and ``aliases`` are of
        the originals only."""
        rows = zip(self.indices, self.names, self.colours, strict=True)
        ignored = self.file_ignore_index if self.negative_ignore is None else self.negative_ignore
        classes = [{"index": index, "name": name, "colour": list(colour)} for index, name, colour in rows]
        return {"ignore_index": ignored, "classes": classes}

    @property
    def _is_identity(self) -> bool:
        return (
            self.indices == tuple(range(len(self))) and set(self.ignored_values) <= {255} and not self.aliases
        )

    @cached_property
    def _id_of_value(self) -> NDArray[np.int16]:
        table = np.full(max(255, *self.allowed_values) + 1, -1, np.int16)
        table[list(self.indices)] = range(len(self))
        table[list(self.ignored_values)] = self.ignore_index
        for value, index in self.aliases:
            table[value] = self.indices.index(index)
        return table


def default_colours(count: int) -> Sequence[Colour]:
    """``count`` colours that tell apart: hues a golden angle away from each other, in three brightnesses."""
    from colorsys import hsv_to_rgb

    colours: list[Colour] = []
    for k in range(count):
        red, green, blue = hsv_to_rgb((k * 0.61803) % 1.0, 0.75, (1.0, 0.75, 0.5)[k % 3])
        colours.append((round(red * 255), round(green * 255), round(blue * 255)))
    return colours


_TOP_FIELDS = ("classes", "ignore_index", "label_field", "label_layer", "unlabelled", "overlaps")
_CLASS_FIELDS = ("index", "name", "colour", "values")


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
    if ignored is not None and not _is_index(ignored) and not _is_index(_opposite(ignored)):
        expected = f"ignore_index to be an integer in {-MAX_INDEX}..{MAX_INDEX} or null"
        faults.append(Fault(path, expected, repr(ignored)))
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
    fallback = list(default_colours(len(rows)))
    quiet = _background_of(rows)
    if quiet is not None:
        fallback[quiet] = QUIET
    colours: list[Colour] = [tuple(row.get("colour") or fallback[k]) for k, row in enumerate(rows)]
    names = tuple(row["name"] for row in rows)
    indices = tuple(row["index"] for row in rows)
    if ignored is not None and ignored < 0:
        instead = next(value for value in (255, *range(MAX_INDEX, 0, -1)) if value not in indices)
        return ClassTable(names, indices, tuple(colours), instead, negative_ignore=ignored)
    return ClassTable(names, indices, tuple(colours), ignored)


def _background_of(rows: list[dict[str, Any]]) -> int | None:
    """Which of several classes lies around the others: one so called, else index 0; None where it has a
    colour."""
    named = [k for k, row in enumerate(rows) if row["name"].strip().lower() in BACKGROUND]
    first = [k for k, row in enumerate(rows) if row["index"] == 0]
    background = (named or first)[:1] if len(rows) > 1 else []
    return background[0] if background and not any(row.get("colour") for row in rows) else None


def _row_faults(row: Any, path: Path, where: str) -> list[Fault]:
    if not isinstance(row, dict):
        return [Fault(path, f"{where}an object with index, name and colour", repr(row)[:60])]
    faults = _unknown_fields(row, _CLASS_FIELDS, path, where)
    checks: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
        ("index", _is_index, f"an integer in 0..{MAX_INDEX}"),
        ("name", lambda name: isinstance(name, str) and bool(name.strip()), "a text that is not empty"),
        ("colour", lambda colour: colour is None or _is_colour(colour), "[red, green, blue] in 0..255"),
        ("values", lambda some: some is None or _is_values(some), "a list of attributes (texts, numbers)"),
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


def _is_values(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str | int | float) for v in value)


def _opposite(value: Any) -> Any:
    return -value if isinstance(value, int) and not isinstance(value, bool) else value


def _is_colour(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_is_index(v) and v <= 255 for v in value)
