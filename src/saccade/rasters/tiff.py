"""TIFF and OME-TIFF, plain, tiled or pyramidal, through tifffile: only the tiles that a window meets."""

from __future__ import annotations

import io
import os
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tifffile import TiffFile, TiffPage, TiffPageSeries

from saccade.errors import FileProblem, FinalProblem
from saccade.geometry import Window
from saccade.rasters.claims import require_sound_chain
from saccade.rasters.decoders import listen, misnamed, reading
from saccade.rasters.own_files import require_own_set
from saccade.rasters.raster import (
    Level,
    Raster,
    RasterInfo,
    measured,
    orient,
    oriented_pair,
    stored_window,
)
from saccade.rasters.remote import RemoteBytes, RemoteFile
from saccade.rasters.tiff_description import describe, orientation, photometric, pixel_size
from saccade.rasters.tiff_pages import LibtiffReader, PageReader, Reader, reader_of
from saccade.runtime.reading import open_regular

_EXPECTED = "a TIFF image"
listen("tifffile")


class TiffRaster(Raster):
    """An image of a TIFF file as it is shown (orientation applied), with its pyramid and its masks, those in
    files beside it (``.ovr``, ``.msk``) too: the first that is no thumbnail, or that of ``number``, counted
    from 1 over the planes of every series. ``data``: of a file elsewhere; beside it nothing is looked for."""

    def __init__(self, path: Path, number: int | None = None, *, data: RemoteBytes | None = None) -> None:
        with reading(path, _EXPECTED), ExitStack() as opened:
            pages = _find_pages(path, opened, number, data)
            self._levels = _level_readers(pages)
            self._levels[0][0].probe()
            self._masks = _mask_readers(pages.masks, [readers[0].size for readers in self._levels])
            self.page = self._levels[0][0].page
            self.orientation = orientation(self._levels[0][0].frame)
            notices = (*misnamed(path, "tiff"), *pages.notices)
            info = _info(path, self._levels, self.orientation, notices, any(self._masks))
            self._files = opened.pop_all()
        super().__init__(info)

    def _read(self, window: Window, level: int) -> np.ndarray:
        stored = stored_window(window, self.levels[level].size, self.orientation)
        with reading(self.path, _EXPECTED):
            planes = [reader.read(stored) for reader in self._levels[level]]
            pixels = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)
        return np.ascontiguousarray(orient(pixels.astype(self.dtype, copy=False), self.orientation))

    def _valid(self, window: Window, level: int) -> np.ndarray:
        valid = np.ones(window.size, bool)
        if self.info.alpha or self.info.nodata_of_bands or self.nodata is not None or self.dtype.kind == "f":
            valid &= measured(self._read(window, level), self.info, by_mask=any(self._masks))
        if any(self._masks):
            stored = stored_window(window, self.levels[level].size, self.orientation)
            with reading(self.path, _EXPECTED):
                valid &= orient(self._mask(stored, level), self.orientation)
        return valid

    def _mask(self, window: Window, level: int) -> np.ndarray:
        """The mask of that level, or the nearest pixels of the full one."""
        reader = self._masks[level]
        if reader is not None:
            return np.asarray(reader.read(window).any(axis=2))
        full, size = self._masks[0], self._levels[level][0].size
        if full is None:
            return np.ones(window.size, bool)
        rows, columns = (
            ((np.arange(low, high) + 0.5) * whole / part).astype(int)
            for low, high, whole, part in zip(
                (window.top, window.left), (window.bottom, window.right), full.size, size, strict=True
            )
        )
        part = full.read(Window(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1))
        return np.asarray(part[np.ix_(rows - rows[0], columns - columns[0])].any(axis=2))

    @property
    def stored_size(self) -> tuple[int, int]:
        """(H, W) before the orientation is applied."""
        return self._levels[0][0].size

    def close(self) -> None:
        for level in self._levels:
            for reader in level:
                reader.page.parent.filehandle.close()
        self._files.close()


class _Pages(NamedTuple):
    """``levels``: the planes of each, the full one first; ``masks``: of any size; a lock guards each file."""

    levels: list[tuple[list[TiffPage], threading.Lock]]
    masks: list[tuple[TiffPage, threading.Lock]]
    notices: tuple[str, ...]


# of these layouts tifffile orders the pages by size alone; the others know their levels themselves
_GENERIC = {"generic", "uniform", "shaped"}
_REDUCED, _MASK = 1, 4


