"""How the springs of an elastic grid are brought to rest, and the same grids without torch, of arrays."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from saccade.grids._kernels import relax

Floats = NDArray[np.float32]

SWEEPS = 5
FINEST_ROUNDS = 8
MOST_ROUNDS = 200
COARSEST = 4


def levels(size: tuple[int, int]) -> list[tuple[tuple[int, int], int]]:
    """Sizes from coarse to fine, each with its number of rounds: new stiffness, then SWEEPS sweeps.

    Coarse levels settle what is far apart, at little cost, so they get more rounds.
    """
    sizes = [size]
    while max(sizes[0]) >= 2 * COARSEST:
        rows, columns = sizes[0]
        sizes.insert(
            0, ((rows + 1) // 2 if rows > 3 else rows, (columns + 1) // 2 if columns > 3 else columns)
        )
    finer = range(len(sizes) - 1, -1, -1)
    return [(s, min(MOST_ROUNDS, FINEST_ROUNDS * 4**k)) for s, k in zip(sizes, finer, strict=True)]


def over_relaxation(rows: int, columns: int) -> float:
    """The step of a sweep: the best for a plain Laplacian of this size, held back as stiffness varies."""
    return min(2 / (1 + math.sin(math.pi / max(rows, columns, 2))), 1.7)


def even_grid(size: tuple[int, int]) -> Floats:
    """(h, w, 2) the nodes of :func:`saccade.uniform_grid`, but for rounding."""
    y, x = (_even(count).astype(np.float32) for count in size)
    return np.stack(np.meshgrid(x, y), -1)


def _even(count: int) -> NDArray[np.float64]:
    return np.zeros(1) if count == 1 else np.linspace(-1, 1, count)


def elastic_nodes(density: Floats, size: tuple[int, int], floor: float = 0.1) -> Floats:
    """(h, w, 2) the nodes of :func:`saccade.elastic_grid` for one density (h_a, w_a), but for rounding.

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
    steps = levels(size)
    nodes = even_grid(steps[0][0])
    for level, rounds in steps:
        nodes = _between(_between(nodes, 0, level[0]), 1, level[1])
        x, y = (np.ascontiguousarray(nodes[..., axis]) for axis in (0, 1))
        sides = min(stiffness.shape[0], level[0]), min(stiffness.shape[1], level[1])
        relax(resized(stiffness, sides), x, y, rounds, SWEEPS, over_relaxation(*level))
        nodes = np.stack([x, y], -1)
    return nodes.clip(-1, 1)


def _between(grid: Floats, axis: int, count: int) -> Floats:
    nodes = grid.shape[axis]
    if nodes == count:
        return grid
    position = (_even(count) + 1) / 2 * (nodes - 1)
    before = np.floor(position).astype(int).clip(0, max(nodes - 2, 0))
    after = (before + 1).clip(max=nodes - 1)
    share = (position - before).astype(np.float32).reshape([-1 if dim == axis else 1 for dim in range(3)])
    low, high = grid.take(before, axis), grid.take(after, axis)
    return low + share * (high - low)


def resized(values: Floats, size: tuple[int, int], *, antialias: bool = True) -> Floats:
    """(h, w) to another size, bilinear between the corners, as ``torch.nn.functional.interpolate`` does with
    ``align_corners``; smaller with ``antialias`` by means."""
    if values.shape == size:
        return np.ascontiguousarray(values)
    down, across = (_weights(n, m, antialias) for n, m in zip(values.shape, size, strict=True))
    return np.ascontiguousarray(down @ values @ across.T)


def _weights(before: int, after: int, antialias: bool) -> Floats:
    """(after, before): what each value is of those before."""
    scale = (before - 1) / (after - 1) if after > 1 else 0.0
    if antialias and before != after:
        reach = max(scale, 1.0)
        centre = scale * (np.arange(after) + 0.5)
        low = np.maximum((centre - reach + 0.5).astype(int), 0)
        high = np.minimum((centre + reach + 0.5).astype(int), before)
        place = np.arange(before)
        weights = (1 - np.abs((place - centre[:, None] + 0.5) / reach)).clip(0)
        weights *= (place >= low[:, None]) & (place < high[:, None])
    else:
        weights = (1 - np.abs(np.arange(before) - scale * np.arange(after)[:, None])).clip(0)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
