"""Kernels of the metrics: counts of pairs, connected objects, exact distances to contours."""

from __future__ import annotations

import math

import numpy as np

from saccade.runtime._kernels import root_of
from saccade.runtime.kernels import kernel


@kernel
def count_pairs(
    target: np.ndarray, pred: np.ndarray, num_classes: int, ignore_index: int
) -> tuple[np.ndarray, np.int64, np.int64]:
    """Counts, and the first id out of range in target and pred (0 where there is none).

    Neighbouring pixels mostly repeat one pair, so runs are counted in a register and added once.
    """
    counts = np.zeros((num_classes, num_classes), np.int64)
    # A run of no pixels: what is added for it at the first change is 0, whatever its pair.
    last_true, last_said, run = np.int64(0), np.int64(0), np.int64(0)
    for i in range(target.size):
        true, predicted = np.int64(target[i]), np.int64(pred[i])
        if true == last_true and predicted == last_said:
            run += 1
            continue
        if true == ignore_index:
            continue
        if true < 0 or true >= num_classes:
            return counts, true, np.int64(0)
        if predicted < 0 or predicted >= num_classes:
            return counts, np.int64(0), predicted
        counts[last_true, last_said] += run
        last_true, last_said, run = true, predicted, np.int64(1)
    counts[last_true, last_said] += run
    return counts, np.int64(0), np.int64(0)


@kernel
def runs(target, pred, ignore_index):
    """Every run of equal class in every row, with a forest of which runs touch."""
    height, width = target.shape
    size = 1024
    kinds, begins, ends = np.empty(size, np.int64), np.empty(size, np.int32), np.empty(size, np.int32)
    right, parents = np.empty(size, np.int64), np.empty(size, np.int64)
    count, above_first, above_last = 0, 0, 0
    for y in range(height):
        row_first, above, x = count, above_first, 0
        while x < width:
            kind, begin, hits = target[y, x], x, 0
            while x < width and target[y, x] == kind:
                hits += pred[y, x] == kind
                x += 1
            if kind == ignore_index:
                continue
            if count == size:
                kinds, begins, ends = _doubled(kinds), _doubled(begins), _doubled(ends)
                right, parents, size = _doubled(right), _doubled(parents), 2 * size
            kinds[count], begins[count], ends[count] = kind, begin, x
            right[count], parents[count] = hits, count
            # Ends are exclusive, so one that equals begin touches by a corner.
            while above < above_last and ends[above] < begin:
                above += 1
            touching = above
            # ``above`` stays where it is: the last run that touches here may touch the next one too.
            while touching < above_last and begins[touching] <= x:
                if kinds[touching] == kind:
                    a, b = root_of(parents, touching), root_of(parents, count)
                    parents[max(a, b)] = min(a, b)  # so that a root comes before its runs, as gather needs
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
def gather(kinds, areas, right, parents):
    """Sum the runs of each tree; a root comes before its tree's other runs."""
    place = np.full(len(parents), -1, np.int64)
    objects = np.zeros((len(parents), 3), np.int64)
    count = 0
    for run in range(len(parents)):
        root = root_of(parents, run)
        if root == run:
            place[run] = count
            objects[count, 0] = kinds[run]
            count += 1
        objects[place[root], 1] += areas[run]
        objects[place[root], 2] += right[run]
    return objects[:count].copy()


@kernel
def down_runs(first, last, labels, limit, column):
    """Columns [first, last): vertical distance to the nearest other label, at most ``limit``."""
    rows = labels.shape[0]
    for x in range(first, last):
        column[0, x] = 1
    for y in range(1, rows):
        for x in range(first, last):
            column[y, x] = min(column[y - 1, x] + 1, limit) if labels[y, x] == labels[y - 1, x] else 1
    for x in range(first, last):
        # Beyond the border counts as another label, here as at the top.
        column[rows - 1, x] = 1
    for y in range(rows - 2, -1, -1):
        for x in range(first, last):
            below = column[y + 1, x] + 1 if labels[y, x] == labels[y + 1, x] else 1
            column[y, x] = min(column[y, x], below)


@kernel
def down_marks(first, last, marked, limit, column):
    """Columns [first, last): vertical distance to the nearest mark, at most ``limit``."""
    rows = marked.shape[0]
    for x in range(first, last):
        column[0, x] = 0 if marked[0, x] else limit
    for y in range(1, rows):
        for x in range(first, last):
            column[y, x] = 0 if marked[y, x] else min(column[y - 1, x] + 1, limit)
    for y in range(rows - 2, -1, -1):
        for x in range(first, last):
            column[y, x] = min(column[y, x], column[y + 1, x] + 1)


