"""Where a raster lies on a map: reference systems kept as they are, files beside it, metres a pixel."""

from __future__ import annotations

import html
import math
import os
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.errors import FileProblem
from saccade.rasters.decoders import load
from saccade.rasters.own_files import OFFLINE, require_own_sidecars, sidecar_text
from saccade.rasters.raster import PixelSize, Raster
from saccade.runtime.reading import MOST_OPTIONS, read_text
from saccade.runtime.trust import trust

Transform = tuple[float, float, float, float, float, float]

_LOST = "map coordinates are not kept"
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Georeference:
    """What a file, and the files beside it, say about its place: as ``RasterInfo``, None without."""

    crs: str | None = None
    transform: Transform | None = None
    pixel_size: PixelSize | None = None
    notices: tuple[str, ...] = ()


def georeference(path: Path, file: Any) -> Georeference:
    """The place of an open rasterio ``file``; a world file counts where GDAL passes over it.

    A transform of the plane onto itself is what GDAL gives where a file has none.
    """
    crs = file.crs or _system_beside(path)
    transform: Transform | None = tuple(file.transform)[:6]
    if transform == _IDENTITY:
        transform = read_world_file(world) if (world := world_file(path)) else None
    notices: list[str] = []
    if transform is None:
        if crs is not None:
            notices.append(f"a reference system without a transform: {_LOST}")
        if file.gcps[0]:
            notices.append(f"only ground control points: {_LOST}")
        elif file.rpcs is not None:
            notices.append(f"only rational polynomial coefficients (RPC): {_LOST}")
    size, about = metres_per_pixel(crs, transform, (file.height, file.width))
    return Georeference(crs_text(crs), transform, size, (*notices, *about))


def _system_beside(path: Path) -> Any:
    """The reference system in ``.aux.xml``, which GDAL's drivers of some formats pass over."""
    from rasterio.crs import CRS
    from rasterio.errors import RasterioError

    try:
        beside = path.with_name(path.name + ".aux.xml")
        text = sidecar_text(beside) if os.path.isfile(beside) else ""
        match = re.search(r"<SRS[^>]*>(.*?)</SRS>", text, re.DOTALL)
        return CRS.from_user_input(html.unescape(match[1])) if match else None
    except (FileProblem, RasterioError, ValueError):
        return None


def crs_text(crs: Any) -> str | None:
    """ "EPSG:n" where that code alone says all that ``crs`` (of rasterio) does, else its WKT.

    A code that is only the likeliest, or that would drop the shift to WGS 84 written beside a datum, moves
    coordinates by up to hundreds of metres.
    """
    if not crs:
        return None
    wkt = _wkt(crs)
    code = crs.to_epsg()
    if code is None or "BOUNDCRS" in wkt or "TOWGS84" in wkt:
        return wkt
    # rasterio finds the likeliest code: it is taken only where it leads back to the same system.
    return f"EPSG:{code}" if type(crs).from_epsg(code) == crs else wkt


def _wkt(crs: Any) -> str:
    """WKT 2, for WKT 1 cannot say every system; WKT 1 of what GDAL cannot write as WKT 2."""
    from rasterio.errors import RasterioError

    try:
        return str(crs.to_wkt(version="WKT2_2019"))
    except RasterioError:
        return str(crs.to_wkt())


def metres_per_pixel(
    crs: Any, transform: Transform | None, size: tuple[int, int]
) -> tuple[PixelSize | None, tuple[str, ...]]:
    """Metres along y and x of a pixel of an image of ``size`` (h, w): by the unit of a projected system, for
    degrees at the image's centre; None where a pixel has no length on the ground (no system, or one that is
    geocentric or local without a unit)."""
    if not crs or transform is None:
        return None, ()
    a, b, _, d, e, f = transform
    x, y = math.hypot(a, d), math.hypot(b, e)
    notices: tuple[str, ...] = ()
    if crs.is_geographic:
        # Some old systems count in grads; degrees where nothing is said.
        radians = _unit(crs) or math.pi / 180
        latitude = radians * (d * size[1] / 2 + e * size[0] / 2 + f)
        if abs(latitude) > math.pi / 2:
            return None, ("latitudes beyond the poles: no metres per pixel",)
        degrees = math.degrees(radians)
        y, x = y * degrees * _metres_north(latitude), x * degrees * _metres_east(latitude)
        notices = ("pixels are in degrees: metres per pixel hold at the image's centre",)
    else:
        factor = _unit(crs) if crs.is_projected or _is_local(crs) else None
        if factor is None:
            return None, ()
        y, x = y * factor, x * factor
    valid = 0 < y < math.inf and 0 < x < math.inf
    return (PixelSize(y, x, "metre") if valid else None), notices


def _is_local(crs: Any) -> bool:
    return _wkt(crs).lstrip().startswith(("ENGCRS", "ENGINEERINGCRS", "LOCAL_CS"))


