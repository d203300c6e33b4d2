"""Kernels that rasterise the mesh of a grid: triangles, their class borders, and values linear on them.

Triangles are closed sets of pixel centres; where several hold a pixel, the one of lowest number has it. To
that end they are painted from the last to the first. A pixel's value is computed from its own place and its
triangle alone, never from where a span of pixels starts, so that windows agree bit for bit.

Spans are traced once for all channels: those of some triangles are kept and then drawn channel by channel,
since one pixel's channels lie far apart in memory and would drive each other out of the cache.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from saccade.runtime.kernels import inlined, kernel

LANES = 16
"""Values that :func:`draw_line` writes at once."""

HUGE = 1e38
"""Infinite scores count as this: a class ruled out by -inf must not turn its neighbours into NaN."""


@kernel
def read(scores, place):
    """One score, kept finite."""
    values, table = scores[0], scores[1]
    if len(table) > 0:
        return float(table[int(values[place])])
    return min(max(float(values[place]), -HUGE), HUGE)


@kernel
def place_of(row, column, scores):
    """Where the score of class 0 of a node is."""
    return row * scores[2][1] + column * scores[2][2]


@kernel
def winners(first, last, scores, best, faults):
    """Rows ``first:last`` of ``best`` (h, w) int32: the best class of each node, the lowest of equals.

    faults[0] becomes 1 where a score is NaN.
    """
    strides, classes = scores[2], scores[3]
    most = np.empty(best.shape[1])
    for row in range(first, last):
        most[:] = -np.inf
        best[row] = 0
        for number in range(classes):
            place = number * strides[0] + row * strides[1]
            for column in range(best.shape[1]):
                value = read(scores, place)
                # NaN is unequal to itself; its comparisons are all false, so it would lose in silence.
                if value != value:
                    faults[0] = 1
                if value > most[column]:
                    most[column] = value
                    best[row, column] = number
                place += strides[2]


@kernel
def beaten(number, rival, scores, a, b, c):
    """Whether class ``rival`` wins over ``number`` all over the triangle with corners at places a, b, c."""
    mine, other = number * scores[2][0], rival * scores[2][0]
    least = read(scores, a + other) - read(scores, a + mine)
    least = min(least, read(scores, b + other) - read(scores, b + mine))
    least = min(least, read(scores, c + other) - read(scores, c + mine))
    return least > 0 or (least == 0 and rival < number)


@kernel
def contenders(scores, a, b, c, ka, kb, kc, classes):
    """Into ``classes``, ascending, the classes that may win in a triangle with best classes ka, kb, kc."""
    count = 0
    for number in range(scores[3]):
        if number != ka and number != kb and number != kc:
            if beaten(number, ka, scores, a, b, c):
                continue
            if kb != ka and beaten(number, kb, scores, a, b, c):
                continue
            if kc != ka and kc != kb and beaten(number, kc, scores, a, b, c):
                continue
        classes[count] = number
        count += 1
    return count


THINNEST = 1e-12
"""A triangle whose area is below this share of its squared sides has none: its neighbours hold its pixels."""

EDGE = 1e-9
"""A pixel so close to an edge lies on it: rounding must not put it outside the mesh."""


@inlined
def corners(x, y, row, column, half):
    """(x0, y0, x1, y1, x2, y2) of triangle ``half`` (0 or 1) of a cell; x, y: (h, w) nodes in pixels."""
    a = half
    b = 1 - half
    return (
        x[row + a, column + a], y[row + a, column + a],
        x[row + a, column + b], y[row + a, column + b],
        x[row + b, column + a], y[row + b, column + a],
    )  # fmt: skip


@inlined
def by_height(x0, y0, x1, y1, x2, y2):
    """The corners sorted from top to bottom."""
    if y1 < y0:
        x0, y0, x1, y1 = x1, y1, x0, y0
    if y2 < y1:
        x1, y1, x2, y2 = x2, y2, x1, y1
        if y1 < y0:
            x0, y0, x1, y1 = x1, y1, x0, y0
    return x0, y0, x1, y1, x2, y2


@inlined
def slope(xa, ya, xb, yb):
    """Columns per row along an edge that goes down; 0 for a level edge, where it is not used."""
    return (xb - xa) / (yb - ya) if yb > ya else 0.0


@inlined
def crossing(y, xa, ya, xb, yb, steep):
    """Where the edge from (xa, ya) down to (xb, yb) meets row ``y``; exact at both ends."""
    # At its ends the corner itself: triangles that share it must agree to the bit, or seams open between
    # them.
    if y == ya:
        return xa
    if y == yb:
        return xb
    return xa + (y - ya) * steep


@inlined
def reach(y, xa, ya, xb, yb, xc, yc, ac, ab, bc):
    """(first, last) pixel of row ``y`` inside a triangle sorted by height; empty when last < first."""
    one = crossing(y, xa, ya, xc, yc, ac)
    if y < yb:
        other = crossing(y, xa, ya, xb, yb, ab)
    elif y == yb:
        other = xb
    else:
        other = crossing(y, xb, yb, xc, yc, bc)
    # Widened on both sides: a pixel that two triangles claim is settled by their order, one that none claims
    # is a hole.
    return math.ceil(min(one, other) - EDGE), math.floor(max(one, other) + EDGE)


@inlined
def weights(x0, y0, x1, y1, x2, y2):
    """Slopes of the weights of corners 1 and 2: (w1 by x, w1 by y, w2 by x, w2 by y), and if it is flat.

    Inside, w1 = (x - x0) b1 + (y - y0) c1, likewise w2, and w0 = 1 - w1 - w2.
    """
    ux, uy, vx, vy = x1 - x0, y1 - y0, x2 - x0, y2 - y0
    twice = ux * vy - vx * uy
    if abs(twice) <= THINNEST * (ux * ux + uy * uy + vx * vx + vy * vy):
        return 0.0, 0.0, 0.0, 0.0, True
    return vy / twice, -vx / twice, -uy / twice, ux / twice, False


PLAIN, TWO, MANY = 0, 1, 2
"""Kinds of triangles: one class, two classes and nothing else, or more that may win."""

BLOCK = 16
"""Cells of a row that are passed over together where they have nothing to do."""

SOLID = 1e-9
"""A triangle with less area than this share of its squared sides counts as folded."""


@inlined
def ordered(row, column, half):
    """Rows and columns of a triangle's corners A, B, C in the order of their numbers in the grid."""
    if half == 0:
        return row, column, row, column + 1, row + 1, column
    return row, column + 1, row + 1, column, row + 1, column + 1


