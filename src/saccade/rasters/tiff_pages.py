"""The pixels of one page of a TIFF file, by tifffile; colours that need it by libtiff or littlecms."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageCms
from tifffile import TiffPage

from saccade.errors import FileProblem, FinalProblem
from saccade.geometry import Window
from saccade.rasters.claims import jpeg_size
from saccade.rasters.codecs import imagecodecs
from saccade.rasters.remote import RemoteBytes, RemoteFile
from saccade.rasters.tiff_description import converted_space, orientation, photometric
from saccade.runtime.memory import physical_memory

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


Reader = PageReader | LibtiffReader | LabReader


def reader_of(page: TiffPage, lock: threading.Lock) -> Reader:
    """What reads a page: as it is stored, or where its colours need a library, converted."""
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
