"""Walks over a raster in pieces that fit in memory and decode no tile twice."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch

from saccade.rasters.raster import Level, Raster
from saccade.rasters.window import Window, tile_windows

T = TypeVar("T")
PIECE_PIXELS = 1 << 20


def piece_size(level: Level) -> tuple[int, int]:
    """(rows, columns): whole tiles, about ``PIECE_PIXELS`` in all, as square as the tiles allow."""
    rows, columns = level.tile
    side = int(PIECE_PIXELS**0.5)
    across = min(max(side // columns, 1) * columns, level.size[1])
    down = min(max(PIECE_PIXELS // across // rows, 1) * rows, level.size[0])
    return down, across


def pieces(level: Level) -> Iterator[Window]:
    return tile_windows(level.size, piece_size(level))


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

    At most one more piece than threads is in memory at once.
    """

    def read(window: Window) -> T:
        return work(window, raster.read(window, level))

    workers = max(1, torch.get_num_threads())
    with ThreadPoolExecutor(workers, thread_name_prefix="saccade-read") as pool:
        ahead: deque[tuple[Window, Future[T]]] = deque()
        try:
            for number, window in enumerate(windows):
                ahead.append((window, pool.submit(read, window)))
                if len(ahead) > workers:
                    _use_next(ahead, use)
                if progress is not None:
                    progress(number / len(windows))
            while ahead:
                _use_next(ahead, use)
        finally:
            for _, future in ahead:
                future.cancel()
    if progress is not None:
        progress(1.0)


def _use_next(ahead: deque[tuple[Window, Future[T]]], use: Callable[[Window, T], None]) -> None:
    window, future = ahead.popleft()
    use(window, future.result())


def validity(raster: Raster, window: Window, level: int, block: np.ndarray) -> tuple[np.ndarray, bool]:
    """The mask of measured pixels of a block just read, and whether it needs to be looked at."""
    masked = raster.info.masked
    if not masked and block.dtype.kind != "f":
        return np.ones((1, 1), bool), False
    valid = raster.valid(window, level) if masked else np.ones(window.size, bool)
    if block.dtype.kind == "f":
        valid &= np.isfinite(block).all(axis=2)
    return valid, not valid.all()
