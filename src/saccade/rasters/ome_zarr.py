"""Zarr arrays and OME-Zarr pyramids, through zarr (formats 2 and 3)."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from saccade.errors import FileProblem
from saccade.geometry import Window
from saccade.rasters.decoders import load, reading
from saccade.rasters.georeference import Georeference, Transform, crs_text, metres_per_pixel
from saccade.rasters.raster import Level, PixelSize, Raster, RasterInfo, band_names
from saccade.rasters.remote import zarr_store
from saccade.runtime.addresses import Address

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
    notices: tuple[str, ...] = ()
    place: Georeference = field(default_factory=Georeference)


LARGEST_CHUNK = 1 << 30
"""Bytes of a chunk once decoded: each is decoded whole."""


def _store(path: Path) -> Any:
    """Of a folder: only regular files of it are opened, or a pipe among them would be waited for."""
    if isinstance(path, Address):
        return zarr_store(path)
    from zarr.storage import LocalStore

    class RegularFiles(LocalStore):
        async def get(self, key: str, *arguments: Any, **options: Any) -> Any:
            file = self.root / key
            if file.exists() and not (file.is_file() or file.is_dir()):
                raise FileProblem(file, "a part of a Zarr image", "a pipe, socket or device, and no file")
            return await super().get(key, *arguments, **options)

    return RegularFiles(path, read_only=True)


class ZarrRaster(Raster):
    """An image of a Zarr array or group.

    Axes are known by their names (Zarr 3, xarray, OME-Zarr), or (y, x), (y, x, c) or (c, y, x) without. Of
    axes other than these, and of several images in OME-Zarr, the first is taken, or that of ``number``.
    """

    def __init__(self, path: Path, number: int | None = None) -> None:
        zarr = load("zarr", "zarr", path, "Zarr")
        with reading(path, _EXPECTED):
            layout = _layout(path, zarr.open(store=_store(path), mode="r"))
            self._plane = _plane(path, layout, number)
            info = _info(path, layout, number)
        self._layout = layout
        super().__init__(info)

    def _read(self, window: Window, level: int) -> np.ndarray:
        rows, columns = window.slices
        chosen: dict[str, Any] = {"y": rows, "x": columns, "c": slice(None)}
        axes = self._layout.axes
        with reading(self.path, _EXPECTED):
            indices = tuple(chosen.get(axis, self._plane.get(axis, 0)) for axis in axes)
            block = np.asarray(self._layout.arrays[level][indices])
        kept = [axis for axis in axes if axis in chosen]
        block = block.transpose([kept.index(axis) for axis in "yxc" if axis in kept])
        block = block.reshape(*window.size, -1)
        return np.ascontiguousarray(block.astype(self.dtype, copy=False))

    def close(self) -> None:
        """Nothing stays open between reads."""


def _stack(layout: Layout) -> dict[str, int]:
    """Lengths of the axes of which one place is taken."""
    shape = layout.arrays[0].shape
    return {axis: side for axis, side in zip(layout.axes, shape, strict=True) if axis not in ("y", "x", "c")}


def _plane(path: Path, layout: Layout, number: int | None) -> dict[str, int]:
    """The place along each axis of a stack of the plane of this number, from 1 in the file's order."""
    sides = _stack(layout)
    depth = int(np.prod(list(sides.values()), initial=1))
    if number is None:
        return {}
    if not 1 <= number <= depth:
        raise FileProblem(path, f"an image from #1 to #{depth}", f"#{number}")
    places = np.unravel_index(number - 1, tuple(sides.values())) if sides else ()
    return {axis: int(place) for axis, place in zip(sides, places, strict=True)}