@kernel
def along_runs(first, last, labels, column, limit, out):
    """Rows [first, last): the envelope over each run of equal label and the pixel beyond either end."""
    width = labels.shape[1]
    raised, lengths = np.empty(width + 2, np.int32), np.empty(width + 2, np.int32)
    place, start = np.empty(width + 2, np.int32), np.empty(width + 2, np.float64)
    for y in range(first, last):
        begin = 0
        while begin < width:
            end = begin + 1
            while end < width and labels[y, end] == labels[y, begin]:
                end += 1
            length = end - begin
            raised[0] = raised[length + 1] = 0  # of another label, or beyond the border
            raised[1 : length + 1] = column[y, begin:end]
            _envelope(raised, length + 2, limit, place, start, lengths)
            out[y, begin:end] = lengths[1 : length + 1]
            begin = end


@kernel
def along_rows(first, last, column, limit, out):
    """Rows [first, last): the envelope over the whole row."""
    width = column.shape[1]
    place, start = np.empty(width, np.int32), np.empty(width, np.float64)
    for y in range(first, last):
        _envelope(column[y], width, limit, place, start, out[y])


@kernel
def _envelope(raised, length, limit, place, start, out):
    """out[x] = min over v of (x - v)^2 + raised[v]^2, over those raised[v] < limit; at most limit^2."""
    count = 0
    for v in range(length):
        if raised[v] >= limit:  # no parabola that starts so high comes below the limit
            continue
        begin = -np.inf
        # Parabolas that v overtakes before they became the lowest are lowest nowhere.
        while count > 0:
            u = place[count - 1]
            gap = np.float64(raised[v]) ** 2 - np.float64(raised[u]) ** 2
            begin = (gap / (v - u) + (v + u)) / 2
            if begin > start[count - 1]:
                break
            count -= 1
            begin = -np.inf
        place[count], start[count] = v, begin
        count += 1
    out[:length] = limit * limit
    for k in range(count):
        v = place[k]
        # Farther out the parabola alone is above the limit, so it need not be drawn over the whole row.
        first, last = max(v - limit + 1, 0), min(v + limit - 1, length - 1)
        if k > 0:
            first = max(first, math.ceil(start[k]))
        if k + 1 < count:
            last = min(last, math.floor(start[k + 1]))
        for x in range(first, last + 1):
            # The change from one parabola to the next may fall on a pixel that both reach: the minimum takes
            # either.
            out[x] = min(out[x], (x - v) ** 2 + raised[v] ** 2)


@kernel
def count_near(target, pred, near_true, near_said, reach, ignore_index, counts):
    for y in range(target.shape[0]):
        for x in range(target.shape[1]):
            if target[y, x] == ignore_index:
                continue
            in_true, in_said = near_true[y, x] <= reach, near_said[y, x] <= reach
            # A pixel of both counts once in the union of its class; of two classes, once in each.
            if in_true and in_said and target[y, x] == pred[y, x]:
                counts[0, target[y, x]] += 1
                counts[1, target[y, x]] += 1
                continue
            if in_true:
                counts[1, target[y, x]] += 1
            if in_said:
                counts[1, pred[y, x]] += 1


@kernel
def mark_boundary(labels, ignore_index, marked):
    rows, columns = labels.shape
    for y in range(rows):
        for x in range(columns):
            here = labels[y, x]
            if here == ignore_index:
                continue
            if x + 1 < columns and labels[y, x + 1] != here and labels[y, x + 1] != ignore_index:
                marked[y, x] = marked[y, x + 1] = True
            if y + 1 < rows and labels[y + 1, x] != here and labels[y + 1, x] != ignore_index:
                marked[y, x] = marked[y + 1, x] = True


@kernel
def count_bands(target, pred, squared, band_of, ignore_index, bands):
    """bands[0 or 1, b]: right or all pixels of the narrowest band b that they lie in."""
    for y in range(target.shape[0]):
        for x in range(target.shape[1]):
            if squared[y, x] < len(band_of) and target[y, x] != ignore_index:
                band = band_of[squared[y, x]]
                bands[0, band] += target[y, x] == pred[y, x]
                bands[1, band] += 1
