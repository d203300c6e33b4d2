"""Compiled loops over rasters: means over boxes, and the borders of regions of equal label.

Around a vertex lie four pixels, NW, NE, SE, SW, and between neighbours an edge: up, right, down, left. An
edge is a border where its two pixels differ. The pixels between one border and the next are a sector of one
region, and the region's outline comes in along the one and leaves along the other. Up and left have been
seen before, so an outline waits there with an open end; down and right are new. So each sector joins two
open ends, moves one on, or starts an outline with two: a ring closes when both of its ends meet. Pixels that
only touch at a corner are two sectors, so regions are connected by edges (4-connected).

An outline is a doubly linked list of corner nodes; ``other`` of an end is the node at its other end.
"""

from __future__ import annotations

import math

import numpy as np

from saccade.runtime._kernels import root_of
from saccade.runtime.kernels import kernel
from saccade.warp._sample_kernels import footprint, interval, level_for, pixel


@kernel
def footprint_sums(block, valid, masked, top, left, footprints, out):
    """Sums of ``block`` (h, w, C), whose corner lies at (top, left), over the part of each box inside it.

    footprints: (n, 4) y0, y1, x0, x1, edges in pixels, where pixel i covers [i, i + 1].
    out: (n, C + 1) float64; the last column is the area that the sum is over. Pixels that are not valid
        count nowhere (looked at only where ``masked``).
    """
    height, width, channels = block.shape
    for n in range(len(footprints)):
        y0, y1 = max(footprints[n, 0] - top, 0.0), min(footprints[n, 1] - top, float(height))
        x0, x1 = max(footprints[n, 2] - left, 0.0), min(footprints[n, 3] - left, float(width))
        for i in range(int(y0), math.ceil(y1)):
            tall = min(y1, i + 1.0) - max(y0, float(i))
            for j in range(int(x0), math.ceil(x1)):
                if masked and not valid[i, j]:
                    continue
                area = tall * (min(x1, j + 1.0) - max(x0, float(j)))
                for channel in range(channels):
                    out[n, channel] += area * block[i, j, channel]
                out[n, channels] += area


@kernel
def cell_sums(block, valid, masked, rows, columns, out):
    """Sums of ``block`` (h, w, C) over the cells of a grating, as far as they lie inside it.

    rows, columns: float64 edges of the cells, in pixels of the block (increasing; one more than cells).
    out: (cells down, cells across, C + 1) float64; the last channel is the area.
    """
    height, width, channels = block.shape
    for a in range(len(rows) - 1):
        y0, y1 = max(rows[a], 0.0), min(rows[a + 1], float(height))
        for i in range(int(y0), math.ceil(y1)):
            tall = min(y1, i + 1.0) - max(y0, float(i))
            for b in range(len(columns) - 1):
                x0, x1 = max(columns[b], 0.0), min(columns[b + 1], float(width))
                for j in range(int(x0), math.ceil(x1)):
                    if masked and not valid[i, j]:
                        continue
                    area = tall * (min(x1, j + 1.0) - max(x0, float(j)))
                    for channel in range(channels):
                        out[a, b, channel] += area * block[i, j, channel]
                    out[a, b, channels] += area


@kernel
def footprints_of(first, last, grid, size, levels, footprints, scales):
    """Rows ``first:last`` (over batch x grid rows): each sample's box on level 0, as ``saccade.sample`` with
    ``antialias`` would take it, and the downsampling of the level on which that would average it.

    grid: (B, h, w, 2) float64. footprints: (B, h, w, 4) y0, y1, x0, x1 in pixel edges. scales: (B, h, w).
    """
    height, width = size
    rows, columns = grid.shape[1:3]
    for line in range(first, last):
        image, row = line // rows, line % rows
        for column in range(columns):
            wide, tall = footprint(grid, image, row, column, height, width)
            scale = float(1 << level_for(wide, tall, levels))
            y0, y1 = interval(pixel(grid[image, row, column, 1], height), tall, scale, height)
            x0, x1 = interval(pixel(grid[image, row, column, 0], width), wide, scale, width)
            box = footprints[image, row, column]
            box[0], box[1], box[2], box[3] = y0 * scale, y1 * scale, x0 * scale, x1 * scale
            scales[image, row, column] = scale


