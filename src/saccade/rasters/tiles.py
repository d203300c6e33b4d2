"""The compressed tiles of an output and of its coarser levels."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from saccade.rasters.output import Output
from saccade.rasters.reduce import halve
from saccade.rasters.spool import Spool

EFFORT = 6


class TileStore:
    """One level: tiles of (tile, tile) samples of one channel each, deflated, in a spool.

    A row of tiles holds all columns of the first channel, then of the second, and so on.
    """

    def __init__(self, folder: Path, output: Output, size: tuple[int, int], *, resume: bool = False) -> None:
        self.output, self.size = output, size
        self.dtype = np.dtype(output.dtype)
        self.count = -(-size[0] // output.tile), -(-size[1] // output.tile)
        self._plain: dict[int, bytes] = {}
        about: dict[str, Any] = {"output": output.as_json(), "size": size, "effort": EFFORT}
        self.spool = Spool(folder, about, self.count[1] * output.channels, resume=resume)

    def append(self, band: np.ndarray, pool: ThreadPoolExecutor) -> None:
        """The next row of tiles from its pixels (rows, W, C)."""
        self.spool.append(
            list(pool.map(lambda number: self._packed(band, number), range(self.spool.per_row)))
        )

    def _packed(self, band: np.ndarray, number: int) -> bytes:
        channel, column = divmod(number, self.count[1])
        side = self.output.tile
        return self.pack(band[:, column * side : (column + 1) * side, channel])

    def pack(self, pixels: np.ndarray) -> bytes:
        """A tile, filled up with zeros at the right and below, deflated."""
        whole = pixels.shape == (self.output.tile, self.output.tile)
        if whole and self.dtype.kind == "u" and (pixels == pixels[0, 0]).all():
            value = int(pixels[0, 0])
            if value not in self._plain:
                self._plain[value] = self._deflated(pixels)
            return self._plain[value]
        tile = np.zeros((self.output.tile, self.output.tile), self.dtype)
        tile[: pixels.shape[0], : pixels.shape[1]] = pixels
        return self._deflated(tile)

    def _deflated(self, tile: np.ndarray) -> bytes:
        return bytes(imagecodecs.deflate_encode(tile.tobytes(), level=EFFORT))

    def tile(self, row: int, column: int, channel: int = 0) -> np.ndarray:
        """The pixels of a tile that lie inside the image."""
        side = self.output.tile
        data = imagecodecs.deflate_decode(
            self.spool.read(row, channel * self.count[1] + column), out=side * side * self.dtype.itemsize
        )
        tile = np.frombuffer(data, self.dtype).reshape(side, side)
        return tile[: self.size[0] - row * side, : self.size[1] - column * side]

    def band(self, row: int, channel: int = 0) -> np.ndarray:
        """The pixels of a whole row of tiles: (rows, W)."""
        return np.concatenate([self.tile(row, column, channel) for column in range(self.count[1])], axis=1)

    def packed(self, channel: int) -> Iterator[bytes]:
        """The tiles of a channel as they are stored, row by row."""
        for row in range(self.count[0]):
            for column in range(self.count[1]):
                yield self.spool.read(row, channel * self.count[1] + column)

    def lengths(self, channel: int) -> Iterator[int]:
        """How long each tile of a channel is as stored, row by row."""
        for row in self.spool.rows:
            yield from (length for _, length in row[channel * self.count[1] : (channel + 1) * self.count[1]])

    def halved(self, folder: Path, pool: ThreadPoolExecutor) -> TileStore:
        """The next coarser level, made tile by tile from four tiles of this one."""
        size = (self.size[0] + 1) // 2, (self.size[1] + 1) // 2
        coarse = TileStore(folder, self.output, size)
        for row in range(coarse.count[0]):
            places = [(row, c, k) for k in range(self.output.channels) for c in range(coarse.count[1])]
            coarse.spool.append(list(pool.map(lambda place: coarse.pack(self._halved_tile(*place)), places)))
        return coarse

    def _halved_tile(self, row: int, column: int, channel: int) -> np.ndarray:
        rows = range(2 * row, min(2 * row + 2, self.count[0]))
        columns = range(2 * column, min(2 * column + 2, self.count[1]))
        four = [[self.tile(i, j, channel) for j in columns] for i in rows]
        return halve(np.block(four), self.output.kind)

    def close(self) -> None:
        self.spool.close()
