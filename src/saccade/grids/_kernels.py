"""Compiled loops of the grids: springs, tridiagonal systems, label edges and nearest boundaries.

A pair is two 4-neighbours of different class, neither ignored. Every kernel runs on one thread and changes
nothing but its outputs. Row buffers are made one by one: rows unpacked from one array, or two that swap
names, keep the compiler from vectorising (4 times slower).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from saccade.runtime.kernels import kernel, vectorised

Array = NDArray[np.float64]


@vectorised
def _corners(density, out):
    """The four terms of the bilinear polynomial of each cell of ``density``, side by side in memory."""
    rows, columns = density.shape
    for i in range(rows):
        below = min(i + 1, rows - 1)
        for j in range(columns):
            right = min(j + 1, columns - 1)
            a, b, c, d = density[i, j], density[i, right], density[below, j], density[below, right]
            at = (i * columns + j) * 4
            out[at], out[at + 1], out[at + 2], out[at + 3] = a, b - a, c - a, a - b - c + d


@vectorised
def _locate(scale_u, scale_v, most_u, most_v, columns, ax, ay, bx, by, us, vs, cells):
    """The middle of each spring (a, b): its cell of the density, and where in it."""
    real = us.dtype.type
    zero, two = real(0), real(2)
    for k in range(us.shape[0]):
        # Clamped, not refused: over-relaxation may carry a node past the border for a sweep.
        u = min(max((ax[k] + bx[k] + two) * scale_u, zero), most_u)
        v = min(max((ay[k] + by[k] + two) * scale_v, zero), most_v)
        i, j = np.int64(v), np.int64(u)
        us[k], vs[k] = u - real(j), v - real(i)
        cells[k] = np.uint64(i * columns + j)


@vectorised
def _read(corners, us, vs, cells, out):
    """The density at places of :func:`_locate`. A loop of its own: only the other one can be vectorised."""
    for k in range(out.shape[0]):
        at, u = cells[k] * np.uint64(4), us[k]
        above = corners[at] + u * corners[at + np.uint64(1)]
        out[k] = above + vs[k] * (corners[at + np.uint64(2)] + u * corners[at + np.uint64(3)])


@vectorised
def _share(left, right, up, down, step, shares):
    """What each of four springs is of their sum, times ``step``: (4, n)."""
    to_left, to_right, to_up, to_down = shares[0], shares[1], shares[2], shares[3]
    # Nodes outside the net have no springs, and must not make 0 / 0.
    tiny = left.dtype.type(1e-30)
    for k in range(left.shape[0]):
        share = step / (left[k] + right[k] + up[k] + down[k] + tiny)
        to_left[k], to_right[k] = left[k] * share, right[k] * share
        to_up[k], to_down[k] = up[k] * share, down[k] * share


@vectorised
def _move(nodes, left, right, up, down, to_left, to_right, to_up, to_down, keep):
    """Moves nodes towards the weighted mean of their neighbours."""
    for k in range(nodes.shape[0]):
        mean = to_left[k] * left[k] + to_right[k] * right[k] + to_up[k] * up[k] + to_down[k] * down[k]
        nodes[k] = keep * nodes[k] + mean


@vectorised
def _furthest(a, b):
    most = a.dtype.type(0)
    for k in range(a.shape[0]):
        most = max(most, abs(a[k] - b[k]))
    return most


@kernel
def _hold(x, y, p, q, rows, columns):
    """Left and right ends keep their x, upper and lower ones their y: the corners keep both."""
    if q == 0:
        x[:, 1] = -1 if columns > 1 else 0
    if (columns - 1) % 2 == q and columns > 1:
        x[:, (columns - 1) // 2 + 1] = 1
    if p == 0:
        y[1] = -1 if rows > 1 else 0
    if (rows - 1) % 2 == p and rows > 1:
        y[(rows - 1) // 2 + 1] = 1


@kernel
def relax(density, x, y, rounds, sweeps, step):
    """Brings the springs to rest in place: ``rounds`` times new stiffness, then ``sweeps`` sweeps.

    Ends early where a round moves no node by more than the rounding of the type that it is computed in.

    Nodes of even and odd rows and columns lie in four arrays (p, q), each flat and within a frame of zeros.
    So the neighbours of all nodes of an array lie in two others, at the same distance for every node, and
    each step is one loop over all of them, which the compiler vectorises.

    density (h_a, w_a) > 0; x, y (h, w) in [-1, 1], more than one node; all float32 or all float64.
    """
    rows, columns = x.shape
    real = density.dtype.type
    high, wide = (rows + 1) // 2 + 2, (columns + 1) // 2 + 2
    first, n = wide, (high - 2) * wide
    end, size = first + n, high * wide
    xs, ys = np.zeros((2, 2, size), density.dtype), np.zeros((2, 2, size), density.dtype)
    for i in range(rows):
        for j in range(columns):
            at = (i // 2 + 1) * wide + j // 2 + 1
            xs[i % 2, j % 2, at], ys[i % 2, j % 2, at] = x[i, j], y[i, j]
    all_x, all_y = xs.reshape(4 * size), ys.reshape(4 * size)
    before_x, before_y = np.empty_like(all_x), np.empty_like(all_y)
    # Springs of nodes (0, 0) and (1, 1): to the left, right, upper and lower neighbour: all there are.
    springs = np.zeros((2, 4, size), density.dtype)
    shares = np.zeros((2, 2, 4, size), density.dtype)
    corners = np.empty(4 * density.size, density.dtype)
    _corners(density, corners)
    us, vs = np.empty(n, density.dtype), np.empty(n, density.dtype)
    cells = np.empty(n, np.uint64)
    most_u, most_v = density.shape[1] - 1, density.shape[0] - 1
    # Spelled out: with np.finfo the kernel would bring numba's linear algebra, and scipy's, when loaded.
    still = real(8 * (2.0**-23 if density.itemsize == 4 else 2.0**-52))
    # Stiffness is held while the net relaxes: that problem is linear, and its answer never folds.
    for number in range(rounds):
        watching = number % 8 == 7 and rounds - number > 8
        if watching:
            before_x[:], before_y[:] = all_x, all_y
        for p in range(2):
            for side in range(4):
                a, b = (p, 1 - p) if side < 2 else (1 - p, p)
                start = _start(side, p, p, wide)
                _locate(
                    real(0.25 * most_u), real(0.25 * most_v), real(most_u), real(most_v), most_u + 1,
                    xs[p, p][first:end], ys[p, p][first:end],
                    xs[a, b][start : start + n], ys[a, b][start : start + n], us, vs, cells,
                )  # fmt: skip
                _read(corners, us, vs, cells, springs[p, side][first:end])
            _cut(springs[p].reshape(4, high, wide), p, rows, columns)
            s, out = springs[p], shares[p, p][:, first:end]
            _share(s[0][first:end], s[1][first:end], s[2][first:end], s[3][first:end], real(step), out)
        for p in range(2):
            q = 1 - p
            left, right = _start(0, p, q, wide), _start(1, p, q, wide)
            up, down = _start(2, p, q, wide), _start(3, p, q, wide)
            beside, upright, out = springs[p], springs[q], shares[p, q][:, first:end]
            # The spring to the left is the right one of the neighbour there.
            _share(
                beside[1][left : left + n], beside[0][right : right + n],
                upright[3][up : up + n], upright[2][down : down + n], real(step), out,
            )  # fmt: skip
        for _ in range(sweeps):
            # A node of one colour has neighbours of the other only, so a sweep reads nothing that it writes.
            for colour in range(2):
                for p in range(2):
                    q = p ^ colour
                    _sweep(xs, p, q, shares, first, n, wide, real(1 - step))
                    _sweep(ys, p, q, shares, first, n, wide, real(1 - step))
                    _hold(xs[p, q].reshape(high, wide), ys[p, q].reshape(high, wide), p, q, rows, columns)
        if watching and _furthest(all_x, before_x) <= still and _furthest(all_y, before_y) <= still:
            break
    for i in range(rows):
        for j in range(columns):
            at = (i // 2 + 1) * wide + j // 2 + 1
            x[i, j], y[i, j] = xs[i % 2, j % 2, at], ys[i % 2, j % 2, at]


@kernel
def _start(side, p, q, wide):
    """Where the left (0), right, upper or lower (3) neighbours of the nodes (p, q) begin in their array."""
    if side < 2:
        return wide + q - 1 + side
    return wide + (p - 1 + side - 2) * wide


@kernel
def _cut(springs, p, rows, columns):
    """Removes the springs of nodes (p, p) that lead out of the net. ``springs`` (4, high, wide)."""
    high, wide = (rows - p + 1) // 2, (columns - p + 1) // 2
    springs[:, :, 0] = 0
    springs[:, :, wide + 1 :] = 0
    springs[:, high + 1 :] = 0
    if p == 0:
        springs[0, :, 1] = 0
        springs[2, 1] = 0
    if (columns - 1) % 2 == p:
        springs[1, :, wide] = 0
    if (rows - 1) % 2 == p:
        springs[3, high] = 0


@kernel
def _sweep(nodes, p, q, shares, first, n, wide, keep):
    """Moves the nodes (p, q) once on one axis."""
    left, right = _start(0, p, q, wide), _start(1, p, q, wide)
    up, down = _start(2, p, q, wide), _start(3, p, q, wide)
    beside, upright = nodes[p, 1 - q], nodes[1 - p, q]
    s, end = shares[p, q], first + n
    _move(
        nodes[p, q][first:end], beside[left : left + n], beside[right : right + n],
        upright[up : up + n], upright[down : down + n],
        s[0][first:end], s[1][first:end], s[2][first:end], s[3][first:end], keep,
    )  # fmt: skip


@vectorised
def _image(values, left, right, up, down, diagonal, at_left, at_right, at_up, at_down, out):
    for k in range(out.shape[0]):
        pulled = left[k] * at_left[k] + right[k] * at_right[k] + up[k] * at_up[k] + down[k] * at_down[k]
        out[k] = diagonal[k] * values[k] - pulled


@vectorised
def _dot(a, b, start):
    total = start
    for k in range(a.shape[0]):
        total += a[k] * b[k]
    return total


@vectorised
def _step(solution, left, scaled, direction, image, inverse, step):
    for k in range(solution.shape[0]):
        solution[k] += step * direction[k]
        left[k] -= step * image[k]
        scaled[k] = left[k] * inverse[k]


@vectorised
def _turn(direction, scaled, share):
    for k in range(direction.shape[0]):
        direction[k] = scaled[k] + share * direction[k]


@kernel
def adjoint(across, down, grad, axis, tolerance, most, out):
    """Conjugate gradients for A out = grad; nodes held on this axis (0: x, 1: y) have 0.

    across (h, w - 1), down (h - 1, w), grad and out (h, w), of one type. Flat and framed as in ``relax``.
    """
    rows, columns = grad.shape
    real, zero = grad.dtype.type, grad.dtype.type(0)
    tiny = real(np.finfo(grad.dtype).tiny)
    wide = columns + 2
    first, n = wide, rows * wide
    end, size = first + n, (rows + 2) * wide
    right, low = np.zeros(size, grad.dtype), np.zeros(size, grad.dtype)
    left_over, inverse = np.zeros(n, grad.dtype), np.zeros(n, grad.dtype)
    diagonal, solution = np.zeros(n, grad.dtype), np.zeros(n, grad.dtype)
    for i in range(rows):
        for j in range(columns):
            at = (i + 1) * wide + j + 1
            right[at] = across[i, j] if j < columns - 1 else zero
            low[at] = down[i, j] if i < rows - 1 else zero
    for i in range(rows):
        for j in range(columns):
            at = (i + 1) * wide + j + 1
            # A held node has a diagonal and an inverse of 0 and so never moves.
            if 0 < j < columns - 1 if axis == 0 else 0 < i < rows - 1:
                diagonal[at - first] = right[at] + right[at - 1] + low[at] + low[at - wide]
                inverse[at - first] = real(1) / diagonal[at - first]
                left_over[at - first] = grad[i, j]
    scaled = left_over * inverse
    framed = np.zeros(size, grad.dtype)
    direction, image = framed[first:end], np.zeros(n, grad.dtype)
    direction[:] = scaled
    squared = _dot(left_over, scaled, zero)
    goal = real(tolerance * tolerance) * max(squared, tiny)
    for _ in range(most):
        if squared <= goal:
            break
        _image(
            direction, right[first - 1 : end - 1], right[first:end], low[: end - wide], low[first:end],
            diagonal, framed[first - 1 : end - 1], framed[first + 1 : end + 1],
            framed[:n], framed[first + wide :], image,
        )  # fmt: skip
        step = squared / max(_dot(direction, image, zero), tiny)
        _step(solution, left_over, scaled, direction, image, inverse, step)
        before, squared = squared, _dot(left_over, scaled, zero)
        _turn(direction, scaled, squared / max(before, tiny))
    for i in range(rows):
        for j in range(columns):
            out[i, j] = solution[i * wide + j + 1]


@kernel
def sweep(values, eigenvalues, smoothness):
    """Solve (1 + lambda (e_k + L)) u = values[:, k] in place for each mode k (Thomas' algorithm).

    L is that of n nodes in a row between two held at 0.

    Args:
        values: (n, modes), contiguous.
        eigenvalues: (modes,) e_k of L along the other axis.
        smoothness: lambda.
    """
    nodes, modes = values.shape
    upper = np.empty_like(values)
    # Modes are innermost: nodes depend on each other, modes do not, and they lie side by side in memory.
    for i in range(nodes):
        for k in range(modes):
            diagonal = 1.0 + smoothness * (eigenvalues[k] + 2.0)
            if i > 0:
                diagonal -= smoothness * upper[i - 1, k]
                values[i, k] += smoothness * values[i - 1, k]
            inverse = 1.0 / diagonal
            upper[i, k] = smoothness * inverse
            values[i, k] *= inverse
    for i in range(nodes - 2, -1, -1):
        for k in range(modes):
            values[i, k] += upper[i, k] * values[i + 1, k]


ANY = np.zeros(0, dtype=np.int64)
"""In place of target classes: all of them."""

ALIKE = np.zeros(0, dtype=np.float32)
"""In place of weights of classes: every pair counts 1."""


@kernel
def _different(a, b, ignore, ignoring, out):
    """out[i] = 1 where a[i] and b[i] make a pair."""
    for i in range(len(out)):
        out[i] = (a[i] != b[i]) & ((a[i] != ignore) & (b[i] != ignore) | (not ignoring))


@kernel
def _weigh(a, b, weights, out):
    """Scale out[i] by the larger weight of the two classes; False where a class has none."""
    for i in range(len(out)):
        if out[i] > 0:
            if min(a[i], b[i]) < 0 or max(a[i], b[i]) >= len(weights):
                return False
            out[i] = max(weights[a[i]], weights[b[i]])
    return True


@kernel
def _keep_targets(a, b, classes, out):
    """Clear out[i] where neither class is a target."""
    for i in range(len(out)):
        if out[i] > 0:
            target = False
            for label in classes:
                target |= (a[i] == label) | (b[i] == label)
            out[i] = target


@kernel
def gather_edges(labels, ignore, ignoring, weights, rows, row_shares, columns, column_shares, cells):
    """Sum the edges of the pixels of each cell, where a pixel has half of each pair that it is in.

    Args:
        labels: (H, W) integer, contiguous.
        ignore, ignoring: the ignored class, in the type of the labels, and whether there is one.
        weights: (classes,) float32, or ALIKE.
        rows, row_shares: (H, 2) the rows of cells that a row belongs to, and by which share (0: not at all).
        columns, column_shares: (W, 2), likewise.
        cells: (h, w) float64, added to.

    Returns:
        False where a class has no weight; ``cells`` is then incomplete.
    """
    height, width = labels.shape
    # Edges of one row of pixels at a time: two maps of the whole image would take eight times its labels.
    below = np.zeros(width, np.float32)
    beside = np.zeros(width, np.float32)
    vertical = np.zeros((len(cells), width), np.float32)
    horizontal = np.zeros((len(cells), width), np.float32)
    known = True
    for y in range(height):
        line = labels[y]
        known &= _count(line[:-1], line[1:], ignore, ignoring, weights, beside[: width - 1])
        _deposit(beside, rows[y], row_shares[y], horizontal)
        if y + 1 < height:
            known &= _count(line, labels[y + 1], ignore, ignoring, weights, below)
            _deposit(below, rows[y], row_shares[y], vertical)
            _deposit(below, rows[y + 1], row_shares[y + 1], vertical)
    # Columns of pixels become columns of cells last, on h rows and no longer on H.
    for row in range(len(cells)):
        for x in range(width):
            left = horizontal[row, x - 1] if x > 0 else 0.0
            half = 0.5 * (vertical[row, x] + horizontal[row, x] + left)
            for side in range(2):
                cells[row, columns[x, side]] += column_shares[x, side] * half
    return known


@kernel
def _count(a, b, ignore, ignoring, weights, out):
    """What each pair counts; False where a class has no weight."""
    _different(a, b, ignore, ignoring, out)
    return len(weights) == 0 or _weigh(a, b, weights, out)


@kernel
def _deposit(edges, rows, shares, out):
    """Add a row of edges to its rows of cells."""
    for side in range(2):
        share, target = shares[side], out[rows[side]]
        if share > 0:
            for x in range(len(edges)):
                target[x] += share * edges[x]


@kernel
def nearest_in_rows(labels, ignore, ignoring, classes, columns, nearest):
    """For each row and each of ``columns``, the column of the row's nearest boundary pixel; -1 without one.

    Args:
        labels, ignore, ignoring: as for :func:`gather_edges`.
        classes: target classes int64, or ANY. A pair counts where either class is a target.
        columns: (w,) float64 ascending positions in pixels.
        nearest: (H, w) int32, written.
    """
    height, width = labels.shape
    above = np.zeros(width, np.uint8)
    below = np.zeros(width, np.uint8)
    beside = np.zeros(width, np.uint8)
    nearest_columns = np.empty(width, np.int32)
    for y in range(height):
        line = labels[y]
        _different(line[:-1], line[1:], ignore, ignoring, beside[: width - 1])
        if len(classes):
            _keep_targets(line[:-1], line[1:], classes, beside[: width - 1])
        # The last row has none below it, and the buffer still holds those of the row before.
        below[:] = 0
        if y + 1 < height:
            _different(line, labels[y + 1], ignore, ignoring, below)
            if len(classes):
                _keep_targets(line, labels[y + 1], classes, below)
        count = 0
        for x in range(width):
            if above[x] | below[x] | beside[x] | (x > 0 and beside[x - 1]):
                nearest_columns[count] = x
                count += 1
        _nearest_of(nearest_columns[:count], columns, nearest[y])
        above[:] = below


@kernel
def _nearest_of(nearest, columns, out):
    """out[j] = the entry of ascending ``nearest`` nearest to ascending columns[j], the left one of a tie."""
    at = 0
    for j in range(len(columns)):
        if len(nearest) == 0:
            out[j] = -1
            continue
        # Both ascend, so the nearest entry never moves back: one pass for all columns.
        while at + 1 < len(nearest) and nearest[at + 1] - columns[j] < columns[j] - nearest[at]:
            at += 1
        out[j] = nearest[at]


@kernel
def nearest_of_rows(nearest, columns, rows, targets):
    """The nearest boundary pixel of each node, from the nearest of each image row: lower parabola envelopes.

    Args:
        nearest: (H, w) from :func:`nearest_in_rows`.
        columns, rows: (w,), (h,) float64 ascending node positions in pixels.
        targets: (h, w, 2) float64, written with (x, y) in pixels; untouched where there is no boundary.
    """
    height, width = nearest.shape
    row, start = np.empty(height, np.int64), np.empty(height, np.float64)
    for j in range(width):
        count = 0
        for y in range(height):
            if nearest[y, j] < 0:
                continue
            begin = -np.inf
            while count > 0:
                begin = _overtakes(row[count - 1], y, nearest[:, j], columns[j])
                # Otherwise this row takes over before the last one did, which is then nearest nowhere.
                if begin > start[count - 1]:
                    break
                count -= 1
                begin = -np.inf
            row[count], start[count] = y, begin
            count += 1
        at = 0
        for i in range(len(rows)):
            if count > 0:
                while at + 1 < count and start[at + 1] < rows[i]:
                    at += 1
                targets[i, j, 0], targets[i, j, 1] = nearest[row[at], j], row[at]


@kernel
def _overtakes(p, q, nearest, column):
    """The row from which on a node of this column is nearer to the boundary pixel of row q > p than of p."""
    # Where (row - p)^2 + dx_p^2 equals (row - q)^2 + dx_q^2: the squares of the row cancel, one division is
    # left.
    a, b = (nearest[p] - column) ** 2 + p * p, (nearest[q] - column) ** 2 + q * q
    return (b - a) / (2.0 * (q - p))
