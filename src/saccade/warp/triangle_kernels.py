"""Rasterising the mesh of a grid: which pixels of a row lie in a triangle, and where in it.

Cell (i, j) of the mesh is cut from its top right to its bottom left node into triangles

    2 (i (w - 1) + j)      nodes (i, j), (i, j + 1), (i + 1, j)
    2 (i (w - 1) + j) + 1  nodes (i + 1, j + 1), (i + 1, j), (i, j + 1)

Triangles are closed sets of pixel centres. The two triangles at an edge compute its crossing with a row by
the same operations on the same numbers, so no pixel falls between them.
"""

from __future__ import annotations

import math

from saccade.compiled import inlined

THINNEST = 1e-12
"""A triangle whose area is below this share of its squared sides has none: its neighbours hold its pixels."""

EDGE = 1e-9
"""A pixel so close to an edge lies on it: rounding must not put it outside the mesh."""


@inlined
def corners(x, y, row, column, half):
    """(x0, y0, x1, y1, x2, y2) of triangle ``half`` (0 or 1) of a cell; x, y: (h, w) nodes in pixels."""
    a = half
    b = 1 - half
    return (
        x[row + a, column + a], y[row + a, column + a],
        x[row + a, column + b], y[row + a, column + b],
        x[row + b, column + a], y[row + b, column + a],
    )  # fmt: skip


@inlined
def by_height(x0, y0, x1, y1, x2, y2):
    """The corners sorted from top to bottom."""
    if y1 < y0:
        x0, y0, x1, y1 = x1, y1, x0, y0
    if y2 < y1:
        x1, y1, x2, y2 = x2, y2, x1, y1
        if y1 < y0:
            x0, y0, x1, y1 = x1, y1, x0, y0
    return x0, y0, x1, y1, x2, y2


@inlined
def slope(xa, ya, xb, yb):
    """Columns per row along an edge that goes down; 0 for a level edge, where it is not used."""
    return (xb - xa) / (yb - ya) if yb > ya else 0.0


@inlined
def crossing(y, xa, ya, xb, yb, steep):
    """Where the edge from (xa, ya) down to (xb, yb) meets row ``y``; exact at both ends."""
    if y == ya:
        return xa
    if y == yb:
        return xb
    return xa + (y - ya) * steep


@inlined
def reach(y, xa, ya, xb, yb, xc, yc, ac, ab, bc):
    """(first, last) pixel of row ``y`` inside a triangle sorted by height; empty when last < first."""
    one = crossing(y, xa, ya, xc, yc, ac)
    if y < yb:
        other = crossing(y, xa, ya, xb, yb, ab)
    elif y == yb:
        other = xb
    else:
        other = crossing(y, xb, yb, xc, yc, bc)
    return math.ceil(min(one, other) - EDGE), math.floor(max(one, other) + EDGE)


@inlined
def weights(x0, y0, x1, y1, x2, y2):
    """Slopes of the weights of corners 1 and 2: (w1 by x, w1 by y, w2 by x, w2 by y), and if it is flat.

    Inside, w1 = (x - x0) b1 + (y - y0) c1, likewise w2, and w0 = 1 - w1 - w2.
    """
    ux, uy, vx, vy = x1 - x0, y1 - y0, x2 - x0, y2 - y0
    twice = ux * vy - vx * uy
    if abs(twice) <= THINNEST * (ux * ux + uy * uy + vx * vx + vy * vy):
        return 0.0, 0.0, 0.0, 0.0, True
    return vy / twice, -vx / twice, -uy / twice, ux / twice, False
