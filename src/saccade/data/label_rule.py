"""Which class a polygon is of, what lies on top, and what is where none is: as ``classes.json`` says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from saccade.data.classes import ClassTable
from saccade.data.vectors import Feature, JsonVectors, Vectors
from saccade.errors import Fault, FileProblem, nearest_name
from saccade.runtime.reading import read_json

FIELDS = ("classification", "class", "category", "label", "name")
"""Attributes taken for the class where ``label_field`` does not say which: the first that is there."""

OVERLAPS = ("last", "first", "smallest", "largest", "classes")
BACKGROUND = ("background", "unlabelled", "unlabeled", "other", "rest", "none")
"""Classes of such a name are what no polygon covers, where ``unlabelled`` does not say what is."""

ANY = "*"


@dataclass(frozen=True)
class LabelRule:
    """From the attributes of a polygon to a value of a label map.

    Attributes:
        classes: whose values the label maps hold.
        values: the index by the attribute as text.
        unlabelled: the index of what no polygon covers.
        overlaps: which of several polygons counts: the last or first of the file, the smallest or largest,
            or the one whose class stands last in the table ("classes").
        told: whether the file says what is where no polygon is.
        label_field: the attribute; None for the first of :data:`FIELDS` that is there.
        layer: of files of several layers.
    """

    classes: ClassTable
    values: Mapping[str, int]
    unlabelled: int
    overlaps: str = "last"
    told: bool = True
    label_field: str | None = None
    layer: str | None = None
    order: tuple[int, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, classes: ClassTable) -> LabelRule:
        """Classes by their names, index 0 where no polygon is."""
        values = dict(zip((name.strip() for name in classes.names), classes.indices, strict=True))
        return cls(classes, values, 0, order=classes.indices)

    @property
    def unlabelled_name(self) -> str:
        """What is where no polygon is, in words."""
        if self.unlabelled in self.classes.ignored_values:
            return "ignored"
        return self.classes.names[self.classes.indices.index(self.unlabelled)]

    def attributes_of(self, vectors: Vectors, features: Sequence[Feature] | None = None) -> list[Any]:
        """The attribute of each feature that names its class; of all of the file for None.

        Raises:
            FileProblem: there is no such attribute, or one has a value that no class has.
        """
        if not len(vectors.numbers):
            return []  # nothing was drawn, as QuPath exports it
        name = self._field(vectors)
        if isinstance(vectors, JsonVectors) and self.label_field is None:
            some = vectors.items if features is None else features
            attributes = [_first(feature.attributes) for feature in some]
        elif name is None:
            attributes = [None] * (len(vectors.numbers) if features is None else len(features))
        elif features is None:
            attributes = vectors.values(name)
        else:
            attributes = [feature.attributes.get(name) for feature in features]
        self._require_known(vectors.path, name, attributes)
        return attributes

    def _field(self, vectors: Vectors) -> str | None:
        """The attribute that names classes; None where every polygon is of one class and it has none."""
        names = vectors.fields
        candidates: Sequence[str] = FIELDS if self.label_field is None else (self.label_field,)
        if vectors.path.suffix.lower() == ".shp":
            candidates = (*candidates, *(name[:10] for name in candidates))  # as a Shapefile cuts names
        folded = {name.casefold(): name for name in reversed(names)}
        field = next((folded[name.casefold()] for name in candidates if name.casefold() in folded), None)
        if field is not None or (self.label_field is None and ANY in self.values):
            return field
        has = ", ".join(names[:8]) or "no attributes"
        if self.label_field is not None:
            expected = f"the attribute {self.label_field!r} (label_field in classes.json)"
            fix = nearest_name(self.label_field, names) if names else ""
            raise FileProblem(vectors.path, expected, has, fix)
        fix = f'say which: "label_field" in classes.json; or give one class "values": ["{ANY}"] there'
        raise FileProblem(vectors.path, f"an attribute that names classes ({', '.join(FIELDS)})", has, fix)

    def index_of(self, value: Any) -> int | None:
        """The index that an attribute means; None where no class has it."""
        text = as_text(value)
        index = None if text is None else self.values.get(text)
        return self.values.get(ANY) if index is None else index

    def _require_known(self, path: Path, name: str | None, values: Iterable[Any]) -> None:
        counted = Counter(as_text(value) for value in values)
        strange = Counter({text: n for text, n in counted.items() if self.index_of(text) is None})
        if not strange:
            return
        shown = ", ".join(f"{text!r} ({n} polygon{'s' * (n > 1)})" for text, n in strange.most_common(5))
        more = f" and {len(strange) - 5} other values" if len(strange) > 5 else ""
        known = [value for value in self.values if value != ANY]
        fix = nearest_name(str(strange.most_common(1)[0][0]), known)
        if not fix.startswith("did"):
            fix = 'name the values of each class in classes.json: "values": [...]'
        expected = f"the name of a class of classes.json as {name or 'class'}"
        raise FileProblem(path, expected, shown + more, fix)


def _first(attributes: Mapping[str, Any]) -> Any:
    """The first of :data:`FIELDS` that says something."""
    folded = {name.casefold(): value for name, value in attributes.items()}
    return next((folded[name] for name in FIELDS if folded.get(name) is not None), None)


def as_text(value: Any) -> str | None:
    """An attribute as classes.json may name it: 3, 3.0 and "3" are one; None where there is nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    try:
        if not isinstance(value, str) and float(value) == int(value):
            return str(int(value))
    except (TypeError, ValueError, OverflowError):
        pass
    return str(value).strip() or None


