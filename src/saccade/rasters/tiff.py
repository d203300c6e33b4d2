"""TIFF and OME-TIFF, plain, tiled or pyramidal, through tifffile: only the tiles that a window meets."""

from __future__ import annotations

import threading
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
from tifffile import TiffFile, TiffPage, TiffPageSeries

from saccade.errors import FileProblem
from saccade.geometry import Window
from saccade.rasters.decoders import listen, misnamed, reading
from saccade.rasters.raster import (
    Level,
    Meaning,
    PixelSize,
    Raster,
    RasterInfo,
    orient,
    oriented_pair,
    stored_window,
)

# a coarser TIFF resolution is the size of a print (300 dpi is 85 microns), not of what was imaged
COARSEST_MICRONS = 25.0
_OME = {
    "nm": 1e-3, "µm": 1.0, "um": 1.0, "μm": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6, "pm": 1e-6, "Å": 1e-4,
    "in": 25400.0,
}  # fmt: skip
_IMAGEJ = {
    "nm": 1e-3,
    "micron": 1.0,
    "microns": 1.0,
    "um": 1.0,
    "µm": 1.0,
    "\\u00B5m": 1.0,
    "mm": 1e3,
    "cm": 1e4,
}


def pixel_size(page: TiffPage) -> PixelSize | None:
    """OME-XML first, then ImageJ's unit, then the resolution tags where they are fine enough to be true."""
    microns = _ome(page) or _imagej(page) or _tags(page)
    if microns is None or not (0 < microns[0] < 1e12 and 0 < microns[1] < 1e12):
        return None
    return PixelSize(*microns, "micron")


def _ome(page: TiffPage) -> tuple[float, float] | None:
    text = page.description or ""
    if "<OME" not in text[:2000]:
        return None
    try:
        root = ET.fromstring(text.strip().rstrip("\0"))
        pixels: Any = next(element for element in root.iter() if element.tag.endswith("Pixels"))
        y, x = (
            float(pixels.attrib[f"PhysicalSize{axis}"])
            * _OME[pixels.attrib.get(f"PhysicalSize{axis}Unit", "µm")]
            for axis in "YX"
        )
    except (ET.ParseError, StopIteration, KeyError, ValueError):
        return None
    return y, x


def _imagej(page: TiffPage) -> tuple[float, float] | None:
    text = page.description or ""
    if not text.startswith("ImageJ="):
        return None
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    unit = _IMAGEJ.get(fields.get("unit", ""))
    density = _density(page)
    return None if unit is None or density is None else (unit / density[0], unit / density[1])


def _tags(page: TiffPage) -> tuple[float, float] | None:
    unit = {2: 25400.0, 3: 10000.0}.get(_value(page, 296, 2))
    density = _density(page)
    if unit is None or density is None:
        return None
    y, x = unit / density[0], unit / density[1]
    return (y, x) if max(y, x) <= COARSEST_MICRONS else None


def _density(page: TiffPage) -> tuple[float, float] | None:
    """Pixels a unit along y and x."""
    found = []
    for code in (283, 282):
        value = _value(page, code, None)
        if not isinstance(value, tuple) or len(value) != 2 or not value[0] or not value[1]:
            return None
        found.append(value[0] / value[1])
    return found[0], found[1]


def _value(page: TiffPage, code: int, default: Any) -> Any:
    tag = page.tags.get(code)
    return default if tag is None else tag.value


LARGEST_SEGMENT = 1 << 30
LARGE_SEGMENT = 1 << 24
PLAIN_ROWS = 16
_JPEG = {6, 7, 34892, 33007}


