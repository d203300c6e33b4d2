"""How the springs of an elastic grid are brought to rest: the levels, and the same grids of arrays.

Stiffness depends on where the nodes are, so it is read, held for a round, and read again. With stiffness held
the net is a linear problem, of which a round takes one V-cycle of multigrid: a smoothing step settles what is
near, the next level, half as fine, what is far apart. No more than that: the answer to a stiffness that is
not yet right overshoots, and half an answer ends nearer to rest. Levels are gone through from coarse to fine
(nested iteration), so that each begins near its end.

A level of n nodes on an axis is followed by one of n // 2 + 1, evenly spread. In a V-cycle a coarse spring is
what the fine ones along it are in series, and those beside it side by side: the density is not read again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.grids._spring_kernels import BETWEEN, GATHER, LINES, MEANS, SERIES, TABLES, adjoint, relax

Floats = NDArray[np.float32]
Array = NDArray[np.floating[Any]]
Matrix = NDArray[np.float64]

ROUNDS = 5
"""On each level but the finest: new stiffness, then a V-cycle, which halves about the distance from rest."""
FEWEST, MOST, OF_ONE_NODE = 3, 15, 300
"""Rounds on the finest level: OF_ONE_NODE over the root of its nodes, in these bounds. Fewer nodes cost less
a round, and begin further from rest."""
STEP = 0.8
"""Of a smoothing step, as a share of the way to the mean of the neighbours: the best against detail."""
BEGIN = 17
"""Nodes on the longer axis of the level that is relaxed first, at most, from even nodes."""
COARSEST = 5
"""Nodes on the longer axis of the coarsest level of a V-cycle, at most."""
SWEEPS = 3
"""Pairs of smoothing steps there."""


def levels(size: tuple[int, int]) -> list[tuple[tuple[int, int], int]]:
    """Sizes from fine to coarse, each with its number of rounds; those with none serve V-cycles alone."""
    sizes = [size]
    while max(sizes[-1]) > COARSEST:
        sizes.append((after(sizes[-1][0]), after(sizes[-1][1])))
    first = next(k for k, one in enumerate(sizes) if max(one) <= BEGIN)
    finest = min(max(round(OF_ONE_NODE / math.sqrt(math.prod(size))), FEWEST), MOST)
    rounds = [finest, *[ROUNDS] * first, *[0] * (len(sizes) - first - 1)]
    return list(zip(sizes, rounds, strict=True))


def after(nodes: int) -> int:
    """Nodes of the next coarser level on an axis."""
    return nodes // 2 + 1 if nodes > 2 else nodes


def between(nodes: int) -> Matrix:
    """(nodes, after(nodes)) what a value at each node is of the next coarser level's, linear between them."""
    coarse = after(nodes)
    place = np.linspace(0, coarse - 1, nodes)
    return (1 - np.abs(place[:, None] - np.arange(coarse))).clip(0)


def in_series(nodes: int) -> Matrix:
    """(after(nodes) - 1, nodes - 1) the share of each spring that lies within each coarser one."""
    edges = np.linspace(0, nodes - 1, after(nodes))
    spring = np.arange(nodes - 1)
    inside = np.minimum(edges[1:, None], spring + 1) - np.maximum(edges[:-1, None], spring)
    return inside.clip(0)


def lines(nodes: int, level: int) -> Matrix:
    """How much a line of a level counts: how many finest lines it stands for, times their distance."""
    weights, count = np.ones(nodes), nodes
    for _ in range(level):
        weights, count = between(count).T @ weights, after(count)
    return weights * ((nodes - 1) / (count - 1) if count > 1 else 1)


@lru_cache(maxsize=64)
def weights(nodes: int, depth: int, kind: str) -> Array:
    """(depth, TABLES, nodes + 4) what the kernels weigh with between each of ``depth`` levels and the next.

    GATHER: :func:`between`, transposed, of nodes 2 k - 2 to 2 k + 1; BETWEEN: the share of the later of two
    coarse nodes at even and at odd nodes; SERIES: :func:`in_series` of springs 2 k - 1 to 2 k + 1; LINES:
    :func:`lines`; MEANS: what makes means of what was gathered.
    """
    table = np.zeros((depth, TABLES, nodes + 4))
    count = nodes
    for level in range(depth):
        coarse = after(count)
        share, series = between(count), in_series(count)
        for k in range(coarse):
            for offset in range(4):
                if 0 <= 2 * k - 2 + offset < count:
                    table[level, GATHER + offset, k] = share[2 * k - 2 + offset, k]
        for k in range(coarse - 1):
            table[level, BETWEEN, k] = share[2 * k, k + 1]
            if 2 * k + 1 < count:
                table[level, BETWEEN + 1, k] = share[2 * k + 1, k + 1]
            for offset in range(3):
                if 0 <= 2 * k - 1 + offset < count - 1:
                    table[level, SERIES + offset, k] = series[k, 2 * k - 1 + offset]
        table[level, LINES, :count] = lines(nodes, level)
        table[level, MEANS, :coarse] = 1 / share.sum(0)
        count = coarse
    return table.astype(kind)


