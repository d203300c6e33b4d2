"""Polygons of classes, from GeoJSON to label maps: a pixel is inside where its centre is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data.classes import ClassTable
from saccade.errors import FileProblem, nearest_name
from saccade.rasters import Raster
from saccade.rasters.georeference import reprojection, system_name
from saccade.runtime.files import read_json


def fill_polygon(values: NDArray[np.integer], rings: Sequence[NDArray[np.floating]], value: int) -> None:
    """Sets ``value`` in place at each pixel whose centre lies inside of an odd number of rings.

    So holes are rings inside of others, and polygons that share a border share no pixel. Of a centre on a
    border, the left and upper border belong to the polygon and the right and lower do not.

    Args:
        values: (H, W).
        rings: (n, 2) corners (x, y) each, in pixels, (0, 0) the image's top left corner; closed or not; what
            lies outside of the image is cut off.
        value: what is written.

    Raises:
        ValueError: a ring is not (n, 2) finite numbers.
    """
    rows, places = _crossings([_closed(ring) for ring in rings], values.shape[0])
    if not len(rows):
        return
    columns = np.clip(np.ceil(places - 0.5), 0, values.shape[1]).astype(np.int64)
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max()
    # whether odd is all that counts, so eight bits may overflow
    turns = np.zeros((bottom - top, right - left + 1), np.uint8)
    np.add.at(turns, (rows - top, columns - left), 1)
    inside = (np.cumsum(turns[:, :-1], axis=1, dtype=np.uint8) & 1).astype(bool)
    values[top:bottom, left:right][inside] = value


def _closed(ring: NDArray[np.floating]) -> NDArray[np.float64]:
    corners = np.asarray(ring, np.float64)
    if corners.ndim != 2 or corners.shape[1] < 2 or not np.isfinite(corners).all():
        raise ValueError("a ring that is no list of points (x, y)")
    return np.concatenate([corners[:, :2], corners[:1, :2]])


def _crossings(
    rings: Sequence[NDArray[np.float64]], height: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where edges cross the lines through the centres of rows: the row and x of each crossing."""
    edges = [np.concatenate([ring[:-1], ring[1:]], 1) for ring in rings if len(ring) > 1]
    if not edges:
        return np.zeros(0, np.int64), np.zeros(0)
    x0, y0, x1, y1 = np.concatenate(edges).T
    low, high = np.minimum(y0, y1), np.maximum(y0, y1)
    first = np.clip(np.ceil(low - 0.5), 0, height).astype(np.int64)
    counts = np.maximum(np.clip(np.ceil(high - 0.5), 0, height).astype(np.int64) - first, 0)
    edge = np.repeat(np.arange(len(counts)), counts)
    step = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = first[edge] + step
    share = (rows + 0.5 - y0[edge]) / (y1 - y0)[edge]
    return rows, x0[edge] + share * (x1 - x0)[edge]


_EXPECTED = "a GeoJSON FeatureCollection of polygons"
_OUTSIDE = 0

Corners = NDArray[np.float64]
Mapping = Callable[[Corners], Corners]


@dataclass(frozen=True)
class Outline:
    """One polygon of a file: the mask value, and its rings (n, 2) in the coordinates of the file."""

    value: int
    rings: tuple[Corners, ...]


