"""Compiled loop over the rows of a label map: what belongs together, and how much of it there is."""

from __future__ import annotations

from saccade.runtime._kernels import root_of
from saccade.runtime.kernels import kernel

NOTHING = -1

LABEL, PIXELS, TWICE_X, TWICE_Y, LEVEL, UPRIGHT, LEFT, TOP, RIGHT, BOTTOM, FIRST, DOUBT = range(12)
"""Columns of the counts of a part: pixels, the sums of 2 x + 1 and 2 y + 1 (twice the centres, so that they
stay whole numbers), level and upright edges of its outline, its box, the leftmost pixel of its top row, and
the sum of the uncertainty."""


@kernel
def count_row(y, above, parts_above, row, parts, parent, counts, count, doubt):
    """Numbers the 8-connected parts of a row, joined to the row above, and counts their pixels and edges.

    above, row: (W) labels, ``NOTHING`` where no region is. doubt: (W) uncertainty. Returns how many numbers
    are in use.
    """
    width = len(row)
    for x in range(width):
        label = row[x]
        if above[x] != NOTHING and above[x] != label:
            counts[parts_above[x], LEVEL] += 1
        if label == NOTHING:
            parts[x] = NOTHING
            continue
        joined = x > 0 and row[x - 1] == label
        part = parts[x - 1] if joined else NOTHING
        # What is above joins its own neighbours already; a neighbour on the left has looked up and right.
        if above[x] == label:
            part = _met(parent, part, parts_above[x])
        else:
            if not joined and x > 0 and above[x - 1] == label:
                part = _met(parent, part, parts_above[x - 1])
            if x + 1 < width and above[x + 1] == label:
                part = _met(parent, part, parts_above[x + 1])
        if part == NOTHING:
            part = count
            parent[count] = count
            counts[count, LABEL], counts[count, FIRST] = label, x
            counts[count, LEFT], counts[count, RIGHT] = x, x + 1
            counts[count, TOP] = y
            for column in (PIXELS, TWICE_X, TWICE_Y, LEVEL, UPRIGHT, DOUBT):
                counts[count, column] = 0
            count += 1
        parts[x] = part
        mine = counts[part]
        mine[PIXELS] += 1
        mine[TWICE_X] += 2 * x + 1
        mine[TWICE_Y] += 2 * y + 1
        mine[LEVEL] += above[x] != label
        mine[UPRIGHT] += (not joined) + (x + 1 == width or row[x + 1] != label)
        mine[LEFT], mine[RIGHT] = min(mine[LEFT], x), max(mine[RIGHT], x + 1)
        mine[BOTTOM] = y + 1
        mine[DOUBT] += doubt[x]
    return count


@kernel
def _met(parent, part, other):
    other = root_of(parent, other)
    if part == NOTHING:
        return other
    part = root_of(parent, part)
    low, high = min(part, other), max(part, other)
    parent[high] = low
    return low


@kernel
def gather_counts(parent, counts, count):
    """Adds the counts of every part to those of its root."""
    for part in range(count - 1, -1, -1):
        root = root_of(parent, part)
        if root == part:
            continue
        mine, all_of_it = counts[part], counts[root]
        for column in (PIXELS, TWICE_X, TWICE_Y, LEVEL, UPRIGHT, DOUBT):
            all_of_it[column] += mine[column]
        if (mine[TOP], mine[FIRST]) < (all_of_it[TOP], all_of_it[FIRST]):
            all_of_it[TOP], all_of_it[FIRST] = mine[TOP], mine[FIRST]
        all_of_it[LEFT] = min(all_of_it[LEFT], mine[LEFT])
        all_of_it[RIGHT] = max(all_of_it[RIGHT], mine[RIGHT])
        all_of_it[BOTTOM] = max(all_of_it[BOTTOM], mine[BOTTOM])
