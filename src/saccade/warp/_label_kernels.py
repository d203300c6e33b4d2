"""Kernels of :func:`saccade.unwarp_labels`: triangles are filled with classes, scores are never kept.

On a triangle every score is linear, so a class that another beats at all three corners wins nowhere inside.
Where the corners agree on the winner, the triangle is one class. Where two classes are left, each row has one
place at which they change over. Otherwise the classes that are left compete at each pixel. Equal scores go to
the lowest class, as ``argmax`` does.
"""

from __future__ import annotations

import math

import numpy as np

from saccade.runtime.kernels import inlined, kernel
from saccade.warp._mesh_kernels import (
    BLOCK,
    MANY,
    PLAIN,
    TWO,
    by_height,
    contenders,
    corners,
    crossing,
    idle,
    meets,
    ordered,
    place_of,
    reach,
    read,
    slope,
    turn,
    weights,
)
from saccade.warp._value_kernels import TILE, nearest_tile

RUN = 32
"""Pixels looked at together for steps."""


@kernel
def step_along(out, origin, xp, yp, xq, yq, inside, outside):
    """Adds the steps of one segment from P to Q, with class ``inside`` on the right of who walks along it.

    A segment meets the rows from its upper end to just above its lower end; the last row of the image, under
    which nothing lies, also those that end on it.
    """
    top, left, bottom_row = origin
    change = inside - outside
    # Always walked from the top: the same edge met from either of its triangles gives the same crossings.
    if yp < yq:
        xp, yp, xq, yq, change = xq, yq, xp, yp, -change
    if yp == yq or yq >= bottom_row:
        return
    # Open at the lower end, or a corner between two rows of segments would step twice.
    last = bottom_row if yp >= bottom_row else math.ceil(yp) - 1
    steep = slope(xq, yq, xp, yp)
    for row in range(max(math.ceil(yq), top), min(last, top + out.shape[0] - 1) + 1):
        column = max(math.ceil(crossing(row, xq, yq, xp, yp, steep)) - left, 0)
        if column < out.shape[1]:
            out[row - top, column] += change


@kernel
def edge_steps(out, origin, ia, ja, ib, jb, forward, inside, nodes, scores):
    """Adds the steps along the edge from A to B, or back, of a triangle that counts as one class."""
    x, y, best = nodes
    ka, kb = best[ia, ja], best[ib, jb]
    xa, ya, xb, yb = x[ia, ja], y[ia, ja], x[ib, jb], y[ib, jb]
    xm, ym = xb, yb
    if ka != kb:
        xm, ym = turn(ia, ja, ib, jb, nodes, scores)
    if ka != inside:
        if forward:
            step_along(out, origin, xa, ya, xm, ym, inside, ka)
        else:
            step_along(out, origin, xm, ym, xa, ya, inside, ka)
    if ka != kb and kb != inside:
        if forward:
            step_along(out, origin, xm, ym, xb, yb, inside, kb)
        else:
            step_along(out, origin, xb, yb, xm, ym, inside, kb)


@kernel
def border_of_two(out, origin, row, column, half, nodes, scores):
    """Adds the steps of the one segment between the two classes of a triangle."""
    ia, ja, ib, jb, ic, jc = ordered(row, column, half)
    best = nodes[2]
    ka, kb, kc = best[ia, ja], best[ib, jb], best[ic, jc]
    if kb == kc:
        inside, outside = ka, kb
        xp, yp = turn(ia, ja, ib, jb, nodes, scores)
        xq, yq = turn(ia, ja, ic, jc, nodes, scores)
    elif ka == kc:
        inside, outside = kb, ka
        xp, yp = turn(ib, jb, ic, jc, nodes, scores)
        xq, yq = turn(ia, ja, ib, jb, nodes, scores)
    else:
        inside, outside = kc, ka
        xp, yp = turn(ia, ja, ic, jc, nodes, scores)
        xq, yq = turn(ib, jb, ic, jc, nodes, scores)
    if half == 1:
        xp, yp, xq, yq = xq, yq, xp, yp
    step_along(out, origin, xp, yp, xq, yq, inside, outside)


@kernel
def border_of_many(out, origin, row, column, half, nodes, scores):
    """Adds the steps around a triangle that counts as the class of its first corner."""
    ia, ja, ib, jb, ic, jc = ordered(row, column, half)
    inside, forward = nodes[2][ia, ja], half == 0
    edge_steps(out, origin, ia, ja, ib, jb, forward, inside, nodes, scores)
    edge_steps(out, origin, ib, jb, ic, jc, forward, inside, nodes, scores)
    edge_steps(out, origin, ia, ja, ic, jc, not forward, inside, nodes, scores)