def _find_pages(path: Path, opened: ExitStack, number: int | None, data: RemoteBytes | None) -> _Pages:
    lock = threading.Lock()
    file = _opened(path, opened) if data is None else _opened_elsewhere(path, opened, data)
    series, plane, notices = _image_series(file, number)
    planes, more = _planes(series.levels[0], plane)
    levels = [(planes, lock), *((_planes(level, plane)[0], lock) for level in series.levels[1:])]
    if series.kind not in _GENERIC or number is not None:
        return _Pages(levels, [], (*notices, *more))
    masks = [(page, lock) for page in _flagged(file, _MASK)]
    coarser = [([page], lock) for page in _flagged(file, _REDUCED)]
    # GDAL writes these beside files that it may not change.
    for suffix in (".ovr", ".msk", ".msk.ovr") if data is None else ():
        beside = path.with_name(path.name + suffix)
        if os.path.isfile(beside):  # False for a name that is too long, too
            more_file, more_lock = _opened(beside, opened), threading.Lock()
            if suffix == ".ovr":
                masks += [(page, more_lock) for page in _flagged(more_file, _MASK)]
                coarser += [([page], more_lock) for page in _all_pages(more_file) if not _flags(page) & _MASK]
            else:
                masks += [(page, more_lock) for page in _all_pages(more_file)]
    levels += sorted(
        coarser, key=lambda level: -level[0][0].keyframe.imagelength * level[0][0].keyframe.imagewidth
    )
    return _Pages(levels, masks, (*notices, *more))


def _opened(path: Path, opened: ExitStack) -> TiffFile:
    """The file, once its chain of pages and what it says of other files are known to be sound."""
    with open_regular(path, _EXPECTED) as bytes_of:
        require_sound_chain(path, bytes_of)
    file = opened.enter_context(TiffFile(path))
    require_own_set(path, str(file.pages.first.description or ""))
    return file


_SLIDES = ("svs", "ndpi", "scn", "bif", "philips")


def _opened_elsewhere(path: Path, opened: ExitStack, data: RemoteBytes) -> TiffFile:
    """The same; of a set of files this one alone, for the others would be looked for on this disk."""
    require_sound_chain(path, io.BufferedReader(RemoteFile(data), 4096))
    file = opened.enter_context(TiffFile(RemoteFile(data), name=str(path), _multifile=False))  # type: ignore[arg-type]
    require_own_set(path, str(file.pages.first.description or ""))
    if any(getattr(file, f"is_{kind}") for kind in _SLIDES):
        raise FinalProblem(path, "a TIFF that OpenSlide is not needed for", "a whole slide", "download it")
    return file


def _image_series(file: TiffFile, number: int | None) -> tuple[TiffPageSeries, int, tuple[str, ...]]:
    """The series of an image and the plane of its stack: without a number the first of the first series whose
    pages are neither thumbnails nor masks by their NewSubfileType."""
    if not file.series:
        raise ValueError("no image")
    if number is not None:
        return *_numbered(file, number), ()
    full = file.series
    if file.series[0].kind in _GENERIC:
        full = [series for series in file.series if not _flags(series.keyframe) & (_REDUCED | _MASK)]
    chosen = full[0] if full else max(file.series, key=lambda series: series.keyframe.imagelength)
    notices = (
        [] if chosen is file.series[0] else ["the first page is a thumbnail or a mask: it is passed over"]
    )
    if "<BinaryOnly" in (file.pages.first.description or "")[:2000]:
        notices.append("one file of an OME-TIFF set with a companion: only its own images are read")
    elif (depth := _stack_depth(chosen)) > 1:
        notices.append(f"a stack of {depth} images: its first is taken")
    elif (count := sum(not _flags(series.keyframe) & (_REDUCED | _MASK) for series in full[1:]) + 1) > 1:
        notices.append(f"{count} images in the file: its first is taken (FILE#2 is the second)")
    return chosen, 0, tuple(notices)


def _numbered(file: TiffFile, number: int) -> tuple[TiffPageSeries, int]:
    """The image of a number, counted from 1 over the planes of every series."""
    counts = [_stack_depth(series) for series in file.series]
    plane = number - 1
    for series, count in zip(file.series, counts, strict=True):
        if 0 <= plane < count:
            return series, plane
        plane -= count
    path = file.filehandle.path
    raise FinalProblem(path, f"an image from #1 to #{sum(counts)}", f"#{number}")


def _flags(page: Any) -> int:
    return int(page.subfiletype)


def _all_pages(file: TiffFile) -> list[TiffPage]:
    pages: list[Any] = [page for series in file.series for level in series.levels for page in level.pages]
    return [page for page in pages if page is not None]


def _flagged(file: TiffFile, flag: int) -> list[TiffPage]:
    """Pages that are masks, or thumbnails that are none."""
    flags = {_MASK: (_MASK, _MASK | _REDUCED), _REDUCED: (_REDUCED,)}[flag]
    return [page for page in _all_pages(file) if _flags(page) & (_MASK | _REDUCED) in flags]


