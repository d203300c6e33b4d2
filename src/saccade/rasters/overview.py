"""The whole image, small: area averaging in one streaming pass and bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from saccade.errors import InvalidInput
from saccade.grids.sizes import require_size
from saccade.rasters.boxes import cell_sums, means
from saccade.rasters.pieces import map_windows, pieces, validity
from saccade.rasters.raster import Raster
from saccade.rasters.window import Window


def overview(
    raster: Raster, size: Sequence[int], *, progress: Callable[[float], None] | None = None
) -> np.ndarray:
    """The whole of ``raster`` averaged down to ``size`` (h, w): (h, w, C) of the raster's dtype.

    Each pixel is the mean over its share of the image, computed from the coarsest level that is not smaller
    than ``size``; an image without overviews is read once, piece by piece. Pixels without measurement
    (nodata) count nowhere; where there is nothing else the result is the nodata value, or 0. Class indices
    and palettes are not averaged: each pixel is the one at the centre of its share.

    Args:
        progress: called with the share done, 0 to 1.

    Raises:
        InvalidInput: size is not a pair of whole numbers, or larger than the image.
        FileProblem: the file is damaged.
    """
    rows, columns = require_size(size)
    if rows > raster.size[0] or columns > raster.size[1]:
        raise InvalidInput(
            "size", f"at most {raster.size[0]}x{raster.size[1]}, the image", f"{rows}x{columns}"
        )
    level = overview_level(raster, (rows, columns))
    if raster.info.meaning == "palette":
        return _centres(raster, (rows, columns), level)
    height, width = raster.levels[level].size
    row_edges, column_edges = np.linspace(0, height, rows + 1), np.linspace(0, width, columns + 1)
    sums = np.zeros((rows, columns, raster.channels + 1))

    def work(window: Window, block: np.ndarray) -> tuple[int, int, np.ndarray]:
        valid, masked = validity(raster, window, level, block)
        top, some_rows = _cut(row_edges, window.top, window.bottom)
        left, some_columns = _cut(column_edges, window.left, window.right)
        part = np.zeros((len(some_rows) - 1, len(some_columns) - 1, raster.channels + 1))
        cell_sums(block, valid, masked, some_rows, some_columns, part)
        return top, left, part

    def add(window: Window, found: tuple[int, int, np.ndarray]) -> None:
        top, left, part = found
        sums[top : top + part.shape[0], left : left + part.shape[1]] += part

    map_windows(raster, level, list(pieces(raster.levels[level])), work, add, progress=progress)
    return means(sums, raster.dtype, raster.nodata or 0.0)


def overview_level(raster: Raster, size: tuple[int, int]) -> int:
    """The coarsest level that is not smaller than ``size`` along either axis."""
    fine = [
        n for n, level in enumerate(raster.levels) if level.size[0] >= size[0] and level.size[1] >= size[1]
    ]
    return fine[-1] if fine else 0


def _cut(edges: np.ndarray, low: int, high: int) -> tuple[int, np.ndarray]:
    """The first cell that [low, high) meets, and the edges of all it meets, from ``low`` on."""
    first = int(np.searchsorted(edges, low, side="right")) - 1
    last = int(np.searchsorted(edges, high, side="left"))
    return first, edges[first : last + 1] - low


def _centres(raster: Raster, size: tuple[int, int], level: int) -> np.ndarray:
    height, width = raster.levels[level].size
    rows = ((np.arange(size[0]) + 0.5) * height / size[0]).astype(int)
    columns = ((np.arange(size[1]) + 0.5) * width / size[1]).astype(int)
    out = np.empty((*size, raster.channels), raster.dtype)

    def places(window: Window) -> tuple[np.ndarray, np.ndarray]:
        some_rows = np.flatnonzero((rows >= window.top) & (rows < window.bottom))
        return some_rows, np.flatnonzero((columns >= window.left) & (columns < window.right))

    def work(window: Window, block: np.ndarray) -> np.ndarray:
        some_rows, some_columns = places(window)
        return block[np.ix_(rows[some_rows] - window.top, columns[some_columns] - window.left)]

    def put(window: Window, found: np.ndarray) -> None:
        out[np.ix_(*places(window))] = found

    map_windows(raster, level, list(pieces(raster.levels[level])), work, put)
    return out