def means(sums: np.ndarray, dtype: np.dtype, empty: float) -> np.ndarray:
    """(..., C + 1) sums and areas as means (..., C) of ``dtype``, rounded for integers; ``empty`` where no
    valid pixel was met."""
    area = sums[..., -1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(area > 0, sums[..., :-1] / area, empty)
    if dtype.kind in "ui":
        limits = np.iinfo(dtype)
        mean = np.rint(mean).clip(limits.min, limits.max)
    return mean.astype(dtype)


NONE = -1
_UP, _RIGHT, _DOWN, _LEFT = 0, 1, 2, 3


@kernel
def find_all(parent, items):
    return np.array([root_of(parent, item) for item in items])


@kernel
def label_row(above, parts_above, row, parts, parent, count):
    """Numbers the connected parts of a row, joined to the row above; returns how many numbers are in use."""
    for x in range(len(row)):
        part = NONE
        if x > 0 and row[x] == row[x - 1]:
            part = parts[x - 1]
            # Nothing above to join, or joined with it one pixel before: above, the two are one part already.
            if above[x] != row[x] or above[x - 1] == row[x]:
                parts[x] = part
                continue
        if above[x] == row[x]:
            upper = root_of(parent, parts_above[x])
            if part == NONE:
                part = upper
            else:
                part = root_of(parent, part)
                if part != upper:
                    # The lower number stays the root: it was seen first, so parts are numbered in reading
                    # order.
                    parent[max(part, upper)] = min(part, upper)
                    part = min(part, upper)
        if part == NONE:
            part = count
            parent[count] = count
            count += 1
        parts[x] = part
    return count


@kernel
def trace_row(y, above, row, parts_above, parts, chosen, left_ends, right_ends, nodes, free, used, closed):
    """The vertices between two rows of pixels (W + 2, an outside pixel at both ends).

    left_ends, right_ends: (W + 1) open ends at the vertical border at each x, of the region left and right.
    nodes: (N, 5) int64: x, y, two neighbours, other end. free: stack of unused nodes, ``used`` taken of it.
    closed: (2 W + 2, 3) out: a node, the part and the label of each ring that closed.

    Returns (used, number of rings closed).
    """
    rings = 0
    over = under = NONE
    corner = np.empty(4, np.int64)
    for x in range(len(above) - 1):
        corner[0], corner[1], corner[2], corner[3] = above[x], above[x + 1], row[x + 1], row[x]
        up, down = corner[0] != corner[1], corner[2] != corner[3]
        left, right = corner[3] != corner[0], corner[1] != corner[2]
        # No vertex: the border goes straight through, or there is none.
        if up == down and left == right and not (up and left):
            continue
        before_up, after_up, before_left, after_left = left_ends[x], right_ends[x], under, over
        for first in range(4):
            if not (up, right, down, left)[first]:
                continue
            quadrant = (first + 1) % 4
            last = quadrant
            while not (up, right, down, left)[last]:
                last = (last + 1) % 4
            end = NONE
            if chosen[corner[quadrant] + 1]:
                a = after_up if first == _UP else after_left if first == _LEFT else NONE
                b = before_up if last == _UP else before_left if last == _LEFT else NONE
                # Two pixels side by side: their outline has no corner here, the open end just moves on.
                straight = (last - first) % 4 == 2
                if straight:
                    end = a if a != NONE else b
                else:
                    end = free[used]
                    used += 1
                    _make(nodes, end, x, y)
                    if a != NONE:
                        _extend(nodes, a, end)
                    if b != NONE and a == NONE:
                        _extend(nodes, b, end)
                    elif b != NONE and _join(nodes, end, b):
                        upper = quadrant < 2
                        at = x if quadrant in (1, 2) else x - 1
                        part = parts_above[at] if upper else parts[at]
                        closed[rings, 0], closed[rings, 1], closed[rings, 2] = end, part, corner[quadrant]
                        rings += 1
            if first == _DOWN:
                left_ends[x] = end
            if first == _RIGHT:
                under = end
            if last == _DOWN:
                right_ends[x] = end
            if last == _RIGHT:
                over = end
    return used, rings


@kernel
def _make(nodes, node, x, y):
    nodes[node, 0], nodes[node, 1] = x, y
    nodes[node, 2] = nodes[node, 3] = NONE
    nodes[node, 4] = node


@kernel
def _link(nodes, a, b):
    nodes[a, 2 if nodes[a, 2] == NONE else 3] = b
    nodes[b, 2 if nodes[b, 2] == NONE else 3] = a


@kernel
def _extend(nodes, end, new):
    """``new`` becomes the end where ``end`` was."""
    far = nodes[end, 4]
    _link(nodes, end, new)
    nodes[new, 4] = far
    nodes[far, 4] = new


@kernel
def _join(nodes, a, b):
    """Two ends become one outline; True where they were the ends of the same, so that a ring closed."""
    far_a, far_b = nodes[a, 4], nodes[b, 4]
    _link(nodes, a, b)
    if far_a == b:
        return True
    nodes[far_a, 4] = far_b
    nodes[far_b, 4] = far_a
    return False


@kernel
def ring_length(nodes, start):
    count, before, node = 0, NONE, start
    while True:
        count += 1
        # Links have no direction, since ends are joined from either side: we go on where we did not come
        # from.
        following = nodes[node, 2] if nodes[node, 2] != before else nodes[node, 3]
        before, node = node, following
        if node == start:
            return count


@kernel
def take_ring(nodes, start, out, free, used):
    """Copies the corners of a ring into ``out`` (n, 2) x, y, and gives its nodes back; returns ``used``."""
    before, node = NONE, start
    for number in range(len(out)):
        out[number, 0], out[number, 1] = nodes[node, 0], nodes[node, 1]
        following = nodes[node, 2] if nodes[node, 2] != before else nodes[node, 3]
        before, node = node, following
        used -= 1
        free[used] = before
    return used


@kernel
def most_frequent(pixels, out):
    """Of each 2 x 2 block the value that occurs most; of equally frequent ones the first in reading order."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            a, b = pixels[2 * i, 2 * j], pixels[2 * i, 2 * j + 1]
            c, d = pixels[2 * i + 1, 2 * j], pixels[2 * i + 1, 2 * j + 1]
            best = a
            if a != b and a != c and a != d:
                if b in (c, d):
                    best = b
                elif c == d:
                    best = c
            out[i, j] = best
