"""Kernels of :func:`saccade.unwarp_labels`: triangles are painted with classes, scores are never kept.

On a triangle every score is linear, so a class that another beats at all three corners wins nowhere inside.
Where the corners agree on the winner, the triangle is one class. Where two classes are left, each row has one
place at which they change over. Otherwise the classes that are left compete at each pixel. Equal scores go to
the lowest class, as ``argmax`` does.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from saccade.warp.nearest_kernels import TILE, nearest_tile
from saccade.warp.triangle_kernels import by_height, corners, reach, slope, weights

CHUNK = 1 << 19
"""Pixels painted and searched for holes at a time, so that they are still in the cache."""

HUGE = 1e38
"""Infinite scores count as this: a class ruled out by -inf must not turn its neighbours into NaN."""


@njit(nogil=True, cache=True, inline="always")
def finite(value):
    return min(max(float(value), -HUGE), HUGE)


@njit(nogil=True, cache=True)
def winners(first, last, scores, strides, classes, out, faults):
    """Rows ``first:last`` of ``out`` (h, w) int32: the best class of each node, the lowest of equals.

    scores: flat, with ``strides`` of (class, row, column). faults[0] becomes 1 where a score is NaN.
    """
    best = np.empty(out.shape[1])
    for row in range(first, last):
        best[:] = -np.inf
        out[row] = 0
        for number in range(classes):
            at = number * strides[0] + row * strides[1]
            for column in range(out.shape[1]):
                value = finite(scores[at])
                if scores[at] != scores[at]:
                    faults[0] = 1
                if value > best[column]:
                    best[column] = value
                    out[row, column] = number
                at += strides[2]


@njit(nogil=True, cache=True)
def contenders(scores, step, classes, at0, at1, at2, c0, c1, c2, found):
    """Numbers, into ``found``, of the classes that may win inside a triangle; returns how many, ascending."""
    count = 0
    for number in range(classes):
        shift = number * step
        v0, v1, v2 = finite(scores[at0 + shift]), finite(scores[at1 + shift]), finite(scores[at2 + shift])
        beaten = False
        for rival in (c0, c1, c2):
            if rival != number:
                other = rival * step
                d0 = finite(scores[at0 + other]) - v0
                d1 = finite(scores[at1 + other]) - v1
                d2 = finite(scores[at2 + other]) - v2
                least = min(min(d0, d1), d2)
                beaten = beaten or least > 0 or (least == 0 and rival < number)
        if not beaten:
            found[count] = number
            count += 1
    return count


@njit(nogil=True, cache=True, inline="always")
def changeover(start, stop, x0, base, steep):
    """For ``base + (x - x0) steep`` on pixels ``start .. stop``: (first positive, last positive)."""
    if steep == 0.0:
        return (start, stop) if base > 0 else (stop + 1, stop)
    zero = min(max(x0 - base / steep, start - 1.0), stop + 1.0)
    if steep > 0:
        first = min(max(math.floor(zero) + 1, start), stop + 1)
        while first > start and base + ((first - 1) - x0) * steep > 0:
            first -= 1
        while first <= stop and not base + (first - x0) * steep > 0:
            first += 1
        return first, stop
    last = max(min(math.ceil(zero) - 1, stop), start - 1)
    while last < stop and base + ((last + 1) - x0) * steep > 0:
        last += 1
    while last >= start and not base + (last - x0) * steep > 0:
        last -= 1
    return start, last


@njit(nogil=True, cache=True)
def paint_labels(out, top, window, x, y, classes, best, scores, strides):
    """Paints the triangles that meet ``out`` (rows, columns), whose first row is row ``top`` of the image."""
    bottom, left, right = top + out.shape[0] - 1, window[2], window[3] - 1
    cells = x.shape[1] - 1
    found = np.empty(classes, np.int64)
    bases, steeps = np.empty(classes), np.empty(classes)
    for row in range(x.shape[0] - 2, -1, -1):
        for column in range(cells - 1, -1, -1):
            high = min(
                min(y[row, column], y[row, column + 1]), min(y[row + 1, column], y[row + 1, column + 1])
            )
            low = max(
                max(y[row, column], y[row, column + 1]), max(y[row + 1, column], y[row + 1, column + 1])
            )
            if high > bottom or low < top:
                continue
            for half in range(1, -1, -1):
                x0, y0, x1, y1, x2, y2 = corners(x, y, row, column, half)
                b1, c1, b2, c2, thin = weights(x0, y0, x1, y1, x2, y2)
                if thin:
                    continue
                xa, ya, xb, yb, xc, yc = by_height(x0, y0, x1, y1, x2, y2)
                ac, ab, bc = slope(xa, ya, xc, yc), slope(xa, ya, xb, yb), slope(xb, yb, xc, yc)
                lines = range(max(math.ceil(ya), top), min(math.floor(yc), bottom) + 1)
                k0 = best[row + half, column + half]
                k1 = best[row + half, column + 1 - half]
                k2 = best[row + 1 - half, column + half]
                if k0 == k1 and k0 == k2:
                    for line in lines:
                        start, stop = reach(line, xa, ya, xb, yb, xc, yc, ac, ab, bc)
                        for place in range(max(start, left) - left, min(stop, right) + 1 - left):
                            out[line - top, place] = k0
                    continue
                at0 = (row + half) * strides[1] + (column + half) * strides[2]
                at1 = (row + half) * strides[1] + (column + 1 - half) * strides[2]
                at2 = (row + 1 - half) * strides[1] + (column + half) * strides[2]
                count = contenders(scores, strides[0], classes, at0, at1, at2, k0, k1, k2, found)
                for line in lines:
                    start, stop = reach(line, xa, ya, xb, yb, xc, yc, ac, ab, bc)
                    start, stop = max(start, left), min(stop, right)
                    if start > stop:
                        continue
                    w1, w2 = (line - y0) * c1, (line - y0) * c2
                    for slot in range(count):
                        shift = found[slot] * strides[0]
                        v0 = finite(scores[at0 + shift])
                        v1, v2 = finite(scores[at1 + shift]) - v0, finite(scores[at2 + shift]) - v0
                        bases[slot], steeps[slot] = v0 + v1 * w1 + v2 * w2, v1 * b1 + v2 * b2
                    target = out[line - top]
                    if count == 2:
                        first, last = changeover(start, stop, x0, bases[1] - bases[0], steeps[1] - steeps[0])
                        for place in range(start, first):
                            target[place - left] = found[0]
                        for place in range(first, last + 1):
                            target[place - left] = found[1]
                        for place in range(last + 1, stop + 1):
                            target[place - left] = found[0]
                        continue
                    for place in range(start, stop + 1):
                        across = place - x0
                        winner, most = 0, bases[0] + across * steeps[0]
                        for slot in range(1, count):
                            value = bases[slot] + across * steeps[slot]
                            if value > most:
                                winner, most = slot, value
                        target[place - left] = found[winner]


@njit(nogil=True, cache=True)
def fill_holes(out, top, left, x, y, bins, best, hole):
    """Gives pixels that hold ``hole`` the class of their nearest node; False for want of bins."""
    starts, order, side, across = bins
    rows, columns = out.shape
    tile = np.empty((TILE, TILE), np.int32)
    for i in range(0, rows, TILE):
        for j in range(0, columns, TILE):
            high, wide = min(TILE, rows - i), min(TILE, columns - j)
            part = out[i : i + high, j : j + wide]
            if not np.any(part == hole):
                continue
            if len(order) == 0:
                return False
            nearest_tile(tile, top + i, left + j, high, wide, x, y, starts, order, side, across)
            for row in range(high):
                for column in range(wide):
                    if part[row, column] == hole:
                        part[row, column] = best[tile[row, column]]
    return True


@njit(nogil=True, cache=True)
def labelled(first, last, out, window, x, y, bins, linear, classes, best, scores, strides, hole, missed):
    """Rows ``first:last`` of ``out`` (rows, columns): the winning class; ``hole`` is no class."""
    deep = max(TILE, CHUNK // out.shape[1])
    for start in range(first, last, deep):
        part = out[start : min(start + deep, last)]
        top = window[0] + start
        part[:] = hole
        if linear:
            paint_labels(part, top, window, x, y, classes, best, scores, strides)
        if not fill_holes(part, top, window[2], x.ravel(), y.ravel(), bins, best.ravel(), hole):
            missed[0] = 1
            return
