"""Class polygons as GeoJSON: in pixels for QuPath, in map coordinates for a GIS."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from saccade.errors import InvalidInput
from saccade.rasters.contours import Polygon, Tracer
from saccade.rasters.outputs import finished_file
from saccade.rasters.raster import Raster
from saccade.rasters.window import tile_windows

Transform = tuple[float, float, float, float, float, float]
BAND_PIXELS = 1 << 22


def polygons(
    labels: Raster, *, skip: Collection[int] = (), progress: Callable[[float], None] | None = None
) -> Iterator[Polygon]:
    """The 4-connected regions of equal label of a label raster, largest memory: what is still open.

    Args:
        labels: one channel of class indices.
        skip: indices to leave out, the background for example; the nodata value is always left out.

    Raises:
        InvalidInput: ``labels`` is not one channel of integers.
        FileProblem: the file is damaged.
    """
    if labels.channels != 1 or labels.dtype.name not in ("uint8", "uint16"):
        raise InvalidInput("labels", "one channel of uint8 or uint16", f"{labels.channels} of {labels.dtype}")
    gaps = () if labels.nodata is None else (int(labels.nodata),)
    tracer = Tracer(labels.size[1], {*skip, *gaps})
    rows = labels.levels[0].tile[0] * max(1, BAND_PIXELS // (labels.levels[0].tile[0] * labels.size[1]))
    windows = list(tile_windows(labels.size, (rows, labels.size[1])))
    for number, window in enumerate(windows):
        yield from tracer.push(labels.read(window)[..., 0])
        if progress is not None:
            progress((number + 1) / len(windows))
    yield from tracer.finish()


def write_polygons(
    path: Path | str,
    labels: Raster,
    *,
    names: Sequence[str] | None = None,
    palette: Sequence[Sequence[int]] | None = None,
    skip: Collection[int] = (),
    smallest: int = 1,
    map_coordinates: bool | None = None,
    overwrite: bool = False,
    progress: Callable[[float], None] | None = None,
) -> int:
    """Write the class polygons of a label raster as a GeoJSON FeatureCollection, as they are found.

    Corners are pixel edges, so that neighbours share their border exactly. In pixels, (0, 0) is the image's
    top left corner, which is what QuPath imports (with class name and colour). In map coordinates the
    raster's own CRS is kept and named in a "crs" member, which GDAL and QGIS read.

    Args:
        names, palette: of the class of each index; without them "class 3".
        skip: indices to leave out; the nodata value always is.
        smallest: regions, and holes, of fewer pixels are left out.
        map_coordinates: default: where the raster has a transform.

    Returns:
        How many polygons there are.

    Raises:
        InvalidInput: not a label raster, or map coordinates of a raster without a transform.
        FileProblem: ``path`` exists without ``overwrite``, or cannot be written; ``labels`` is damaged.
    """
    if map_coordinates and labels.transform is None:
        raise InvalidInput("map_coordinates", "asked of a raster with a transform", "a raster without one")
    transform = labels.transform if map_coordinates is None or map_coordinates else None
    count = 0
    with finished_file(Path(path), overwrite=overwrite) as temporary, temporary.open("w") as file:
        file.write('{"type": "FeatureCollection",\n' + _crs_member(labels, transform) + '"features": [')
        for polygon in polygons(labels, skip=skip, progress=progress):
            if polygon.area >= smallest:
                file.write(",\n" if count else "\n")
                _write_feature(file, polygon, _properties(polygon.label, names, palette), transform, smallest)
                count += 1
        file.write("\n]}\n")
    return count


def _write_feature(
    file: TextIO, polygon: Polygon, properties: dict[str, Any], transform: Transform | None, smallest: int
) -> None:
    holes = [hole for hole in polygon.holes if _area(hole) >= smallest]
    rings = [_ring(ring, transform) for ring in (polygon.outer, *holes)]
    geometry = {"type": "Polygon", "coordinates": rings}
    json.dump({"type": "Feature", "geometry": geometry, "properties": properties}, file)


def _ring(corners: np.ndarray, transform: Transform | None) -> list[list[float]]:
    """Closed, and counter-clockwise outside where y points up, as RFC 7946 asks."""
    closed = np.concatenate([corners, corners[:1]])
    if transform is None:
        return closed.tolist()
    a, b, c, d, e, f = transform
    x, y = closed[:, 0], closed[:, 1]
    mapped = np.stack([a * x + b * y + c, d * x + e * y + f], 1)
    return (mapped if a * e - b * d > 0 else mapped[::-1]).tolist()


def _properties(
    label: int, names: Sequence[str] | None, palette: Sequence[Sequence[int]] | None
) -> dict[str, Any]:
    named = names is not None and label < len(names)
    classification: dict[str, Any] = {
        "name": names[label] if names is not None and named else f"class {label}"
    }
    if palette is not None and label < len(palette):
        classification["color"] = [int(channel) for channel in palette[label]]
    return {"objectType": "annotation", "classification": classification, "class_index": label}


def _crs_member(labels: Raster, transform: Transform | None) -> str:
    if transform is None or labels.crs is None:
        return ""
    code = labels.crs.split(":")[-1] if labels.crs.startswith("EPSG:") else None
    name = f"urn:ogc:def:crs:EPSG::{code}" if code else labels.crs
    return '"crs": ' + json.dumps({"type": "name", "properties": {"name": name}}) + ",\n"


def _area(ring: np.ndarray) -> int:
    x, y = ring[:, 0], ring[:, 1]
    return abs(int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())) // 2