def _unit(crs: Any) -> float | None:
    """Metres (or radians) in one unit of the system; None where it is not said."""
    from rasterio.errors import RasterioError

    try:
        name, factor = crs.units_factor
    except (RasterioError, ValueError):
        return None
    return float(factor) if name and str(name).lower() != "unknown" and factor > 0 else None


def _metres_north(latitude: float) -> float:
    """Metres in one degree of latitude on the WGS 84 ellipsoid (series to the fourth harmonic)."""
    return 111132.954 - 559.822 * math.cos(2 * latitude) + 1.175 * math.cos(4 * latitude)


def _metres_east(latitude: float) -> float:
    """Metres in one degree of longitude on the WGS 84 ellipsoid."""
    eccentricity = 0.00669437999014
    radius = 6378137.0 / math.sqrt(1 - eccentricity * math.sin(latitude) ** 2)
    return math.radians(radius * math.cos(latitude))


def system_name(crs: str | None) -> str:
    """What a reference system is called in a message: "EPSG:32632", or the name in its WKT."""
    if crs is None:
        return ""
    if crs.endswith("CRS84"):
        return "WGS 84 (CRS84)"
    code = re.fullmatch(r"urn:ogc:def:crs:(\w+):[^:]*:(\w+)", crs)
    quoted = re.search(r'"([^"]+)"', crs)
    return f"{code[1]}:{code[2]}" if code else quoted[1] if quoted else crs


def reprojection(
    source: str, target: str, path: Path
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]] | None:
    """From coordinates (n, 2), x (or longitude) first, of one system to those of another; infinite where a
    point has no place there; None where both are one.

    Raises:
        FileProblem: the library is missing, or one of the systems (of the file ``path``) is not known.
    """
    rasterio = load("rasterio", "geo", path, "georeferenced rasters")
    from rasterio.crs import CRS
    from rasterio.errors import RasterioError
    from rasterio.warp import transform

    try:
        with rasterio.Env():  # else PROJ writes to stderr itself
            systems = CRS.from_user_input(source), CRS.from_user_input(target)
    except (RasterioError, ValueError):
        raise FileProblem(path, "a reference system that is known", repr(source[:80])) from None
    if crs_text(systems[0]) == crs_text(systems[1]):
        return None

    def reproject(corners: NDArray[np.float64]) -> NDArray[np.float64]:
        try:
            return np.stack(transform(*systems, corners[:, 0], corners[:, 1]), 1).astype(np.float64)
        except (RasterioError, rasterio._err.CPLE_BaseError, ValueError):
            if len(corners) <= 1:
                return np.full(corners.shape, np.inf)
            # One point that has no place there fails all: those of its half, and so on, until it is alone.
            return np.concatenate([reproject(half) for half in np.array_split(corners, 2)])

    return reproject


def pixels_apart(one: Raster, other: Raster) -> float:
    """How far the corners of two rasters on a map lie from each other at most, in pixels of ``other``; raises
    FileProblem for a system that is not known."""
    assert one.crs is not None and other.crs is not None
    assert one.transform is not None and other.transform is not None
    a, b, c, d, e, f = one.transform
    height, width = one.size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    places = corners @ np.array([[a, b], [d, e]]).T + (c, f)
    bring = reprojection(one.crs, other.crs, one.path)
    places = places if bring is None else bring(places)
    a, b, c, d, e, f = other.transform
    pixels = (places - (c, f)) @ np.linalg.inv(np.array([[a, b], [d, e]])).T
    share = np.array(other.size[::-1]) / (width, height)
    apart = np.abs(pixels - corners * share)
    return float(np.where(np.isfinite(apart), apart, np.inf).max())


def world_file(path: Path) -> Path | None:
    """The world file beside an image: image.tfw, .tifw, .wld (of .jpg .jgw, of .png .pgw), in any case."""
    extension = path.suffix[1:]
    if not extension:
        return None
    short = extension[0] + extension[-1] + "w" if len(extension) > 1 else ""
    endings = [f".{ending}" for ending in (short, extension + "w", "wld") if ending]
    for ending in endings:
        # Tried one by one, not looked up in a listing: the folder may hold a million tiles.
        for spelling in (ending.lower(), ending.upper(), ending.title()):
            if os.path.isfile(beside := path.with_suffix(spelling)):
                return beside
    return None


def read_world_file(path: Path) -> Transform:
    """The transform of a world file, whose six numbers tell of the centre of the first pixel.

    Raises:
        FileProblem: it does not hold six numbers.
    """
    try:
        words = read_text(path, "a world file", MOST_OPTIONS).replace(",", ".").split()
        a, d, b, e, x, y = (float(word) for word in words[:6])
    except (FileProblem, ValueError):
        raise FileProblem(path, "a world file: six numbers", "something else", "mend or remove it") from None
    if not all(map(math.isfinite, (a, b, d, e, x, y))) or a * e == b * d:
        raise FileProblem(
            path, "a world file whose pixels have an area", f"{a, d, b, e}", "mend or remove it"
        )
    # From the centre of the first pixel to its corner, where GDAL's transforms begin.
    return (a, b, x - a / 2 - b / 2, d, e, y - d / 2 - e / 2)