def _layout(path: Path, node: Any) -> Layout:
    if hasattr(node, "shape"):
        return _array_layout(path, node, path.parent)
    attributes = dict(node.attrs)
    attributes = attributes.get("ome", attributes)
    if "multiscales" in attributes:
        return _multiscale(path, node, attributes)
    if "bioformats2raw.layout" in attributes and "0" in node:
        return _first(path, node, [name for name, _ in node.groups() if name.isdigit()], "images")
    if "plate" in attributes:
        return _first(path, node, [well["path"] for well in attributes["plate"]["wells"]], "wells")
    if "well" in attributes:
        return _first(path, node, [image["path"] for image in attributes["well"]["images"]], "fields")
    return _only_image(path, node)


def _first(path: Path, node: Any, names: list[str], kind: str) -> Layout:
    """The first of the parts of a group, with a notice where there are others."""
    names = sorted(names, key=lambda name: (len(name), name))
    layout = _layout(path / names[0], node[names[0]])
    if len(names) == 1:
        return layout
    notice = f"{len(names)} {kind}: {names[0]} is taken (another: {path.name}/{names[1]})"
    return replace(layout, notices=(notice, *layout.notices))


def _only_image(path: Path, node: Any) -> Layout:
    """The one array of a group that is an image; xarray's coordinates and grid mappings are none."""
    arrays = dict(node.arrays())
    beside = {
        name
        for array in arrays.values()
        for key in ("coordinates", "bounds", "grid_mapping")
        for name in str(array.attrs.get(key, "")).split()
    }
    names = sorted(name for name, array in arrays.items() if array.ndim > 1 and name not in beside)
    if len(names) == 1:
        return _array_layout(path / names[0], arrays[names[0]], path)
    labels = dict(node.attrs).get("ome", dict(node.attrs)).get("labels", [])
    names = names or sorted(map(str, labels)) or sorted(name for name, _ in node.groups())
    if len(names) == 1:
        return _layout(path / names[0], node[names[0]])
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    fix = f"name one of its arrays: {path / names[0]} (there are {shown})" if names else ""
    raise FileProblem(path, "one array or an OME-Zarr image", f"a group of {len(names)} arrays", fix)


def _multiscale(path: Path, node: Any, about: dict[str, Any]) -> Layout:
    image = about["multiscales"][0]
    arrays = tuple(node[entry["path"]] for entry in image["datasets"])
    axes = image.get("axes", list("tczyx")[-arrays[0].ndim :])
    names = tuple(_ome_axis(axis) for axis in axes)
    if any(len(names) != array.ndim for array in arrays) or not {"y", "x"} <= set(names):
        raise FileProblem(path, "axes y and x, and a name for each axis", f"axes {', '.join(names)}")
    steps = _scale(image, len(names))
    units = [_MICRONS.get(str(axis.get("unit"))) if isinstance(axis, dict) else None for axis in axes]
    sides = {name: step * unit for name, step, unit in zip(names, steps, units, strict=True) if unit}
    stated = sides.get("y", 0) > 0 and sides.get("x", 0) > 0
    return Layout(arrays, names, PixelSize(sides["y"], sides["x"], "micron") if stated else None, about)


def _ome_axis(axis: dict[str, Any] | str) -> str:
    if isinstance(axis, str):
        return axis.lower()
    return "c" if axis.get("type") == "channel" else str(axis["name"]).lower()


def _scale(image: dict[str, Any], count: int) -> list[float]:
    """The scale of level 0: the data set's own times the image's."""
    steps = [1.0] * count
    for source in (image["datasets"][0], image):
        for change in source.get("coordinateTransformations", []):
            if change.get("type") == "scale":
                steps = [a * float(b) for a, b in zip(steps, change["scale"], strict=True)]
    return steps


_NAMES = {
    "y": {"y", "lat", "latitude", "row", "rows", "height", "h", "northing", "line", "yc", "south_north"},
    "x": {"x", "lon", "longitude", "col", "column", "columns", "width", "w", "easting", "pixel", "xc",
          "west_east"},
    "c": {"c", "s", "band", "bands", "channel", "channels", "ch", "rgb", "rgba", "color", "colour", "sample",
          "samples", "wavelength", "spectral", "feature", "variable"},
}  # fmt: skip


