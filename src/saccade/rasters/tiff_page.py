"""One page of a TIFF, read window by window: only the tiles or strips that the window meets."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from tifffile import TiffPage

from saccade.errors import FileProblem
from saccade.rasters.window import Window

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
            file.seek(offsets[index] + skip)
            data = file.read(count)
        if len(data) < count:
            raise ValueError("the file ends inside a tile or strip")
        return data

    def _path(self) -> str:
        return self.page.parent.filehandle.path