def draw_outlines(
    path: Path, slide: Raster, size: tuple[int, int], classes: ClassTable
) -> NDArray[np.integer]:
    """(h, w) uint8 or uint16 mask values: index 0 where there is no polygon; of several, the last counts.

    A feature's class is ``properties.classification.name`` (QuPath), or ``properties.class`` or ``name``.

    Args:
        path: the GeoJSON file. Over a slide without a place on a map, in pixels of its full resolution, from
            where QuPath counts them (``slide.info.origin``). Over one with a place, in the reference system
            that the file names in "crs"; without that member in WGS 84 (RFC 7946), in the slide's own system
            or in pixels, whichever alone meets the slide.
        slide: whose annotation it is.
        size: what is wanted.
        classes: whose names the features carry.

    Raises:
        FileProblem: broken JSON, another geometry than polygons, a class that is not in the table, a system
            that is not known or could be two, or no polygon that meets the slide.
    """
    value, faults = read_json(path)
    if value is None:
        raise FileProblem(path, faults[0].expected, faults[0].found)
    outlines = _outlines(value, classes, path)
    wide = max(classes.allowed_values) > 255
    labels = np.full(size, _OUTSIDE, np.uint16 if wide else np.uint8)
    if not outlines:
        return labels
    corners = np.concatenate([ring for outline in outlines for ring in outline.rings])
    to_pixels = _to_pixels(value, corners, slide, path)
    scale = np.array([size[1] / slide.size[1], size[0] / slide.size[0]])
    for outline in outlines:
        fill_polygon(labels, [to_pixels(ring) * scale for ring in outline.rings], outline.value)
    return labels


def _outlines(value: dict[str, Any], classes: ClassTable, path: Path) -> list[Outline]:
    outlines = []
    for number, feature in enumerate(_features(value, path)):
        index = _index(feature, classes, path, number)
        try:
            for rings in _polygons(feature["geometry"]):
                outlines.append(Outline(index, tuple(_closed(np.asarray(ring, float)) for ring in rings)))
        except (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError) as error:
            raise FileProblem(path, _EXPECTED, f"feature {number} is none ({error})") from error
    return [outline for outline in outlines if outline.rings]


def _features(value: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    features = value.get("features") if value.get("type") == "FeatureCollection" else [value]
    if not isinstance(features, list) or not all(isinstance(one, dict) for one in features):
        raise FileProblem(path, _EXPECTED, "no list of features")
    return features


def _index(feature: dict[str, Any], classes: ClassTable, path: Path, number: int) -> int:
    properties = feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    named = properties.get("classification")
    name = named.get("name") if isinstance(named, dict) else properties.get("class", properties.get("name"))
    if not isinstance(name, str) or name not in classes.names:
        fix = nearest_name(str(name), classes.names)
        expected = f"the name of a class of classes.json in feature {number}"
        raise FileProblem(path, expected, repr(name)[:80], fix)
    return classes.indices[classes.names.index(name)]


def _polygons(geometry: dict[str, Any]) -> Iterator[list[Any]]:
    kind = geometry["type"]
    if kind not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"{kind}, where a Polygon or MultiPolygon is needed")
    yield from [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]


@dataclass(frozen=True)
class Interpretation:
    """One meaning of a file's coordinates: its name, and the way from them to pixels of the full image;
    ``to_pixels`` may cut long edges into pieces, ``place`` takes corners as they are."""

    name: str
    to_pixels: Mapping
    place: Mapping


def _to_pixels(value: dict[str, Any], corners: Corners, slide: Raster, path: Path) -> Mapping:
    """The one meaning of the coordinates under which the polygons meet the slide.

    Raises:
        FileProblem: there is none, or there are two that differ.
    """
    possible = _interpretations(value, corners, slide, path)
    meeting = [meaning for meaning in possible if _meets(meaning, corners, slide)]
    if not meeting:
        names = " or ".join(meaning.name for meaning in possible)
        low, high = corners.min(0), corners.max(0)
        got = f"x from {low[0]:.9g} to {high[0]:.9g}, y from {low[1]:.9g} to {high[1]:.9g} ({names})"
        fix = 'name their reference system in a "crs" member' if slide.transform else ""
        raise FileProblem(path, f"polygons that meet {_about(slide)}", got, fix)
    places = [meaning.place(corners) for meaning in meeting]
    for meaning, place in zip(meeting[1:], places[1:], strict=True):
        if np.abs(place - places[0]).max() > 0.5:
            both = f"polygons that meet it in {meeting[0].name} and in {meaning.name}"
            fix = 'name their reference system in a "crs" member'
            raise FileProblem(path, f"one place on {_about(slide)}", both, fix)
    return meeting[0].to_pixels


