"""Compiled loops of the elastic grid: springs brought to rest by multigrid, and the adjoint of them.

Fields of all levels (see ``saccade.grids.relaxation``) lie in one array each, flat: the rows of a level
follow each other, each with one column more that holds zeros, and rows of zeros lie above and below. So the
neighbours of all nodes of a level are at the same distance for every node, and each step is one loop over
all of them, which the compiler vectorises. Places are unsigned for the same reason: of a signed one the
compiler would ask whether it counts from the end.

``right`` and ``low`` are the springs from a node to its right and its lower neighbour, 0 where there is none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from saccade.runtime.kernels import kernel, vectorised_alike

Array = NDArray[np.float64]

GATHER, BETWEEN, SERIES, LINES, MEANS, TABLES = 0, 4, 6, 9, 10, 11
"""Rows of a table of weights between two levels, on one axis; see ``saccade.grids.relaxation.weights``."""

TINY = 1e-30
"""Of a node without springs, the sum of its springs: so that nothing is divided by 0."""

MOST_UNFOLDING = 1000


@vectorised_alike
def _corners(density, at, rows, columns, out):
    """The four terms of the bilinear polynomial of each cell of a density, side by side in memory."""
    one, four, wide = np.uint64(1), np.uint64(4), np.uint64(columns + 1)
    last = np.uint64(columns - 1)
    for i in range(np.uint64(rows)):
        here = np.uint64(at) + i * wide
        below = here + wide if i + one < np.uint64(rows) else here
        to = i * np.uint64(columns) * four
        for j in range(last):
            a, b = density[here + j], density[here + j + one]
            c, d = density[below + j], density[below + j + one]
            k = to + four * j
            out[k], out[k + one] = a, b - a
            out[k + np.uint64(2)], out[k + np.uint64(3)] = c - a, a - b - c + d
        a, c = density[here + last], density[below + last]
        k = to + four * last
        out[k], out[k + one], out[k + np.uint64(2)], out[k + np.uint64(3)] = a, a - a, c - a, a - a


@vectorised_alike
def _locate(x, y, at, n, step, rows, columns, us, vs, cells):
    """The middle of each spring to the node ``step`` further: its cell of the density, and where in it."""
    real = us.dtype.type
    zero, two = real(0), real(2)
    most_u, most_v = real(columns - 1), real(rows - 1)
    scale_u, scale_v = real(0.25 * (columns - 1)), real(0.25 * (rows - 1))
    at, step = np.uint64(at), np.uint64(step)
    for k in range(np.uint64(n)):
        a, b = at + k, at + k + step
        # Clamped, not refused: a correction may carry a node past the border for a while.
        u = min(max((x[a] + x[b] + two) * scale_u, zero), most_u)
        v = min(max((y[a] + y[b] + two) * scale_v, zero), most_v)
        i, j = np.int32(v), np.int32(u)
        us[k], vs[k] = u - real(j), v - real(i)
        cells[k] = np.uint32(i * columns + j)


@vectorised_alike
def _read(corners, us, vs, cells, out, at, n):
    """The density at places of :func:`_locate`. A loop of its own: only the other one can be vectorised."""
    at = np.uint64(at)
    for k in range(np.uint64(n)):
        c, u = np.uint64(cells[k]) * np.uint64(4), us[k]
        above = corners[c] + u * corners[c + np.uint64(1)]
        out[at + k] = above + vs[k] * (corners[c + np.uint64(2)] + u * corners[c + np.uint64(3)])


@vectorised_alike
def _rates(right, low, at, n, wide, step, rate_x, rate_y):
    """How far a node yields to a force: ``step`` over the sum of its springs."""
    at, wide, one = np.uint64(at), np.uint64(wide), np.uint64(1)
    tiny = right.dtype.type(TINY)
    for k in range(at, at + np.uint64(n)):
        rate = step / (right[k] + right[k - one] + low[k] + low[k - wide] + tiny)
        rate_x[k], rate_y[k] = rate, rate


@vectorised_alike
def _pull(right, low, values, at, n, wide, out):
    """What the springs pull at each node."""
    at, wide, one = np.uint64(at), np.uint64(wide), np.uint64(1)
    for k in range(at, at + np.uint64(n)):
        v = values[k]
        pulled = right[k] * (values[k + one] - v) + right[k - one] * (values[k - one] - v)
        pulled += low[k] * (values[k + wide] - v) + low[k - wide] * (values[k - wide] - v)
        out[k] = pulled


@vectorised_alike
def _residual(right, low, values, force, at, n, wide, out):
    """The force that is left at each node, of ``force`` and what the springs pull."""
    at, wide, one = np.uint64(at), np.uint64(wide), np.uint64(1)
    for k in range(at, at + np.uint64(n)):
        v = values[k]
        pulled = right[k] * (values[k + one] - v) + right[k - one] * (values[k - one] - v)
        pulled += low[k] * (values[k + wide] - v) + low[k - wide] * (values[k - wide] - v)
        out[k] = force[k] + pulled


@vectorised_alike
def _smooth(right, low, values, rate, force, at, n, wide, out):
    """A damped Jacobi step: every node yields to the force on it and the pull of its springs."""
    at, wide, one = np.uint64(at), np.uint64(wide), np.uint64(1)
    for k in range(at, at + np.uint64(n)):
        v = values[k]
        pulled = right[k] * (values[k + one] - v) + right[k - one] * (values[k - one] - v)
        pulled += low[k] * (values[k + wide] - v) + low[k - wide] * (values[k - wide] - v)
        out[k] = v + rate[k] * (pulled + force[k])


@vectorised_alike
def _yield(rate, force, at, n, out):
    """A damped Jacobi step from nothing."""
    at = np.uint64(at)
    for k in range(at, at + np.uint64(n)):
        out[k] = rate[k] * force[k]


@vectorised_alike
def _add(values, at, n, out):
    at = np.uint64(at)
    for k in range(at, at + np.uint64(n)):
        out[k] += values[k]


@kernel
def _hold(values, at, rows, columns, axis):
    """Zeroes the nodes that are held on an axis (0: x, 1: y), and the column beyond the last."""
    wide = columns + 1
    for i in range(rows):
        values[at + i * wide + columns] = 0
        if axis == 0:
            values[at + i * wide] = 0
            values[at + i * wide + columns - 1] = 0
    if axis == 1:
        for j in range(columns):
            values[at + j] = 0
            values[at + (rows - 1) * wide + j] = 0


@vectorised_alike
def _restrict(values, at, wide, by_row, by_column, line, out, to, rows, columns):
    """Values gathered on the nodes of the next level, of ``rows`` and ``columns``."""
    at, wide, one, two = np.uint64(at), np.uint64(wide), np.uint64(1), np.uint64(2)
    to, across = np.uint64(to), np.uint64(columns + 1)
    for i in range(np.uint64(rows)):
        a = at + two * i * wide - two * wide
        b, c, d = a + wide, a + two * wide, a + (two + one) * wide
        p, q, r, s = by_row[0, i], by_row[1, i], by_row[2, i], by_row[3, i]
        for j in range(wide):
            line[j + two] = p * values[a + j] + q * values[b + j] + r * values[c + j] + s * values[d + j]
        o = to + i * across
        for j in range(np.uint64(columns)):
            k = two * j
            left = by_column[0, j] * line[k] + by_column[1, j] * line[k + one]
            out[o + j] = left + by_column[2, j] * line[k + two] + by_column[3, j] * line[k + two + one]


@vectorised_alike
def _prolong(values, at, by_row, by_column, line, keep, out, to, rows, columns):
    """out = keep * out + values of the next level, bilinear; ``rows`` and ``columns`` of out."""
    coarse, wide, half = np.uint64(columns // 2 + 2), np.uint64(columns + 1), np.uint64((columns + 1) // 2)
    at, to, one, two = np.uint64(at), np.uint64(to), np.uint64(1), np.uint64(2)
    unit, zero = out.dtype.type(1), out.dtype.type(0)
    for i in range(np.uint64(rows)):
        a = at + (i // two) * coarse
        b = a + coarse
        t = by_row[i % two, i // two]
        for j in range(coarse):
            line[j] = (unit - t) * values[a + j] + t * values[b + j]
        o = to + i * wide
        for j in range(half):
            k = o + two * j
            p, q, left, right = by_column[0, j], by_column[1, j], line[j], line[j + one]
            out[k] = keep * out[k] + (unit - p) * left + p * right
            out[k + one] = keep * out[k + one] + (unit - q) * left + q * right
        out[o + wide - one] = zero  # beyond an odd number of columns a pair wrote there


@vectorised_alike
def _coarsen(right, low, at, wide, by_row, by_column, line, to, rows, columns):
    """Springs of the next level, of ``rows`` and ``columns``: in series along, side by side across."""
    at, wide, one, two, three = np.uint64(at), np.uint64(wide), np.uint64(1), np.uint64(2), np.uint64(3)
    to, across = np.uint64(to), np.uint64(columns + 1)
    unit, tiny = right.dtype.type(1), right.dtype.type(TINY)
    for i in range(np.uint64(rows)):
        a = at + two * i * wide - two * wide
        b, c, d = a + wide, a + two * wide, a + three * wide
        p, q, r, s = by_row[GATHER, i], by_row[GATHER + 1, i], by_row[GATHER + 2, i], by_row[GATHER + 3, i]
        for j in range(wide):
            line[j + two] = p * right[a + j] + q * right[b + j] + r * right[c + j] + s * right[d + j]
        o = to + i * across
        for j in range(np.uint64(columns - 1)):
            k = two * j + one
            give = by_column[SERIES, j] / (line[k] + tiny) + by_column[SERIES + 1, j] / (line[k + one] + tiny)
            right[o + j] = unit / (give + by_column[SERIES + 2, j] / (line[k + two] + tiny))
    for i in range(np.uint64(rows - 1)):
        b = at + two * i * wide - wide
        c, d = b + wide, b + two * wide
        p, q, r = by_row[SERIES, i], by_row[SERIES + 1, i], by_row[SERIES + 2, i]
        for j in range(wide):
            give = p / (low[b + j] + tiny) + q / (low[c + j] + tiny) + r / (low[d + j] + tiny)
            line[j + two] = unit / give
        o = to + i * across
        for j in range(np.uint64(columns)):
            k = two * j
            left = by_column[GATHER, j] * line[k] + by_column[GATHER + 1, j] * line[k + one]
            low[o + j] = (
                left + by_column[GATHER + 2, j] * line[k + two] + by_column[GATHER + 3, j] * line[k + three]
            )


@vectorised_alike
def _smallest(x, y, at, rows, columns):
    """The smallest of twice the signed areas of all triangles, cut as ``saccade.unwarp`` cuts the cells."""
    smallest = x.dtype.type(1)
    at, wide, one = np.uint64(at), np.uint64(columns + 1), np.uint64(1)
    for i in range(np.uint64(rows - 1)):
        start = at + i * wide
        for k in range(start, start + np.uint64(columns - 1)):
            b, c, d = k + one, k + wide, k + wide + one
            upper = (x[b] - x[k]) * (y[c] - y[k]) - (y[b] - y[k]) * (x[c] - x[k])
            lower = (x[d] - x[c]) * (y[d] - y[b]) - (y[d] - y[c]) * (x[d] - x[b])
            smallest = min(smallest, min(upper, lower))
    return smallest


@kernel
def _starts(sizes):
    """Where the first node of each level lies, and the length of a field."""
    starts = np.empty(len(sizes) + 1, np.int64)
    at = 0
    for level in range(len(sizes)):
        wide = sizes[level, 1] + 1
        starts[level] = at + 2 * wide + 2
        at += (sizes[level, 0] + 4) * wide + 4
    starts[len(sizes)] = at
    return starts


@kernel
def _set_up(top, sizes, starts, by_row, by_column, right, low, rate_x, rate_y, line, step):
    """Springs of all levels below ``top``, and the rates of all."""
    for level in range(top, len(sizes)):
        rows, columns, at = sizes[level, 0], sizes[level, 1], starts[level]
        _rates(right, low, at, rows * (columns + 1), columns + 1, step, rate_x, rate_y)
        _hold(rate_x, at, rows, columns, 0)
        _hold(rate_y, at, rows, columns, 1)
        if level + 1 < len(sizes):
            _coarsen(
                right, low, at, columns + 1, by_row[level], by_column[level], line,
                starts[level + 1], sizes[level + 1, 0], sizes[level + 1, 1],
            )  # fmt: skip


@kernel
def _cycle(top, sizes, starts, by_row, by_column, right, low, rate, axis, force, moved, spare, line, sweeps):
    """A V-cycle: ``moved`` becomes, nearly, how far the nodes of level ``top`` yield to ``force``.

    A smoothing step on every level down and up; ``sweeps`` pairs of them on the coarsest.
    """
    last, unit = len(sizes) - 1, right.dtype.type(1)
    for level in range(top, last):
        rows, columns, at = sizes[level, 0], sizes[level, 1], starts[level]
        wide, n = columns + 1, rows * (columns + 1)
        _yield(rate, force, at, n, spare)
        _residual(right, low, spare, force, at, n, wide, moved)
        _hold(moved, at, rows, columns, axis)
        _restrict(
            moved, at, wide, by_row[level], by_column[level], line,
            force, starts[level + 1], sizes[level + 1, 0], sizes[level + 1, 1],
        )  # fmt: skip
    at, wide = starts[last], sizes[last, 1] + 1
    n = sizes[last, 0] * wide
    _yield(rate, force, at, n, moved)
    for _ in range(sweeps):
        _smooth(right, low, moved, rate, force, at, n, wide, spare)
        _smooth(right, low, spare, rate, force, at, n, wide, moved)
    for level in range(last - 1, top - 1, -1):
        rows, columns, at = sizes[level, 0], sizes[level, 1], starts[level]
        wide, n = columns + 1, rows * (columns + 1)
        _prolong(
            moved, starts[level + 1], by_row[level, BETWEEN:], by_column[level, BETWEEN:], line, unit,
            spare, at, rows, columns,
        )  # fmt: skip
        _smooth(right, low, spare, rate, force, at, n, wide, moved)


@kernel
def _averaged(density, sizes, by_row, by_column, line):
    """A density, and it averaged to half its sides again and again."""
    starts = _starts(sizes)
    maps = np.zeros(starts[-1], density.dtype)
    for i in range(sizes[0, 0]):
        at = starts[0] + i * (sizes[0, 1] + 1)
        maps[at : at + sizes[0, 1]] = density[i]
    for level in range(len(sizes) - 1):
        rows, columns, to = sizes[level + 1, 0], sizes[level + 1, 1], starts[level + 1]
        _restrict(
            maps, starts[level], sizes[level, 1] + 1, by_row[level], by_column[level], line,
            maps, to, rows, columns,
        )  # fmt: skip
        for i in range(rows):
            for j in range(columns):
                share = by_row[level, MEANS, i] * by_column[level, MEANS, j]
                maps[to + i * (columns + 1) + j] *= share
    return maps, starts


@kernel
def _spread(x, y, at, rows, columns):
    """Even nodes."""
    for i in range(rows):
        for j in range(columns):
            k = at + i * (columns + 1) + j
            x[k] = 2 * j / (columns - 1) - 1 if columns > 1 else 0
            y[k] = 2 * i / (rows - 1) - 1 if rows > 1 else 0


@kernel
def _stiffen(
    corners, map_rows, map_columns, x, y, at, rows, columns, finest, row_lines, column_lines, places,
    right, low,
):  # fmt: skip
    """Stiffness of the springs of a level: the density at their middles, for all the lines they stand for."""
    us, vs, cells = places
    wide = columns + 1
    n = rows * wide
    _locate(x, y, at, n, 1, map_rows, map_columns, us, vs, cells)
    _read(corners, us, vs, cells, right, at, n)
    _locate(x, y, at, n - wide, wide, map_rows, map_columns, us, vs, cells)
    _read(corners, us, vs, cells, low, at, n - wide)
    for i in range(rows):
        start = at + i * wide
        if not finest:
            for j in range(columns):
                right[start + j] *= row_lines[i]
                low[start + j] *= column_lines[j]
        right[start + columns - 1] = 0
        right[start + columns] = 0
        low[start + columns] = 0


@kernel
def relax(density, maps, net, grid, step, sweeps):
    """Nodes of springs at rest, by nested iteration; see ``saccade.grids.relaxation``.

    density (h_a, w_a) > 0; grid (h, w, 2), written, in [-1, 1]; both float32 or both float64. ``maps``: sizes
    of the averaged densities and their tables; ``net``: sizes of the levels, their rounds, and their tables.
    """
    real, kind = density.dtype.type, density.dtype
    map_sizes, map_rows, map_columns = maps
    sizes, rounds, by_row, by_column = net
    starts = _starts(sizes)
    length = starts[-1]
    right, low = np.zeros(length, kind), np.zeros(length, kind)
    rate_x, rate_y = np.zeros(length, kind), np.zeros(length, kind)
    xs, ys = np.zeros(length, kind), np.zeros(length, kind)
    force, moved, spare = np.zeros(length, kind), np.zeros(length, kind), np.zeros(length, kind)
    line = np.zeros(max(sizes[0, 1], map_sizes[0, 1]) + 8, kind)
    averaged, map_starts = _averaged(density, map_sizes, map_rows, map_columns, line)
    corners = np.empty(4 * density.size, kind)
    most = sizes[0, 0] * (sizes[0, 1] + 1)
    places = np.empty(most, kind), np.empty(most, kind), np.empty(most, np.uint32)
    begin = len(sizes) - 1
    while rounds[begin] == 0 and begin > 0:
        begin -= 1
    _spread(xs, ys, starts[begin], sizes[begin, 0], sizes[begin, 1])
    for level in range(begin, -1, -1):
        rows, columns, at = sizes[level, 0], sizes[level, 1], starts[level]
        wide, n = columns + 1, rows * (columns + 1)
        if level < begin:
            for field in (xs, ys):
                _prolong(
                    field, starts[level + 1], by_row[level, BETWEEN:], by_column[level, BETWEEN:], line,
                    real(0), field, at, rows, columns,
                )  # fmt: skip
        # Detail much finer than the springs would be hit or missed by their middles.
        chosen = 0
        while map_sizes[chosen, 0] > 2 * rows or map_sizes[chosen, 1] > 2 * columns:
            chosen += 1
        high, across = map_sizes[chosen, 0], map_sizes[chosen, 1]
        _corners(averaged, map_starts[chosen], high, across, corners)
        for _ in range(rounds[level]):
            _stiffen(
                corners, high, across, xs, ys, at, rows, columns, level == 0,
                by_row[level, LINES], by_column[level, LINES], places, right, low,
            )  # fmt: skip
            # Stiffness is held in a round: that problem is linear, and its answer never folds.
            _set_up(level, sizes, starts, by_row, by_column, right, low, rate_x, rate_y, line, step)
            for axis in range(2):
                field, rate = (xs, rate_x) if axis == 0 else (ys, rate_y)
                _pull(right, low, field, at, n, wide, force)
                _cycle(
                    level, sizes, starts, by_row, by_column, right, low, rate, axis,
                    force, moved, spare, line, sweeps,
                )  # fmt: skip
                _add(moved, at, n, field)
    _unfold(sizes[0, 0], sizes[0, 1], starts[0], right, low, rate_x, rate_y, xs, ys, force, spare)
    _write(xs, ys, starts[0], grid)


@kernel
def _unfold(rows, columns, at, right, low, rate_x, rate_y, x, y, force, spare):
    """Relaxes the net further, stiffness held, while a triangle is turned over: at rest none is."""
    wide = columns + 1
    n, turn = rows * wide, 0
    while turn < MOST_UNFOLDING and rows > 1 and columns > 1 and _smallest(x, y, at, rows, columns) <= 0:
        for _ in range(4):
            for field, rate in ((x, rate_x), (y, rate_y)):
                _pull(right, low, field, at, n, wide, force)
                _yield(rate, force, at, n, spare)
                _add(spare, at, n, field)
        turn += 1


@kernel
def _write(x, y, at, grid):
    """The nodes, the outermost on the border to the bit."""
    rows, columns = grid.shape[:2]
    for i in range(rows):
        start = at + i * (columns + 1)
        for j in range(columns):
            grid[i, j, 0] = min(max(x[start + j], -1), 1)
            grid[i, j, 1] = min(max(y[start + j], -1), 1)
    if columns > 1:
        grid[:, 0, 0], grid[:, -1, 0] = -1, 1
    if rows > 1:
        grid[0, :, 1], grid[-1, :, 1] = -1, 1


@vectorised_alike
def _dot(a, b, at, n):
    total = a.dtype.type(0)
    at = np.uint64(at)
    for k in range(at, at + np.uint64(n)):
        total += a[k] * b[k]
    return total


@vectorised_alike
def _step_along(direction, image, share, at, n, solution, left):
    at = np.uint64(at)
    for k in range(at, at + np.uint64(n)):
        solution[k] += share * direction[k]
        left[k] += share * image[k]


@vectorised_alike
def _turn(values, share, at, n, direction):
    at = np.uint64(at)
    for k in range(at, at + np.uint64(n)):
        direction[k] = values[k] + share * direction[k]


@kernel
def adjoint(across, down, grad, axis, net, step, sweeps, tolerance, most, out):
    """A out = grad, of the springs' equations on an axis (0: x, 1: y); nodes held there have 0.

    Conjugate gradients, with a V-cycle for what is nearly the inverse. across (h, w - 1), down (h - 1, w),
    grad and out (h, w), of one type; ``net`` as for :func:`relax`.
    """
    real, kind = grad.dtype.type, grad.dtype
    sizes, _, by_row, by_column = net
    starts = _starts(sizes)
    rows, columns, at, length = sizes[0, 0], sizes[0, 1], starts[0], starts[-1]
    wide, n = columns + 1, rows * (columns + 1)
    right, low = np.zeros(length, kind), np.zeros(length, kind)
    rate_x, rate_y = np.zeros(length, kind), np.zeros(length, kind)
    left, moved, spare = np.zeros(length, kind), np.zeros(length, kind), np.zeros(length, kind)
    solution, direction, image = np.zeros(length, kind), np.zeros(length, kind), np.zeros(length, kind)
    line = np.zeros(columns + 8, kind)
    for i in range(rows):
        start = at + i * wide
        right[start : start + columns - 1] = across[i]
        left[start : start + columns] = grad[i]
        if i + 1 < rows:
            low[start : start + columns] = down[i]
    _hold(left, at, rows, columns, axis)
    _set_up(0, sizes, starts, by_row, by_column, right, low, rate_x, rate_y, line, step)
    rate = rate_x if axis == 0 else rate_y
    size, goal = real(0), real(0)
    for turn in range(most):
        _cycle(
            0, sizes, starts, by_row, by_column, right, low, rate, axis, left, moved, spare, line, sweeps,
        )  # fmt: skip
        before, size = size, _dot(left, moved, at, n)
        if turn == 0:
            goal = real(tolerance * tolerance) * size
        if size <= max(goal, real(TINY)):
            break
        _turn(moved, size / before if turn > 0 else real(0), at, n, direction)
        _pull(right, low, direction, at, n, wide, image)
        _hold(image, at, rows, columns, axis)
        # What springs pull is the negative of A: both signs here.
        _step_along(direction, image, -size / _dot(direction, image, at, n), at, n, solution, left)
    for i in range(rows):
        out[i] = solution[at + i * wide : at + i * wide + columns]
