"""Zarr arrays and OME-Zarr pyramids, through zarr (formats 2 and 3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from saccade.errors import FileProblem
from saccade.geometry import Window
from saccade.rasters.decoders import load, reading
from saccade.rasters.raster import Level, PixelSize, Raster, RasterInfo

_EXPECTED = "a Zarr image"
_MICRONS = {
    "angstrom": 1e-4,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
}


@dataclass(frozen=True)
class Layout:
    """The arrays of all levels, the name of each axis, and the length of a level-0 pixel along each."""

    arrays: tuple[Any, ...]
    axes: tuple[str, ...]
    pixel_size: PixelSize | None = None
    about: dict[str, Any] = field(default_factory=dict)


class ZarrRaster(Raster):
    """A Zarr array (y, x), (y, x, c) or (c, y, x), or the first image of an OME-Zarr group."""

    def __init__(self, path: Path) -> None:
        zarr = load("zarr", "zarr", path, "Zarr")
        with reading(path, _EXPECTED):
            layout = _layout(path, zarr.open(store=str(path), mode="r"))
            info = _info(path, layout)
        self._layout = layout
        super().__init__(info)

    def _read(self, window: Window, level: int) -> np.ndarray:
        rows, columns = window.slices
        chosen = {"y": rows, "x": columns, "c": slice(None)}
        axes = self._layout.axes
        with reading(self.path, _EXPECTED):
            block = np.asarray(self._layout.arrays[level][tuple(chosen.get(axis, 0) for axis in axes)])
        kept = [axis for axis in axes if axis in chosen]
        block = block.transpose([kept.index(axis) for axis in "yxc" if axis in kept])
        block = block.reshape(*window.size, -1)
        return np.ascontiguousarray(block.astype(self.dtype, copy=False))

    def close(self) -> None:
        """Nothing stays open between reads."""


def _layout(path: Path, node: Any) -> Layout:
    if hasattr(node, "shape"):
        return Layout((node,), _guessed_axes(path, node))
    attributes = dict(node.attrs)
    attributes = attributes.get("ome", attributes)
    if "multiscales" in attributes:
        return _multiscale(path, node, attributes)
    if "bioformats2raw.layout" in attributes and "0" in node:
        return _layout(path, node["0"])
    names = sorted(name for name, _ in node.arrays())
    if len(names) == 1:
        return _layout(path, node[names[0]])
    fix = f"name one of its arrays: {path / names[0]}" if names else ""
    raise FileProblem(path, "one array or an OME-Zarr image", f"a group of {len(names)} arrays", fix)


def _multiscale(path: Path, node: Any, about: dict[str, Any]) -> Layout:
    image = about["multiscales"][0]
    arrays = tuple(node[entry["path"]] for entry in image["datasets"])
    axes = image.get("axes", list("tczyx")[-arrays[0].ndim :])
    names = tuple(str(axis["name"] if isinstance(axis, dict) else axis).lower() for axis in axes)
    if any(len(names) != array.ndim for array in arrays) or not {"y", "x"} <= set(names):
        raise FileProblem(path, "axes y and x, and a name for each axis", f"axes {', '.join(names)}")
    steps = _scale(image, len(names))
    units = [_MICRONS.get(str(axis.get("unit"))) if isinstance(axis, dict) else None for axis in axes]
    sides = {name: step * unit for name, step, unit in zip(names, steps, units, strict=True) if unit}
    stated = sides.get("y", 0) > 0 and sides.get("x", 0) > 0
    return Layout(arrays, names, PixelSize(sides["y"], sides["x"], "micron") if stated else None, about)


def _scale(image: dict[str, Any], count: int) -> list[float]:
    """The scale of level 0: the data set's own times the image's."""
    steps = [1.0] * count
    for source in (image["datasets"][0], image):
        for change in source.get("coordinateTransformations", []):
            if change.get("type") == "scale":
                steps = [a * float(b) for a, b in zip(steps, change["scale"], strict=True)]
    return steps


def _guessed_axes(path: Path, array: Any) -> tuple[str, ...]:
    """Named dimensions where the array has them; else the shortest of three axes holds the channels."""
    names = getattr(array.metadata, "dimension_names", None)
    if names and all(names) and {"y", "x"} <= {str(name).lower() for name in names}:
        return tuple(str(name).lower() for name in names)
    if array.ndim == 2:
        return ("y", "x")
    if array.ndim == 3:
        return ("y", "x", "c") if array.shape[2] <= array.shape[0] else ("c", "y", "x")
    raise FileProblem(path, "2 or 3 axes (or OME-Zarr, which names them)", f"{array.ndim} axes")


def _info(path: Path, layout: Layout) -> RasterInfo:
    first = layout.arrays[0]
    sides = dict(zip(layout.axes, first.shape, strict=True))
    dtype = np.dtype(np.uint8) if first.dtype == bool else np.dtype(first.dtype).newbyteorder("=")
    if dtype.kind not in "uif" or min(sides.values()) < 1:
        raise FileProblem(path, "numbers, and no empty axis", f"{first.dtype} {first.shape}")
    channels = sides.get("c", 1)
    depth = int(np.prod([side for axis, side in sides.items() if axis not in "yxc"], initial=1))
    place = layout.about.get("geo") or {}
    rgb = channels in (3, 4) and dtype == np.uint8
    return RasterInfo(
        path,
        tuple(_level(layout, array) for array in layout.arrays),
        dtype,
        channels,
        "rgb" if rgb else "grey" if channels == 1 else "bands",
        white=float(np.iinfo(dtype).max) if dtype.kind in "ui" else None,
        alpha=rgb and channels == 4,
        pixel_size=layout.pixel_size,
        crs=place.get("crs"),
        transform=tuple(map(float, place["transform"])) if place.get("transform") else None,  # type: ignore[arg-type]
        nodata=layout.about.get("nodata"),
        masked=layout.about.get("nodata") is not None,
        notices=(f"a stack of {depth} images: its first is taken",) if depth > 1 else (),
    )


def _level(layout: Layout, array: Any) -> Level:
    y, x = layout.axes.index("y"), layout.axes.index("x")
    full = layout.arrays[0].shape
    return Level.of((array.shape[y], array.shape[x]), (full[y], full[x]), (array.chunks[y], array.chunks[x]))
