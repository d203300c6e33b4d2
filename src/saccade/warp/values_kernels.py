"""Kernels of :func:`saccade.unwarp`: the source of every pixel, then its value.

The source of a pixel is one int32: a triangle (>= 0), or ``-2 - node`` for a node.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from saccade.warp.nearest_kernels import nearest_numbers
from saccade.warp.triangle_kernels import corners, paint_numbers, weights

CHUNK = 1 << 17
"""Pixels whose sources are kept at a time."""


@njit(nogil=True, cache=True)
def find_sources(numbers, top, left, x, y, bins, linear):
    """Fills ``numbers`` (rows, columns) at pixel (top, left); False if one is missing for want of bins."""
    starts, order, side, across = bins
    if linear:
        numbers[:] = -1
        paint_numbers(numbers, top, left, x, y)
        if not np.any(numbers == -1):
            return True
    if len(order) == 0:
        return False
    nearest_numbers(numbers, top, left, x.ravel(), y.ravel(), starts, order, side, across, linear)
    return True


@njit(nogil=True, cache=True)
def sources(first, last, out, window, x, y, bins, linear, missed):
    """Rows ``first:last`` of ``out`` (rows, columns) int32: the source of each pixel of the window."""
    if not find_sources(out[first:last], window[0] + first, window[2], x, y, bins, linear):
        missed[0] = 1


@njit(nogil=True, cache=True, inline="always")
def node_of(number, cells, corner):
    """Flat number of corner 0, 1 or 2 of a triangle, in a mesh of ``cells`` cells a row."""
    half, cell = number & 1, number >> 1
    row, column = cell // cells, cell % cells
    if corner == 0:
        return (row + half) * (cells + 1) + column + half
    if corner == 1:
        return (row + half) * (cells + 1) + column + 1 - half
    return (row + 1 - half) * (cells + 1) + column + half


@njit(nogil=True, cache=True)
def interpolated(first, last, values, out, window, x, y, bins, missed):
    """Rows ``first:last`` of ``out`` (C, rows, columns): values (C, nodes), linear on each triangle."""
    columns, cells = out.shape[2], x.shape[1] - 1
    deep = max(1, CHUNK // columns)
    scratch = np.empty((min(deep, last - first), columns), np.int32)
    for start in range(first, last, deep):
        numbers = scratch[: min(deep, last - start)]
        if not find_sources(numbers, window[0] + start, window[2], x, y, bins, True):
            missed[0] = 1
            return
        for line in range(len(numbers)):
            _fill_row(numbers[line], start + line, values, out, window, x, y, cells)


@njit(nogil=True, cache=True)
def _fill_row(numbers, row, values, out, window, x, y, cells):
    column = 0
    while column < len(numbers):
        number = numbers[column]
        stop = column + 1
        while stop < len(numbers) and numbers[stop] == number:
            stop += 1
        if number < 0:
            for channel in range(len(values)):
                out[channel, row, column:stop] = values[channel, -2 - number]
        else:
            cell = number >> 1
            x0, y0, x1, y1, x2, y2 = corners(x, y, cell // cells, cell % cells, number & 1)
            b1, c1, b2, c2, _ = weights(x0, y0, x1, y1, x2, y2)
            c1 *= window[0] + row - y0
            c2 *= window[0] + row - y0
            n0, n1, n2 = node_of(number, cells, 0), node_of(number, cells, 1), node_of(number, cells, 2)
            for channel in range(len(values)):
                start = float(values[channel, n0])
                rise1, rise2 = values[channel, n1] - start, values[channel, n2] - start
                base, steep = start + rise1 * c1 + rise2 * c2, rise1 * b1 + rise2 * b2
                for place in range(column, stop):
                    out[channel, row, place] = base + ((window[2] + place) - x0) * steep
        column = stop


@njit(nogil=True, cache=True)
def gathered(first, last, values, strides, out, window, x, y, bins):
    """Rows ``first:last`` of ``out`` (C, rows, columns): the nearest node's value, of any type, as bits.

    values: flat, with ``strides`` of (channel, row, column).
    """
    columns = out.shape[2]
    deep = max(1, CHUNK // columns)
    scratch = np.empty((min(deep, last - first), columns), np.int32)
    for start in range(first, last, deep):
        numbers = scratch[: min(deep, last - start)]
        find_sources(numbers, window[0] + start, window[2], x, y, bins, False)
        for channel in range(len(out)):
            for line in range(len(numbers)):
                for column in range(columns):
                    node = -2 - numbers[line, column]
                    row = node // x.shape[1]
                    at = channel * strides[0] + row * strides[1] + (node - row * x.shape[1]) * strides[2]
                    out[channel, start + line, column] = values[at]


@njit(nogil=True, cache=True)
def scattered(first, last, numbers, gradient, out, window, x, y):
    """Channels ``first:last`` of the gradient with respect to the values: out (C, nodes) float64, zeros.

    numbers: (rows, columns) sources; gradient: (C, rows, columns). One order of summation, so one result.
    """
    rows, columns = numbers.shape
    cells = x.shape[1] - 1
    for row in range(rows):
        for column in range(columns):
            number = numbers[row, column]
            if number < 0:
                for channel in range(first, last):
                    out[channel, -2 - number] += gradient[channel, row, column]
                continue
            cell = number >> 1
            x0, y0, x1, y1, x2, y2 = corners(x, y, cell // cells, cell % cells, number & 1)
            b1, c1, b2, c2, _ = weights(x0, y0, x1, y1, x2, y2)
            across, down = window[2] + column - x0, window[0] + row - y0
            w1, w2 = across * b1 + down * c1, across * b2 + down * c2
            n0, n1, n2 = node_of(number, cells, 0), node_of(number, cells, 1), node_of(number, cells, 2)
            for channel in range(first, last):
                share = gradient[channel, row, column]
                out[channel, n0] += (1.0 - w1 - w2) * share
                out[channel, n1] += w1 * share
                out[channel, n2] += w2 * share