@kernel
def trace(out, origin, nodes, scores, kinds, spans):
    """Adds to ``out`` (rows, columns), at first zero, the steps between classes.

    origin: (top, left) pixel of ``out``, and the last row of the image. Steps left of the window go to its
    first column, so that a window adds up to what the whole image does.
    """
    top, bottom, y = origin[0], origin[0] + out.shape[0] - 1, nodes[1]
    for row in range(kinds.shape[0]):
        # The left border of the mesh starts each row from class 0, the value that the sums start from.
        edge_steps(out, origin, row, 0, row + 1, 0, True, 0, nodes, scores)
        for block in range(spans.shape[1]):
            if idle(spans, row, block, top, bottom, TWO):
                continue
            for column in range(block * BLOCK, min(block * BLOCK + BLOCK, kinds.shape[1])):
                for half in range(2):
                    kind = kinds[row, column, half]
                    if kind == PLAIN or not meets(y, row, column, half, top, bottom):
                        continue
                    if kind == TWO:
                        border_of_two(out, origin, row, column, half, nodes, scores)
                    else:
                        border_of_many(out, origin, row, column, half, nodes, scores)


@kernel
def add_up(out):
    """Running sums along the rows of ``out`` (rows, columns), in its own type.

    Runs of ``RUN`` pixels without a step, most of them, are found and filled at vector speed.
    """
    zero = out.dtype.type(0)
    for row in range(out.shape[0]):
        line = out[row]
        label = zero
        whole = len(line) // RUN * RUN
        for start in range(0, whole, RUN):
            run = line[start : start + RUN]
            any_step = zero
            for place in range(RUN):
                # Or, not a sum: steps of opposite sign would cancel.
                any_step |= run[place]
            if any_step == zero:
                for place in range(RUN):
                    run[place] = label
            else:
                label = _sum_run(line, start, start + RUN, label)
        _sum_run(line, whole, len(line), label)


@inlined
def _sum_run(line, start, stop, label):
    total = int(label)
    for place in range(start, stop):
        total += line[place]
        line[place] = total
    return line.dtype.type(total)


CHUNK = 1 << 19
"""Pixels painted and searched for holes at a time, so that they are still in the cache."""


@inlined
def changeover(start, stop, x0, base, steep):
    """For ``base + (x - x0) steep`` on pixels ``start .. stop``: (first positive, last positive)."""
    if steep == 0.0:
        return (start, stop) if base > 0 else (stop + 1, stop)
    # A guess by division, then settled by the very expression that pixels are judged by: windows must agree.
    zero = min(max(x0 - base / steep, start - 1.0), stop + 1.0)
    if steep > 0:
        first = min(max(math.floor(zero) + 1, start), stop + 1)
        while first > start and base + ((first - 1) - x0) * steep > 0:
            first -= 1
        while first <= stop and not base + (first - x0) * steep > 0:
            first += 1
        return first, stop
    last = max(min(math.ceil(zero) - 1, stop), start - 1)
    while last < stop and base + ((last + 1) - x0) * steep > 0:
        last += 1
    while last >= start and not base + (last - x0) * steep > 0:
        last -= 1
    return start, last


@kernel
def paint_labels(out, top, left, nodes, scores, kinds, spans, least):
    """Paints the triangles of kind ``least`` and above that meet ``out``; its first pixel is (top, left)."""
    x, y, best = nodes
    bottom = top + out.shape[0] - 1
    candidates = np.empty(scores[3], np.int64)
    planes = np.empty((4, scores[3]))
    for row in range(x.shape[0] - 2, -1, -1):
        for block in range(spans.shape[1] - 1, -1, -1):
            if idle(spans, row, block, top, bottom, least):
                continue
            for column in range(min(block * BLOCK + BLOCK, x.shape[1] - 1) - 1, block * BLOCK - 1, -1):
                for half in range(1, -1, -1):
                    if kinds[row, column, half] < least or not meets(y, row, column, half, top, bottom):
                        continue
                    points = corners(x, y, row, column, half)
                    near, far = half, 1 - half
                    ka, kb = best[row + near, column + near], best[row + near, column + far]
                    kc = best[row + far, column + near]
                    if ka == kb and ka == kc:
                        _paint_plain(out, top, left, points, ka)
                        continue
                    a = place_of(row + near, column + near, scores)
                    b = place_of(row + near, column + far, scores)
                    c = place_of(row + far, column + near, scores)
                    count = contenders(scores, a, b, c, ka, kb, kc, candidates)
                    _paint_mixed(out, top, left, points, scores, a, b, c, candidates[:count], planes)


@kernel
def _paint_plain(out, top, left, points, label):
    x0, y0, x1, y1, x2, y2 = points
    if weights(x0, y0, x1, y1, x2, y2)[4]:
        return
    xa, ya, xb, yb, xc, yc = by_height(x0, y0, x1, y1, x2, y2)
    ac, ab, bc = slope(xa, ya, xc, yc), slope(xa, ya, xb, yb), slope(xb, yb, xc, yc)
    for row in range(max(math.ceil(ya), top), min(math.floor(yc), top + out.shape[0] - 1) + 1):
        start, stop = reach(row, xa, ya, xb, yb, xc, yc, ac, ab, bc)
        for place in range(max(start - left, 0), min(stop - left + 1, out.shape[1])):
            out[row - top, place] = label


