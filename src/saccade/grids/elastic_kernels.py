"""The fast solver of the elastic grid: red-black successive over-relaxation of springs, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from saccade.compiled import inlined, kernel

Array = NDArray[np.float64]


@inlined
def _between(density, x, y):
    """Bilinear value of ``density`` (h_a, w_a) at (x, y) in [-1, 1]."""
    rows, columns = density.shape
    u = min(max((x + 1) * 0.5 * (columns - 1), 0.0), columns - 1.0)
    v = min(max((y + 1) * 0.5 * (rows - 1), 0.0), rows - 1.0)
    i, j = int(v), int(u)
    below, right = min(i + 1, rows - 1), min(j + 1, columns - 1)
    v -= i
    u -= j
    top = density[i, j] + u * (density[i, right] - density[i, j])
    bottom = density[below, j] + u * (density[below, right] - density[below, j])
    return top + v * (bottom - top)


@kernel
def stiffen(density, x, y, across, down):
    """Stiffness of every spring: the density at its middle. ``across`` (h, w - 1), ``down`` (h - 1, w)."""
    rows, columns = x.shape
    for i in range(rows):
        for j in range(columns - 1):
            across[i, j] = _between(density, (x[i, j] + x[i, j + 1]) / 2, (y[i, j] + y[i, j + 1]) / 2)
    for i in range(rows - 1):
        for j in range(columns):
            down[i, j] = _between(density, (x[i, j] + x[i + 1, j]) / 2, (y[i, j] + y[i + 1, j]) / 2)


@kernel
def _springs(across, down, springs):
    """Stiffness to the left, right, upper and lower neighbour of each node, as shares of their sum."""
    rows, columns = springs.shape[:2]
    for i in range(rows):
        for j in range(columns):
            left = across[i, j - 1] if j > 0 else 0.0
            right = across[i, j] if j < columns - 1 else 0.0
            up = down[i - 1, j] if i > 0 else 0.0
            low = down[i, j] if i < rows - 1 else 0.0
            share = 1 / (left + right + up + low)
            springs[i, j, 0], springs[i, j, 1] = left * share, right * share
            springs[i, j, 2], springs[i, j, 3] = up * share, low * share


@kernel
def _sweep(x, y, springs, colour, step):
    """Moves every node of one colour towards the weighted mean of its neighbours; borders slide."""
    rows, columns = x.shape
    for i in range(rows):
        above, under = max(i - 1, 0), min(i + 1, rows - 1)
        for j in range((i + colour) % 2, columns, 2):
            before, after = max(j - 1, 0), min(j + 1, columns - 1)
            s = springs[i, j]
            if 0 < j < columns - 1:
                mean = s[0] * x[i, before] + s[1] * x[i, after] + s[2] * x[above, j] + s[3] * x[under, j]
                x[i, j] += step * (mean - x[i, j])
            if 0 < i < rows - 1:
                mean = s[0] * y[i, before] + s[1] * y[i, after] + s[2] * y[above, j] + s[3] * y[under, j]
                y[i, j] += step * (mean - y[i, j])


@kernel
def relax(density, x, y, rounds, sweeps, step):
    """Brings the springs to rest in place: ``rounds`` times new stiffness, then ``sweeps`` sweeps.

    density (h_a, w_a) float64 > 0; x, y (h, w) float64 in [-1, 1], more than one node.
    """
    rows, columns = x.shape
    across, down = np.empty((rows, columns - 1)), np.empty((rows - 1, columns))
    springs = np.empty((rows, columns, 4))
    for _ in range(rounds):
        stiffen(density, x, y, across, down)
        _springs(across, down, springs)
        for _ in range(sweeps):
            _sweep(x, y, springs, 0, step)
            _sweep(x, y, springs, 1, step)
