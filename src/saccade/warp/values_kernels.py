"""Kernels of :func:`saccade.unwarp`: the source of every pixel, and its value.

The source of a pixel is one int32: a triangle (>= 0), or ``-2 - node`` for a node.
"""

from __future__ import annotations

import numpy as np

from saccade.compiled import kernel
from saccade.warp.nearest_kernels import nearest_numbers
from saccade.warp.paint_kernels import frame, node_of, paint
from saccade.warp.triangle_kernels import corners

CHUNK = 1 << 17
"""Pixels whose sources are kept at a time."""


@kernel
def sources(first, last, out, window, mesh, bins, linear, missed):
    """Rows ``first:last`` of ``out`` (rows, columns) int32: the source of each pixel of the window."""
    numbers, top, left = out[first:last], window[0] + first, window[2]
    x, y, heights = mesh
    if linear:
        nothing = np.empty((0, 0))
        numbers[:] = -1
        paint(numbers, nothing, nothing, top, left, x, y, heights)
        if not any_left(numbers):
            return
    if not to_nearest(numbers, top, left, mesh, bins, linear):
        missed[0] = 1


@kernel
def any_left(numbers):
    """Whether a pixel has no triangle."""
    for row in range(len(numbers)):
        least = np.int32(0)
        for place in range(numbers.shape[1]):
            least = min(least, numbers[row, place])
        if least < 0:
            return True
    return False


@kernel
def to_nearest(numbers, top, left, mesh, bins, holes_only):
    """Numbers the nearest node of all pixels, or of those left; False if there are no bins to find it by."""
    starts, order, side, across = bins
    if len(order) == 0:
        return False
    x, y = mesh[0].ravel(), mesh[1].ravel()
    nearest_numbers(numbers, top, left, x, y, starts, order, side, across, holes_only)
    return True


@kernel
def fill_holes(numbers, planes, values):
    """Gives each pixel whose source is a node that node's values."""
    flat = numbers.ravel()
    for channel in range(len(planes)):
        for place in range(len(flat)):
            if flat[place] < 0:
                planes[channel, place] = values[channel, -2 - flat[place]]


@kernel
def interpolated(first, last, values, out, window, mesh, bins, missed):
    """Rows ``first:last`` of ``out`` (C, rows, columns): values (C, nodes), linear on each triangle.

    missed[0] becomes 1 where a pixel is in no triangle and there are no bins to find its nearest node by.
    """
    columns, left = out.shape[2], window[2]
    x, y, heights = mesh
    deep = max(1, CHUNK // columns)
    scratch = np.empty((min(deep, last - first), columns), np.int32)
    planes = out.reshape(len(out), out.shape[1] * columns)
    for start in range(first, last, deep):
        stop, top = min(start + deep, last), window[0] + start
        numbers, part = scratch[: stop - start], planes[:, start * columns : stop * columns]
        numbers[:] = -1
        paint(numbers, part, values, top, left, x, y, heights)
        if any_left(numbers):
            if not to_nearest(numbers, top, left, mesh, bins, True):
                missed[0] = 1
                return
            fill_holes(numbers, part, values)


@kernel
def gathered(first, last, values, strides, out, window, mesh, bins):
    """Rows ``first:last`` of ``out`` (C, rows, columns): the nearest node's value, of any type, as bits.

    values: flat, with ``strides`` of (channel, row, column).
    """
    columns, wide = out.shape[2], mesh[0].shape[1]
    deep = max(1, CHUNK // columns)
    scratch = np.empty((min(deep, last - first), columns), np.int32)
    for start in range(first, last, deep):
        numbers = scratch[: min(deep, last - start)]
        to_nearest(numbers, window[0] + start, window[2], mesh, bins, False)
        for channel in range(len(out)):
            for line in range(len(numbers)):
                for column in range(columns):
                    node = -2 - numbers[line, column]
                    row = node // wide
                    at = channel * strides[0] + row * strides[1] + (node - row * wide) * strides[2]
                    out[channel, start + line, column] = values[at]


@kernel
def scattered(first, last, numbers, gradient, out, window, mesh):
    """Channels ``first:last`` of the gradient with respect to the values: out (C, nodes) float64, zeros.

    numbers: (rows, columns) sources; gradient: (C, rows, columns). One order of summation, so one result.
    """
    columns = numbers.shape[1]
    held = np.empty(6)
    for row in range(len(numbers)):
        column = 0
        while column < columns:
            number = numbers[row, column]
            stop = column + 1
            while stop < columns and numbers[row, stop] == number:
                stop += 1
            if number < 0:
                for channel in range(first, last):
                    for place in range(column, stop):
                        out[channel, -2 - number] += gradient[channel, row, place]
            else:
                _hand_back(first, last, number, row, column, stop, gradient, out, window, mesh, held)
            column = stop


@kernel
def _hand_back(first, last, number, row, column, stop, gradient, out, window, mesh, held):
    """Adds the gradient of the pixels ``column:stop`` of a row to the corners of their triangle."""
    x, y, _ = mesh
    cells = x.shape[1] - 1
    cell = number >> 1
    frame(corners(x, y, cell // cells, cell % cells, number & 1), held)
    x0, down = held[0], window[0] + row - held[1]
    n0, n1, n2 = node_of(number, cells, 0), node_of(number, cells, 1), node_of(number, cells, 2)
    for channel in range(first, last):
        total = moment = 0.0
        for place in range(column, stop):
            share = gradient[channel, row, place]
            total += share
            moment += share * (window[2] + place - x0)
        one = moment * held[2] + total * down * held[3]
        two = moment * held[4] + total * down * held[5]
        out[channel, n0] += total - one - two
        out[channel, n1] += one
        out[channel, n2] += two
