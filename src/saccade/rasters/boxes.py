"""The kernel that sums pixels over boxes: every anti-aliased reading of a raster ends here."""

from __future__ import annotations

import math

import numpy as np

from saccade.compiled import kernel
from saccade.warp.footprint_kernels import footprint, interval, level_for, pixel


@kernel
def box_sums(block, valid, masked, top, left, boxes, out):
    """Sums of ``block`` (h, w, C), whose corner lies at (top, left), over the part of each box inside it.

    boxes: (n, 4) y0, y1, x0, x1, edges in pixels, where pixel i covers [i, i + 1].
    out: (n, C + 1) float64; the last column is the area that the sum is over. Pixels that are not valid
        count nowhere (looked at only where ``masked``).
    """
    height, width, channels = block.shape
    for n in range(len(boxes)):
        y0, y1 = max(boxes[n, 0] - top, 0.0), min(boxes[n, 1] - top, float(height))
        x0, x1 = max(boxes[n, 2] - left, 0.0), min(boxes[n, 3] - left, float(width))
        for i in range(int(y0), math.ceil(y1)):
            tall = min(y1, i + 1.0) - max(y0, float(i))
            for j in range(int(x0), math.ceil(x1)):
                if masked and not valid[i, j]:
                    continue
                area = tall * (min(x1, j + 1.0) - max(x0, float(j)))
                for channel in range(channels):
                    out[n, channel] += area * block[i, j, channel]
                out[n, channels] += area


@kernel
def cell_sums(block, valid, masked, rows, columns, out):
    """Sums of ``block`` (h, w, C) over the cells of a grating, as far as they lie inside it.

    rows, columns: float64 edges of the cells, in pixels of the block (increasing; one more than cells).
    out: (cells down, cells across, C + 1) float64; the last channel is the area.
    """
    height, width, channels = block.shape
    for a in range(len(rows) - 1):
        y0, y1 = max(rows[a], 0.0), min(rows[a + 1], float(height))
        for i in range(int(y0), math.ceil(y1)):
            tall = min(y1, i + 1.0) - max(y0, float(i))
            for b in range(len(columns) - 1):
                x0, x1 = max(columns[b], 0.0), min(columns[b + 1], float(width))
                for j in range(int(x0), math.ceil(x1)):
                    if masked and not valid[i, j]:
                        continue
                    area = tall * (min(x1, j + 1.0) - max(x0, float(j)))
                    for channel in range(channels):
                        out[a, b, channel] += area * block[i, j, channel]
                    out[a, b, channels] += area


@kernel
def footprint_boxes(first, last, grid, size, levels, boxes, scales):
    """Rows ``first:last`` (over batch x grid rows): each sample's box on level 0, as ``saccade.sample`` with
    ``antialias`` would take it, and the downsampling of the level on which that would average it.

    grid: (B, h, w, 2) float64. boxes: (B, h, w, 4) y0, y1, x0, x1 in pixel edges. scales: (B, h, w).
    """
    height, width = size
    rows, columns = grid.shape[1:3]
    for line in range(first, last):
        image, row = line // rows, line % rows
        for column in range(columns):
            wide, tall = footprint(grid, image, row, column, height, width)
            scale = float(1 << level_for(wide, tall, levels))
            y0, y1 = interval(pixel(grid[image, row, column, 1], height), tall, scale, height)
            x0, x1 = interval(pixel(grid[image, row, column, 0], width), wide, scale, width)
            box = boxes[image, row, column]
            box[0], box[1], box[2], box[3] = y0 * scale, y1 * scale, x0 * scale, x1 * scale
            scales[image, row, column] = scale


def means(sums: np.ndarray, dtype: np.dtype, empty: float) -> np.ndarray:
    """(..., C + 1) sums and areas as means (..., C) of ``dtype``, rounded for integers; ``empty`` where no
    valid pixel was met."""
    area = sums[..., -1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(area > 0, sums[..., :-1] / area, empty)
    if dtype.kind in "ui":
        limits = np.iinfo(dtype)
        mean = np.rint(mean).clip(limits.min, limits.max)
    return mean.astype(dtype)
