"""Scenes with polygons in each of the forms that GIS and annotation tools write, made from shapely."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import rasterio
import shapely
from rasterio.features import rasterize
from rasterio.warp import transform_geom

SIZE = (120, 160)
PLACE = rasterio.Affine(10, 0, 500000, 0, -10, 5300000)
UTM = "EPSG:32632"
CLASSES = [{"index": 0, "name": "ground"}, {"index": 1, "name": "wood"}, {"index": 2, "name": "water"}]

Shapes = Sequence[tuple[Any, str]]


def scene(seed: int = 0) -> Shapes:
    """Blobs with holes in pixels, that do not touch each other, with a class each."""
    draw = np.random.default_rng(seed)
    shapes = []
    for row in range(2):
        for column in range(3):
            angles = np.sort(draw.uniform(0, 2 * np.pi, 14))
            radius = draw.uniform(12, 24, 14)
            centre = np.array([column * 52 + 27, row * 58 + 30]) + draw.uniform(-2, 2, 2)
            ring = centre + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
            blob = shapely.Polygon(ring).buffer(0)
            hole = shapely.Point(centre).buffer(4.3, quad_segs=3)
            shapes.append((blob.difference(hole), ("wood", "water")[(row + column) % 2]))
    return shapes


def on_map(shape: Any, crs: str = UTM, place: Any = PLACE) -> Any:
    """From pixels to a reference system."""
    a, b, c, d, e, f = tuple(place)[:6]
    mapped = shapely.transform(shape, lambda xy: xy @ np.array([[a, b], [d, e]]).T + (c, f))
    if crs == UTM:
        return mapped
    return shapely.geometry.shape(transform_geom(UTM, crs, shapely.geometry.mapping(mapped)))


def table(
    path: Path, shapes: Shapes, crs: str | None = UTM, field: str = "class",
    values: Sequence[Any] | None = None, **options: Any,
) -> Path:  # fmt: skip
    """A GeoPackage, Shapefile or FlatGeobuf, by the name; ``shapes`` in its own coordinates."""
    path.parent.mkdir(parents=True, exist_ok=True)
    geometry = np.array([None if shape is None else shapely.to_wkb(shape) for shape, _ in shapes], object)
    told = np.array([name for _, name in shapes] if values is None else values)
    kind = options.pop("geometry_type", "Unknown" if path.suffix == ".gpkg" else "Polygon")
    pyogrio.raw.write(
        path, geometry, [told], [field], geometry_type=kind, crs=crs, promote_to_multi=False, **options
    )
    return path


def feature(shape: Any, properties: Mapping[str, Any]) -> dict[str, Any]:
    geometry = None if shape is None else json.loads(json.dumps(shapely.geometry.mapping(shape)))
    return {"type": "Feature", "properties": dict(properties), "geometry": geometry}


def geojson(path: Path, shapes: Shapes, *, qupath: bool = False, bare: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    features = [
        feature(shape, {"classification": {"name": name}} if qupath else {"class": name})
        for shape, name in shapes
    ]
    path.write_text(json.dumps(features if bare else {"type": "FeatureCollection", "features": features}))
    return path


def coco(path: Path, images: Mapping[str, Shapes], size: tuple[int, int] = SIZE) -> Path:
    """Holes are no part of COCO's polygons: shapes with holes become run lengths, made of their pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    categories = {"wood": 7, "water": 3}
    listed, annotations = [], []
    for number, (name, shapes) in enumerate(images.items()):
        listed.append({"id": number, "file_name": name, "height": size[0], "width": size[1]})
        for shape, kind in shapes:
            segmentation: Any = [np.array(part.exterior.coords).ravel().tolist() for part in _parts(shape)]
            if any(part.interiors for part in _parts(shape)):
                segmentation = {"size": list(size), "counts": runs(mask_of([(shape, kind)], {kind: 1}, size))}
            annotations.append(
                {"id": len(annotations), "image_id": number, "category_id": categories[kind],
                 "segmentation": segmentation, "iscrowd": int(isinstance(segmentation, dict))}
            )  # fmt: skip
    names = [{"id": key, "name": name} for name, key in categories.items()]
    path.write_text(json.dumps({"images": listed, "annotations": annotations, "categories": names}))
    return path


def _parts(shape: Any) -> Any:
    return getattr(shape, "geoms", [shape])


def runs(mask: Any) -> list[int]:
    """Lengths of runs down the columns, outside first."""
    flat = np.concatenate([[0], np.asarray(mask, int).T.ravel(), [2]])
    ends = np.flatnonzero(np.diff(flat))
    return np.diff(np.concatenate([[0], ends])).tolist()


def mask_of(shapes: Shapes, indices: Mapping[str, int], size: tuple[int, int] = SIZE, **options: Any) -> Any:
    """By GDAL: a pixel is inside where its centre is."""
    return rasterize([(shape, indices[name]) for shape, name in shapes], size, **options)


def image(path: Path, crs: str | None = UTM, place: Any = PLACE, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name) + int(place.c)).integers(0, 255, (3, *size), np.uint8)
    profile = {"driver": "GTiff", "height": size[0], "width": size[1], "count": 3, "dtype": "uint8"}
    where = {} if crs is None else {"crs": crs, "transform": place}
    with rasterio.open(path, "w", **profile, **where) as file:
        file.write(pixels)
    return path


def folder(root: Path, classes: Any = None, **more: Any) -> Path:
    """Three scenes of one place after another, without labels."""
    root.mkdir(parents=True, exist_ok=True)
    for number, stem in enumerate("abc"):
        image(root / "images" / f"{stem}.tif", place=tile(number))
    (root / "splits.json").write_text(json.dumps({"train": ["a"], "val": ["b"], "test": ["c"]}))
    (root / "classes.json").write_text(json.dumps({"classes": classes or CLASSES, **more}))
    return root


def tile(number: int) -> Any:
    """The place of the scene ``number``: beside each other."""
    return PLACE @ rasterio.Affine.translation(number * SIZE[1], 0)
