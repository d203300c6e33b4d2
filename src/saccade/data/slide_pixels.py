"""A slide reduced to many pixels: as an overview, but in memory that its pixels take and no more."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from saccade.rasters.raster import Raster
from saccade.rasters.window import Window
from saccade.rasters.boxes import cell_sums, means
from saccade.rasters.overview import overview_level
from saccade.rasters.pieces import validity

_BAND_PIXELS = 1 << 22


def reduced_pixels(raster: Raster, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The whole of an 8-bit RGB raster averaged down to ``size``: (h, w, 3) uint8.

    Each pixel is the mean over its share of the coarsest level that is not smaller than ``size``, as
    :func:`saccade.rasters.overview`; that level is read once, band by band. Black where nothing was measured.

    Raises:
        FileProblem: the file is damaged.
    """
    level = overview_level(raster, size)
    height, width = raster.levels[level].size
    rows, columns = (np.linspace(0, full, n + 1) for full, n in zip((height, width), size, strict=True))
    tile = raster.levels[level].tile[0]
    step = tile * max(1, _BAND_PIXELS // (tile * width))
    out = np.zeros((*size, 3), np.uint8)
    begun = np.zeros((size[1], 4))
    for top in range(0, height, step):
        window = Window(top, min(top + step, height), 0, width)
        block = raster.read(window, level)
        valid, masked = validity(raster, window, level, block)
        first = int(np.searchsorted(rows, top, side="right")) - 1
        last = int(np.searchsorted(rows, window.bottom, side="left"))
        sums = np.zeros((last - first, size[1], 4))
        sums[0] = begun
        cell_sums(block, valid, masked, rows[first : last + 1] - top, columns, sums)
        finished = last - first - (0 if math.isclose(rows[last], window.bottom) else 1)
        out[first : first + finished] = means(sums[:finished], np.dtype(np.uint8), 0.0)
        begun = sums[finished] if finished < len(sums) else np.zeros_like(begun)
    return out
