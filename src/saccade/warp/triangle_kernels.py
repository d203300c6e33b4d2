"""Rasterising the mesh of a grid: which pixels of a row lie in a triangle, and where in it.

Cell (i, j) of the mesh is cut from its top right to its bottom left node into triangles

    2 (i (w - 1) + j)      nodes (i, j), (i, j + 1), (i + 1, j)
    2 (i (w - 1) + j) + 1  nodes (i + 1, j + 1), (i + 1, j), (i, j + 1)

Triangles are closed sets of pixel centres; where several hold a pixel, the one of lowest number has it. To
that end they are painted from the last to the first. The two triangles at an edge compute its crossing with a
row by the same operations on the same numbers, so no pixel falls between them.
"""

from __future__ import annotations

import math

from numba import njit

THINNEST = 1e-12
"""A triangle whose area is below this share of its squared sides has none: its neighbours hold its pixels."""


@njit(nogil=True, cache=True, inline="always")
def corners(x, y, row, column, half):
    """(x0, y0, x1, y1, x2, y2) of triangle ``half`` (0 or 1) of a cell; x, y: (h, w) nodes in pixels."""
    a = half
    b = 1 - half
    return (
        x[row + a, column + a], y[row + a, column + a],
        x[row + a, column + b], y[row + a, column + b],
        x[row + b, column + a], y[row + b, column + a],
    )  # fmt: skip


@njit(nogil=True, cache=True, inline="always")
def by_height(x0, y0, x1, y1, x2, y2):
    """The corners sorted from top to bottom."""
    if y1 < y0:
        x0, y0, x1, y1 = x1, y1, x0, y0
    if y2 < y1:
        x1, y1, x2, y2 = x2, y2, x1, y1
        if y1 < y0:
            x0, y0, x1, y1 = x1, y1, x0, y0
    return x0, y0, x1, y1, x2, y2


@njit(nogil=True, cache=True, inline="always")
def slope(xa, ya, xb, yb):
    """Columns per row along an edge that goes down; 0 for a level edge, where it is not used."""
    return (xb - xa) / (yb - ya) if yb > ya else 0.0


@njit(nogil=True, cache=True, inline="always")
def crossing(y, xa, ya, xb, yb, steep):
    """Where the edge from (xa, ya) down to (xb, yb) meets row ``y``; exact at both ends."""
    if y == ya:
        return xa
    if y == yb:
        return xb
    return xa + (y - ya) * steep


@njit(nogil=True, cache=True, inline="always")
def reach(y, xa, ya, xb, yb, xc, yc, ac, ab, bc):
    """(first, last) pixel of row ``y`` inside a triangle sorted by height; empty when last < first."""
    one = crossing(y, xa, ya, xc, yc, ac)
    if y < yb:
        other = crossing(y, xa, ya, xb, yb, ab)
    elif y == yb:
        other = xb
    else:
        other = crossing(y, xb, yb, xc, yc, bc)
    return math.ceil(min(one, other)), math.floor(max(one, other))


@njit(nogil=True, cache=True, inline="always")
def weights(x0, y0, x1, y1, x2, y2):
    """Slopes of the weights of corners 1 and 2: (w1 by x, w1 by y, w2 by x, w2 by y), and if it is flat.

    Inside, w1 = (x - x0) b1 + (y - y0) c1, likewise w2, and w0 = 1 - w1 - w2.
    """
    ux, uy, vx, vy = x1 - x0, y1 - y0, x2 - x0, y2 - y0
    twice = ux * vy - vx * uy
    if abs(twice) <= THINNEST * (ux * ux + uy * uy + vx * vx + vy * vy):
        return 0.0, 0.0, 0.0, 0.0, True
    return vy / twice, -vx / twice, -uy / twice, ux / twice, False


@njit(nogil=True, cache=True)
def paint_numbers(numbers, top, left, x, y):
    """Writes into ``numbers`` (rows, columns) the triangle of each pixel; the rest stays.

    numbers[0, 0] is pixel (top, left) of the image. x, y: (h, w) nodes in pixels.
    """
    bottom, right = top + numbers.shape[0] - 1, left + numbers.shape[1] - 1
    cells = x.shape[1] - 1
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
                if weights(x0, y0, x1, y1, x2, y2)[4]:
                    continue
                xa, ya, xb, yb, xc, yc = by_height(x0, y0, x1, y1, x2, y2)
                ac, ab, bc = slope(xa, ya, xc, yc), slope(xa, ya, xb, yb), slope(xb, yb, xc, yc)
                number = 2 * (row * cells + column) + half
                for line in range(max(math.ceil(ya), top), min(math.floor(yc), bottom) + 1):
                    start, stop = reach(line, xa, ya, xb, yb, xc, yc, ac, ab, bc)
                    for place in range(max(start, left), min(stop, right) + 1):
                        numbers[line - top, place - left] = number