def _axis(name: object) -> str:
    """y, x or c for the words that are in use for them, any other name as it is; "" for none."""
    text = "" if name is None else str(name).lower()
    if not text or text.startswith(("dim_", "phony_dim")):
        return ""
    return next((axis for axis, words in _NAMES.items() if text in words), text)


def _named_axes(array: Any) -> tuple[str, ...]:
    """By the dimension names of Zarr 3, or those that xarray writes as an attribute."""
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS") or ()
    return tuple(_axis(name) for name in names)


def _axes(path: Path, array: Any) -> tuple[str, ...]:
    """Named dimensions where the array has them; else the shortest of three axes holds the channels."""
    names = _named_axes(array)
    if any(names):
        if len(names) == 3 and {"y", "x"} <= set(names) and "" in names:
            names = tuple(name or "c" for name in names)
        repeated = len(set(names)) < len(names)
        if len(names) != array.ndim or not {"y", "x"} <= set(names) or repeated:
            raise FileProblem(path, "axes y and x, and a name for each axis", f"axes {', '.join(names)}")
        return names
    if array.ndim == 2:
        return ("y", "x")
    if array.ndim == 3:
        return ("y", "x", "c") if array.shape[2] <= array.shape[0] else ("c", "y", "x")
    raise FileProblem(path, "2 or 3 axes (or OME-Zarr, which names them)", f"{array.ndim} axes")


def _array_layout(path: Path, array: Any, folder: Path) -> Layout:
    about = dict(array.attrs)
    axes = _axes(path, array)
    place = _place(array, axes, folder)
    return Layout((array,), axes, place.pixel_size, about | _nodata(array), place=place)


def _nodata(array: Any) -> dict[str, float]:
    """xarray's ``_FillValue``: an attribute in Zarr 3 (floats in base64), the array's own in Zarr 2."""
    value = array.attrs.get("_FillValue", array.attrs.get("missing_value", array.attrs.get("nodata")))
    if value is None and array.metadata.zarr_format == 2 and "_ARRAY_DIMENSIONS" in array.attrs:
        value = array.fill_value or None
    try:
        return {} if value is None else {"nodata": float(value)}
    except (TypeError, ValueError):
        pass
    try:
        return {"nodata": float(np.frombuffer(base64.b64decode(value), array.dtype.newbyteorder("<"))[0])}
    except (TypeError, ValueError, IndexError):
        return {}


def _place(array: Any, axes: tuple[str, ...], folder: Path) -> Georeference:
    """Where xarray says the image lies: its grid mapping, else evenly spaced coordinates of x and y."""
    import zarr

    here = not isinstance(folder, Address)
    if here and not any((folder / name).exists() for name in ("zarr.json", ".zgroup")):
        return Georeference()
    try:
        group = zarr.open_group(_store(folder), mode="r")
    except FileNotFoundError:
        if here:
            raise
        return Georeference()
    mapping = str(array.attrs.get("grid_mapping", "spatial_ref"))
    about = dict(group[mapping].attrs) if mapping in group else {}
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS") or ()
    named = dict(zip(axes, map(str, names), strict=False))
    attrs = dict(group.attrs) | dict(array.attrs)
    transform = _geozarr_transform(attrs) or _geo_transform(about) or _coordinate_transform(group, named)
    wkt = attrs.get("proj:wkt2") or attrs.get("proj:code") or about.get("crs_wkt") or about.get("spatial_ref")
    if not wkt:
        return Georeference(transform=transform)
    try:
        from rasterio.crs import CRS
    except ImportError:
        return Georeference(str(wkt), transform)
    crs = CRS.from_user_input(str(wkt))
    sides = dict(zip(axes, array.shape, strict=True))
    return Georeference(crs_text(crs), transform, *metres_per_pixel(crs, transform, (sides["y"], sides["x"])))


def _geozarr_transform(about: dict[str, Any]) -> Transform | None:
    """In the order of ``RasterInfo``, six numbers."""
    values = about.get("spatial:transform") or ()
    if len(values) < 6:
        return None
    a, b, c, d, e, f = map(float, values[:6])
    return (a, b, c, d, e, f)


