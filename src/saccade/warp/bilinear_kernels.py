"""Kernels of bilinear and nearest sampling, forward and backward.

Level 0 is flat with any strides of (batch, row, column, channel). Positions are float64, whatever the grid.
A batch of one image serves every grid: grid ``b`` reads image ``b % images``.
"""

from __future__ import annotations

import numpy as np

from saccade.compiled import kernel
from saccade.warp.footprint_kernels import pixel


@kernel
def bilinear(first, last, base, strides, images, size, grid, out):
    """Rows ``first:last`` (over batch x grid rows) of ``out`` (B, C, h, w), between four pixels each."""
    height, width = size
    channels, rows, columns = out.shape[1:]
    for line in range(first, last):
        image, row = line // rows, line % rows
        start = image % images * strides[0]
        for column in range(columns):
            x = pixel(grid[image, row, column, 0], width)
            y = pixel(grid[image, row, column, 1], height)
            left, top = int(x), int(y)
            fx, fy = x - left, y - top
            at = start + top * strides[1] + left * strides[2]
            across = strides[2] if left < width - 1 else 0
            down = strides[1] if top < height - 1 else 0
            for channel in range(channels):
                upper = base[at] + fx * (float(base[at + across]) - base[at])
                lower = base[at + down] + fx * (float(base[at + down + across]) - base[at + down])
                out[image, channel, row, column] = upper + fy * (lower - upper)
                at += strides[3]


@kernel
def bilinear_to_grid(first, last, base, strides, images, size, grid, gradient, out):
    """Rows ``first:last`` of the gradient with respect to ``grid``: out (B, h, w, 2)."""
    height, width = size
    channels, rows, columns = gradient.shape[1:]
    for line in range(first, last):
        image, row = line // rows, line % rows
        start = image % images * strides[0]
        for column in range(columns):
            x = pixel(grid[image, row, column, 0], width)
            y = pixel(grid[image, row, column, 1], height)
            left, top = min(int(x), max(width - 2, 0)), min(int(y), max(height - 2, 0))
            fx, fy = x - left, y - top
            at = start + top * strides[1] + left * strides[2]
            across = strides[2] if left < width - 1 else 0
            down = strides[1] if top < height - 1 else 0
            to_x = to_y = 0.0
            for channel in range(channels):
                nw, ne = float(base[at]), float(base[at + across])
                sw, se = float(base[at + down]), float(base[at + down + across])
                share = gradient[image, channel, row, column]
                to_x += share * ((1 - fy) * (ne - nw) + fy * (se - sw))
                to_y += share * ((1 - fx) * (sw - nw) + fx * (se - ne))
                at += strides[3]
            out[image, row, column, 0] = to_x * 0.5 * (width - 1)
            out[image, row, column, 1] = to_y * 0.5 * (height - 1)


@kernel
def bilinear_to_image(first, last, size, grid, gradient, out):
    """Planes ``first:last`` (over images x channels) of the gradient with respect to the image.

    out: (images, H, W, C), zeros at the start. A plane belongs to one thread, so sums have one order.
    """
    height, width = size
    images, channels = out.shape[0], out.shape[3]
    batch, _, rows, columns = gradient.shape
    for plane in range(first, last):
        source, channel = plane // channels, plane % channels
        for image in range(source, batch, images):
            for row in range(rows):
                for column in range(columns):
                    x = pixel(grid[image, row, column, 0], width)
                    y = pixel(grid[image, row, column, 1], height)
                    left, top = int(x), int(y)
                    fx, fy = x - left, y - top
                    right, below = min(left + 1, width - 1), min(top + 1, height - 1)
                    share = gradient[image, channel, row, column]
                    out[source, top, left, channel] += share * (1 - fx) * (1 - fy)
                    out[source, top, right, channel] += share * fx * (1 - fy)
                    out[source, below, left, channel] += share * (1 - fx) * fy
                    out[source, below, right, channel] += share * fx * fy


@kernel
def nearest(first, last, base, strides, images, size, grid, out):
    """Rows ``first:last`` of ``out`` (B, C, h, w): the nearest pixel; halves go to the even one."""
    height, width = size
    channels, rows, columns = out.shape[1:]
    for line in range(first, last):
        image, row = line // rows, line % rows
        start = image % images * strides[0]
        for column in range(columns):
            x = int(np.rint(pixel(grid[image, row, column, 0], width)))
            y = int(np.rint(pixel(grid[image, row, column, 1], height)))
            at = start + y * strides[1] + x * strides[2]
            for channel in range(channels):
                out[image, channel, row, column] = base[at]
                at += strides[3]