@kernel
def _paint_mixed(out, top, left, points, scores, a, b, c, candidates, planes):
    """Paints a triangle in which the classes ``candidates`` compete.

    planes: room for each class's value at corner 0, its slopes by y and by x, and its value at x0 in a row.
    """
    x0, y0, x1, y1, x2, y2 = points
    b1, c1, b2, c2, thin = weights(x0, y0, x1, y1, x2, y2)
    if thin:
        return
    xa, ya, xb, yb, xc, yc = by_height(x0, y0, x1, y1, x2, y2)
    ac, ab, bc = slope(xa, ya, xc, yc), slope(xa, ya, xb, yb), slope(xb, yb, xc, yc)
    for slot in range(len(candidates)):
        shift = candidates[slot] * scores[2][0]
        v0 = read(scores, a + shift)
        v1, v2 = read(scores, b + shift) - v0, read(scores, c + shift) - v0
        planes[0, slot], planes[1, slot], planes[2, slot] = v0, v1 * c1 + v2 * c2, v1 * b1 + v2 * b2
    for row in range(max(math.ceil(ya), top), min(math.floor(yc), top + out.shape[0] - 1) + 1):
        start, stop = reach(row, xa, ya, xb, yb, xc, yc, ac, ab, bc)
        start, stop = max(start, left), min(stop, left + out.shape[1] - 1)
        if start > stop:
            continue
        for slot in range(len(candidates)):
            planes[3, slot] = planes[0, slot] + (row - y0) * planes[1, slot]
        if len(candidates) == 2:
            base, steep = planes[3, 1] - planes[3, 0], planes[2, 1] - planes[2, 0]
            first, last = changeover(start, stop, x0, base, steep)
            for place in range(start, stop + 1):
                out[row - top, place - left] = candidates[1] if first <= place <= last else candidates[0]
        else:
            for place in range(start, stop + 1):
                out[row - top, place - left] = candidates[_highest(planes, len(candidates), place - x0)]


@inlined
def _highest(planes, count, across):
    winner, most = 0, planes[3, 0] + across * planes[2, 0]
    for slot in range(1, count):
        value = planes[3, slot] + across * planes[2, slot]
        if value > most:
            winner, most = slot, value
    return winner


@kernel
def fill_holes(out, top, left, nodes, bins, hole):
    """Gives pixels that hold ``hole`` the class of their nearest node."""
    x, y, classes = nodes[0].ravel(), nodes[1].ravel(), nodes[2].ravel()
    starts, order, side, across = bins
    rows, columns = out.shape
    tile = np.empty((TILE, TILE), np.int32)
    for i in range(0, rows, TILE):
        for j in range(0, columns, TILE):
            high, wide = min(TILE, rows - i), min(TILE, columns - j)
            part = out[i : i + high, j : j + wide]
            if not np.any(part == hole):
                continue
            nearest_tile(tile, top + i, left + j, high, wide, x, y, starts, order, side, across)
            for row in range(high):
                for column in range(wide):
                    if part[row, column] == hole:
                        part[row, column] = classes[tile[row, column]]


@kernel
def labelled_nearest(first, last, out, window, nodes, bins):
    """Rows ``first:last`` of ``out`` (rows, columns): the class of the nearest node."""
    x, y, classes = nodes[0].ravel(), nodes[1].ravel(), nodes[2].ravel()
    starts, order, side, across = bins
    tile = np.empty((TILE, TILE), np.int32)
    for i in range(first, last, TILE):
        for j in range(0, out.shape[1], TILE):
            high, wide = min(TILE, last - i), min(TILE, out.shape[1] - j)
            nearest_tile(tile, window[0] + i, window[2] + j, high, wide, x, y, starts, order, side, across)
            for row in range(high):
                for column in range(wide):
                    out[i + row, j + column] = classes[tile[row, column]]


@kernel
def labelled_anyhow(first, last, out, window, nodes, bins, scores, kinds, spans, hole):
    """Rows ``first:last`` of ``out`` (rows, columns): every triangle painted, then the holes; any mesh."""
    deep = max(TILE, CHUNK // out.shape[1])
    for start in range(first, last, deep):
        part = out[start : min(start + deep, last)]
        top = window[0] + start
        part[:] = hole
        paint_labels(part, top, window[2], nodes, scores, kinds, spans, PLAIN)
        fill_holes(part, top, window[2], nodes, bins, hole)


@kernel
def labelled_covering(first, last, out, window, nodes, scores, kinds, spans, folded):
    """Rows ``first:last`` of ``out`` (rows, columns) for a mesh that reaches all borders of the image."""
    deep = max(1, CHUNK // out.shape[1])
    left = window[2]
    for start in range(first, last, deep):
        part = out[start : min(start + deep, last)]
        top = window[0] + start
        part[:] = 0
        trace(part, (top, left, len(folded) - 1), nodes, scores, kinds, spans)
        add_up(part)
        # Counted as their first corner's class until now, so that the sums beside them are right; painted
        # over here.
        paint_labels(part, top, left, nodes, scores, kinds, spans, MANY)
        row = 0
        while row < len(part):
            stop = row
            while stop < len(part) and folded[top + stop]:
                stop += 1
            if stop > row:
                # Where triangles are turned over their steps do not add up: those rows are painted instead.
                paint_labels(part[row:stop], top + row, left, nodes, scores, kinds, spans, PLAIN)
            row = stop + 1