@inlined
def meets(y, row, column, half, top, bottom):
    """Whether a triangle reaches into rows ``top`` to ``bottom``."""
    one, two, three = y[row + half, column + half], y[row, column + 1], y[row + 1, column]
    return min(one, min(two, three)) <= bottom and max(one, max(two, three)) >= top


@kernel
def kind_of(ka, kb, kc, scores, a, b, c):
    """The kind of a triangle whose corners, at places a, b, c in ``scores``, have best classes ka, kb, kc."""
    if ka != kb and ka != kc and kb != kc:
        return MANY
    other = kc if ka == kb else kb
    for number in range(scores[3]):
        if number in (ka, other) or beaten(number, ka, scores, a, b, c):
            continue
        if not beaten(number, other, scores, a, b, c):
            return MANY
    return TWO


@kernel
def survey(first, last, nodes, scores, kinds, spans, folded):
    """Cell rows ``first:last``: the kind of each triangle, what each block of cells spans, folded rows.

    kinds: (h - 1, w - 1, 2). spans: (h - 1, blocks, 3) lowest y, highest y, greatest kind of ``BLOCK`` cells.
    folded: (H,), becomes 1 at the rows that a triangle turned over meets.
    """
    x, y, best = nodes
    for row in range(first, last):
        for column in range(x.shape[1] - 1):
            for half in range(2):
                ia, ja, ib, jb, ic, jc = ordered(row, column, half)
                mark_fold(x[ia, ja], y[ia, ja], x[ib, jb], y[ib, jb], x[ic, jc], y[ic, jc], half, folded)
                ka, kb, kc = best[ia, ja], best[ib, jb], best[ic, jc]
                kind = PLAIN
                if ka != kb or ka != kc:
                    a, b, c = place_of(ia, ja, scores), place_of(ib, jb, scores), place_of(ic, jc, scores)
                    kind = kind_of(ka, kb, kc, scores, a, b, c)
                kinds[row, column, half] = kind
        for block in range(spans.shape[1]):
            start, stop = block * BLOCK, min(block * BLOCK + BLOCK, x.shape[1] - 1)
            low = high = y[row, start]
            for line in range(row, row + 2):
                for column in range(start, stop + 1):
                    low, high = min(low, y[line, column]), max(high, y[line, column])
            most = kinds[row, start, 0]
            for column in range(start, stop):
                most = max(most, kinds[row, column, 0], kinds[row, column, 1])
            spans[row, block, 0], spans[row, block, 1], spans[row, block, 2] = low, high, most


@inlined
def idle(spans, row, block, top, bottom, least):
    """Whether a block of cells has no triangle of kind ``least`` and above in rows ``top`` to ``bottom``."""
    return spans[row, block, 0] > bottom or spans[row, block, 1] < top or spans[row, block, 2] < least