def read_label_rule(path: Path, classes: ClassTable, *, zero: bool) -> tuple[LabelRule, list[Fault]]:
    """The rule of a ``classes.json`` whose class table is ``classes``, and what is wrong with it.

    ``zero``: where the file does not say, index 0 is where no polygon is; else a class with the name of a
    background, and ignored without one.
    """
    value, faults = read_json(path)
    value = value or {}
    rows = [row for row in value.get("classes") or [] if isinstance(row, dict)]
    values, repeated = _values(rows, path)
    faults += repeated
    texts = {}
    for name in ("label_field", "label_layer", "unlabelled", "overlaps"):
        text = value.get(name)
        if text is not None and not (isinstance(text, str) and text):
            faults.append(Fault(path, f"{name} to be a text", repr(text)[:60]))
        texts[name] = text if isinstance(text, str) else None
    overlaps = texts["overlaps"] or "last"
    if overlaps not in OVERLAPS:
        fix = nearest_name(overlaps, OVERLAPS)
        faults.append(Fault(path, "overlaps to be one of " + ", ".join(OVERLAPS), f"{overlaps!r}; {fix}"))
    unlabelled, told = texts["unlabelled"], texts["unlabelled"] is not None
    if unlabelled is None:
        background = [name for name in classes.names if name.casefold() in BACKGROUND]
        unlabelled = (background[0] if background else "ignore") if not zero else None
    if unlabelled is None:
        index = 0
    elif unlabelled in classes.names:
        index = classes.indices[classes.names.index(unlabelled)]
    elif unlabelled in ("ignore", "ignored"):
        classes = with_ignored(classes)
        index = classes.ignored_values[0]
    else:
        fix = nearest_name(unlabelled, ("ignore", *classes.names))
        faults.append(Fault(path, "unlabelled to be ignore or the name of a class", f"{unlabelled!r}; {fix}"))
        index = classes.indices[0]
    order = tuple(row.get("index", 0) for row in rows)
    layer = texts["label_layer"]
    return LabelRule(classes, values, index, overlaps, told, texts["label_field"], layer, order), faults


def with_ignored(classes: ClassTable) -> ClassTable:
    """The same with a value for what is ignored: 255, or the highest that no class has."""
    if classes.ignored_values:
        return classes
    free = next(value for value in (255, 65535, 65534) if value not in classes.allowed_values)
    return replace(classes, file_ignore_index=free)


def _values(rows: Sequence[Mapping[str, Any]], path: Path) -> tuple[dict[str, int], list[Fault]]:
    """The index of each attribute: a class's ``values``, else its name, else the index itself."""
    values: dict[str, int] = {}
    faults = []
    for row in rows:
        mapping = row.get("values")
        for value in [row.get("name")] if mapping is None else mapping:
            text = as_text(value)
            if text is not None and values.setdefault(text, row["index"]) != row["index"]:
                faults.append(Fault(path, "each of the values of classes once", f"{value!r} more than once"))
    for row in rows:
        if row.get("values") is None:
            values.setdefault(str(row.get("index")), row["index"])
    return values, faults
