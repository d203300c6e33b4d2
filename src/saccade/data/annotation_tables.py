"""Outlines of objects as annotation tools export them: tables (CSV), VIA, LabelMe; in pixels or on a map."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from saccade.errors import FileProblem
from saccade.rasters.decoders import load
from saccade.runtime.reading import parse_json, read_text

Geometry = dict[str, Any]
"""A Polygon or MultiPolygon of GeoJSON."""

IMAGE_COLUMNS = (
    "image",
    "filename",
    "file_name",
    "file",
    "image_path",
    "path",
    "image_name",
    "image_id",
    "img",
)
CLASS_COLUMNS = ("class", "label", "category", "class_name", "label_name", "category_name", "name", "type")
OUTLINE_COLUMNS = ("wkt", "geometry", "polygon", "geom", "segmentation", "points", "vertices")
BOX_COLUMNS = (
    ("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"), ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
)  # fmt: skip
SIZED_COLUMNS = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"))
SPLIT_COLUMNS = ("split", "subset", "partition", "set")
SPLIT_WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
CIRCLE_CORNERS = 64
MOST_TABLE = 1 << 28
"""Bytes of a table."""


@dataclass(frozen=True)
class Outlines:
    """The objects of each image.

    Attributes:
        source: the file, or the folder of files, that they are from.
        kind: what it is, in words.
        objects: class (None where there is none) and geometry of each object, by the image's name as the
            source has it; images without objects too.
        splits: the split of images that the source gives one.
        skipped: how many objects have no area: points, lines.
    """

    source: Path
    kind: str
    objects: Mapping[str, list[tuple[str | None, Geometry]]]
    splits: Mapping[str, str] = field(default_factory=dict)
    skipped: int = 0


def read_table(path: Path) -> Outlines:
    """A CSV table, a line an object, with commas, semicolons or tabs; or the one that VIA writes.

    Columns are found by their names, in any case: the image, the class, and the outline as WKT, as a list of
    [x, y] or of x, y in turn, or as a box of pixels. A column "split" says train, val or test.

    Raises:
        FileProblem: for a table without such columns, or a line that is no outline.
    """
    text = read_text(path, "a table of annotations", MOST_TABLE).lstrip("\ufeff")
    head = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=head.count))
    columns = {name.strip().casefold(): name for name in rows.fieldnames or () if name}
    if "region_shape_attributes" in columns:
        return _via_rows(path, ((row, number) for number, row in enumerate(rows, 2)))
    image, named = _column(columns, IMAGE_COLUMNS), _column(columns, CLASS_COLUMNS)
    outline_of, outline_columns = _outline_reader(columns, path)
    if image is None or outline_of is None:
        expected = (
            "a column of images (image, filename), one of classes (class, label), and wkt, polygon, points "
            "or xmin, ymin, xmax, ymax"
        )
        raise FileProblem(path, expected, "the columns " + ", ".join(rows.fieldnames or ["none"])[:200])
    split = _column(columns, SPLIT_COLUMNS)
    objects: dict[str, list[tuple[str | None, Geometry]]] = {}
    splits: dict[str, str] = {}
    skipped = 0
    for number, row in enumerate(rows, 2):
        name = (row.get(image) or "").strip()
        if not name:
            continue
        found = objects.setdefault(name, [])
        if split is not None and (word := SPLIT_WORDS.get((row.get(split) or "").strip().casefold())):
            splits[name] = word
        if not any((row.get(column) or "").strip() for column in outline_columns):
            continue  # an image without objects
        try:
            geometry = outline_of(row)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            expected = "an outline: WKT, a list of points, or a box"
            raise FileProblem(path, expected, f"line {number}: {error or 'none'}"[:160]) from None
        if geometry is None:
            skipped += 1
        else:
            found.append(((row.get(named) or "").strip() or None if named else None, geometry))
    return Outlines(path, "a table", objects, splits, skipped)


def _column(columns: Mapping[str, str], names: Iterable[str]) -> str | None:
    return next((columns[name] for name in names if name in columns), None)


def _outline_reader(
    columns: Mapping[str, str], path: Path
) -> tuple[Callable[[Mapping[str, str]], Geometry | None] | None, tuple[str, ...]]:
    """How the outline of a row is read, and from which columns; None where there are none."""
    if (name := _column(columns, OUTLINE_COLUMNS)) is not None:
        return (lambda row: _outline_of_text(row[name], path)), (name,)
    for kinds, make in ((BOX_COLUMNS, box), (SIZED_COLUMNS, _sized)):
        for names in kinds:
            if all(one in columns for one in names):
                found = tuple(columns[one] for one in names)
                return partial(_outline_of_sides, found, make), found
    if (name := _column(columns, ("bbox", "box"))) is not None:
        return (lambda row: _sized(*_numbers(row[name]))), (name,)
    return None, ()


def _numbers(text: str) -> list[float]:
    return [float(word) for word in text.strip().strip("[]()").replace(";", ",").replace(",", " ").split()]


def _outline_of_sides(
    columns: Sequence[str], make: Callable[..., Geometry | None], row: Mapping[str, str]
) -> Geometry | None:
    return make(*(float(row[column]) for column in columns))


def _sized(x: float, y: float, width: float, height: float) -> Geometry | None:
    return box(x, y, x + width, y + height)


def box(left: float, top: float, right: float, bottom: float) -> Geometry | None:
    """A rectangle; None without an area."""
    if right <= left or bottom <= top:
        return None
    return polygon([(left, top), (right, top), (right, bottom), (left, bottom)])


def polygon(points: Iterable[Sequence[float]]) -> Geometry | None:
    """Of its corners (x, y); None for fewer than three that differ.

    Raises:
        ValueError: for numbers that are not finite.
    """
    ring = [[float(x), float(y)] for x, y, *_ in points]
    if not all(math.isfinite(value) for point in ring for value in point):
        raise ValueError("a corner that is not finite")
    if len({tuple(point) for point in ring}) < 3:
        return None
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]] if ring[0] != ring[-1] else ring]}


def circle(x: float, y: float, across: float, down: float) -> Geometry | None:
    """An ellipse of two radii as a polygon of 64 corners; None without an area."""
    if across <= 0 or down <= 0:
        return None
    turns = [2 * math.pi * k / CIRCLE_CORNERS for k in range(CIRCLE_CORNERS)]
    return polygon([(x + across * math.cos(turn), y + down * math.sin(turn)) for turn in turns])


def _outline_of_text(text: str, path: Path) -> Geometry | None:
    """WKT, GeoJSON, or a list of points."""
    text = text.strip()
    if text[:1] == "{":
        return _areal(json.loads(text))
    if text[:1].isalpha():
        shapely = load("shapely", "geo", path, "outlines as WKT")
        try:
            shape = shapely.from_wkt(text)
        except shapely.errors.GEOSException as error:
            raise ValueError(" ".join(str(error).split())[:100]) from None
        return _areal(json.loads(shapely.to_geojson(shape)))
    values = _numbers(text.replace("[", " ").replace("]", " ").replace("(", " ").replace(")", " "))
    if len(values) % 2:
        raise ValueError(f"{len(values)} numbers, which are no pairs x, y")
    return polygon(list(zip(values[::2], values[1::2], strict=True)))


def _areal(geometry: Geometry) -> Geometry | None:
    if geometry.get("type") not in ("Polygon", "MultiPolygon") or not geometry.get("coordinates"):
        return None
    return geometry


# --- VIA, LabelMe -------------------------------------------------------------------------------------------


def read_tool_json(path: Path) -> Outlines | None:
    """What VIA or LabelMe wrote into a JSON file; None where it is another.

    Raises:
        FileProblem: for one of these that is damaged.
    """
    value, faults = parse_json(path, "a JSON object")
    if faults or not isinstance(value, dict):
        return None
    try:
        if isinstance(value.get("shapes"), list):
            return _labelme(value, path)
        value = value.get("_via_img_metadata", value)
        rows = list(value.values()) if isinstance(value, dict) else []
        if rows and all(isinstance(row, dict) and "regions" in row and "filename" in row for row in rows):
            return _via(rows, path)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise FileProblem(path, "regions as VIA or LabelMe writes them", f"one without {error}") from None
    return None


def _labelme(value: Mapping[str, Any], path: Path) -> Outlines:
    found, skipped = [], 0
    for shape in value["shapes"]:
        kind, points = shape.get("shape_type") or "polygon", shape["points"]
        if kind == "polygon":
            geometry = polygon(points)
        elif kind == "rectangle":
            (x0, y0), (x1, y1) = points[:2]
            geometry = box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        elif kind == "circle":
            (x, y), (edge_x, edge_y) = points[:2]
            radius = math.hypot(edge_x - x, edge_y - y)
            geometry = circle(x, y, radius, radius)
        else:
            geometry = None
        if geometry is None:
            skipped += 1
        else:
            found.append((str(shape["label"]).strip() or None, geometry))
    # The name of the JSON file is that of its image; imagePath may be of another machine.
    return Outlines(path, "LabelMe", {path.stem: found}, skipped=skipped)


def _via(rows: Iterable[Mapping[str, Any]], path: Path) -> Outlines:
    objects: dict[str, list[tuple[str | None, Geometry]]] = {}
    skipped = 0
    for row in rows:
        regions = row["regions"]
        found = objects.setdefault(str(row["filename"]), [])
        for region in regions.values() if isinstance(regions, dict) else regions:
            geometry = _via_shape(region["shape_attributes"])
            if geometry is None:
                skipped += 1
            else:
                found.append((_via_class(region.get("region_attributes") or {}), geometry))
    return Outlines(path, "VIA", objects, skipped=skipped)


def _via_rows(path: Path, rows: Iterable[tuple[Mapping[str, str], int]]) -> Outlines:
    objects: dict[str, list[tuple[str | None, Geometry]]] = {}
    skipped = 0
    for row, number in rows:
        found = objects.setdefault(row.get("filename") or row.get("#filename") or "", [])
        try:
            shape = json.loads(row["region_shape_attributes"] or "{}")
            attributes = json.loads(row.get("region_attributes") or "{}")
            geometry = _via_shape(shape) if shape else None
        except (KeyError, TypeError, ValueError) as error:
            raise FileProblem(path, "regions as VIA writes them", f"line {number}: {error}"[:160]) from None
        if geometry is not None:
            found.append((_via_class(attributes), geometry))
        elif shape:
            skipped += 1
    return Outlines(path, "VIA", objects, skipped=skipped)


def _via_shape(shape: Mapping[str, Any]) -> Geometry | None:
    kind = shape.get("name")
    if kind in ("polygon", "polyline"):  # a polyline in VIA is an outline that was not closed, or a line
        points = list(zip(shape["all_points_x"], shape["all_points_y"], strict=True))
        return polygon(points) if kind == "polygon" else None
    if kind == "rect":
        return _sized(*(float(shape[side]) for side in ("x", "y", "width", "height")))
    if kind == "circle":
        return circle(float(shape["cx"]), float(shape["cy"]), float(shape["r"]), float(shape["r"]))
    if kind == "ellipse":
        return circle(*(float(shape[name]) for name in ("cx", "cy", "rx", "ry")))
    return None


def _via_class(attributes: Mapping[str, Any]) -> str | None:
    """The attribute that names the class, the first of several; a ticked box of several is its name."""
    folded = {name.casefold(): value for name, value in attributes.items()}
    value = next((folded[name] for name in CLASS_COLUMNS if folded.get(name)), None)
    value = next(iter(attributes.values()), None) if value is None else value
    if isinstance(value, dict):
        value = next((name for name, ticked in value.items() if ticked), None)
    return str(value).strip() or None if value is not None else None
