"""Kernels of the pyramid: one level from the level below, and the transpose of that for gradients.

A pixel of level l covers 2^l full pixels along each axis, the last of a row or column maybe fewer; ``cover``
is that number, and a mean over children weighs each by what it covers.
"""

from __future__ import annotations

from numba import njit


@njit(nogil=True, cache=True, inline="always")
def cover(index, level, full):
    """How many full pixels pixel ``index`` of ``level`` covers along an axis of ``full`` pixels."""
    return max(0, min(full, (index + 1) << level) - (index << level))


@njit(nogil=True, cache=True)
def halve(first, last, below, strides, out, full, level, rounding):
    """Rows ``first:last`` (over batch x rows) of ``level`` from the level below.

    below: flat, with ``strides`` of (batch, row, column, channel). out: flat, channels last. full: (H, W, C).
    rounding: added before an integer type cuts the fraction off; 0 for floating types.
    """
    height, width, channels = full
    rows = ((height - 1) >> level) + 1
    columns = ((width - 1) >> level) + 1
    over, step = strides[2], strides[3]
    for line in range(first, last):
        image, row = line // rows, line % rows
        upper = cover(2 * row, level - 1, height)
        lower = cover(2 * row + 1, level - 1, height)
        top = strides[0] * image + strides[1] * 2 * row
        down = strides[1] if lower else 0
        whole = width >> level if lower == upper else 0
        to = line * columns * channels
        for column in range(whole):
            at = top + over * 2 * column
            for _ in range(channels):
                total = below[at] + below[at + over] + below[at + down] + below[at + down + over]
                out[to] = total * 0.25 + rounding
                at += step
                to += 1
        for column in range(whole, columns):
            left = cover(2 * column, level - 1, width)
            right = cover(2 * column + 1, level - 1, width)
            across = over if right else 0
            at = top + over * 2 * column
            area = (upper + lower) * (left + right)
            for _ in range(channels):
                above = below[at] * left + below[at + across] * right
                under = below[at + down] * left + below[at + down + across] * right
                out[to] = (above * upper + under * lower) / area + rounding
                at += step
                to += 1


@njit(nogil=True, cache=True)
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
        share_row = cover(row, level - 1, height) / cover(row >> 1, level, height)
        at = line * columns * channels
        for column in range(columns):
            share = share_row * cover(column, level - 1, width) / cover(column >> 1, level, width)
            parent = ((image * parents + (row >> 1)) * across + (column >> 1)) * channels
            for channel in range(channels):
                below[at] += share * above[parent + channel]
                at += 1
