"""GeoTIFF, COG and the other georeferenced rasters: GDAL says where the image lies, tifffile reads pixels."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from saccade.errors import FileProblem
from saccade.geometry import Window
from saccade.rasters.decoders import DAMAGE, decoder_words, listen, load, misnamed, reading
from saccade.rasters.georeference import GEO_TAGS, georeference, georeference_of_tags, placed_beside
from saccade.rasters.raster import Level, Meaning, Raster, RasterInfo
from saccade.rasters.tiff import TiffRaster

_EXPECTED = "a georeferenced raster"
_DRIVERS = {
    b"\0\0\0\x0cjP  ": "JP2OpenJPEG",
    b"\xff\x4f\xff\x51": "JP2OpenJPEG",
    b"EHFA_HEADER_TAG": "HFA",
    b"NITF": "NITF",
    b"BM": "BMP",
}
CACHE_BYTES = 64 << 20
_INKS = ("cyan", "magenta", "yellow", "black")


class GeoRaster(Raster):
    """A raster with CRS, transform and nodata; its overviews are the levels."""

    def __init__(self, path: Path, driver: str = "GTiff") -> None:
        self._driver = driver
        self._rasterio: Any = load("rasterio", "geo", path, "georeferenced rasters")
        listen("rasterio")
        with self._reading(path):
            self._files = self._open(path)
            try:
                info = _info(path, self._files)
            except BaseException:
                self.close()
                raise
        self._locks = [threading.Lock() for _ in self._files]
        super().__init__(info)

    @contextmanager
    def _reading(self, path: Path) -> Iterator[None]:
        """GDAL's own errors are outside of Python's families, and its words go to stderr but for ``Env``."""
        with reading(path, _EXPECTED), self._rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
            try:
                yield
            except (self._rasterio.errors.RasterioError, self._rasterio._err.CPLE_BaseError) as error:
                raise FileProblem(path, _EXPECTED, gdal_words(error)) from None

    def _open(self, path: Path) -> list[Any]:
        """One handle a level: GDAL reads an overview only through its own."""
        files = [self._handle(path)]
        for level in range(len(files[0].overviews(1))):
            files.append(self._handle(path, overview_level=level))
        return files

    def _handle(self, path: Path, **options: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._rasterio.open(path, driver=self._driver, **options)

    def _read(self, window: Window, level: int) -> np.ndarray:
        with self._reading(self.path), self._locks[level]:
            planes = self._files[level].read(window=_box(window))
        return np.ascontiguousarray(planes.transpose(1, 2, 0))

    def _valid(self, window: Window, level: int) -> np.ndarray:
        with self._reading(self.path), self._locks[level]:
            return self._files[level].dataset_mask(window=_box(window)) > 0

    def close(self) -> None:
        for file in self._files:
            file.close()


def gdal_words(error: BaseException) -> str:
    """What GDAL's error says of the file; of a VRT, that a file it is made of is not there."""
    causes, cause = [error], error.__cause__ or error.__context__
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if missing := re.search(r"(\S+): No such file or directory", " ".join(map(str, causes))):
        return f"one made of {missing[1]}, which is not there"
    words = map(decoder_words, causes)
    return next((text for text in words if text != DAMAGE), DAMAGE)


def gdal_driver(path: Path, kind: str = "other") -> str | None:
    """The GDAL driver for a file that is no TIFF, by its kind or first bytes; None where we know none.

    GDAL itself would try some two hundred, and take a plain text file for a raster.
    """
    if kind == "vrt":
        return "VRT"
    with reading(path, _EXPECTED), path.open("rb") as file:
        start = file.read(16)
    return next((driver for magic, driver in _DRIVERS.items() if start.startswith(magic)), None)


def _box(window: Window) -> tuple[tuple[int, int], tuple[int, int]]:
    return (window.top, window.bottom), (window.left, window.right)


