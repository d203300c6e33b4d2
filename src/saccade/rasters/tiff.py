"""TIFF and OME-TIFF, plain, tiled or pyramidal, through tifffile: only the tiles that a window meets."""

from __future__ import annotations

import io
import mmap
import os
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
from PIL import Image, ImageCms
from tifffile import TiffFile, TiffPage, TiffPageSeries

from saccade.errors import FileProblem, FinalProblem
from saccade.geometry import Window
from saccade.rasters.claims import jpeg_size, require_sound_chain
from saccade.rasters.decoders import listen, misnamed, reading
from saccade.rasters.own_files import require_own_set
from saccade.rasters.raster import (
    Level,
    Raster,
    RasterInfo,
    measured,
    orient,
    oriented_pair,
    physical_memory,
    stored_window,
)
from saccade.rasters.remote import RemoteBytes, RemoteFile
from saccade.rasters.tiff_description import converted_space, describe, orientation, photometric, pixel_size
from saccade.runtime.reading import open_regular

LARGEST_SEGMENT = 1 << 30
LARGE_SEGMENT = 1 << 24
PLAIN_ROWS = 16
_JPEG = {6, 7, 34892, 33007}
_MOST_PADDING = 256
"""Rows or columns that a JPEG in a tile may have beyond it."""
_LERC = 34887
# what every file of these is decoded by is known to work: nothing needs to be tried when one is opened
_PLAIN_DECODERS = {1, 7, 8, 32946, 32773}


