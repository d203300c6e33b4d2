"""Tiles: which part of an image each shows, their bytes, and a cache of as many bytes as it may hold."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saccade.geometry import Window

TILE = 512
"""Rows and columns of a tile on the screen. 256, as on maps, would be four times the requests, and would
decode the tiles of the file, mostly 256 to 512 wide, up to four times."""

JPEG_QUALITY = 88


@dataclass(frozen=True)
class Patch:
    """A part of an image, in pixels of level 0, and the (rows, columns) of the tile that shows it.

    Tile (z, x, y) begins at column 512 x 2^z and row 512 y 2^z; those at the right and lower border are cut.
    """

    window: Window
    size: tuple[int, int]

    @property
    def step(self) -> float:
        """Pixels of the image that a pixel of the tile stands for along an axis."""
        return max(self.window.height / self.size[0], self.window.width / self.size[1])


def depth(size: tuple[int, int]) -> int:
    """The z at which an image of ``size`` is one tile."""
    return max(0, (max(size) - 1) // TILE).bit_length()


def patch_of(size: tuple[int, int], z: int, x: int, y: int) -> Patch | None:
    """What tile (z, x, y) of an image of ``size`` shows; None where there is no such tile."""
    if not 0 <= z <= depth(size) or x < 0 or y < 0:
        return None
    span = TILE << z
    top, left = y * span, x * span
    if top >= size[0] or left >= size[1]:
        return None
    window = Window(top, min(top + span, size[0]), left, min(left + span, size[1]))
    return Patch(window, (-(-window.height // (1 << z)), -(-window.width // (1 << z))))


@dataclass(frozen=True)
class Tile:
    """A file for the browser; ``complete`` False: more of it will be known soon."""

    kind: str
    data: bytes
    complete: bool = True


def encoded(pixels: NDArray[np.uint8], *, complete: bool = True) -> Tile:
    """Pixels as a file: colours (h, w, 3) as JPEG; colours with opacity (h, w, 4) and values (h, w) as
    PNG."""
    buffer = io.BytesIO()
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        # Without the subsampling of colours, which would smear what single pixels are looked at for.
        Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        return Tile("image/jpeg", buffer.getvalue(), complete)
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return Tile("image/png", buffer.getvalue(), complete)


@dataclass
class TileCache:
    """The tiles used last, at most ``limit`` bytes of them; one that several ask for at once is made once.

    Attributes:
        limit: bytes.
        held: bytes now.
        made: how many tiles were made.
    """

    limit: int
    held: int = field(default=0, init=False)
    made: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._tiles: OrderedDict[Hashable, Tile] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Tile]) -> Tile:
        """The tile of that key, made where it is not there; incomplete ones are not kept."""
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
                return self._tiles[key]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._tiles:
                    return self._tiles[key]
            try:
                tile = make()
            finally:
                with self._lock:
                    self._making.pop(key, None)
            with self._lock:
                self.made += 1
                if tile.complete:
                    self._keep(key, tile)
            return tile

    def _keep(self, key: Hashable, tile: Tile) -> None:
        before = self._tiles.pop(key, None)
        self.held += len(tile.data) - (0 if before is None else len(before.data))
        self._tiles[key] = tile
        while self.held > self.limit:
            _, oldest = self._tiles.popitem(last=False)
            self.held -= len(oldest.data)
