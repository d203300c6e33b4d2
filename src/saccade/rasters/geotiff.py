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

from saccade.errors import FileProblem, FinalProblem
from saccade.geometry import Window
from saccade.rasters.decoders import DAMAGE, decoder_words, listen, load, misnamed, reading
from saccade.rasters.georeference import (
    GEO_TAGS,
    Georeference,
    georeference,
    georeference_of_tags,
    placed_beside,
)
from saccade.rasters.own_files import OFFLINE, require_own_sidecars, require_own_vrt, sidecar_text
from saccade.rasters.raster import (
    Level,
    Raster,
    RasterInfo,
    band_names,
    measured,
    orient,
    oriented_pair,
    sample_roles,
    scaling_of,
)
from saccade.rasters.remote import RemoteBytes, RemoteFile
from saccade.rasters.tiff import TiffRaster
from saccade.rasters.tiff_description import gdal_metadata
from saccade.runtime.trust import trust

_EXPECTED = "a georeferenced raster"
_DRIVERS = {
    b"\0\0\0\x0cjP  ": "JP2OpenJPEG",
    b"\xff\x4f\xff\x51": "JP2OpenJPEG",
    b"EHFA_HEADER_TAG": "HFA",
    b"NITF": "NITF",
    b"BM": "BMP",
}
CACHE_BYTES = 64 << 20


