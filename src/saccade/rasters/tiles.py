"""The compressed tiles of an output and of its coarser levels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from saccade.rasters.output import Output
from saccade.rasters.halve import halve
from saccade.rasters.spool import Spool

EFFORT = 6
PARTS = 16
"""Pieces of a row of tiles that threads take in turn."""


class TileStore:
    """One level: tiles of (tile, tile) samples of one channel each, deflated, in a spool.

    A row of tiles holds all columns of the first channel, then of the second, and so on.
    """

    def __init__(self, folder: Path, output: Output, size: tuple[int, int], *, resume: bool = False) -> None:
        self.output, self.size = output, size
        self.dtype = np.dtype(output.dtype)
        self.count = -(-size[0] // output.tile), -(-size[1] // output.tile)
        self._plain: dict[int, bytes] = {}
        self._values: dict[bytes, int] = {}
        about: dict[str, Any] = {"output": output.as_json(), "size": size, "effort": EFFORT}
        self.spool = Spool(folder, about, self.count[1] * output.channels, resume=resume)

    def append(self, band: np.ndarray, pool: ThreadPoolExecutor) -> None:
        """The next row of tiles from its pixels (rows, W, C)."""
        self.spool.append(_spread(pool, lambda number: self._packed(band, number), self.spool.per_row))

    def _packed(self, band: np.ndarray, number: int) -> bytes:
        channel, column = divmod(number, self.count[1])
        side = self.output.tile
        return self.pack(band[:, column * side : (column + 1) * side, channel])

    def pack(self, pixels: np.ndarray) -> bytes:
        """A tile, filled up with zeros at the right and below, deflated."""
        whole = pixels.shape == (self.output.tile, self.output.tile)
        if whole and self.dtype.kind == "u" and (pixels == pixels[0, 0]).all():
            return self._plain_tile(int(pixels[0, 0]))
        tile = np.zeros((self.output.tile, self.output.tile), self.dtype)
        tile[: pixels.shape[0], : pixels.shape[1]] = pixels
        return self._deflated(tile)

    def _plain_tile(self, value: int) -> bytes:
        if value not in self._plain:
            tile = np.full((self.output.tile, self.output.tile), value, self.dtype)
            self._plain[value] = self._deflated(tile)
            self._values[self._plain[value]] = value
        return self._plain[value]

    def _deflated(self, tile: np.ndarray) -> bytes:
        return bytes(imagecodecs.deflate_encode(tile.tobytes(), level=EFFORT))

    def tile(self, row: int, column: int, channel: int = 0) -> np.ndarray:
        """The pixels of a tile that lie inside the image."""
        return self._inflated(self._stored(row, column, channel), row, column)

    def _stored(self, row: int, column: int, channel: int) -> bytes:
        return self.spool.read(row, channel * self.count[1] + column)

    def _inflated(self, stored: bytes, row: int, column: int) -> np.ndarray:
        side = self.output.tile
        data = imagecodecs.deflate_decode(stored, out=side * side * self.dtype.itemsize)
        tile = np.frombuffer(data, self.dtype).reshape(side, side)
        return tile[: self.size[0] - row * side, : self.size[1] - column * side]

    def band(self, row: int, channel: int = 0) -> np.ndarray:
        """The pixels of a whole row of tiles: (rows, W)."""
        return np.concatenate([self.tile(row, column, channel) for column in range(self.count[1])], axis=1)

    def packed(self, channel: int) -> Iterator[bytes]:
        """The tiles of a channel as they are stored, row by row."""
        for row in range(self.count[0]):
            for column in range(self.count[1]):
                yield self._stored(row, column, channel)

    def lengths(self, channel: int) -> Iterator[int]:
        """How long each tile of a channel is as stored, row by row."""
        for row in self.spool.rows:
            yield from (length for _, length in row[channel * self.count[1] : (channel + 1) * self.count[1]])

    def halved(self, folder: Path, pool: ThreadPoolExecutor) -> TileStore:
        """The next coarser level, made tile by tile from four tiles of this one."""
        size = (self.size[0] + 1) // 2, (self.size[1] + 1) // 2
        coarse = TileStore(folder, self.output, size)
        for row in range(coarse.count[0]):
            self._halve_row(row, coarse, pool)
        return coarse

    def _halve_row(self, row: int, coarse: TileStore, pool: ThreadPoolExecutor) -> None:
        def made(number: int) -> bytes:
            channel, column = divmod(number, coarse.count[1])
            return self._halved_tile(coarse, row, column, channel)

        coarse.spool.append(_spread(pool, made, coarse.spool.per_row))

    def _halved_tile(self, coarse: TileStore, row: int, column: int, channel: int) -> bytes:
        """A tile of the coarser level; four plain ones of one value need not be decoded."""
        rows = range(2 * row, min(2 * row + 2, self.count[0]))
        columns = range(2 * column, min(2 * column + 2, self.count[1]))
        four = {(i, j): self._stored(i, j, channel) for i in rows for j in columns}
        first = four[rows[0], columns[0]]
        if len(four) == 4 and first in self._values and all(stored == first for stored in four.values()):
            return coarse._plain_tile(self._values[first])
        half = self.output.tile // 2
        out = np.zeros((2 * half, 2 * half), self.dtype)
        for (i, j), stored in four.items():
            small = halve(self._inflated(stored, i, j), self.output.kind)
            top, left = (i - rows[0]) * half, (j - columns[0]) * half
            out[top : top + small.shape[0], left : left + small.shape[1]] = small
        size = coarse.size[0] - row * 2 * half, coarse.size[1] - column * 2 * half
        return coarse.pack(out[: size[0], : size[1]])

    def close(self) -> None:
        self.spool.close()


def _spread(pool: ThreadPoolExecutor, make: Callable[[int], bytes], count: int) -> list[bytes]:
    """What ``make`` gives of 0 .. ``count`` - 1, in a few parts: handing over single tiles costs time."""
    step = max(1, count // PARTS)

    def some(start: int) -> list[bytes]:
        return [make(number) for number in range(start, min(start + step, count))]

    return [tile for part in pool.map(some, range(0, count, step)) for tile in part]
