"""Kernels of anti-aliased sampling, forward and backward.

Level 0 is flat with any strides of (batch, row, column, channel). Positions are float64, whatever the grid.
A batch of one image serves every grid: grid ``b`` reads image ``b % images``.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from saccade.warp.footprint_kernels import footprint, interval, level_for, pixel


@njit(nogil=True, cache=True)
def averaged(first, last, base, strides, images, rest, levels, grid, out):
    """Rows ``first:last`` of ``out`` (B, C, h, w): the mean of the image over each sample's footprint.

    levels: (levels, 3) as ``saccade.warp.pyramid.level_table``.
    """
    height, width = levels[0, 1], levels[0, 2]
    channels, rows, columns = out.shape[1:]
    total = np.empty(channels)
    inner = np.empty(channels)
    for line in range(first, last):
        image, row = line // rows, line % rows
        for column in range(columns):
            wide, tall = footprint(grid, image, row, column, height, width)
            level = level_for(wide, tall, len(levels))
            scale = float(1 << level)
            x0, x1 = interval(pixel(grid[image, row, column, 0], width), wide, scale, width)
            y0, y1 = interval(pixel(grid[image, row, column, 1], height), tall, scale, height)
            start, lines, over = levels[level, 0], levels[level, 2] * channels, channels
            values, step = rest, 1
            start += image % images * levels[level, 1] * lines
            if level == 0:
                values, start, step = base, image % images * strides[0], strides[3]
                lines, over = strides[1], strides[2]
            total[:] = 0.0
            for i in range(int(y0), math.ceil(y1)):
                inner[:] = 0.0
                for j in range(int(x0), math.ceil(x1)):
                    share = min(x1, j + 1.0) - max(x0, float(j))
                    at = start + i * lines + j * over
                    for channel in range(channels):
                        inner[channel] += share * values[at]
                        at += step
                share = min(y1, i + 1.0) - max(y0, float(i))
                for channel in range(channels):
                    total[channel] += share * inner[channel]
            area = (x1 - x0) * (y1 - y0)
            for channel in range(channels):
                out[image, channel, row, column] = total[channel] / area


@njit(nogil=True, cache=True)
def averaged_to_grid(first, last, base, strides, images, rest, levels, grid, gradient, out, sides):
    """Rows ``first:last`` of the gradient with respect to each sample's place and to its footprint.

    out, sides: (B, h, w, 2); the gradient by position (x, y) in [-1, 1], and by width and height in pixels.
    A side that is clipped by the border, or held at its least length, does not move.
    """
    height, width = levels[0, 1], levels[0, 2]
    channels, rows, columns = gradient.shape[1:]
    for line in range(first, last):
        image, row = line // rows, line % rows
        for column in range(columns):
            wide, tall = footprint(grid, image, row, column, height, width)
            level = level_for(wide, tall, len(levels))
            scale = float(1 << level)
            x0, x1 = interval(pixel(grid[image, row, column, 0], width), wide, scale, width)
            y0, y1 = interval(pixel(grid[image, row, column, 1], height), tall, scale, height)
            start, lines, over = levels[level, 0], levels[level, 2] * channels, channels
            values, step = rest, 1
            start += image % images * levels[level, 1] * lines
            if level == 0:
                values, start, step = base, image % images * strides[0], strides[3]
                lines, over = strides[1], strides[2]
            top, bottom, left, right = int(y0), math.ceil(y1) - 1, int(x0), math.ceil(x1) - 1
            total = at_top = at_bottom = at_left = at_right = 0.0
            for i in range(top, bottom + 1):
                share = min(y1, i + 1.0) - max(y0, float(i))
                across = 0.0
                for j in range(left, right + 1):
                    at = start + i * lines + j * over
                    value = 0.0
                    for channel in range(channels):
                        value += gradient[image, channel, row, column] * values[at]
                        at += step
                    across += (min(x1, j + 1.0) - max(x0, float(j))) * value
                    if j == left:
                        at_left += share * value
                    if j == right:
                        at_right += share * value
                total += share * across
                if i == top:
                    at_top = across
                if i == bottom:
                    at_bottom = across
            long, high = x1 - x0, y1 - y0
            mean = total / (long * high)
            by_left = (mean - at_left / high) / long / scale if x0 > 0.0 else 0.0
            by_right = (at_right / high - mean) / long / scale if x1 * scale < width else 0.0
            by_top = (mean - at_top / long) / high / scale if y0 > 0.0 else 0.0
            by_bottom = (at_bottom / long - mean) / high / scale if y1 * scale < height else 0.0
            out[image, row, column, 0] = (by_left + by_right) * 0.5 * (width - 1)
            out[image, row, column, 1] = (by_top + by_bottom) * 0.5 * (height - 1)
            sides[image, row, column, 0] = (by_right - by_left) * 0.5 if wide > scale else 0.0
            sides[image, row, column, 1] = (by_bottom - by_top) * 0.5 if tall > scale else 0.0


@njit(nogil=True, cache=True)
def averaged_to_image(first, last, images, levels, grid, gradient, base, rest):
    """Planes ``first:last`` (over images x channels) of the gradient with respect to the levels.

    base: flat gradient of level 0 (channels last), rest: of the levels above; zeros at the start.
    """
    height, width = levels[0, 1], levels[0, 2]
    batch, channels, rows, columns = gradient.shape
    for plane in range(first, last):
        source, channel = plane // channels, plane % channels
        for image in range(source, batch, images):
            for row in range(rows):
                for column in range(columns):
                    wide, tall = footprint(grid, image, row, column, height, width)
                    level = level_for(wide, tall, len(levels))
                    scale = float(1 << level)
                    x0, x1 = interval(pixel(grid[image, row, column, 0], width), wide, scale, width)
                    y0, y1 = interval(pixel(grid[image, row, column, 1], height), tall, scale, height)
                    lines = levels[level, 2] * channels
                    start = levels[level, 0] + source * levels[level, 1] * lines + channel
                    values = base if level == 0 else rest
                    share = gradient[image, channel, row, column] / ((x1 - x0) * (y1 - y0))
                    for i in range(int(y0), math.ceil(y1)):
                        part = share * (min(y1, i + 1.0) - max(y0, float(i)))
                        for j in range(int(x0), math.ceil(x1)):
                            weight = min(x1, j + 1.0) - max(x0, float(j))
                            values[start + i * lines + j * channels] += part * weight