@kernel
def mark_fold(xa, ya, xb, yb, xc, yc, half, folded):
    """Marks the rows that a triangle meets if it is turned over or nearly flat.

    Exactly degenerate triangles do no harm: their edges meet every row in exactly the same place.
    """
    ux, uy, vx, vy = xb - xa, yb - ya, xc - xa, yc - ya
    twice = (ux * vy - vx * uy) * (1 - 2 * half)
    if twice > SOLID * (ux * ux + uy * uy + vx * vx + vy * vy):
        return
    if (ux == 0 and uy == 0) or (vx == 0 and vy == 0) or (ux == vx and uy == vy):
        return
    if (ux == 0 and vx == 0) or (uy == 0 and vy == 0):
        return
    for row in range(int(min(ya, min(yb, yc))), min(int(max(ya, max(yb, yc))) + 2, len(folded))):
        # Threads may mark the same row at once: all write the same value.
        folded[row] = 1


@kernel
def turn(ia, ja, ib, jb, nodes, scores):
    """The point at which the edge from node A to node B, of higher number, changes class."""
    x, y, best = nodes
    p, q = best[ia, ja] * scores[2][0], best[ib, jb] * scores[2][0]
    a, b = place_of(ia, ja, scores), place_of(ib, jb, scores)
    before = read(scores, a + p) - read(scores, a + q)
    after = read(scores, b + q) - read(scores, b + p)
    # Never 0 / 0: equal scores at both ends would have given both nodes the lower class.
    share = before / (before + after)
    return x[ia, ja] + share * (x[ib, jb] - x[ia, ja]), y[ia, ja] + share * (y[ib, jb] - y[ia, ja])


TRIANGLES = 256
"""Triangles whose spans are kept before they are drawn."""

SPANS = 8192
"""Spans that are kept, and as many more as one triangle has rows."""


@kernel
def paint(numbers, planes, values, top, left, x, y, heights):
    """Writes the triangle of each pixel into ``numbers``, and values on it into ``planes``; the rest stays.

    numbers: (rows, columns) int32, its first pixel is (top, left) of the image. planes: (C, rows * columns),
    values: (C, nodes), C >= 0. x, y: (h, w) nodes in pixels. heights: (2, h) least and greatest y of a row.
    """
    bottom, cells = top + numbers.shape[0] - 1, x.shape[1] - 1
    # Room for one triangle more than the threshold: it is looked at only once a triangle is traced.
    spans = np.empty((SPANS + len(numbers), 3), np.int32)
    frames, nodes = np.empty((TRIANGLES, 6)), np.empty((TRIANGLES, 4), np.int64)
    kept = many = 0
    for row in range(x.shape[0] - 2, -1, -1):
        if min(heights[0, row], heights[0, row + 1]) > bottom:
            continue
        if max(heights[1, row], heights[1, row + 1]) < top:
            continue
        for column in range(cells - 1, -1, -1):
            for half in range(1, -1, -1):
                points = corners(x, y, row, column, half)
                y0, y1, y2 = points[1], points[3], points[5]
                if min(y0, min(y1, y2)) > bottom or max(y0, max(y1, y2)) < top:
                    continue
                if not frame(points, frames[kept]):
                    continue
                number = 2 * (row * cells + column) + half
                many = trace_spans(numbers, top, left, points, number, spans, many)
                for corner in range(3):
                    nodes[kept, corner] = node_of(number, cells, corner)
                nodes[kept, 3] = many
                kept += 1
                if kept == TRIANGLES or many > SPANS:
                    draw(planes, values, numbers.shape[1], top, left, spans, frames, nodes[:kept])
                    kept = many = 0
    draw(planes, values, numbers.shape[1], top, left, spans, frames, nodes[:kept])


@inlined
def frame(points, into):
    """A triangle's corner 0 and slopes (x0, y0, b1, c1, b2, c2); False, and nothing, where it is flat."""
    x0, y0, x1, y1, x2, y2 = points
    b1, c1, b2, c2, thin = weights(x0, y0, x1, y1, x2, y2)
    into[0], into[1] = x0, y0
    into[2], into[3], into[4], into[5] = b1, c1, b2, c2
    return not thin


@inlined
def node_of(number, cells, corner):
    """Flat number of corner 0, 1 or 2 of a triangle, in a mesh of ``cells`` cells a row."""
    half, cell = number & 1, number >> 1
    row, column = cell // cells, cell % cells
    if corner == 0:
        return (row + half) * (cells + 1) + column + half
    if corner == 1:
        return (row + half) * (cells + 1) + column + 1 - half
    return (row + 1 - half) * (cells + 1) + column + half