class PageReader:
    """Reads windows (h, w, S) of one page; the lock guards the file position that all pages share."""

    def __init__(self, page: TiffPage, lock: threading.Lock) -> None:
        self.page, self.lock = page, lock
        self.frame: TiffPage = page.keyframe
        if self.frame.dtype is None or self.frame.dtype.kind not in "uifb":
            raise FileProblem(self._path(), "real numbers of 1 to 64 bits", "samples of another type")
        if self.frame.imagedepth != 1:
            raise FileProblem(self._path(), "a flat image", "a volume (ImageDepth above 1)")
        self.dtype: np.dtype = self.frame.dtype
        self.size = (self.frame.imagelength, self.frame.imagewidth)
        self.samples = self.frame.samplesperpixel
        if min(*self.size, self.samples) < 1:
            raise FileProblem(self._path(), "an image", "one without pixels")
        self.separate = self.frame.planarconfig == 2 and self.samples > 1
        stripe = (min(self.frame.rowsperstrip, self.size[0]), self.size[1])
        self.tile = (self.frame.tilelength, self.frame.tilewidth) if self.frame.is_tiled else stripe
        self.count = -(-self.size[0] // self.tile[0]), -(-self.size[1] // self.tile[1])
        self._require_all_segments()
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
        self.resident = 0 if self.plain or self.segment_bytes < LARGE_SEGMENT else self.segment_bytes
        self._kept: tuple[int, np.ndarray | None] = (-1, None)
        self._keeping = threading.Lock()
        self._decode: Any = self.frame.decode  # made now: tifffile moves the file's position for it, unlocked
        self._decode_arguments: dict[str, Any] = {"_fullsize": self.frame.is_tiled}
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
        for plane in planes:
            channels = slice(plane, plane + 1) if self.separate else slice(None)
            for row in rows:
                for column in columns:
                    self._place(out[..., channels], window, plane, row, column)
        return out

    def _one_segment(self, window: Window) -> np.ndarray | None:
        """The decoded tile itself where the window is just that, so that its pixels are not copied."""
        row, column = window.top // self.tile[0], window.left // self.tile[1]
        is_tile = window.size == self.tile and (window.top, window.left) == (
            row * self.tile[0],
            column * self.tile[1],
        )
        if not is_tile or self.separate or self.plain or self.resident:
            return None
        found = self._segment(row * self.count[1] + column)
        if found is None:
            return np.full((*self.tile, self.samples), self.frame.nodata, self.dtype)
        found = found[: self.tile[0], : self.tile[1]]
        return np.require(found, self.dtype, ["C", "W"])

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
        data = self._bytes(index, 0, self.page.databytecounts[index])
        decoded, _, shape = self._decode(data, index, **self._decode_arguments)
        if decoded is None:
            return None
        pixels = np.asarray(decoded)[0]
        if pixels.shape[0] < shape[1] or pixels.shape[1] < shape[2] or pixels.shape[2] != samples:
            raise ValueError("a tile or strip holds fewer pixels than it should")
        return pixels

    def _kept_segment(self, index: int) -> np.ndarray | None:
        """As ``_segment``; the last large one is kept, or every small window would decode it again."""
        if not self.resident:
            return self._segment(index)
        with self._keeping:
            if self._kept[0] != index:
                self._kept = (-1, None)
                self._kept = (index, self._segment(index))
            return self._kept[1]

    def _require_all_segments(self) -> None:
        """What a damaged header promises and the file does not hold is found now, not after hours."""
        wanted = self.count[0] * self.count[1] * (self.samples if self.separate else 1)
        if min(len(self.page.dataoffsets), len(self.page.databytecounts)) < wanted:
            raise ValueError("the table of tiles or strips ends too early")
        if max(self.page.dataoffsets[:wanted], default=0) >= self.page.parent.filehandle.size:
            raise ValueError("the file ends before its last tile or strip")

    def _rows(self, index: int, first: int, last: int) -> np.ndarray | None:
        """Rows of an uncompressed strip, without the rest of it: a strip may be the whole image."""
        samples = self._stored_samples
        dtype = self.dtype.newbyteorder(self.frame.parent.byteorder)
        weight = self.size[1] * samples * dtype.itemsize
        data = self._bytes(index, first * weight, (last - first) * weight)
        return (
            None if data is None else np.frombuffer(data, dtype).reshape(last - first, self.size[1], samples)
        )

    def _bytes(self, index: int, skip: int, count: int) -> bytes | None:
        offsets: Any = self.page.dataoffsets
        if offsets[index] == 0 or self.page.databytecounts[index] == 0:
            return None
        file = self.page.parent.filehandle
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
    """An image of a TIFF file as it is shown (orientation applied), with its pyramid: the first, or that of
    ``number``, counted from 1 over the planes of every series."""

    def __init__(self, path: Path, number: int | None = None) -> None:
        with reading(path, _EXPECTED):
            self._file = TiffFile(path)
            try:
                series, plane, notices = _image_series(self._file, number)
                lock = threading.Lock()
                self._levels, more = _level_readers(series, lock, plane)
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
        for level in self._levels:
            for reader in level:
                reader.page.parent.filehandle.close()
        self._file.close()


def _image_series(file: TiffFile, number: int | None) -> tuple[TiffPageSeries, int, tuple[str, ...]]:
    """The series of an image and the plane of its stack: without a number the first of the first series,
    for labels and thumbnails of slides follow it."""
    if not file.series:
        raise ValueError("no image")
    counts = [_stack_depth(series) for series in file.series]
    if number is None:
        return file.series[0], 0, _choice_notice(file, counts[0])
    plane = number - 1
    for series, count in zip(file.series, counts, strict=True):
        if 0 <= plane < count:
            return series, plane, ()
        plane -= count
    path = file.filehandle.path
    raise FileProblem(path, f"an image from #1 to #{sum(counts)}", f"#{number}")


def _choice_notice(file: TiffFile, depth: int) -> tuple[str, ...]:
    if "<BinaryOnly" in (file.pages.first.description or "")[:2000]:
        return ("one file of an OME-TIFF set with a companion: only its own images are read",)
    if depth > 1:
        return (f"a stack of {depth} images: its first is taken",)
    count = 1 + sum(not series.keyframe.is_reduced for series in file.series[1:])
    return (f"{count} images in the file: its first is taken (FILE#2 is the second)",) if count > 1 else ()


def _leading(level: TiffPageSeries) -> list[tuple[str, int]]:
    return [(axis, n) for axis, n in zip(level.axes, level.shape, strict=True) if axis not in "YXS"]


def _stack_depth(series: TiffPageSeries) -> int:
    """How many images of all channels a series holds."""
    return int(np.prod([n for axis, n in _leading(series) if axis != "C"], initial=1))


def _level_readers(
    series: TiffPageSeries, lock: threading.Lock, plane: int
) -> tuple[list[list[PageReader]], tuple[str, ...]]:
    levels: list[list[PageReader]] = []
    notices: tuple[str, ...] = ()
    for level in series.levels:
        pages, notice = _planes(level, plane)
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
        raise FileProblem(
            level.parent.filehandle.path if level.parent else "",
            "all files of the OME-TIFF set that it is part of",
            f"{sum(page is None for page in picked)} of {len(picked)} planes missing",
            "put the files of the set into one folder",
        )
    return picked, ()


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
