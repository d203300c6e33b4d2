"""The compiled loop of elastic grids as version 0.1 relaxed them."""

from __future__ import annotations

import numpy as np

from saccade.runtime.kernels import kernel


@kernel
def _between(density, x, y):
    """``density`` (h_a, w_a) at (x, y) in [-1, 1], bilinear; beyond the border as on it."""
    rows, columns = density.shape
    real = density.dtype.type
    u = min(max((x + real(1)) * real(0.5 * (columns - 1)), real(0)), real(columns - 1))
    v = min(max((y + real(1)) * real(0.5 * (rows - 1)), real(0)), real(rows - 1))
    i, j = int(v), int(u)
    below, right = min(i + 1, rows - 1), min(j + 1, columns - 1)
    u, v = u - real(j), v - real(i)
    upper = density[i, j] + u * (density[i, right] - density[i, j])
    lower = density[below, j] + u * (density[below, right] - density[below, j])
    return upper + v * (lower - upper)


@kernel
def relax_in_turns(density, x, y, rounds, sweeps, step):
    """``rounds`` times new stiffness, then ``sweeps`` sweeps of red-black over-relaxation, in place.

    density (h_a, w_a) > 0; x, y (h, w) in [-1, 1], more than one node; all float32 or all float64.
    """
    rows, columns = x.shape
    half = density.dtype.type(0.5)
    for _ in range(rounds):
        # Four springs of each node side by side, times what they count: those at the edge count nothing.
        springs = np.zeros((rows, columns, 4), density.dtype)
        for i in range(rows):
            for j in range(columns):
                if j + 1 < columns:
                    s = _between(density, half * (x[i, j] + x[i, j + 1]), half * (y[i, j] + y[i, j + 1]))
                    springs[i, j, 1], springs[i, j + 1, 0] = s, s
                if i + 1 < rows:
                    s = _between(density, half * (x[i, j] + x[i + 1, j]), half * (y[i, j] + y[i + 1, j]))
                    springs[i, j, 3], springs[i + 1, j, 2] = s, s
        for i in range(rows):
            for j in range(columns):
                total = springs[i, j, 0] + springs[i, j, 1] + springs[i, j, 2] + springs[i, j, 3]
                for side in range(4):
                    springs[i, j, side] *= step / total
        for _ in range(sweeps):
            for colour in range(2):
                for i in range(rows):
                    above, below = max(i - 1, 0), min(i + 1, rows - 1)
                    for j in range((i + colour) % 2, columns, 2):
                        left, right = max(j - 1, 0), min(j + 1, columns - 1)
                        a, b, c, d = springs[i, j, 0], springs[i, j, 1], springs[i, j, 2], springs[i, j, 3]
                        keep = density.dtype.type(1) - step
                        if 0 < j < columns - 1:
                            pulled = a * x[i, left] + b * x[i, right] + c * x[above, j] + d * x[below, j]
                            x[i, j] = keep * x[i, j] + pulled
                        if 0 < i < rows - 1:
                            pulled = a * y[i, left] + b * y[i, right] + c * y[above, j] + d * y[below, j]
                            y[i, j] = keep * y[i, j] + pulled
