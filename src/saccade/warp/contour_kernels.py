"""The triangles of a mesh by what their class borders look like, and the rows that folds meet.

``nodes`` is (x, y, best), all (h, w): places in pixels, and the best class of each node.
"""

from __future__ import annotations

from saccade.compiled import inlined, kernel
from saccade.warp.score_kernels import beaten, place_of, read

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
            spans[row, block, 0] = min(y[row, start : stop + 1].min(), y[row + 1, start : stop + 1].min())
            spans[row, block, 1] = max(y[row, start : stop + 1].max(), y[row + 1, start : stop + 1].max())
            spans[row, block, 2] = kinds[row, start:stop].max()


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
        folded[row] = 1


@kernel
def turn(ia, ja, ib, jb, nodes, scores):
    """The point at which the edge from node A to node B, of higher number, changes class."""
    x, y, best = nodes
    p, q = best[ia, ja] * scores[2][0], best[ib, jb] * scores[2][0]
    a, b = place_of(ia, ja, scores), place_of(ib, jb, scores)
    before = read(scores, a + p) - read(scores, a + q)
    after = read(scores, b + q) - read(scores, b + p)
    share = before / (before + after)
    return x[ia, ja] + share * (x[ib, jb] - x[ia, ja]), y[ia, ja] + share * (y[ib, jb] - y[ia, ja])
