"""Polygons of classes, from GeoJSON to label maps: a pixel is inside where its centre is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data.classes import ClassTable
from saccade.data.jsonfile import read_json
from saccade.errors import FileProblem, nearest_name
from saccade.rasters import Raster


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

Mapping = Callable[[Any], NDArray[np.float64]]


def draw_outlines(
    path: Path, slide: Raster, size: tuple[int, int], classes: ClassTable
) -> NDArray[np.integer]:
    """(h, w) uint8 or uint16 mask values: index 0 where there is no polygon; of several, the last counts.

    A feature's class is ``properties.classification.name`` (QuPath), or ``properties.class`` or ``name``.

    Args:
        path: the GeoJSON file, in pixels of the slide's full resolution; in its map coordinates where the
            file names a "crs" and the slide has a place on a map.
        slide: whose annotation it is.
        size: what is wanted.
        classes: whose names the features carry.

    Raises:
        FileProblem: broken JSON, another geometry than polygons, or a class that is not in the table.
    """
    value, faults = read_json(path)
    if value is None:
        raise FileProblem(path, faults[0].expected, faults[0].found)
    to_pixels = _to_pixels(value, slide, size)
    wide = max(classes.allowed_values) > 255
    labels = np.full(size, _OUTSIDE, np.uint16 if wide else np.uint8)
    for number, feature in enumerate(_features(value, path)):
        index = _index(feature, classes, path, number)
        try:
            for rings in _polygons(feature["geometry"]):
                fill_polygon(labels, [to_pixels(ring) for ring in rings], index)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise FileProblem(path, _EXPECTED, f"feature {number} is none ({error})") from error
    return labels


def _features(value: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    features = value.get("features") if value.get("type") == "FeatureCollection" else [value]
    if not isinstance(features, list) or not all(isinstance(one, dict) for one in features):
        raise FileProblem(path, _EXPECTED, "no list of features")
    return features


def _index(feature: dict[str, Any], classes: ClassTable, path: Path, number: int) -> int:
    properties = feature.get("properties") or {}
    named = properties.get("classification")
    name = named.get("name") if isinstance(named, dict) else properties.get("class", properties.get("name"))
    if name not in classes.names:
        fix = nearest_name(str(name), classes.names)
        expected = f"the name of a class of classes.json in feature {number}"
        raise FileProblem(path, expected, repr(name), fix)
    return classes.indices[classes.names.index(name)]


def _polygons(geometry: dict[str, Any]) -> Iterator[list[Any]]:
    kind = geometry["type"]
    if kind not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"{kind}, where a Polygon or MultiPolygon is needed")
    yield from [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]


def _to_pixels(value: dict[str, Any], slide: Raster, size: tuple[int, int]) -> Mapping:
    """From a ring in the file to corners in pixels of ``size``."""
    scale = np.array([size[1] / slide.size[1], size[0] / slide.size[0]])
    if "crs" not in value or slide.transform is None:
        return lambda ring: np.asarray(ring, float)[:, :2] * scale
    a, b, c, d, e, f = slide.transform
    inverse = np.linalg.inv(np.array([[a, b], [d, e]]))
    return lambda ring: (np.asarray(ring, float)[:, :2] - (c, f)) @ inverse.T * scale
