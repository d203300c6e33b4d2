"""TIFF and OME-TIFF, plain, tiled or pyramidal, through tifffile."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from tifffile import TiffFile, TiffPage, TiffPageSeries

from saccade.rasters.faults import listen, reading
from saccade.rasters.orientation import orient, oriented_pair, stored_window
from saccade.rasters.raster import Level, Meaning, Raster, RasterInfo
from saccade.rasters.sniff import misnamed
from saccade.rasters.tiff_page import PageReader
from saccade.rasters.tiff_units import pixel_size
from saccade.rasters.window import Window

_EXPECTED = "a TIFF image"
_MEANINGS: dict[int, Meaning] = {
    0: "white_is_zero",
    1: "grey",
    2: "rgb",
    3: "palette",
    5: "cmyk",
    6: "rgb",
    8: "bands",
}
listen("tifffile")


class TiffRaster(Raster):
    """The first image of a TIFF file as it is shown (orientation applied), with its pyramid."""

    def __init__(self, path: Path) -> None:
        with reading(path, _EXPECTED):
            self._file = TiffFile(path)
            try:
                series, notices = _image_series(self._file)
                lock = threading.Lock()
                self._levels, more = _level_readers(series, lock)
                self.orientation = _orientation(self._levels[0][0].frame)
                info = _info(path, self._levels, self.orientation, (*misnamed(path, "tiff"), *notices, *more))
            except BaseException:
                self._file.close()
                raise
        super().__init__(info)

    def _read(self, window: Window, level: int) -> np.ndarray:
        stored = stored_window(window, self.levels[level].size, self.orientation)
        with reading(self.path, _EXPECTED):
            planes = [reader.read(stored) for reader in self._levels[level]]
            pixels = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)
        return np.ascontiguousarray(orient(pixels.astype(self.dtype, copy=False), self.orientation))

    def close(self) -> None:
        self._file.close()


def _image_series(file: TiffFile) -> tuple[TiffPageSeries, tuple[str, ...]]:
    """The series of the image itself: the first; labels and thumbnails of slides follow it."""
    if not file.series:
        raise ValueError("no image")
    return file.series[0], ()


def _level_readers(
    series: TiffPageSeries, lock: threading.Lock
) -> tuple[list[list[PageReader]], tuple[str, ...]]:
    levels: list[list[PageReader]] = []
    notices: tuple[str, ...] = ()
    for level in series.levels:
        pages, notice = _planes(level)
        readers = [PageReader(page, lock) for page in pages]
        if not levels:
            notices = notice
        elif not _fits(levels[0], readers, levels[-1][0].size):
            break
        levels.append(readers)
    return levels, notices


def _fits(full: list[PageReader], level: list[PageReader], before: tuple[int, int]) -> bool:
    """A page belongs to the pyramid if it is coarser and holds the same kind of samples."""
    alike = all(
        a.samples == b.samples and a.frame.dtype == b.frame.dtype for a, b in zip(full, level, strict=False)
    )
    size = level[0].size
    return (
        alike and len(full) == len(level) and size[0] <= before[0] and size[1] <= before[1] and size != before
    )


def _planes(level: TiffPageSeries) -> tuple[list[TiffPage], tuple[str, ...]]:
    """The pages that hold the channels of the first plane of a stack."""
    leading = [(axis, n) for axis, n in zip(level.axes, level.shape, strict=True) if axis not in "YXS"]
    count = int(np.prod([n for _, n in leading], initial=1))
    stack = count // int(np.prod([n for axis, n in leading if axis == "C"], initial=1))
    pages: list[Any] = list(level.pages)
    notices = (f"a stack of {stack} images: its first is taken",) if stack > 1 else ()
    if len(pages) < count:
        return pages[:1], notices or (f"{count} channels in one block: the first is taken",)
    indices = np.arange(count).reshape([n for _, n in leading] or [1])
    chosen = indices[tuple(slice(None) if axis == "C" else 0 for axis, _ in leading)] if leading else indices
    picked = [pages[i] for i in np.ravel(chosen)]
    if any(page is None for page in picked):
        raise ValueError("a plane of the image is missing")
    return picked, notices


def _info(path: Path, levels: list[list[PageReader]], tag: int, notices: tuple[str, ...]) -> RasterInfo:
    first = levels[0][0]
    page = first.frame
    full = oriented_pair(first.size, tag)
    dtype = np.dtype(np.uint8) if first.dtype == bool else first.dtype
    channels = sum(reader.samples for reader in levels[0])
    meaning = _meaning(page, channels, len(levels[0]))
    physical, nodata = pixel_size(page), _nodata(page)
    return RasterInfo(
        path,
        tuple(Level.of(oriented_pair(r[0].size, tag), full, oriented_pair(r[0].access, tag)) for r in levels),
        dtype,
        channels,
        meaning,
        white=_white(page, dtype),
        alpha=len(levels[0]) == 1 and _has_alpha(page),
        palette=_palette(page) if meaning == "palette" else None,
        pixel_size=physical,
        nodata=nodata,
        masked=nodata is not None,
        notices=notices,
        resident=sum(reader.resident for reader in levels[0]),
    )


def _meaning(page: TiffPage, channels: int, planes: int) -> Meaning:
    meaning = _MEANINGS.get(int(page.photometric), "bands")
    if planes > 1 or (meaning == "rgb" and channels < 3):
        return "bands" if channels > 1 else "grey"
    if meaning == "cmyk" and channels < 4:
        return "bands" if channels > 1 else "grey"
    if meaning == "palette" and (channels > 1 or page.colormap is None):
        return "bands" if channels > 1 else "grey"
    if meaning in ("grey", "white_is_zero") and channels - _has_alpha(page) > 1:
        return "bands"
    return meaning


def _has_alpha(page: TiffPage) -> bool:
    return any(int(kind) in (1, 2) for kind in page.extrasamples[-1:])


def _white(page: TiffPage, dtype: np.dtype) -> float | None:
    if dtype.kind == "f":
        return None
    bits = int(page.bitspersample) - (1 if dtype.kind == "i" else 0)
    return float(2**bits - 1)


def _palette(page: TiffPage) -> np.ndarray:
    """(N, 3) uint8 from the 16-bit colour map (3, N); some writers stored 8-bit values there."""
    colours = np.asarray(page.colormap).T
    return (colours >> 8 if colours.max(initial=0) > 255 else colours).astype(np.uint8)


def _nodata(page: TiffPage) -> float | None:
    """GDAL's tag, a number written as text."""
    tag = page.tags.get(42113)
    try:
        return None if tag is None else float(str(tag.value).strip("\0 "))
    except ValueError:
        return None


def _orientation(page: TiffPage) -> int:
    tag = page.tags.get(274)
    return int(tag.value) if tag is not None and isinstance(tag.value, int) else 1
