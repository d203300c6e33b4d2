"""Exact Euclidean distances on label maps, up to a reach: all classes in one pass.

The distance of a pixel to its nearest pixel of another class is separable (Felzenszwalb and Huttenlocher,
2012): first down the columns, then along each row by the lower envelope of the parabolas that the columns
raise. Along a row it is enough to look at the run of equal class that a pixel lies in and at the pixel beyond
either end, which is already of another class; so one sweep serves all classes.
"""

from __future__ import annotations

import math

import numpy as np

from saccade.compiled import kernel
from saccade.errors import InvalidInput
from saccade.warp.bands import run_bands

SMALLEST_BAND = 1 << 15
"""Pixels worth a thread of their own."""


def squared_distance_to_other(labels: np.ndarray, reach: float) -> np.ndarray:
    """Squared distance from each pixel to the nearest pixel of another label, beyond the border included.

    Args:
        labels: (H, W) integers, contiguous.
        reach: pixels > 0; what is further is not measured.

    Returns:
        (H, W) int32 in squared pixels, at least 1; beyond ``reach`` some value greater than its square.

    Raises:
        InvalidInput: when ``reach`` is not above 0.
    """
    limit = _limit(reach)
    column, out = np.empty(labels.shape, np.int32), np.empty(labels.shape, np.int32)
    rows, columns = labels.shape
    run_bands(_down_runs, columns, labels, limit, column, smallest=_smallest(rows))
    run_bands(_along_runs, rows, labels, column, limit, out, smallest=_smallest(columns))
    return out


def squared_distance_to_marked(marked: np.ndarray, reach: float) -> np.ndarray:
    """Squared distance from each pixel to the nearest marked one: 0 on marked pixels; the border is nothing.

    Args:
        marked: (H, W) bool, contiguous.
        reach: pixels > 0; what is further is not measured.

    Returns:
        (H, W) int32 in squared pixels; beyond ``reach`` some value greater than its square.

    Raises:
        InvalidInput: when ``reach`` is not above 0.
    """
    limit = _limit(reach)
    column, out = np.empty(marked.shape, np.int32), np.empty(marked.shape, np.int32)
    rows, columns = marked.shape
    run_bands(_down_marks, columns, marked, limit, column, smallest=_smallest(rows))
    run_bands(_along_rows, rows, column, limit, out, smallest=_smallest(columns))
    return out


def _limit(reach: float) -> int:
    """The first whole distance beyond reach; its square stands for everything further."""
    if not 0 < reach < 30000:
        raise InvalidInput("distance", "above 0 and below 30000 pixels", reach)
    return math.floor(reach) + 1


def _smallest(other_side: int) -> int:
    return max(1, SMALLEST_BAND // max(1, other_side))


@kernel
def _down_runs(first, last, labels, limit, column):
    """Columns [first, last): vertical distance to the nearest other label, at most ``limit``."""
    rows = labels.shape[0]
    for x in range(first, last):
        column[0, x] = 1
    for y in range(1, rows):
        for x in range(first, last):
            column[y, x] = min(column[y - 1, x] + 1, limit) if labels[y, x] == labels[y - 1, x] else 1
    for x in range(first, last):
        column[rows - 1, x] = 1
    for y in range(rows - 2, -1, -1):
        for x in range(first, last):
            below = column[y + 1, x] + 1 if labels[y, x] == labels[y + 1, x] else 1
            column[y, x] = min(column[y, x], below)


@kernel
def _down_marks(first, last, marked, limit, column):
    """Columns [first, last): vertical distance to the nearest mark, at most ``limit``."""
    rows = marked.shape[0]
    for x in range(first, last):
        column[0, x] = 0 if marked[0, x] else limit
    for y in range(1, rows):
        for x in range(first, last):
            column[y, x] = 0 if marked[y, x] else min(column[y - 1, x] + 1, limit)
    for y in range(rows - 2, -1, -1):
        for x in range(first, last):
            column[y, x] = min(column[y, x], column[y + 1, x] + 1)


@kernel
def _along_runs(first, last, labels, column, limit, out):
    """Rows [first, last): the envelope over each run of equal label and the pixel beyond either end."""
    width = labels.shape[1]
    raised, found = np.empty(width + 2, np.int32), np.empty(width + 2, np.int32)
    place, start = np.empty(width + 2, np.int32), np.empty(width + 2, np.float64)
    for y in range(first, last):
        begin = 0
        while begin < width:
            end = begin + 1
            while end < width and labels[y, end] == labels[y, begin]:
                end += 1
            length = end - begin
            raised[0] = raised[length + 1] = 0
            raised[1 : length + 1] = column[y, begin:end]
            _envelope(raised, length + 2, limit, place, start, found)
            out[y, begin:end] = found[1 : length + 1]
            begin = end


@kernel
def _along_rows(first, last, column, limit, out):
    """Rows [first, last): the envelope over the whole row."""
    width = column.shape[1]
    place, start = np.empty(width, np.int32), np.empty(width, np.float64)
    for y in range(first, last):
        _envelope(column[y], width, limit, place, start, out[y])


@kernel
def _envelope(raised, length, limit, place, start, out):
    """out[x] = min over v of (x - v)^2 + raised[v]^2, over those raised[v] < limit; at most limit^2."""
    count = 0
    for v in range(length):
        if raised[v] >= limit:
            continue
        begin = -np.inf
        while count > 0:
            u = place[count - 1]
            gap = np.float64(raised[v]) ** 2 - np.float64(raised[u]) ** 2
            begin = (gap / (v - u) + (v + u)) / 2
            if begin > start[count - 1]:
                break
            count -= 1
            begin = -np.inf
        place[count], start[count] = v, begin
        count += 1
    out[:length] = limit * limit
    for k in range(count):
        v = place[k]
        first, last = max(v - limit + 1, 0), min(v + limit - 1, length - 1)
        if k > 0:
            first = max(first, math.ceil(start[k]))
        if k + 1 < count:
            last = min(last, math.floor(start[k + 1]))
        for x in range(first, last + 1):
            out[x] = min(out[x], (x - v) ** 2 + raised[v] ** 2)