class PageReader:
    """Reads windows (h, w, S) of one page; the lock guards the file position that all pages share."""

    def __init__(self, page: TiffPage, lock: threading.Lock) -> None:
        self.page, self.lock = page, lock
        self.frame: TiffPage = page.keyframe
        if self.frame.dtype is None or self.frame.dtype.kind not in "uifb":
            raise FinalProblem(self._path(), "real numbers of 1 to 64 bits", _sample_type(self.frame))
        if self.frame.imagedepth != 1:
            raise FinalProblem(self._path(), "a flat image", "a volume (ImageDepth above 1)")
        self.dtype: np.dtype = self.frame.dtype
        self.size = (self.frame.imagelength, self.frame.imagewidth)
        self.samples = self.frame.samplesperpixel
        if min(*self.size, self.samples) < 1:
            raise FileProblem(self._path(), "an image", "one without pixels")
        self.separate = self.frame.planarconfig == 2 and self.samples > 1
        # Writers put 2^32 - 1 here for "one strip holds all".
        stripe = (min(self.frame.rowsperstrip, self.size[0]), self.size[1])
        self.tile = (self.frame.tilelength, self.frame.tilewidth) if self.frame.is_tiled else stripe
        self.count = -(-self.size[0] // self.tile[0]), -(-self.size[1] // self.tile[1])
        self._counts = self._byte_counts()
        # Only then do rows lie in the file as they are in memory, and a part of a strip can be read alone.
        self.plain = (
            not self.frame.is_tiled
            and self.frame.compression == 1
            and self.frame.predictor == 1
            and self.frame.fillorder == 1
            and self.frame.bitspersample == self.dtype.itemsize * 8
            and not self.frame.is_subsampled
        )
        self._stored_samples = 1 if self.separate else self.samples
        self.segment_bytes = self.tile[0] * self.tile[1] * self._stored_samples * self.dtype.itemsize
        self._require_all_segments()
        self.resident = 0 if self.plain or self.segment_bytes < LARGE_SEGMENT else self.segment_bytes
        self._kept: tuple[int, np.ndarray | None] = (-1, None)
        self._keeping = threading.Lock()
        self._decode: Any = self.frame.decode  # made now: tifffile moves the file's position for it, unlocked
        self._decode_arguments: dict[str, Any] = {"_fullsize": self.frame.is_tiled}
        # Tiles of JPEG are cut short: their tables stand once, in a tag of the page.
        if self.frame.compression in _JPEG:
            self._decode_arguments |= {"jpegtables": page.jpegtables, "jpegheader": self.frame.jpegheader}

    @property
    def access(self) -> tuple[int, int]:
        """(rows, columns) that one access decodes at least."""
        return (min(PLAIN_ROWS, self.tile[0]), self.tile[1]) if self.plain else self.tile

    def read(self, window: Window) -> np.ndarray:
        whole = self._one_segment(window)
        if whole is not None:
            return whole
        out = np.empty((*window.size, self.samples), self.dtype)
        planes = range(self.samples) if self.separate else (0,)
        rows = range(window.top // self.tile[0], (window.bottom - 1) // self.tile[0] + 1)
        columns = range(window.left // self.tile[1], (window.right - 1) // self.tile[1] + 1)
        self._ask_ahead([(plane, row, column) for plane in planes for row in rows for column in columns])
        for plane in planes:
            channels = slice(plane, plane + 1) if self.separate else slice(None)
            for row in rows:
                for column in columns:
                    self._place(out[..., channels], window, plane, row, column)
        return out

    def _ask_ahead(self, segments: Sequence[tuple[int, int, int]]) -> None:
        """Of a file elsewhere: all tiles that a window needs at once, not one after the other."""
        data = _elsewhere(self.page)
        if data is None or self.plain:
            return
        offsets: Any = self.page.dataoffsets
        numbers = [(plane * self.count[0] + row) * self.count[1] + column for plane, row, column in segments]
        there = [number for number in numbers if offsets[number] and self._counts[number]]
        data.exact([(offsets[number], offsets[number] + self._counts[number]) for number in there])

    def _one_segment(self, window: Window) -> np.ndarray | None:
        """The decoded tile itself where the window is just that, so that its pixels are not copied."""
        row, column = window.top // self.tile[0], window.left // self.tile[1]
        is_tile = window.size == self.tile and (window.top, window.left) == (
            row * self.tile[0],
            column * self.tile[1],
        )
        if not is_tile or self.separate or self.plain or self.resident:
            return None
        segment = self._segment(row * self.count[1] + column)
        if segment is None:
            return np.full((*self.tile, self.samples), self.frame.nodata, self.dtype)
        segment = segment[: self.tile[0], : self.tile[1]]
        return np.require(segment, self.dtype, ["C", "W"])

    def _place(self, out: np.ndarray, window: Window, plane: int, row: int, column: int) -> None:
        top, left = row * self.tile[0], column * self.tile[1]
        bottom, right = min(top + self.tile[0], self.size[0]), min(left + self.tile[1], self.size[1])
        shared = Window(top, bottom, left, right).intersection(window)
        if shared is None:
            return
        index = (plane * self.count[0] + row) * self.count[1] + column
        if self.plain:
            segment, top = self._rows(index, shared.top - top, shared.bottom - top), shared.top
        else:
            segment = self._kept_segment(index)
        place = shared.shifted(-window.top, -window.left).slices
        out[place] = self.frame.nodata if segment is None else segment[shared.shifted(-top, -left).slices]

    def _segment(self, index: int) -> np.ndarray | None:
        """The decoded tile or strip (rows, columns, samples); None where the file left it out."""
        samples, weight = self._stored_samples, self.segment_bytes
        if weight > LARGEST_SEGMENT:
            raise FileProblem(
                self._path(),
                "tiles or strips that decode to 1 GiB at most",
                f"one piece of {weight / 2**30:.1f} GiB",
                "store the image in tiles, for example: vips tiffsave IN OUT.tif --tile --pyramid --bigtiff",
            )
        data = self._bytes(index, 0, self._counts[index])
        if self.frame.compression == _LERC and data is not None:
            return _lerc(data, samples)
        if self.frame.compression == 7 and self.separate and data is not None:
            return _grey_jpeg(data, self.frame.bitspersample, self._decode_arguments["jpegtables"])
        if self.frame.compression in _JPEG and data is not None:
            self._require_own_size(jpeg_size(data))
        decoded, _, shape = self._decode(data, index, **self._decode_arguments)
        if decoded is None:
            return None
        pixels = np.asarray(decoded)[0]
        # A stream that was cut decodes to less without an error of the decoder.
        if pixels.shape[0] < shape[1] or pixels.shape[1] < shape[2] or pixels.shape[2] != samples:
            raise ValueError("a tile or strip holds fewer pixels than it should")
        return pixels

    def _require_own_size(self, size: tuple[int, int] | None) -> None:
        """A JPEG in a tile has a header of its own, which may claim any size."""
        if size is not None and (
            size[0] > self.tile[0] + _MOST_PADDING or size[1] > self.tile[1] + _MOST_PADDING
        ):
            raise ValueError(f"a JPEG of {size[1]} x {size[0]} pixels in a tile")

    def _kept_segment(self, index: int) -> np.ndarray | None:
        """As ``_segment``; the last large one is kept, or every small window would decode it again."""
        if not self.resident:
            return self._segment(index)
        with self._keeping:
            if self._kept[0] != index:
                # Let go first: two large segments at once are what the estimate of the memory does not allow
                # for.
                self._kept = (-1, None)
                self._kept = (index, self._segment(index))
            return self._kept[1]

    def _require_all_segments(self) -> None:
        """What a damaged header promises and the file does not hold is found now, not after hours."""
        expected = self.count[0] * self.count[1] * (self.samples if self.separate else 1)
        early = min(len(self.page.dataoffsets), len(self._counts)) < expected
        if early or max(self.page.dataoffsets[:expected], default=0) >= self.page.parent.filehandle.size:
            raise FinalProblem(self._path(), "a TIFF image", "a damaged or truncated file")
        sparse = any(not offset for offset in self.page.dataoffsets[:expected])
        if sparse and self.segment_bytes > LARGEST_SEGMENT:
            got = f"a piece of {self.segment_bytes / 2**30:.1f} GiB that is not there"
            raise FinalProblem(self._path(), "a TIFF image", got)
        if self.plain and self.segment_bytes > LARGEST_SEGMENT:
            self._require_all_rows(self.page.dataoffsets[:expected])

    def _require_all_rows(self, offsets: Sequence[int]) -> None:
        """Of a strip that is not compressed, which says how many bytes it takes."""
        row = self.size[1] * self._stored_samples * self.dtype.itemsize
        for index, offset in enumerate(offsets):
            top = index % self.count[0] * self.tile[0]
            expected = row * (min(top + self.tile[0], self.size[0]) - top)
            if offset + expected > self.page.parent.filehandle.size:
                raise FinalProblem(self._path(), "a TIFF image", "a damaged or truncated file")

    def _byte_counts(self) -> tuple[int, ...]:
        """Bytes of each tile or strip; where the file says 0 of all, what lies between their offsets.

        Zero among others means left out; offset 0 always does.
        """
        offsets, counts = self.page.dataoffsets, self.page.databytecounts
        if any(counts) or not any(offsets):
            return tuple(counts)
        # Sorted, since tiles may lie in any order: a tile ends where the next one in the file begins.
        ends = np.array([*sorted(offsets), self.page.parent.filehandle.size])
        return tuple(int(ends[np.searchsorted(ends, offset, side="right")] - offset) for offset in offsets)

    def probe(self) -> None:
        """Decode one tile or strip where the decoder is of a rarer kind: what is not supported is then known
        when the file is opened, and another reader can be asked."""
        usual = self.frame.compression in _PLAIN_DECODERS and self.frame.bitspersample in (8, 16, 32, 64)
        index = next(
            (i for i, offset in enumerate(self.page.dataoffsets) if offset and self._counts[i]), None
        )
        if not usual and index is not None and self.segment_bytes <= LARGEST_SEGMENT:
            self._kept_segment(index)

    def _rows(self, index: int, first: int, last: int) -> np.ndarray | None:
        """Rows of an uncompressed strip, without the rest of it: a strip may be the whole image."""
        samples = self._stored_samples
        # Bytes that no decoder has seen are in the byte order of the file.
        dtype = self.dtype.newbyteorder(self.frame.parent.byteorder)
        weight = self.size[1] * samples * dtype.itemsize
        data = self._bytes(index, first * weight, (last - first) * weight)
        return (
            None if data is None else np.frombuffer(data, dtype).reshape(last - first, self.size[1], samples)
        )

    def _bytes(self, index: int, skip: int, count: int) -> bytes | None:
        offsets: Any = self.page.dataoffsets
        if offsets[index] == 0 or self._counts[index] == 0:
            return None
        file, elsewhere = self.page.parent.filehandle, _elsewhere(self.page)
        if elsewhere is not None:
            start = offsets[index] + skip
            return elsewhere.exact([(start, start + count)])[0]
        with self.lock:
            if file.closed:  # tifffile closes the other files of an OME set once it knows their pages
                file.open()
            file.seek(offsets[index] + skip)
            data = file.read(count)
        if len(data) < count:
            raise ValueError("the file ends inside a tile or strip")
        return data

    def _path(self) -> str:
        return self.page.parent.filehandle.path


def _elsewhere(page: TiffPage) -> RemoteBytes | None:
    """The bytes of a file elsewhere; None of one that is here."""
    file = page.parent.filehandle._fh
    return file.data if isinstance(file, RemoteFile) else None


def _sample_type(page: TiffPage) -> str:
    kind = {5: "complex integers", 6: "complex numbers"}.get(
        int(page.sampleformat), f"sample format {page.sampleformat}"
    )
    return f"samples of another type ({kind} of {page.bitspersample} bits)"


def _lerc(data: bytes, samples: int) -> np.ndarray:
    """(rows, columns, samples) as libtiff has them: what LERC masks is NaN in floats; of RGBA the mask is the
    opacity; masks that differ by band come with the bands stored one after the other."""
    pixels, valid = imagecodecs.lerc_decode(data, masks=True)
    if valid is not None and valid.ndim == 3:
        pixels, valid = np.moveaxis(pixels, 0, -1), np.moveaxis(valid, 0, -1)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if valid is None:
        valid = np.ones(pixels.shape[:2], bool)
    valid = valid.reshape(*valid.shape[:2], -1)
    if pixels.shape[2] == samples - 1 and valid.shape[2] == 1:
        return np.concatenate([pixels, valid.astype(pixels.dtype) * 255], axis=2)
    return np.where(valid, pixels, pixels.dtype.type(np.nan)) if pixels.dtype.kind == "f" else pixels


def _grey_jpeg(data: bytes, bits: int, tables: bytes | None) -> np.ndarray:
    """(rows, columns, 1): a plane of its own is grey, whatever colours the planes make together."""
    pixels = imagecodecs.jpeg_decode(data, bitspersample=bits, tables=tables)
    return pixels.reshape(*pixels.shape[:2], -1)


def _is_coarse(page: TiffPage) -> bool:
    """Whether one colour stands for 4 x 4 pixels, and some such block reaches past the image or a tile."""
    tag = page.tags.get(530)
    if photometric(page) != 6 or tag is None or tuple(tag.value) != (4, 4):
        return False
    rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (4, 4)
    return bool(page.imagelength % rows or page.imagewidth % columns)


class LibtiffReader:
    """Reads windows (h, w, 3) uint8 of a page in a colour space that libtiff turns into red, green and blue;
    it is decoded whole, once."""

    def __init__(self, page: TiffPage, space: str) -> None:
        self.page, self.frame, self._space = page, page.keyframe, space
        self.size = (self.frame.imagelength, self.frame.imagewidth)
        self.samples, self.dtype = 3, np.dtype(np.uint8)
        self.access, self.resident = self.size, self.size[0] * self.size[1] * 3
        self._pixels: np.ndarray | None = None
        self._lock = threading.Lock()
        if page.is_subifd or 4 * self.resident > physical_memory():
            raise FinalProblem(
                self._path(), "RGB, grey, palette or CMYK", f"a {space} image too large to convert"
            )

        if _is_coarse(self.frame):
            expected = "sides in multiples of 4 (libtiff errs at the borders of others)"
            raise FinalProblem(self._path(), expected, "YCbCr of 4 x 4 subsampling", "convert it to RGB")

    def probe(self) -> None:
        self._whole()

    def read(self, window: Window) -> np.ndarray:
        return self._whole()[window.slices].copy()

    def _whole(self) -> np.ndarray:
        with self._lock:
            if self._pixels is None:
                self._pixels = self._converted()
            return self._pixels

    def _converted(self) -> np.ndarray:
        if _elsewhere(self.page) is not None:
            expected, fix = "RGB, grey, palette or CMYK, which are read where they lie", "download it"
            raise FinalProblem(self._path(), expected, f"a {self._space} image", fix)
        with open(self._path(), "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                pixels = imagecodecs.tiff_decode(data, self.page.index, asrgb=True)
            except Exception as error:
                raise FinalProblem(
                    self._path(),
                    "colours that libtiff converts",
                    f"{self._space} ({error})",
                    "convert it to RGB",
                ) from None
        tag = orientation(self.frame)  # libtiff has turned the rows and columns, but never swapped them
        rows, columns = tag in (3, 4, 7, 8), tag in (2, 3, 6, 7)
        return np.ascontiguousarray(pixels[:: -1 if rows else 1, :: -1 if columns else 1, :3])

    def _path(self) -> str:
        return self.page.parent.filehandle.path


class LabReader:
    """Reads windows (h, w, 3) uint8 of a page of CIELab samples as sRGB: by littlecms, which keeps grey grey
    where libtiff shows the D50 white of Lab as yellow."""

    def __init__(self, page: TiffPage, lock: threading.Lock) -> None:
        self._stored = PageReader(page, lock)
        self.page, self.frame, self.size = page, page.keyframe, self._stored.size
        self.samples, self.dtype = 3, np.dtype(np.uint8)
        self.access, self.resident = self._stored.access, self._stored.resident
        self._signed = photometric(self.frame) == 8
        self._to_rgb = ImageCms.buildTransform(
            ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
        )

    def probe(self) -> None:
        self._stored.probe()

    def read(self, window: Window) -> np.ndarray:
        lab = self._stored.read(window)
        if lab.dtype.itemsize == 2:  # L of 65535 or 65280 is white; a and b are 8.8 fixed point
            lab = np.concatenate([(lab[..., :1] + 128.0) // 257, lab[..., 1:] >> 8], axis=2).astype(np.uint8)
        if not self._signed:  # Pillow's bytes are those of a TIFF's CIELab
            lab[..., 1:] ^= 128
        image = Image.frombytes("LAB", window.size[::-1], lab.tobytes())
        rgb = np.asarray(ImageCms.applyTransform(image, self._to_rgb))
        return rgb.reshape(*window.size, 3).copy()


def _reader(page: TiffPage, lock: threading.Lock) -> PageReader | LibtiffReader | LabReader:
    frame: TiffPage = page.keyframe
    space = converted_space(frame)
    if space is None:
        return PageReader(page, lock)
    plain_lab = (
        space in ("CIELab", "ICCLab") and frame.samplesperpixel == 3 and frame.compression not in _JPEG
    )
    if (
        plain_lab
        and page.dtype in (np.uint8, np.uint16)
        and not (space == "ICCLab" and frame.bitspersample > 8)
    ):
        return LabReader(page, lock)
    return LibtiffReader(page, space)


_EXPECTED = "a TIFF image"
listen("tifffile")
Reader = PageReader | LibtiffReader | LabReader


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
    levels: list[list[Reader]] = [[_reader(page, lock) for page in first]]
    for planes, lock in () if isinstance(levels[0][0], LibtiffReader) else others:
        if _is_level(planes, first, levels[-1][0].size):
            levels.append([_reader(page, lock) for page in planes])
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
