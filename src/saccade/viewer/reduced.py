"""A reduced copy of a raster without overviews, made where somebody looks, in a temporary file.

A tile of a huge image seen as a whole stands for billions of pixels. Files for this have levels; one without
is read once, cell by cell: each cell is a few million pixels, and its reductions by 8, 16, ... are put into a
file of a 64th of the pixels that the system removes by itself. What was not read yet is transparent, and the
page asks again; of files in tiles one tile of each cell is looked at first, and stands for the cell.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saccade.errors import FileProblem
from saccade.geometry import Window
from saccade.rasters.raster import Level

FACTOR = 8
"""The first reduction; tiles of less are read where they lie."""

CELL = 2048
WIDE = 1 << 23
"""Pixels of a cell of a file whose tiles are as wide as the image (strips)."""

GLANCE = 64
"""Rows and columns of a cell that are looked at before all of it."""

THREADS = 2

Read = Callable[[Window], NDArray[np.uint8]]
"""Pixels of a window of the source: (h, w, 3) colours, (h, w, 4) with opacity, or (h, w) values."""


class ReducedCopy:
    """Reductions of one level of a raster by ``FACTOR`` and twice that and so on: colours by the mean, values
    by the one at the centre.

    Attributes:
        levels: of the reductions, ``downsample`` in pixels of the source.

    Args:
        source: the level that is reduced.
        read: its pixels; called from several threads.
        channels: 3 (colours), 4 (and opacity) or 1 (values).
        path: of the file, for messages.

    Raises:
        FileProblem: the disk for temporary files has no room for it.
    """

    def __init__(self, source: Level, read: Read, channels: int, path: object) -> None:
        self._source, self._read = source.size, read
        self._cell = _cell(source)
        tail = () if channels == 1 else (channels,)
        factors = [FACTOR]
        while factors[-1] * 2 <= min(self._cell) and max(source.size) > factors[-1] * 256:
            factors.append(factors[-1] * 2)
        sizes = [(-(-source.size[0] // f), -(-source.size[1] // f)) for f in factors]
        self.levels = tuple(Level(s, (float(f), float(f)), s) for s, f in zip(sizes, factors, strict=True))
        needed = sum(rows * columns for rows, columns in sizes) * channels
        free = shutil.disk_usage(tempfile.gettempdir()).free
        if needed > free * 0.9:
            got = f"{free / 2**30:.1f} GiB free in {tempfile.gettempdir()}"
            fix = "make overviews in the file (gdaladdo, vips), or set TMPDIR to a larger disk"
            raise FileProblem(str(path), f"{needed / 2**30:.1f} GiB for a reduced copy", got, fix)
        # Without a name on the disk: it goes with the process, however that ends.
        self._file = tempfile.TemporaryFile(prefix="saccade_view_")  # noqa: SIM115
        self._arrays: list[NDArray[np.uint8]] = []
        offset = 0
        for size in sizes:
            shape = (*size, *tail)
            self._arrays.append(np.memmap(self._file, np.uint8, "w+", offset, shape))
            offset += int(np.prod(shape))
        rows, columns = (-(-side // step) for side, step in zip(source.size, self._cell, strict=True))
        self.done = np.zeros((rows, columns), bool)
        self._begun, self._seen = np.zeros_like(self.done), np.zeros_like(self.done)
        self._tile = source.tile if source.tile[1] <= CELL else None
        self._glances: dict[tuple[int, int], None] = {}
        self._wanted: dict[tuple[int, int], None] = {}
        self._news = threading.Condition()
        self._closed = False
        self._problem: Exception | None = None
        self._threads: list[threading.Thread] = []

    def read(self, window: Window, level: int) -> NDArray[np.uint8]:
        """What is there of a window of a level: where nothing is yet, colours (then with opacity) are
        transparent and values 255."""
        there = self._there(window, level)  # first: what is made meanwhile is not said to be there
        pixels = np.array(self._arrays[level][window.slices])
        if there.all():
            return pixels
        if pixels.ndim == 2:
            return np.where(there, pixels, 255).astype(np.uint8)
        if pixels.shape[2] == 4:
            return pixels  # made of zeros
        return np.dstack([pixels, there.astype(np.uint8) * 255])

    def _there(self, window: Window, level: int) -> NDArray[np.bool_]:
        """(h, w) which pixels of a window of a level are made."""
        factor = int(self.levels[level].downsample[0])
        rows = np.arange(window.top, window.bottom) * factor // self._cell[0]
        columns = np.arange(window.left, window.right) * factor // self._cell[1]
        with self._news:
            return (self.done | self._seen)[np.ix_(rows, columns)]

    def ready(self, window: Window, level: int, patience: float = 0.0) -> bool:
        """Whether all of a window is there; asks for what is not, and waits ``patience`` seconds for it.

        Raises: what reading the source raised.
        """
        factor = int(self.levels[level].downsample[0])
        down, across = (side // factor for side in self._cell)
        rows = range(window.top // down, -(-window.bottom // down))
        columns = range(window.left // across, -(-window.right // across))
        part = np.s_[rows.start : rows.stop, columns.start : columns.stop]
        with self._news:
            self._start()
            missing = [(row, column) for row in rows for column in columns if not self.done[row, column]]
            for cell in reversed(missing):  # those asked for last are read first
                self._wanted.pop(cell, None)
                self._wanted[cell] = None
                if self._tile is not None and not self._seen[cell]:
                    self._glances[cell] = None
            self._news.notify_all()
            if missing and patience:
                self._news.wait_for(
                    lambda: bool(self.done[part].all()) or self._problem is not None, patience
                )
            if self._problem is not None:
                raise self._problem
            return bool(self.done[part].all())

    def close(self) -> None:
        """Ends the threads; nothing is read from it afterwards."""
        with self._news:
            self._closed = True
            self._wanted.clear()
            self._glances.clear()
            self._news.notify_all()
        for thread in self._threads:
            thread.join()
        self._arrays.clear()
        self._file.close()

    def _start(self) -> None:
        if not self._threads and not self._closed:
            self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(THREADS)]
            for thread in self._threads:
                thread.start()

    def _work(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: bool(self._wanted or self._glances) or self._closed)
                if self._closed:
                    return
                glance = bool(self._glances)
                cell = (self._glances if glance else self._wanted).popitem()[0]
                if self._begun[cell]:
                    continue
                if not glance:
                    self._begun[cell] = True
            try:
                if glance:
                    self._glance(*cell)
                    continue
                self._reduce(*cell)
            except Exception as problem:  # told to whoever looks at it
                with self._news:
                    self._problem = problem
                    self._news.notify_all()
                return
            with self._news:
                self.done[cell] = True
                self._news.notify_all()

    def _glance(self, row: int, column: int) -> None:
        """Fills a cell with the colour, or the value, of a piece in its middle: one tile of the file."""
        assert self._tile is not None
        (top, left), (down, across) = (row * self._cell[0], column * self._cell[1]), self._cell
        bottom, right = min(top + down, self._source[0]), min(left + across, self._source[1])
        y = max((top + bottom) // 2 // self._tile[0] * self._tile[0], top)
        x = max((left + right) // 2 // self._tile[1] * self._tile[1], left)
        pixels = self._read(Window(y, min(y + GLANCE, bottom), x, min(x + GLANCE, right)))
        plane = halved(pixels, GLANCE)[0, 0]
        with self._news:
            if self._begun[row, column]:
                return
            for array, level in zip(self._arrays, self.levels, strict=True):
                factor = int(level.downsample[0])
                array[top // factor : -(-bottom // factor), left // factor : -(-right // factor)] = plane
            self._seen[row, column] = True

    def _reduce(self, row: int, column: int) -> None:
        down, across = self._cell
        top, left = row * down, column * across
        window = Window(top, min(top + down, self._source[0]), left, min(left + across, self._source[1]))
        pixels = self._read(window)
        for number, level in enumerate(self.levels):
            factor = int(level.downsample[0])
            pixels = halved(pixels, FACTOR if number == 0 else 2)
            rows, columns = pixels.shape[:2]
            y, x = top // factor, left // factor
            self._arrays[number][y : y + rows, x : x + columns] = pixels


def _cell(level: Level) -> tuple[int, int]:
    """(rows, columns): powers of two, or as wide as the image, rounded up to one, where its tiles are."""
    if level.tile[1] <= CELL:
        return CELL, CELL
    across = 1 << (level.size[1] - 1).bit_length()
    return max(FACTOR, 1 << (WIDE // across).bit_length() - 1) if across < WIDE else FACTOR, across


def halved(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Reduced by ``factor``: colours (h, w, 3 or 4) by the mean, weighted by opacity; values (h, w) at the
    centre."""
    if pixels.ndim == 2:
        # Of a cut block at the border the last row stands for it, where it has no centre.
        rows = np.minimum(np.arange(0, pixels.shape[0], factor) + factor // 2, pixels.shape[0] - 1)
        columns = np.minimum(np.arange(0, pixels.shape[1], factor) + factor // 2, pixels.shape[1] - 1)
        return pixels[np.ix_(rows, columns)]
    if pixels.shape[2] == 3:
        return np.asarray(Image.fromarray(pixels).reduce(factor))
    return np.asarray(Image.fromarray(pixels).convert("RGBa").reduce(factor).convert("RGBA"))
