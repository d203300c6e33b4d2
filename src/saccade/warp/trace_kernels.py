"""Label maps from their class borders alone, for a mesh that covers the image.

Interpolation on a mesh is continuous, so along a row of pixels the class changes only where the row crosses a
class border, and a border crosses a triangle along a straight segment between two of its edges. ``trace``
adds, at the first pixel right of each crossing, the step from the class on the left to that on the right;
``add_up`` makes classes of the steps. What lies inside one class costs nothing.

Rounding cannot break this: the point at which an edge changes class is computed from the edge alone, so the
segments of both its triangles end in the same point, borders are closed or end at the image's border, and the
steps of a row always add up. A triangle in which three or more classes are left counts as one class,
bounded by its edges, and is painted afterwards. So are rows with folded triangles, where a pixel has several.
"""

from __future__ import annotations

import math

from saccade.compiled import inlined, kernel
from saccade.warp.contour_kernels import BLOCK, PLAIN, TWO, idle, meets, ordered, turn
from saccade.warp.triangle_kernels import crossing, slope

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
    if yp < yq:
        xp, yp, xq, yq, change = xq, yq, xp, yp, -change
    if yp == yq or yq >= bottom_row:
        return
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
    inside, way = nodes[2][ia, ja], half == 0
    edge_steps(out, origin, ia, ja, ib, jb, way, inside, nodes, scores)
    edge_steps(out, origin, ib, jb, ic, jc, way, inside, nodes, scores)
    edge_steps(out, origin, ia, ja, ic, jc, not way, inside, nodes, scores)


@kernel
def trace(out, origin, nodes, scores, kinds, spans):
    """Adds to ``out`` (rows, columns), at first zero, the steps between classes.

    origin: (top, left) pixel of ``out``, and the last row of the image. Steps left of the window go to its
    first column, so that a window adds up to what the whole image does.
    """
    top, bottom, y = origin[0], origin[0] + out.shape[0] - 1, nodes[1]
    for row in range(kinds.shape[0]):
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
