"""Connected components of all classes of a label map in one sweep over its runs."""

from __future__ import annotations

import numpy as np

from saccade.compiled import kernel


def connected_objects(true: np.ndarray, said: np.ndarray, ignore_index: int) -> np.ndarray:
    """(N, 3) int64 (class, pixels, pixels where ``said`` agrees) of each 8-connected component of ``true``.

    Args:
        true, said: (H, W) integers of one type.
        ignore_index: pixels of this class form no component.
    """
    kinds, areas, right, parents, count = _runs(true, said, ignore_index)
    return _gather(kinds[:count], areas[:count], right[:count], parents[:count])


@kernel
def _root(parents, run):
    while parents[run] != run:
        parents[run] = parents[parents[run]]
        run = parents[run]
    return run


@kernel
def _runs(true, said, ignore_index):
    """Every run of equal class in every row, with a forest of which runs touch."""
    height, width = true.shape
    size = 1024
    kinds, begins, ends = np.empty(size, np.int64), np.empty(size, np.int32), np.empty(size, np.int32)
    right, parents = np.empty(size, np.int64), np.empty(size, np.int64)
    count, above_first, above_last = 0, 0, 0
    for y in range(height):
        row_first, above, x = count, above_first, 0
        while x < width:
            kind, begin, hits = true[y, x], x, 0
            while x < width and true[y, x] == kind:
                hits += said[y, x] == kind
                x += 1
            if kind == ignore_index:
                continue
            if count == size:
                kinds, begins, ends = _doubled(kinds), _doubled(begins), _doubled(ends)
                right, parents, size = _doubled(right), _doubled(parents), 2 * size
            kinds[count], begins[count], ends[count] = kind, begin, x
            right[count], parents[count] = hits, count
            while above < above_last and ends[above] < begin:
                above += 1
            touching = above
            while touching < above_last and begins[touching] <= x:
                if kinds[touching] == kind:
                    a, b = _root(parents, touching), _root(parents, count)
                    parents[max(a, b)] = min(a, b)
                touching += 1
            count += 1
        above_first, above_last = row_first, count
    return kinds, (ends - begins).astype(np.int64), right, parents, count


@kernel
def _doubled(array):
    longer = np.empty(2 * len(array), array.dtype)
    longer[: len(array)] = array
    return longer


@kernel
def _gather(kinds, areas, right, parents):
    """Sum the runs of each tree; a root comes before its tree's other runs."""
    place = np.full(len(parents), -1, np.int64)
    objects = np.zeros((len(parents), 3), np.int64)
    count = 0
    for run in range(len(parents)):
        root = _root(parents, run)
        if root == run:
            place[run] = count
            objects[count, 0] = kinds[run]
            count += 1
        objects[place[root], 1] += areas[run]
        objects[place[root], 2] += right[run]
    return objects[:count].copy()