def _about(slide: Raster) -> str:
    height, width = slide.size
    return f"{slide.path.name} ({width} x {height} pixels, {system_name(slide.crs) or 'no reference system'})"


def _interpretations(
    value: dict[str, Any], corners: Corners, slide: Raster, path: Path
) -> list[Interpretation]:
    """Every meaning that the file allows, the likeliest first."""
    pixels = _direct("pixels", lambda ring: ring + slide.info.origin)
    if slide.transform is None:
        return [pixels]
    own = _direct(system_name(slide.crs) or "map coordinates", _inverse(slide.transform))
    named = _named_system(value, path)
    if named is not None:
        return [_in_system(named, slide, path) if slide.crs else own]
    if "crs" in value or slide.crs is None:
        return [pixels, own]
    degrees = [] if np.abs(corners).max(0)[0] > 360 or np.abs(corners).max(0)[1] > 90 else ["OGC:CRS84"]
    return [*(_in_system(name, slide, path) for name in degrees), own, pixels]


def _direct(name: str, to_pixels: Mapping) -> Interpretation:
    return Interpretation(name, to_pixels, to_pixels)


def _inverse(transform: tuple[float, ...]) -> Mapping:
    a, b, c, d, e, f = transform
    inverse = np.linalg.inv(np.array([[a, b], [d, e]]))
    return lambda ring: (ring - (c, f)) @ inverse.T


def _in_system(name: str, slide: Raster, path: Path) -> Interpretation:
    """The coordinates of another system, brought to the slide's, and on to pixels."""
    assert slide.crs is not None and slide.transform is not None
    to_map = reprojection(name, slide.crs, path)
    to_pixels = _inverse(slide.transform)
    if to_map is None:
        return _direct(system_name(name), to_pixels)

    def place(corners: Corners) -> Corners:
        return to_pixels(to_map(corners))

    return Interpretation(system_name(name), lambda ring: place(_dense(ring, to_map, to_pixels)), place)


_LONGEST_EDGE = 8.0
_MOST_PIECES = 256


def _dense(ring: Corners, to_map: Mapping, to_pixels: Mapping) -> Corners:
    """Long edges cut into pieces: they are straight in their own system, and curves in another."""
    lengths = np.hypot(*np.diff(to_pixels(to_map(ring)), axis=0).T)
    lengths = np.where(np.isfinite(lengths), lengths, 0)
    pieces = np.clip(np.ceil(lengths / _LONGEST_EDGE), 1, _MOST_PIECES).astype(int)
    edge = np.repeat(np.arange(len(pieces)), pieces)
    step = (np.arange(len(edge)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) / pieces[edge]
    cut = ring[edge] + step[:, None] * (ring[1:] - ring[:-1])[edge]
    return np.concatenate([cut, ring[-1:]])


def _meets(meaning: Interpretation, corners: Corners, slide: Raster) -> bool:
    """Whether the box around all corners meets the slide; in pixels only where it is no mere point, as
    longitudes and latitudes of one place are."""
    places = meaning.place(corners)
    if not np.isfinite(places).all():
        return False
    low, high = places.min(0), places.max(0)
    is_point = meaning.name == "pixels" and slide.crs is not None and (high - low).max() < 1
    return not is_point and bool((high > 0).all() and (low < slide.size[::-1]).all())


def _named_system(value: dict[str, Any], path: Path) -> str | None:
    """The name in the "crs" member of GeoJSON 2008; None where it is absent or null."""
    member = value.get("crs")
    if member is None:
        return None
    try:
        properties = member["properties"]
        return str(properties["name"]) if "name" in properties else f"EPSG:{int(properties['code'])}"
    except (KeyError, TypeError, ValueError):
        raise FileProblem(path, 'a "crs" that names a reference system', json.dumps(member)[:80]) from None
