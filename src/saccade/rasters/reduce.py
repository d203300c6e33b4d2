"""A raster made small: means over boxes, in one streaming pass and bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from saccade.errors import InvalidInput
from saccade.geometry import Window, require_size, tile_windows
from saccade.rasters._kernels import cell_sums, means
from saccade.rasters.raster import Level, Raster
from saccade.runtime.threads import in_order, threads

T = TypeVar("T")
BLOCK_PIXELS = 1 << 20


def block_size(level: Level) -> tuple[int, int]:
    """(rows, columns): whole tiles, about ``BLOCK_PIXELS`` in all, as square as the tiles allow."""
    rows, columns = level.tile
    side = int(BLOCK_PIXELS**0.5)
    across = min(max(side // columns, 1) * columns, level.size[1])
    down = min(max(BLOCK_PIXELS // across // rows, 1) * rows, level.size[0])
    return down, across


def blocks(level: Level) -> Iterator[Window]:
    return tile_windows(level.size, block_size(level))


def map_windows(
    raster: Raster,
    level: int,
    windows: Sequence[Window],
    work: Callable[[Window, np.ndarray], T],
    use: Callable[[Window, T], None],
    *,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Read ``windows`` and ``work`` on their pixels on a few threads (decoders and kernels let go of the
    interpreter); ``use`` what came out in the order of ``windows``, on the calling thread.

    At most one more block than threads is in memory at once.
    """

    def read(window: Window) -> T:
        return work(window, raster.read(window, level))

    count = threads()
    with closing(in_order(read, windows, threads=count, ahead=count)) as results:
        for number, (window, result) in enumerate(zip(windows, results, strict=True)):
            use(window, result)
            if progress is not None:
                progress(number / len(windows))
    if progress is not None:
        progress(1.0)


def validity(raster: Raster, window: Window, level: int, block: np.ndarray) -> tuple[np.ndarray, bool]:
    """The mask of measured pixels of a block just read, and whether it needs to be looked at."""
    masked = raster.info.masked
    if not masked and block.dtype.kind != "f":
        return np.ones((1, 1), bool), False
    valid = raster.valid(window, level) if masked else np.ones(window.size, bool)
    if block.dtype.kind == "f":
        valid &= np.isfinite(block).all(axis=2)
    return valid, not valid.all()


def thumbnail(
    raster: Raster, size: Sequence[int], *, progress: Callable[[float], None] | None = None
) -> np.ndarray:
    """The whole of ``raster`` averaged down to ``size`` (h, w): (h, w, C) of the raster's dtype.

    Each pixel is the mean over its share of the image, computed from the coarsest level that is not smaller
    than ``size``; an image without thumbnails is read once, block by block. Pixels without measurement
    (nodata) count nowhere; where there is nothing else the result is the nodata value, or the ``background``.
    Class indices and palettes are not averaged: each pixel is the one at the centre of its share.

    Args:
        progress: called with the share done, 0 to 1.

    Raises:
        InvalidInput: size is not a pair of whole numbers, or larger than the image.
        FileProblem: the file is damaged.

    Examples:
        >>> import numpy as np
        >>> from PIL import Image
        >>> from saccade.rasters import open_raster, thumbnail
        >>> Image.fromarray(np.repeat([[0, 200]], 4, 0).astype(np.uint8)).save("photo.png")
        >>> with open_raster("photo.png") as raster:
        ...     print(thumbnail(raster, (2, 1)).tolist())
        [[[100]], [[100]]]
    """
    rows, columns = require_size(size)
    if rows > raster.size[0] or columns > raster.size[1]:
        raise InvalidInput(
            "size", f"at most {raster.size[0]}x{raster.size[1]}, the image", f"{rows}x{columns}"
        )
    level = thumbnail_level(raster, (rows, columns))
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

    def add(window: Window, block: tuple[int, int, np.ndarray]) -> None:
        top, left, part = block
        sums[top : top + part.shape[0], left : left + part.shape[1]] += part

    map_windows(raster, level, list(blocks(raster.levels[level])), work, add, progress=progress)
    return means(sums, raster.dtype, raster.nodata or raster.info.background)


def thumbnail_level(raster: Raster, size: tuple[int, int]) -> int:
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

    def put(window: Window, block: np.ndarray) -> None:
        out[np.ix_(*places(window))] = block

    map_windows(raster, level, list(blocks(raster.levels[level])), work, put)
    return out


_BAND_PIXELS = 1 << 22


def reduced_pixels(raster: Raster, size: tuple[int, int]) -> NDArray[Any]:
    """The whole of a raster averaged down to ``size``: (h, w, C) of its type.

    Each pixel is the mean over its share of the coarsest level that is not smaller than ``size``, as
    :func:`saccade.rasters.reduce`; that level is read once, band by band. Where nothing was measured it is
    the raster's ``background``.

    Raises:
        FileProblem: the file is damaged.
    """
    level = thumbnail_level(raster, size)
    height, width = raster.levels[level].size
    rows, columns = (np.linspace(0, full, n + 1) for full, n in zip((height, width), size, strict=True))
    tile = raster.levels[level].tile[0]
    step = tile * max(1, _BAND_PIXELS // (tile * width))
    out = np.zeros((*size, raster.channels), raster.dtype)
    begun = np.zeros((size[1], raster.channels + 1))
    for top in range(0, height, step):
        window = Window(top, min(top + step, height), 0, width)
        block = raster.read(window, level)
        valid, masked = validity(raster, window, level, block)
        first = int(np.searchsorted(rows, top, side="right")) - 1
        last = int(np.searchsorted(rows, window.bottom, side="left"))
        sums = np.zeros((last - first, size[1], raster.channels + 1))
        sums[0] = begun
        cell_sums(block, valid, masked, rows[first : last + 1] - top, columns, sums)
        finished = last - first - (0 if math.isclose(rows[last], window.bottom) else 1)
        out[first : first + finished] = means(sums[:finished], raster.dtype, raster.info.background)
        begun = sums[finished] if finished < len(sums) else np.zeros_like(begun)
    return out