def _info(path: Path, files: list[Any]) -> RasterInfo:
    first = files[0]
    full = (first.height, first.width)
    dtype = np.dtype(first.dtypes[0])
    meaning = _meaning(first)
    place = georeference(path, first)
    return RasterInfo(
        path,
        tuple(Level.of((f.height, f.width), full, f.block_shapes[0]) for f in files),
        dtype,
        first.count,
        meaning,
        white=float(np.iinfo(dtype).max) if dtype.kind in "ui" else None,
        alpha=first.count > 1 and first.colorinterp[-1].name == "alpha",
        palette=_palette(first) if meaning == "palette" else None,
        pixel_size=place.pixel_size,
        crs=place.crs,
        transform=place.transform,
        nodata=first.nodata,
        masked=any(flag.name != "all_valid" for flag in first.mask_flag_enums[0]),
        notices=(*(misnamed(path, "tiff") if first.driver == "GTiff" else ()), *place.notices),
    )


def _meaning(file: Any) -> Meaning:
    names = tuple(band.name for band in file.colorinterp)
    if names[0] == "palette":
        return "palette"
    if names[:3] == ("red", "green", "blue"):
        return "rgb"
    if names[:4] == _INKS:
        return "cmyk"
    return "grey" if file.count - (names[-1] == "alpha") == 1 else "bands"


def _palette(file: Any) -> np.ndarray:
    colours = file.colormap(1)
    palette = np.zeros((max(colours) + 1, 3), np.uint8)
    for index, colour in colours.items():
        palette[index] = colour[:3]
    return palette


class GeoTiffRaster(Raster):
    """The description of ``place`` over the pixels of ``pixels``; closes both."""

    def __init__(self, place: GeoRaster, pixels: TiffRaster) -> None:
        self._place, self._pixels = place, pixels
        own = {name: getattr(pixels.info, name) for name in ("levels", "dtype", "white", "resident")}
        super().__init__(replace(place.info, **own))

    def _read(self, window: Window, level: int) -> np.ndarray:
        return self._pixels.read(window, level)

    def _valid(self, window: Window, level: int) -> np.ndarray:
        """By the nodata value where there is one; masks and transparency only GDAL reads."""
        if self.nodata is not None:
            return super()._valid(window, level)
        return self._place.valid(window, level)

    def close(self) -> None:
        self._place.close()
        self._pixels.close()


def open_geotiff(path: Path) -> Raster:
    """A georeferenced TIFF; all by GDAL where tifffile sees other pixels in it (overviews in a file beside
    it, masks between the levels, a compression it does not know)."""
    load("rasterio", "geo", path, "georeferenced rasters")
    try:
        place = GeoRaster(path)
    except FileProblem:
        return _placed_by_tags(path)
    try:
        pixels = TiffRaster(path)
    except FileProblem:
        return place
    if pixels.orientation == 1 and _shape(pixels) == _shape(place):
        return GeoTiffRaster(place, pixels)
    pixels.close()
    return place


def _placed_by_tags(path: Path) -> Raster:
    """A TIFF that this GDAL does not open (JPEG XL, LERC, ... are left out of many builds)."""
    from tifffile import TiffFile

    raster = TiffRaster(path)
    if raster.orientation != 1:
        return raster
    with reading(path, _EXPECTED), TiffFile(path) as file:
        place = georeference_of_tags(file.pages[0].tags, raster.size)  # type: ignore[union-attr]
    raster.info = replace(
        raster.info,
        crs=place.crs,
        transform=place.transform,
        pixel_size=place.pixel_size or raster.info.pixel_size,
        notices=(*raster.info.notices, *place.notices),
    )
    return raster


def is_georeferenced(path: Path) -> bool:
    """Whether the first page of a TIFF carries GeoTIFF tags, or a file beside it says where it lies."""
    from tifffile import TiffFile

    if placed_beside(path):
        return True
    with reading(path, "a TIFF image"), TiffFile(path) as file:
        return any(code in file.pages[0].tags for code in GEO_TAGS)  # type: ignore[union-attr]


def _shape(raster: Raster) -> tuple[object, ...]:
    kind = raster.dtype.kind
    return raster.channels, kind, [level.size for level in raster.levels]
