"""Kernels of the pyramid, forward and backward.

A pixel of level l covers 2^l full pixels along each axis, the last of a row or column maybe fewer; ``cover``
is that number, and a mean over children weighs each by what it covers.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from saccade.runtime.kernels import inlined, kernel


@inlined
def cover(index, level, full):
    """How many full pixels pixel ``index`` of ``level`` covers along an axis of ``full`` pixels."""
    return max(0, min(full, (index + 1) << level) - (index << level))


def quarter(total, rounding):
    """A fourth of the sum of four values; integers are rounded, up where ``rounding`` is 2, down where 1.

    A name that the compiler replaces by :func:`_quarter`. It refuses to run otherwise (NUMBA_DISABLE_JIT):
    these kernels count on the compiler's wide integers, and NumPy's would overflow without an error.
    """
    raise NotImplementedError("compiled kernels only; unset NUMBA_DISABLE_JIT")


@overload(quarter)
def _quarter(total, rounding):
    if isinstance(total, types.Integer):
        return lambda total, rounding: (total + rounding) >> np.uint16(2)
    return lambda total, rounding: total * 0.25


@inlined
def join_pairs(row, out, to, columns, channels, gap, rounding):
    """Writes the mean of each two neighbouring pixels of ``row``, which holds sums of two rows of pixels.

    With ``channels`` a constant the compiler turns this into vector instructions.
    """
    for column in range(np.uint64(columns)):
        left, target = column * np.uint64(2 * channels), np.uint64(to) + column * np.uint64(gap)
        for channel in range(np.uint64(channels)):
            total = row[left + channel] + row[left + np.uint64(channels) + channel]
            out[target + channel] = quarter(total, rounding)


@kernel
def halve_whole(below, at, down, strides, out, to, columns, channels, row, rounding):
    """``columns`` pixels of a level, each the mean of four pixels, from places ``at`` and ``at + down``."""
    over, step = strides[2], strides[3]
    upper, lower = np.uint64(at), np.uint64(at + down)
    if step == 1 and over == channels:
        for place in range(np.uint64(2 * columns * channels)):
            # Rows first, into a buffer of their own: contiguous, so that both passes are vector instructions.
            row[place] = row.dtype.type(below[upper + place]) + row.dtype.type(below[lower + place])
        # The usual numbers are written out, so that they are constants in the inlined loop.
        if channels == 3:
            join_pairs(row, out, to, columns, 3, 3, rounding)
        elif channels == 1:
            join_pairs(row, out, to, columns, 1, 1, rounding)
        else:
            join_pairs(row, out, to, columns, channels, channels, rounding)
        return
    for channel in range(channels):
        first, second = upper + np.uint64(channel * step), lower + np.uint64(channel * step)
        if over == 1:
            for place in range(np.uint64(2 * columns)):
                row[place] = row.dtype.type(below[first + place]) + row.dtype.type(below[second + place])
        else:
            for place in range(np.uint64(2 * columns)):
                shift = place * np.uint64(over)
                row[place] = row.dtype.type(below[first + shift]) + row.dtype.type(below[second + shift])
        join_pairs(row, out, to + channel, columns, 1, channels, rounding)


@kernel
def halve(first, last, below, strides, out, full, level, rounding, wide):
    """Rows ``first:last`` (over batch x rows) of ``level`` from the level below.

    below: flat, with ``strides`` of (batch, row, column, channel). out: flat, channels last. full: (H, W, C).
    wide: an empty array of the type that holds the sum of two values.
    """
    height, width, channels = full
    rows = ((height - 1) >> level) + 1
    columns = ((width - 1) >> level) + 1
    over, step = strides[2], strides[3]
    sums = np.empty(2 * columns * channels, wide.dtype)
    half = rounding * 0.25
    for line in range(first, last):
        image, row = line // rows, line % rows
        upper = cover(2 * row, level - 1, height)
        lower = cover(2 * row + 1, level - 1, height)
        top = strides[0] * image + strides[1] * 2 * row
        down = strides[1] if lower else 0  # a row that is not there counts 0; another is read in its place
        # Only where all four pixels cover alike is their mean the plain one.
        whole = width >> level if lower == upper else 0
        to = line * columns * channels
        halve_whole(below, top, down, strides, out, to, whole, channels, sums, rounding)
        to += whole * channels
        for column in range(whole, columns):
            left = cover(2 * column, level - 1, width)
            right = cover(2 * column + 1, level - 1, width)
            across = over if right else 0
            at = top + over * 2 * column
            area = (upper + lower) * (left + right)
            for _ in range(channels):
                above = below[at] * left + below[at + across] * right
                under = below[at + down] * left + below[at + down + across] * right
                out[to] = (above * upper + under * lower) / area + half
                at += step
                to += 1


@kernel
def spread(first, last, above, below, full, level):
    """Transpose of :func:`halve` for rows ``first:last`` of the level below: adds each parent's share.

    above, below: flat gradients, channels last, of ``level`` and ``level - 1``.
    """
    height, width, channels = full
    rows = ((height - 1) >> (level - 1)) + 1
    columns = ((width - 1) >> (level - 1)) + 1
    parents = ((height - 1) >> level) + 1
    across = ((width - 1) >> level) + 1
    for line in range(first, last):
        image, row = line // rows, line % rows
        # By the share of the parent that it covers, not a fourth: at odd borders a parent has fewer children.
        share_row = cover(row, level - 1, height) / cover(row >> 1, level, height)
        at = line * columns * channels
        for column in range(columns):
            share = share_row * cover(column, level - 1, width) / cover(column >> 1, level, width)
            parent = ((image * parents + (row >> 1)) * across + (column >> 1)) * channels
            for channel in range(channels):
                below[at] += share * above[parent + channel]
                at += 1
