"""Kernels that put overlapping patches together."""

from __future__ import annotations

import numpy as np

from saccade.runtime.kernels import inlined, kernel

UNLABELLED = 255
"""The id of a pixel that no patch holds."""


@kernel
def meet(first, last, out, differ, labels):
    """Rows ``first:last``: takes labels where there are none yet, and marks where they are others."""
    for row in range(first, last):
        for column in range(out.shape[1]):
            if out[row, column] == UNLABELLED:
                out[row, column] = labels[row, column]
            # Only where patches differ are their scores needed, and interpolating them is what costs.
            elif out[row, column] != labels[row, column]:
                differ[row, column] = True


@kernel
def choose(first, last, out, differ, total):
    """Rows ``first:last``: the class of the highest sum, the lowest of equals, where patches differ."""
    for row in range(first, last):
        for column in range(out.shape[1]):
            if not differ[row, column]:
                continue
            best, most = 0, total[0, row, column]
            for number in range(1, total.shape[0]):
                if total[number, row, column] > most:
                    best, most = number, total[number, row, column]
            out[row, column] = best


@kernel
def add(first, last, total, weights, values, rows, columns):
    """Rows ``first:last``: adds the scores ``values`` (K, rows, columns), each by its weight."""
    for row in range(first, last):
        for column in range(len(columns)):
            weights[row, column] += rows[row] * columns[column]
        for number in range(len(values)):
            for column in range(len(columns)):
                total[number, row, column] += values[number, row, column] * (rows[row] * columns[column])


@kernel
def added(first, last, top, patches, middles, field, flat, labels, probabilities):
    """Rows ``first:last`` of labels, which begin at row ``top`` of the image, and of probabilities.

    patches (R, C, h, w, K); middles: two arrays of pixel coordinates; flat: whether weights are uniform.
    """
    down, across = middles
    line = np.empty(patches.shape[3:], np.float32)
    total = np.empty((labels.shape[1], patches.shape[4]), np.float32)
    weights = np.empty(labels.shape[1], np.float32)
    for row in range(first, last):
        total[:] = 0
        weights[:] = 0
        for i in range(len(down)):
            offset = (top + row - down[i]) / field[0]
            if abs(offset) > 0.5 + 1e-12:
                continue
            above, share = _between(offset, patches.shape[2])
            weight = _weight(offset, flat)
            for j in range(len(across)):
                _mix(patches[i, j], above, share, line)
                _add(line, across[j], field[1], weight, flat, total, weights)
        _decide(total, weights, labels[row])
        if len(probabilities):
            _mean(total, weights, probabilities[row])


@inlined
def _between(offset, count):
    """The cell whose centre is at or before an offset in [-1/2, 1/2], and the share of the next."""
    place = min(max((offset + 0.5) * count - 0.5, 0.0), count - 1.0)
    below = min(int(place), max(count - 2, 0))
    return below, np.float32(place - below)


@inlined
def _weight(offset, flat):
    """1, or cos^2 from the middle of a patch to its edge, at least a thousandth."""
    if flat:
        return np.float32(1)
    # Not 0 at the edge: a pixel that only edges cover has an answer too.
    return np.float32(max(np.cos(np.pi * offset) ** 2, 1e-3))


@kernel
def _mix(patch, above, share, line):
    below = min(above + 1, patch.shape[0] - 1)
    for column in range(patch.shape[1]):
        for k in range(patch.shape[2]):
            here = patch[above, column, k]
            line[column, k] = here + share * (patch[below, column, k] - here)


@kernel
def _add(line, middle, width, weight, flat, total, weights):
    count, classes = line.shape
    low = max(int(np.ceil(middle - width / 2 - 1e-9)), 0)
    high = min(int(np.floor(middle + width / 2 + 1e-9)), len(weights) - 1)
    for x in range(low, high + 1):
        offset = (x - middle) / width
        left, share = _between(offset, count)
        right = min(left + 1, count - 1)
        here = weight * _weight(offset, flat)
        weights[x] += here
        for k in range(classes):
            value = line[left, k]
            total[x, k] += here * (value + share * (line[right, k] - value))


@kernel
def _decide(total, weights, labels):
    for x in range(len(labels)):
        best = 0
        for k in range(1, total.shape[1]):
            if total[x, k] > total[x, best]:
                best = k
        labels[x] = best if weights[x] > 0 else UNLABELLED


@kernel
def _mean(total, weights, probabilities):
    for x in range(len(probabilities)):
        for k in range(probabilities.shape[1]):
            value = total[x, k] / weights[x] if weights[x] > 0 else np.float32(0)
            probabilities[x, k] = np.uint8(min(max(value, 0.0), 1.0) * 255 + 0.5)
