"""Elastic grids as version 0.1 relaxed them, which its runs keep: they say what they said then.

Over-relaxation on levels each twice as fine, few sweeps on the finest. It ends about a sample's half spacing
from rest, since densities of coarse levels lie half a pixel aside; ``saccade.grids.relaxation`` ends nearer,
in a small part of the time.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from saccade.grids._relaxation_0_1_kernels import relax_in_turns
from saccade.grids.relaxation import Floats, Matrix, even, even_grid

SWEEPS = 5
FINEST_ROUNDS = 8
MOST_ROUNDS = 200
COARSEST = 4


def levels_0_1(size: tuple[int, int]) -> list[tuple[tuple[int, int], int]]:
    """Sizes from coarse to fine, each with its number of rounds: new stiffness, then SWEEPS sweeps."""
    sizes = [size]
    while max(sizes[0]) >= 2 * COARSEST:
        rows, columns = sizes[0]
        sizes.insert(
            0, ((rows + 1) // 2 if rows > 3 else rows, (columns + 1) // 2 if columns > 3 else columns)
        )
    finer = range(len(sizes) - 1, -1, -1)
    return [(s, min(MOST_ROUNDS, FINEST_ROUNDS * 4**k)) for s, k in zip(sizes, finer, strict=True)]


def at_rest_0_1(stiffness: Floats, size: tuple[int, int]) -> Floats:
    """(h, w, 2) nodes nearly at rest for a stiffness (h_a, w_a) > 0; more than one node."""
    steps = levels_0_1(size)
    nodes = even_grid(steps[0][0])
    for level, rounds in steps:
        nodes = _finer(_finer(nodes, 0, level[0]), 1, level[1])
        x, y = (np.ascontiguousarray(nodes[..., axis]) for axis in (0, 1))
        step = np.float32(min(2 / (1 + math.sin(math.pi / max(*level, 2))), 1.7))
        relax_in_turns(averaged_0_1(stiffness, level), x, y, rounds, SWEEPS, step)
        nodes = np.stack([x, y], -1)
    return nodes.clip(-1, 1)


def _finer(grid: Floats, axis: int, count: int) -> Floats:
    nodes = grid.shape[axis]
    if nodes == count:
        return grid
    position = (even(count) + 1) / 2 * (nodes - 1)
    before = np.floor(position).astype(int).clip(0, max(nodes - 2, 0))
    after = (before + 1).clip(max=nodes - 1)
    share = (position - before).astype(np.float32).reshape([-1 if dim == axis else 1 for dim in range(3)])
    low, high = grid.take(before, axis), grid.take(after, axis)
    return low + share * (high - low)


def averaged_0_1(values: Floats, size: tuple[int, int]) -> Floats:
    """(h_a, w_a) averaged down to at most ``size``."""
    for axis, most in enumerate(size):
        if values.shape[axis] > most:
            shares = means_0_1(values.shape[axis], most).astype(np.float32)
            values = shares @ values if axis == 0 else values @ shares.T
    return np.ascontiguousarray(values)


def means_0_1(before: int, after: int) -> Matrix:
    """(after, before) what each of fewer values is of more, as ``torch.nn.functional.interpolate`` has it
    with ``align_corners`` and ``antialias``: half a pixel aside."""
    scale = (before - 1) / (after - 1) if after > 1 else 0.0
    reach = max(scale, 1.0)
    centre = scale * (np.arange(after) + 0.5)
    low = np.maximum((centre - reach + 0.5).astype(int), 0)
    high = np.minimum((centre + reach + 0.5).astype(int), before)
    place: NDArray[np.int64] = np.arange(before)
    shares = (1 - np.abs((place - centre[:, None] + 0.5) / reach)).clip(0)
    shares *= (place >= low[:, None]) & (place < high[:, None])
    return shares / shares.sum(1, keepdims=True)