def _geo_transform(about: dict[str, Any]) -> Transform | None:
    """GDAL's order, in a text."""
    words = str(about.get("GeoTransform", "")).split()
    if len(words) != 6:
        return None
    c, a, b, f, d, e = map(float, words)
    return (a, b, c, d, e, f)


def _coordinate_transform(group: Any, names: dict[str, str]) -> Transform | None:
    steps = {}
    for axis in ("x", "y"):
        if axis not in names or names[axis] not in group:
            return None
        coordinates = group[names[axis]]
        if (
            getattr(coordinates, "ndim", 0) != 1
            or coordinates.shape[0] < 2
            or coordinates.dtype.kind not in "iuf"
        ):
            return None
        values = np.asarray(coordinates[:], np.float64)
        step = (values[-1] - values[0]) / (len(values) - 1)
        even = values[0] + step * np.arange(len(values))
        if step == 0 or not np.allclose(values, even, rtol=0, atol=abs(step) * 1e-2):
            return None
        steps[axis] = float(step), float(values[0] - step / 2)
    return (steps["x"][0], 0.0, steps["x"][1], 0.0, steps["y"][0], steps["y"][1])


def _info(path: Path, layout: Layout, number: int | None) -> RasterInfo:
    first = layout.arrays[0]
    sides = dict(zip(layout.axes, first.shape, strict=True))
    dtype = np.dtype(np.uint8) if first.dtype == bool else np.dtype(first.dtype).newbyteorder("=")
    if dtype.kind not in "uif" or min(sides.values()) < 1:
        raise FileProblem(path, "numbers, and no empty axis", f"{first.dtype} {first.shape}")
    weight = max(int(np.prod(array.chunks)) * array.dtype.itemsize for array in layout.arrays)
    if weight > LARGEST_CHUNK:
        raise FileProblem(path, "chunks that decode to 1 GiB at most", f"one of {weight / 2**30:.1f} GiB")
    channels = sides.get("c", 1)
    stack = _stack(layout)
    depth = int(np.prod(list(stack.values()), initial=1))
    about = layout.about.get("geo") or {}
    rgb = channels in (3, 4) and dtype == np.uint8 and first.dtype != bool
    white = 1.0 if first.dtype == bool else float(np.iinfo(dtype).max) if dtype.kind in "ui" else None
    notices = (f"a stack of {depth} images: its first is taken",) if depth > 1 and number is None else ()
    return RasterInfo(
        path,
        tuple(_level(layout, array) for array in layout.arrays),
        dtype,
        channels,
        "rgb" if rgb else "grey" if channels == 1 else "bands",
        white=white,
        alpha=rgb and channels == 4,
        pixel_size=layout.pixel_size,
        crs=about.get("crs") or layout.place.crs,
        transform=tuple(map(float, about["transform"])) if about.get("transform") else layout.place.transform,  # type: ignore[arg-type]
        nodata=layout.about.get("nodata"),
        masked=layout.about.get("nodata") is not None or (rgb and channels == 4),
        notices=(*layout.notices, *notices, *layout.place.notices),
        bands=_names(layout.about, channels),
        folder=True,
    )


def _names(about: dict[str, Any], channels: int) -> tuple[str, ...]:
    """What OMERO's part of OME-Zarr calls the channels; () where it does not, or those of others."""
    omero = about.get("omero")
    listed = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(listed, list) or len(listed) != channels:
        return ()
    names = [str(channel.get("label") or "") if isinstance(channel, dict) else "" for channel in listed]
    return band_names(names, ["undefined"] * channels)


def _level(layout: Layout, array: Any) -> Level:
    y, x = layout.axes.index("y"), layout.axes.index("x")
    full = layout.arrays[0].shape
    return Level.of((array.shape[y], array.shape[x]), (full[y], full[x]), (array.chunks[y], array.chunks[x]))