_PLACED_BY = ("<SRS", "<GeoTransform", "<GCPList", 'domain="RPC"')


def placed_beside(path: Path) -> bool:
    """Whether a file beside the image says where it lies: a world file, GDAL's ``.aux.xml``, RPC."""
    if world_file(path) is not None:
        return True
    for sidecar in (path.with_name(path.name + ".aux.xml"), path.with_suffix(".aux.xml")):
        if os.path.isfile(sidecar) and any(word in sidecar_text(sidecar) for word in _PLACED_BY):
            return True
    names = [f"{path.stem}{ending}" for ending in ("_RPC.TXT", "_rpc.txt", ".RPB", ".rpb")]
    return any(os.path.isfile(path.with_name(name)) for name in names)


_PHOTO_DRIVERS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP"}


def place_photo(raster: Raster, kind: str, *, turned: bool) -> None:
    """Gives an opened photograph the place that a file beside it says, or a notice that it is not kept.

    Args:
        kind: of the content: "png", "jpeg", ...
        turned: its orientation is not that of the stored rows, to which the place belongs.
    """
    path = raster.path
    if not placed_beside(path):
        return
    if turned:
        reference = Georeference(notices=(f"turned by its orientation tag: {_LOST}",))
    else:
        reference = _beside(path, kind, raster.size)
    raster.info = replace(
        raster.info,
        crs=reference.crs,
        transform=reference.transform,
        pixel_size=reference.pixel_size or raster.info.pixel_size,
        notices=(*raster.info.notices, *reference.notices),
    )


def _beside(path: Path, kind: str, size: tuple[int, int]) -> Georeference:
    world = world_file(path)
    require_own_sidecars(path)
    try:
        rasterio = load("rasterio", "geo", path, "georeferenced rasters")
    except FileProblem:
        if world is not None:
            return Georeference(transform=read_world_file(world))
        return Georeference(notices=(f"{_LOST} without rasterio",))
    try:
        options = {} if trust().outside else OFFLINE
        with warnings.catch_warnings(), rasterio.Env(**options):
            warnings.simplefilter("ignore")
            with rasterio.open(path, driver=_PHOTO_DRIVERS.get(kind)) as file:
                return georeference(path, file)
    except rasterio.errors.RasterioError:
        if world is not None:
            return Georeference(transform=read_world_file(world))
        return Georeference(notices=(f"GDAL does not open the image: {_LOST}",))


_SCALE, _TIEPOINT, _MATRIX, _KEYS = 33550, 33922, 34264, 34735
GEO_TAGS = (_SCALE, _TIEPOINT, _MATRIX, _KEYS, 50844)
_POINT, _PROJECTED, _GEOGRAPHIC, _RASTER_TYPE, _USER_DEFINED = 2, 3072, 2048, 1025, 32767


def georeference_of_tags(tags: Any, size: tuple[int, int]) -> Georeference:
    """The place in the GeoTIFF tags of a page, for files that GDAL does not open; systems by EPSG code alone.

    Args:
        tags: of a tifffile page.
        size: (h, w).
    """
    values = {code: tags[code].value for code in GEO_TAGS if code in tags}
    keys = _geo_keys(values.get(_KEYS, ()))
    transform = _tag_transform(values, keys.get(_RASTER_TYPE) == _POINT)
    code = keys.get(_PROJECTED) or keys.get(_GEOGRAPHIC)
    # 32767 stands for a system spelled out in other keys, which only GDAL puts together.
    if code is None or code >= _USER_DEFINED:
        return Georeference(
            transform=transform, notices=("its reference system is not kept",) if keys else ()
        )
    from rasterio.crs import CRS
    from rasterio.errors import RasterioError

    try:
        metres, notices = metres_per_pixel(CRS.from_epsg(code), transform, size)
    except RasterioError:
        return Georeference(f"EPSG:{code}", transform)
    return Georeference(f"EPSG:{code}", transform, metres, notices)


def _geo_keys(directory: Sequence[int]) -> dict[int, int]:
    """The keys of the GeoKeyDirectory whose values stand in it."""
    rows = [directory[i : i + 4] for i in range(4, len(directory) - 3, 4)]
    return {int(key): int(value) for key, location, _, value in rows if location == 0}


def _tag_transform(values: dict[int, Any], point: bool) -> Transform | None:
    if _MATRIX in values:
        a, b, _, c, d, e, _, f = (float(value) for value in values[_MATRIX][:8])
    elif _SCALE in values and len(values.get(_TIEPOINT, ())) == 6:
        i, j, _, x, y, _ = (float(value) for value in values[_TIEPOINT])
        a, b, d, e = float(values[_SCALE][0]), 0.0, 0.0, -float(values[_SCALE][1])
        c, f = x - a * i, y - e * j
    else:
        return None
    # PixelIsPoint places the centre of a pixel, PixelIsArea its corner.
    return (a, b, c - (a + b) / 2, d, e, f - (d + e) / 2) if point else (a, b, c, d, e, f)