@kernel
def trace_spans(numbers, top, left, points, number, spans, many):
    """Numbers the pixels of a triangle, and adds (row, first column, pixels) of each row to ``spans``.

    Returns how many spans there are then. Rows and columns count from (top, left).
    """
    x0, y0, x1, y1, x2, y2 = points
    rows, columns = numbers.shape
    flat = numbers.ravel()
    xa, ya, xb, yb, xc, yc = by_height(x0, y0, x1, y1, x2, y2)
    ac, ab, bc = slope(xa, ya, xc, yc), slope(xa, ya, xb, yb), slope(xb, yb, xc, yc)
    for line in range(max(math.ceil(ya), top), min(math.floor(yc), top + rows - 1) + 1):
        start, stop = reach(line, xa, ya, xb, yb, xc, yc, ac, ab, bc)
        start, stop = max(start - left, 0), min(stop - left, columns - 1)
        if start > stop:
            continue
        spans[many, 0], spans[many, 1], spans[many, 2] = line - top, start, stop - start + 1
        draw_span(flat, (line - top) * columns + start, stop - start + 1, float(number), 0.0, 0.0, 0.0)
        many += 1
    return many


@kernel
def draw(planes, values, columns, top, left, spans, frames, nodes):
    """Draws values on the spans of some triangles. nodes: (triangles, 4) corners, and where its spans end."""
    for channel in range(len(planes)):
        plane, known = planes[channel], values[channel]
        span = 0
        for triangle in range(len(nodes)):
            x0, y0 = frames[triangle, 0], frames[triangle, 1]
            start = float(known[nodes[triangle, 0]])
            rise1, rise2 = known[nodes[triangle, 1]] - start, known[nodes[triangle, 2]] - start
            across = rise1 * frames[triangle, 2] + rise2 * frames[triangle, 4]
            down = rise1 * frames[triangle, 3] + rise2 * frames[triangle, 5]
            while span < nodes[triangle, 3]:
                row, column, count = spans[span, 0], spans[span, 1], spans[span, 2]
                base = start + (top + row - y0) * down
                draw_span(plane, row * columns + column, count, base, float(left + column), x0, across)
                span += 1


# Written for LLVM by hand: ``unwarp`` of one channel takes 1.3 to 1.4 times as long with a plain loop.
@intrinsic
def draw_line(typingctx, out, at, count, base, place, origin, steep):
    """out[at + k] = base + ((place + k) - origin) steep, for k < count, rounded to the type of ``out``.

    All of out[at : at + LANES] must exist and belong to this thread: the rest of it is read and written back.
    """
    whole, real = types.int64, types.float64
    return types.void(out, whole, whole, real, real, real, real), _build_line


def _build_line(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    out, at, count, base, place, origin, steep = _plain(context, builder, signature, arguments)
    reals = ir.VectorType(ir.DoubleType(), LANES)
    wholes = ir.VectorType(count.type, LANES)
    slots = ir.Constant(wholes, list(range(LANES)))
    away = builder.fadd(_in_all_lanes(builder, place), ir.Constant(reals, [float(k) for k in range(LANES)]))
    away = builder.fsub(away, _in_all_lanes(builder, origin))
    line = builder.fmul(away, _in_all_lanes(builder, steep))
    line = builder.fadd(_in_all_lanes(builder, base), line)
    target = ir.VectorType(out.type.pointee, LANES)
    if isinstance(target.element, ir.IntType):
        line = builder.fptosi(line, target)
    elif isinstance(target.element, ir.FloatType):
        line = builder.fptrunc(line, target)
    where = builder.bitcast(builder.gep(out, [at]), target.as_pointer())
    active = builder.icmp_signed("<", slots, _in_all_lanes(builder, count))
    builder.store(builder.select(active, line, builder.load(where, align=1)), where, align=1)
    return context.get_dummy_value()


def _plain(context: Any, builder: Any, signature: Any, arguments: Any) -> list[Any]:
    """The arguments of an intrinsic, arrays as pointers to their first element."""
    return [
        context.make_array(kind)(context, builder, argument).data
        if isinstance(kind, types.Array)
        else argument
        for kind, argument in zip(signature.args, arguments, strict=True)
    ]


def _in_all_lanes(builder: Any, number: Any) -> Any:
    vector, places = ir.VectorType(number.type, LANES), ir.VectorType(ir.IntType(32), LANES)
    blank = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(blank, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, blank, ir.Constant(places, None))


@inlined
def draw_span(flat, at, count, base, place, x0, steep):
    """flat[at + k] = base + ((place + k) - x0) steep for k < count."""
    for done in range(0, count, LANES):
        some = min(count - done, LANES)
        if at + done + LANES <= len(flat):
            draw_line(flat, at + done, some, base, place + done, x0, steep)  # type: ignore[call-arg]
        else:
            for k in range(done, done + some):
                flat[at + k] = base + ((place + k) - x0) * steep
