"""Kernels of :mod:`saccade.inference.mosaic`: labels of overlapping patches meet, and are settled."""

from __future__ import annotations

from saccade.compiled import kernel

NOTHING = 255
"""The id of a pixel that no patch holds."""


@kernel
def meet(first, last, out, differ, labels):
    """Rows ``first:last``: takes labels where there are none yet, and marks where they are others."""
    for row in range(first, last):
        for column in range(out.shape[1]):
            if out[row, column] == NOTHING:
                out[row, column] = labels[row, column]
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
def add(first, last, total, weights, found, rows, columns):
    """Rows ``first:last``: adds the scores ``found`` (K, rows, columns), each by its weight."""
    for row in range(first, last):
        for column in range(len(columns)):
            weights[row, column] += rows[row] * columns[column]
        for number in range(len(found)):
            for column in range(len(columns)):
                total[number, row, column] += found[number, row, column] * (rows[row] * columns[column])