def _level_readers(pages: _Pages) -> list[list[Reader]]:
    """Readers of the planes of each level; pages that are no coarser image of the first are passed over."""
    (first, lock), *others = pages.levels
    levels: list[list[Reader]] = [[reader_of(page, lock) for page in first]]
    for planes, lock in () if isinstance(levels[0][0], LibtiffReader) else others:
        if _is_level(planes, first, levels[-1][0].size):
            levels.append([reader_of(page, lock) for page in planes])
    return levels


def _is_level(planes: list[TiffPage], full: list[TiffPage], before: tuple[int, int]) -> bool:
    """A page belongs to the pyramid if it is coarser, of the same shape, and holds the same samples."""
    if len(planes) != len(full) or not all(_alike(a, b) for a, b in zip(planes, full, strict=True)):
        return False
    size, whole = ((page.keyframe.imagelength, page.keyframe.imagewidth) for page in (planes[0], full[0]))
    return size[0] <= before[0] and size[1] <= before[1] and size != before and _same_shape(size, whole)


def _alike(page: Any, other: Any) -> bool:
    a, b = page.keyframe, other.keyframe
    # A coarser level is often YCbCr of JPEG under a level 0 that is RGB: decoded, both are the same samples.
    kinds = {2 if photometric(frame) == 6 else photometric(frame) for frame in (a, b)}
    return a.samplesperpixel == b.samplesperpixel and a.dtype == b.dtype and len(kinds) == 1


def _same_shape(size: tuple[int, int], full: tuple[int, int]) -> bool:
    """Whether one factor, sides rounded up or down once or twice, makes ``size`` of ``full``."""
    # No equality of ratios: sides are whole numbers, and each level was rounded from the one before.
    low = max(whole / (part + 2) for whole, part in zip(full, size, strict=True))
    high = min(whole / max(part - 2, 0.5) for whole, part in zip(full, size, strict=True))
    return low <= high


def _mask_readers(
    masks: list[tuple[TiffPage, threading.Lock]], sizes: list[tuple[int, int]]
) -> list[PageReader | None]:
    """The mask of each level, None where there is none of its size."""
    by_size = {
        # Reversed, so that of two masks of one size the first is kept.
        (page.keyframe.imagelength, page.keyframe.imagewidth): (page, lock)
        for page, lock in reversed(masks)
    }
    return [PageReader(*by_size[size]) if size in by_size else None for size in sizes]


def _leading(level: TiffPageSeries) -> list[tuple[str, int]]:
    return [(axis, n) for axis, n in zip(level.axes, level.shape, strict=True) if axis not in "YXS"]


def _stack_depth(series: TiffPageSeries) -> int:
    """How many images of all channels a series holds."""
    return int(np.prod([n for axis, n in _leading(series) if axis != "C"], initial=1))


def _planes(level: TiffPageSeries, plane: int) -> tuple[list[TiffPage], tuple[str, ...]]:
    """The pages that hold the channels of one plane of a stack."""
    leading = _leading(level)
    count = int(np.prod([n for _, n in leading], initial=1))
    pages: list[Any] = list(level.pages)
    if len(pages) < count:
        if plane:
            path = pages[0].parent.filehandle.path
            raise FileProblem(path, "planes in pages of their own", f"a stack in one block, for #{plane + 1}")
        channels = count // _stack_depth(level)
        notices = (f"{channels} channels in one block: the first is taken",) if channels > 1 else ()
        return pages[:1], notices
    indices = np.moveaxis(
        np.arange(count).reshape([n for _, n in leading]),
        [i for i, (axis, _) in enumerate(leading) if axis == "C"],
        [-1 for axis, _ in leading if axis == "C"],
    )
    channels = count // _stack_depth(level)
    picked = [pages[i] for i in indices.reshape(-1, channels)[plane]]
    if any(page is None for page in picked):
        raise FinalProblem(
            level.parent.filehandle.path if level.parent else "",
            "all files of the OME-TIFF set that it is part of",
            f"{sum(page is None for page in picked)} of {len(picked)} planes missing",
            "put the files of the set into one folder",
        )
    return picked, ()


def _info(
    path: Path, levels: list[list[Reader]], tag: int, notices: tuple[str, ...], masked: bool
) -> RasterInfo:
    first = levels[0][0]
    full = oriented_pair(first.size, tag)
    dtype = np.dtype(np.uint8) if first.dtype == bool else first.dtype
    channels = sum(reader.samples for reader in levels[0])
    samples = describe(path, first.frame, channels, len(levels[0]))
    has_nodata = samples["nodata"] is not None or bool(samples["nodata_of_bands"])
    return RasterInfo(
        path,
        tuple(Level.of(oriented_pair(r[0].size, tag), full, oriented_pair(r[0].access, tag)) for r in levels),
        dtype,
        channels,
        pixel_size=pixel_size(first.frame),
        masked=masked or has_nodata or samples["alpha"],
        notices=notices,
        resident=sum(reader.resident for reader in levels[0]),
        **samples,
    )