def averaged(values: Array, size: tuple[int, int]) -> Array:
    """(h_a, w_a) averaged down to at most ``size`` (rows, columns)."""
    for axis, most in enumerate(size):
        if values.shape[axis] > most:
            shares = means(values.shape[axis], most).astype(values.dtype)
            values = shares @ values if axis == 0 else values @ shares.T
    return values


@lru_cache(maxsize=64)
def means(before: int, after: int) -> Matrix:
    """(after, before) what each of fewer values, the outermost in the same places, is of more."""
    step = (before - 1) / (after - 1) if after > 1 else float(before)
    place = np.linspace(0, before - 1, after) if after > 1 else np.array([(before - 1) / 2])
    shares = (1 - np.abs(np.arange(before) - place[:, None]) / step).clip(0)
    return shares / shares.sum(1, keepdims=True)


@lru_cache(maxsize=64)
def _maps(size: tuple[int, int], kind: str) -> tuple[NDArray[np.int64], ...]:
    """Sizes of a density averaged to half again and again, and their tables."""
    sizes = [size]
    while max(sizes[-1]) > 2:
        sizes.append((after(sizes[-1][0]), after(sizes[-1][1])))
    tables = (weights(count, len(sizes), kind) for count in size)
    return (np.array(sizes), *tables)


def net(size: tuple[int, int], kind: str) -> tuple[Any, ...]:
    """Sizes of the levels, their rounds, and their tables, for the kernels; ``kind`` of numbers."""
    sizes, rounds = zip(*levels(size), strict=True)
    return np.array(sizes), np.array(rounds), *(weights(count, len(sizes), kind) for count in size)


def yielding(across: Array, down: Array, grad: Array, axis: int, tolerance: float) -> Array:
    """(h, w) how far nodes at rest would yield to ``grad`` (h, w), those held on ``axis`` (0: x) not at all.

    For springs across (h, w - 1) and down (h - 1, w), all of one type; to ``tolerance`` of the whole.
    """
    size = (grad.shape[0], grad.shape[1])
    out = np.empty(size, grad.dtype)
    step, most = grad.dtype.type(STEP), 4 * sum(size)
    adjoint(across, down, grad, axis, net(size, grad.dtype.str), step, SWEEPS, tolerance, most, out)
    return out


def at_rest(stiffness: Array, size: tuple[int, int]) -> Array:
    """(h, w, 2) nodes at rest for a stiffness (h_a, w_a) > 0, in its type; more than one node."""
    stiffness = averaged(stiffness, size)
    kind = stiffness.dtype.str
    maps = _maps((stiffness.shape[0], stiffness.shape[1]), kind)
    grid = np.empty((*size, 2), kind)
    relax(np.ascontiguousarray(stiffness), maps, net(size, kind), grid, stiffness.dtype.type(STEP), SWEEPS)
    return grid


def even_grid(size: tuple[int, int]) -> Floats:
    """(h, w, 2) the nodes of :func:`saccade.uniform_grid`, but for rounding."""
    y, x = (even(count).astype(np.float32) for count in size)
    return np.stack(np.meshgrid(x, y), -1)


def even(count: int) -> Matrix:
    """Places of evenly spread nodes on an axis."""
    return np.zeros(1) if count == 1 else np.linspace(-1, 1, count)


def elastic_nodes(
    density: Floats, size: tuple[int, int], floor: float = 0.1, relaxed: Callable[..., Array] = at_rest
) -> Floats:
    """(h, w, 2) the nodes of :func:`saccade.elastic_grid` for one density (h_a, w_a), but for rounding.

    ``relaxed`` is :func:`at_rest`, or ``at_rest_0_1`` of :mod:`saccade.grids.relaxation_0_1`.

    Examples:
        >>> import numpy as np
        >>> from saccade.grids.relaxation import elastic_nodes
        >>> elastic_nodes(np.ones((4, 4), np.float32), (2, 3))[0].tolist()
        [[-1.0, -1.0], [0.0, -1.0], [1.0, -1.0]]
    """
    if size == (1, 1):
        return even_grid(size)
    largest = max(density.max(), np.finfo(np.float32).tiny)
    stiffness = (density / largest + np.float32(floor)).astype(np.float32)
    return relaxed(stiffness, size)


def resized(values: Floats, size: tuple[int, int]) -> Floats:
    """(h, w) to another size, bilinear between the corners, as ``torch.nn.functional.interpolate`` does with
    ``align_corners``."""
    if values.shape == size:
        return np.ascontiguousarray(values)
    down, across = (_linear(n, m) for n, m in zip(values.shape, size, strict=True))
    return np.ascontiguousarray(down @ values @ across.T)


def _linear(before: int, after: int) -> Floats:
    """(after, before): what each value is of those before."""
    scale = (before - 1) / (after - 1) if after > 1 else 0.0
    shares = (1 - np.abs(np.arange(before) - scale * np.arange(after)[:, None])).clip(0)
    return (shares / shares.sum(1, keepdims=True)).astype(np.float32)
