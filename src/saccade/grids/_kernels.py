"""Compiled loops of the grids: springs, tridiagonal systems, label edges and nearest boundaries.

A pair is two 4-neighbours of different class, neither ignored. Every kernel runs on one thread and changes
nothing but its outputs. Row buffers are made one by one: rows unpacked from one array, or two that swap
names, keep the compiler from vectorising (4 times slower).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from saccade.runtime.kernels import kernel

Array = NDArray[np.float64]


@kernel
def sweep(values, eigenvalues, smoothness):
    """Solve (1 + lambda (e_k + L)) u = values[:, k] in place for each mode k (Thomas' algorithm).

    L is that of n nodes in a row between two held at 0.

    Args:
        values: (n, modes), contiguous.
        eigenvalues: (modes,) e_k of L along the other axis.
        smoothness: lambda.
    """
    nodes, modes = values.shape
    upper = np.empty_like(values)
    # Modes are innermost: nodes depend on each other, modes do not, and they lie side by side in memory.
    for i in range(nodes):
        for k in range(modes):
            diagonal = 1.0 + smoothness * (eigenvalues[k] + 2.0)
            if i > 0:
                diagonal -= smoothness * upper[i - 1, k]
                values[i, k] += smoothness * values[i - 1, k]
            inverse = 1.0 / diagonal
            upper[i, k] = smoothness * inverse
            values[i, k] *= inverse
    for i in range(nodes - 2, -1, -1):
        for k in range(modes):
            values[i, k] += upper[i, k] * values[i + 1, k]


ANY = np.zeros(0, dtype=np.int64)
"""In place of target classes: all of them."""

ALIKE = np.zeros(0, dtype=np.float32)
"""In place of weights of classes: every pair counts 1."""


@kernel
def _different(a, b, ignore, ignoring, out):
    """out[i] = 1 where a[i] and b[i] make a pair."""
    for i in range(len(out)):
        out[i] = (a[i] != b[i]) & ((a[i] != ignore) & (b[i] != ignore) | (not ignoring))


@kernel
def _weigh(a, b, weights, out):
    """Scale out[i] by the larger weight of the two classes; False where a class has none."""
    for i in range(len(out)):
        if out[i] > 0:
            if min(a[i], b[i]) < 0 or max(a[i], b[i]) >= len(weights):
                return False
            out[i] = max(weights[a[i]], weights[b[i]])
    return True


@kernel
def _keep_targets(a, b, classes, out):
    """Clear out[i] where neither class is a target."""
    for i in range(len(out)):
        if out[i] > 0:
            target = False
            for label in classes:
                target |= (a[i] == label) | (b[i] == label)
            out[i] = target


@kernel
def gather_edges(labels, ignore, ignoring, weights, rows, row_shares, columns, column_shares, cells):
    """Sum the edges of the pixels of each cell, where a pixel has half of each pair that it is in.

    Args:
        labels: (H, W) integer, contiguous.
        ignore, ignoring: the ignored class, in the type of the labels, and whether there is one.
        weights: (classes,) float32, or ALIKE.
        rows, row_shares: (H, 2) the rows of cells that a row belongs to, and by which share (0: not at all).
        columns, column_shares: (W, 2), likewise.
        cells: (h, w) float64, added to.

    Returns:
        False where a class has no weight; ``cells`` is then incomplete.
    """
    height, width = labels.shape
    # Edges of one row of pixels at a time: two maps of the whole image would take eight times its labels.
    below = np.zeros(width, np.float32)
    beside = np.zeros(width, np.float32)
    vertical = np.zeros((len(cells), width), np.float32)
    horizontal = np.zeros((len(cells), width), np.float32)
    known = True
    for y in range(height):
        line = labels[y]
        known &= _count(line[:-1], line[1:], ignore, ignoring, weights, beside[: width - 1])
        _deposit(beside, rows[y], row_shares[y], horizontal)
        if y + 1 < height:
            known &= _count(line, labels[y + 1], ignore, ignoring, weights, below)
            _deposit(below, rows[y], row_shares[y], vertical)
            _deposit(below, rows[y + 1], row_shares[y + 1], vertical)
    # Columns of pixels become columns of cells last, on h rows and no longer on H.
    for row in range(len(cells)):
        for x in range(width):
            left = horizontal[row, x - 1] if x > 0 else 0.0
            half = 0.5 * (vertical[row, x] + horizontal[row, x] + left)
            for side in range(2):
                cells[row, columns[x, side]] += column_shares[x, side] * half
    return known


@kernel
def _count(a, b, ignore, ignoring, weights, out):
    """What each pair counts; False where a class has no weight."""
    _different(a, b, ignore, ignoring, out)
    return len(weights) == 0 or _weigh(a, b, weights, out)


@kernel
def _deposit(edges, rows, shares, out):
    """Add a row of edges to its rows of cells."""
    for side in range(2):
        share, target = shares[side], out[rows[side]]
        if share > 0:
            for x in range(len(edges)):
                target[x] += share * edges[x]


@kernel
def nearest_in_rows(labels, ignore, ignoring, classes, columns, nearest):
    """For each row and each of ``columns``, the column of the row's nearest boundary pixel; -1 without one.

    Args:
        labels, ignore, ignoring: as for :func:`gather_edges`.
        classes: target classes int64, or ANY. A pair counts where either class is a target.
        columns: (w,) float64 ascending positions in pixels.
        nearest: (H, w) int32, written.
    """
    height, width = labels.shape
    above = np.zeros(width, np.uint8)
    below = np.zeros(width, np.uint8)
    beside = np.zeros(width, np.uint8)
    nearest_columns = np.empty(width, np.int32)
    for y in range(height):
        line = labels[y]
        _different(line[:-1], line[1:], ignore, ignoring, beside[: width - 1])
        if len(classes):
            _keep_targets(line[:-1], line[1:], classes, beside[: width - 1])
        # The last row has none below it, and the buffer still holds those of the row before.
        below[:] = 0
        if y + 1 < height:
            _different(line, labels[y + 1], ignore, ignoring, below)
            if len(classes):
                _keep_targets(line, labels[y + 1], classes, below)
        count = 0
        for x in range(width):
            if above[x] | below[x] | beside[x] | (x > 0 and beside[x - 1]):
                nearest_columns[count] = x
                count += 1
        _nearest_of(nearest_columns[:count], columns, nearest[y])
        above[:] = below


@kernel
def _nearest_of(nearest, columns, out):
    """out[j] = the entry of ascending ``nearest`` nearest to ascending columns[j], the left one of a tie."""
    at = 0
    for j in range(len(columns)):
        if len(nearest) == 0:
            out[j] = -1
            continue
        # Both ascend, so the nearest entry never moves back: one pass for all columns.
        while at + 1 < len(nearest) and nearest[at + 1] - columns[j] < columns[j] - nearest[at]:
            at += 1
        out[j] = nearest[at]


@kernel
def nearest_of_rows(nearest, columns, rows, targets):
    """The nearest boundary pixel of each node, from the nearest of each image row: lower parabola envelopes.

    Args:
        nearest: (H, w) from :func:`nearest_in_rows`.
        columns, rows: (w,), (h,) float64 ascending node positions in pixels.
        targets: (h, w, 2) float64, written with (x, y) in pixels; untouched where there is no boundary.
    """
    height, width = nearest.shape
    row, start = np.empty(height, np.int64), np.empty(height, np.float64)
    for j in range(width):
        count = 0
        for y in range(height):
            if nearest[y, j] < 0:
                continue
            begin = -np.inf
            while count > 0:
                begin = _overtakes(row[count - 1], y, nearest[:, j], columns[j])
                # Otherwise this row takes over before the last one did, which is then nearest nowhere.
                if begin > start[count - 1]:
                    break
                count -= 1
                begin = -np.inf
            row[count], start[count] = y, begin
            count += 1
        at = 0
        for i in range(len(rows)):
            if count > 0:
                while at + 1 < count and start[at + 1] < rows[i]:
                    at += 1
                targets[i, j, 0], targets[i, j, 1] = nearest[row[at], j], row[at]


@kernel
def _overtakes(p, q, nearest, column):
    """The row from which on a node of this column is nearer to the boundary pixel of row q > p than of p."""
    # Where (row - p)^2 + dx_p^2 equals (row - q)^2 + dx_q^2: the squares of the row cancel, one division is
    # left.
    a, b = (nearest[p] - column) ** 2 + p * p, (nearest[q] - column) ** 2 + q * q
    return (b - a) / (2.0 * (q - p))
