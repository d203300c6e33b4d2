"""Where tiles lie: equal, evenly spread, overlapping; and how much each weighs in the overlaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saccade.errors import InvalidInput
from saccade.grids.sizes import require_size
from saccade.rasters import Window

MOST_OVERLAP = 0.5


@dataclass(frozen=True)
class Tiling:
    """Tiles of one size that cover an image.

    Attributes:
        size: (H, W) of the image.
        tile: (rows, columns) of a tile; cut to the image where it is larger.
        overlap: share of a tile that at least overlaps with the next one, 0 to 0.5.

    Raises:
        InvalidInput: for an overlap outside 0 to 0.5.
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    overlap: float = 0.125

    def __post_init__(self) -> None:
        if not 0 <= self.overlap <= MOST_OVERLAP:
            raise InvalidInput("overlap", f"a share from 0 to {MOST_OVERLAP}", self.overlap)
        rows, columns = require_size(self.tile, "tile")
        object.__setattr__(self, "tile", (min(rows, self.size[0]), min(columns, self.size[1])))

    def starts(self, axis: int) -> list[int]:
        """The first pixel of each tile along an axis (0 down, 1 across), evenly spread."""
        length, side = self.size[axis], self.tile[axis]
        if side >= length:
            return [0]
        shared = int(side * self.overlap)
        gaps = max(1, -(-(length - side) // max(1, side - shared)))
        return [(length - side) * number // gaps for number in range(gaps + 1)]

    @property
    def count(self) -> tuple[int, int]:
        """(down, across): how many tiles there are."""
        return len(self.starts(0)), len(self.starts(1))

    @property
    def windows(self) -> list[Window]:
        """Every tile, row by row."""
        rows, columns = self.tile
        return [
            Window(top, top + rows, left, left + columns) for top in self.starts(0) for left in self.starts(1)
        ]

    def weights(self, start: int, axis: int) -> NDArray[np.float32]:
        """How much each row (axis 0) or column (axis 1) of the tile at ``start`` weighs: 1, and a smooth step
        down to 0 over what it shares with its neighbours, so that the weights of all tiles add up to 1."""
        starts, side = self.starts(axis), self.tile[axis]
        number = starts.index(start)
        place = np.arange(side) + 0.5
        weights = np.ones(side)
        if number > 0 and (shared := starts[number - 1] + side - start) > 0:
            weights *= _step(place / shared)
        if number + 1 < len(starts) and (shared := start + side - starts[number + 1]) > 0:
            weights *= 1 - _step((place - (side - shared)) / shared)
        return weights.astype(np.float32)


def _step(at: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 0 at 0 to 1 at 1, level at both ends."""
    at = at.clip(0, 1)
    return at * at * (3 - 2 * at)