class GeoRaster(Raster):
    """A raster with CRS, transform and nodata; its overviews are the levels.

    ``directory`` is the number of the image among those of a TIFF, from 0; ``data``: of a file elsewhere.
    """

    def __init__(
        self, path: Path, driver: str = "GTiff", directory: int = 0, *, data: RemoteBytes | None = None
    ) -> None:
        self._driver, self._directory, self._data = driver, directory, data
        self._rasterio: Any = load("rasterio", "geo", path, "georeferenced rasters")
        listen("rasterio")
        if driver == "VRT":
            require_own_vrt(path)
        require_own_sidecars(path)
        with self._reading(path):
            self._files = self._open(path)
            try:
                info = _info(path, self._files)
            except BaseException:
                self.close()
                raise
        self._locks = [threading.Lock() for _ in self._files]
        try:
            super().__init__(info, [Path(name) for name in self._files[0].files])
        except BaseException:
            self.close()
            raise

    @contextmanager
    def _reading(self, path: Path) -> Iterator[None]:
        """GDAL's own errors are outside of Python's families, and its words go to stderr but for ``Env``."""
        options = {} if trust().outside else OFFLINE
        with reading(path, _EXPECTED), self._rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES, **options):
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
            if self._data is not None:  # GDAL itself asks nobody
                data, kept = self._data, {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
                options["opener"] = lambda path, mode="rb": RemoteFile(data)
                with self._rasterio.Env(**kept):
                    return self._rasterio.open("elsewhere.tif", driver=self._driver, **options)
            name = f"GTIFF_DIR:{self._directory + 1}:{path}" if self._directory else path
            return self._rasterio.open(name, driver=self._driver, **options)

    def _read(self, window: Window, level: int) -> np.ndarray:
        with self._reading(self.path), self._locks[level]:
            planes = self._files[level].read(window=_box(window))
        return np.ascontiguousarray(planes.transpose(1, 2, 0))

    def _valid(self, window: Window, level: int) -> np.ndarray:
        """By nodata, opacity and numbers that are none, and by the mask."""
        file = self._files[level]
        flags = [{flag.name for flag in band} for band in file.mask_flag_enums]
        # A mask that GDAL derives from nodata or opacity is left to ``measured``: one rule, whoever reads.
        by_mask = not any(names & {"all_valid", "alpha", "nodata"} for names in flags)
        valid = measured(self._read(window, level), self.info, by_mask=by_mask)
        if by_mask:
            with self._reading(self.path), self._locks[level]:
                valid &= (file.read_masks(window=_box(window)) > 0).any(axis=0)
        return valid

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
    dtype = _dtype(path, first)
    samples = _samples(path, first, dtype)
    place = georeference(path, first)
    return RasterInfo(
        path,
        tuple(Level.of((f.height, f.width), full, f.block_shapes[0]) for f in files),
        dtype,
        first.count,
        pixel_size=place.pixel_size,
        crs=place.crs,
        transform=place.transform,
        masked=samples["alpha"]
        or any(flag.name != "all_valid" for band in first.mask_flag_enums for flag in band),
        notices=(*(misnamed(path, "tiff") if first.driver == "GTiff" else ()), *place.notices),
        **samples,
    )


def _dtype(path: Path, file: Any) -> np.dtype:
    """Of all bands together."""
    names = set(file.dtypes)
    if any(name.startswith("complex") for name in names):
        raise FinalProblem(path, "real numbers of 1 to 64 bits", " and ".join(sorted(names)))
    return np.result_type(*names)


def _samples(path: Path, file: Any, dtype: np.dtype) -> dict[str, Any]:
    """Attributes of ``RasterInfo`` that say what the samples are, in GDAL's words."""
    roles = [band.name for band in file.colorinterp]
    samples = sample_roles(path, roles)
    samples["bands"] = band_names(file.descriptions, roles)
    if samples["meaning"] == "grey" and file.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES":
        samples["meaning"] = "white_is_zero"
    samples["palette"] = (
        _palette(file, samples["colours"][0] + 1) if samples["meaning"] == "palette" else None
    )
    bands = tuple(file.nodatavals)
    alike = all(str(value) == str(bands[0]) for value in bands)
    return samples | {
        "white": _white(file, dtype),
        "nodata": bands[0],
        "nodata_of_bands": () if alike else bands,
        **scaling_of(file.scales, file.offsets),
    }


def _white(file: Any, dtype: np.dtype) -> float | None:
    """Full scale of integers: of the bits that the bands, or the sources of a VRT, state."""
    if dtype.kind == "f":
        return None
    bits = [_bits(file, band) for band in range(1, file.count + 1)]
    if file.driver == "VRT" and not any(bits):
        bits = _bits_of_sources(file)
    stated = [number for number in bits if number]
    if stated and len(stated) == len(bits):
        return float(2 ** max(stated) - 1)
    return float(np.iinfo(dtype).max)


def _bits(file: Any, band: int) -> int:
    """0 where the file does not say."""
    text = file.tags(band, ns="IMAGE_STRUCTURE").get("NBITS", "")
    return int(text) if text.isdigit() else 0


def _bits_of_sources(file: Any) -> list[int]:
    """Of the files that a VRT takes its pixels from unchanged."""
    import rasterio

    text = sidecar_text(Path(file.name))
    # Such a VRT changes the values on the way, so the bits of its sources say nothing about them.
    if any(tag in text for tag in ("<ScaleRatio", "<LUT", "<PixelFunctionType", "<Exponent", "<WarpOptions")):
        return [0]
    bits = []
    for name in {Path(name) for name in file.files[1:]}:
        try:
            with rasterio.open(name) as source:
                bits += [_bits(source, band) for band in range(1, source.count + 1)]
        except rasterio.errors.RasterioError:
            bits.append(0)
    return bits


def _palette(file: Any, band: int) -> np.ndarray:
    colours = file.colormap(band)
    palette = np.zeros((max(colours) + 1, 3), np.uint8)
    for index, colour in colours.items():
        palette[index] = colour[:3]
    return palette


class GeoTiffRaster(Raster):
    """The pixels of ``pixels`` at the place on the map that ``place`` tells."""

    def __init__(self, place: RasterInfo | Georeference, pixels: TiffRaster) -> None:
        self._pixels = pixels
        own = {name: getattr(place, name) for name in ("crs", "pixel_size")}
        own["transform"] = _turned(place.transform, pixels.stored_size, pixels.orientation)
        own["notices"] = tuple(dict.fromkeys((*pixels.notices, *place.notices)))
        super().__init__(replace(pixels.info, **own))

    def _read(self, window: Window, level: int) -> np.ndarray:
        return self._pixels.read(window, level)

    def _valid(self, window: Window, level: int) -> np.ndarray:
        return self._pixels.valid(window, level)

    def close(self) -> None:
        self._pixels.close()


Transform = tuple[float, float, float, float, float, float]


def _turned(transform: Transform | None, stored: tuple[int, int], tag: int) -> Transform | None:
    """The transform of an image as it is shown, from that of its stored rows and columns."""
    if transform is None or tag == 1:
        return transform
    # The corners, turned as pixels are, give the transform: no table of eight orientations to get wrong.
    rows, columns = np.indices((2, 2))
    full = np.stack([rows * stored[0], columns * stored[1]], axis=-1)  # (row, column) of the stored corners
    (origin, right), (down, _) = orient(full, tag).tolist()
    shown = oriented_pair(stored, tag)
    a, b, c, d, e, f = transform
    by_column = [(end - start) / shown[1] for start, end in zip(origin, right, strict=True)]
    by_row = [(end - start) / shown[0] for start, end in zip(origin, down, strict=True)]
    return (
        a * by_column[1] + b * by_column[0],
        a * by_row[1] + b * by_row[0],
        a * origin[1] + b * origin[0] + c,
        d * by_column[1] + e * by_column[0],
        d * by_row[1] + e * by_row[0],
        d * origin[1] + e * origin[0] + f,
    )


def open_tiff(path: Path, *, place: bool = True) -> Raster:
    """A TIFF, with its place on the map where it has one and ``place`` is set. tifffile reads the pixels;
    where it cannot, GDAL is asked before the file is given up."""
    try:
        pixels = TiffRaster(path)
    except FinalProblem:
        raise
    except FileProblem as problem:
        return _by_gdal(path, problem)
    if not place or not is_georeferenced(path):
        return pixels
    try:
        return GeoTiffRaster(_place(path, pixels), pixels)
    except BaseException:
        pixels.close()
        raise


def open_remote_tiff(
    path: Path, data: RemoteBytes, *, place: bool = True, number: int | None = None
) -> Raster:
    """A TIFF elsewhere, as :func:`open_tiff` and, with a number, ``TiffRaster`` take one that is here."""
    pixels = TiffRaster(path, number, data=data)
    tags = pixels.page.keyframe.tags
    if number is not None or not place or not any(code in tags for code in GEO_TAGS):
        return pixels
    try:
        load("rasterio", "geo", path, "georeferenced rasters")
        require_own_sidecars(path, gdal_metadata(pixels.page.keyframe))
        index = pixels.page.index
        try:
            with GeoRaster(path, directory=index if isinstance(index, int) else 0, data=data) as opened:
                return GeoTiffRaster(opened.info, pixels)
        except FileProblem:
            return GeoTiffRaster(georeference_of_tags(tags, pixels.stored_size), pixels)
    except BaseException:
        pixels.close()
        raise


def _by_gdal(path: Path, problem: FileProblem) -> Raster:
    """The file by GDAL; ``problem`` is raised where GDAL is not installed or reads no pixel either."""
    try:
        raster = GeoRaster(path)
    except FileProblem:
        raise problem from None
    try:
        # GDAL opens files by their header alone; only a pixel tells whether it has the decoder.
        raster.read(Window(0, 1, 0, 1))
    except FileProblem:
        raster.close()
        raise problem from None
    notice = f"read by GDAL, for tifffile met {problem.got}"
    raster.info = replace(raster.info, notices=(*raster.info.notices, notice))
    return raster


def _place(path: Path, pixels: TiffRaster) -> RasterInfo | Georeference:
    """What GDAL says of the file; where it does not open it (JPEG XL, LERC, ... are left out of many builds),
    what the tags say."""
    load("rasterio", "geo", path, "georeferenced rasters")
    require_own_sidecars(path, gdal_metadata(pixels.page.keyframe))
    index = pixels.page.index
    try:
        with GeoRaster(path, directory=index if isinstance(index, int) else 0) as place:
            return place.info
    except FileProblem:
        return georeference_of_tags(pixels.page.keyframe.tags, pixels.stored_size)


def is_georeferenced(path: Path) -> bool:
    """Whether the first page of a TIFF carries GeoTIFF tags, or a file beside it says where it lies."""
    from tifffile import TiffFile

    if placed_beside(path):
        return True
    with reading(path, "a TIFF image"), TiffFile(path) as file:
        pages: list[Any] = list(file.pages)
        image = next((page for page in pages if not int(page.keyframe.subfiletype) & 5), pages[0])
        return any(code in image.tags for code in GEO_TAGS)
