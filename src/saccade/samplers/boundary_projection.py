"""From nodes that a network predicts to a grid: on the covering constraints, and never folding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.grids import resize_grid, unfold_grid
from saccade.grids.uniform import even_positions

ROUNDS = 200
"""Rounds of smoothing before the whole grid is drawn back; a few suffice as a rule."""

_ROUNDING = 2.0**-20


def sampling_grid(nodes: Tensor, size: Sequence[int]) -> Tensor:
    """A grid of ``size`` from the few nodes of a sampling tensor: covering, then free of folds, then resized.

    Args:
        nodes: (B, h_t, w_t, 2) floating, (x, y), wherever the network puts them; h_t, w_t >= 2.
        size: (h, w) of the grid.

    Returns:
        (B, h, w, 2) float32 that covers the image and does not fold; differentiable. Nodes that already
        cover, and whose cells a bilinear map does not fold, come back as they are, resized.
    """
    grid = resize_grid(untangled(covering(nodes.float())), size)
    return unfold_grid(grid)


def covering(nodes: Tensor) -> Tensor:
    """The nearest nodes that satisfy the covering constraints (ICCV 2019, Eq. 3).

    Args:
        nodes: (B, h, w, 2), (x, y).

    Returns:
        (B, h, w, 2) in [-1, 1].
    """
    x, y = nodes.clamp(-1, 1).unbind(dim=-1)
    rows, columns = nodes.shape[1:3]
    ends_x, ends_y = _ends(columns, nodes), _ends(rows, nodes)[:, None]
    x = torch.where(ends_x == 0, x, ends_x)
    y = torch.where(ends_y == 0, y, ends_y)
    return torch.stack([x, y], dim=-1)


def _ends(count: int, like: Tensor) -> Tensor:
    """(count,) -1 and 1 at the ends, 0 between."""
    position = even_positions(count, device=like.device, dtype=like.dtype)
    return torch.where(position.abs() == 1, position, 0)


def untangled(grid: Tensor) -> Tensor:
    """``grid`` with nodes smoothed where a cell folds, and only there.

    A bilinear map of a cell does not fold where all four corners turn the right way (its determinant is
    linear across the cell, so a finer grid within does not fold either). The nodes of a cell that does are
    moved half the way to the mean of their neighbours, those on the border along it, until no cell is left.
    What that cannot mend within some rounds is drawn towards the uniform grid as a whole.

    Args:
        grid: (B, h, w, 2) that covers, (x, y) in [-1, 1]; h, w >= 2.

    Returns:
        (B, h, w, 2); the same values where nothing folds. Differentiable.
    """
    for _ in range(ROUNDS):
        with torch.no_grad():
            marked = _nodes_of(_folding(grid))
        if not marked.any():
            return grid
        grid = torch.where(marked[..., None], torch.lerp(grid, _neighbours(grid), 0.5), grid)
    return _drawn_back(grid)


def _drawn_back(grid: Tensor) -> Tensor:
    """Blended with the uniform grid just so far that no corner turns over, by both ways to cut a cell."""
    return unfold_grid(unfold_grid(grid).flip(2) * _MIRROR.to(grid)).flip(2) * _MIRROR.to(grid)


_MIRROR = torch.tensor([-1.0, 1.0])


def _folding(grid: Tensor) -> Tensor:
    """(B, h - 1, w - 1) bool: cells with a corner that is turned over, beyond rounding."""
    across, down = grid.diff(dim=2), grid.diff(dim=1)
    sides = ((across[:, :-1], down[:, :, :-1]), (across[:, :-1], down[:, :, 1:]),
             (across[:, 1:], down[:, :, :-1]), (across[:, 1:], down[:, :, 1:]))  # fmt: skip
    areas = torch.stack([u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0] for u, v in sides])
    return (areas < -_ROUNDING).any(dim=0)


def _nodes_of(cells: Tensor) -> Tensor:
    """(B, h, w) bool: the corners of marked cells."""
    nodes = torch.nn.functional.pad(cells, (0, 1, 0, 1))
    for rows, columns in ((1, 0), (0, 1), (1, 1)):
        nodes = nodes | torch.nn.functional.pad(cells, (columns, 1 - columns, rows, 1 - rows))
    return nodes


def _neighbours(grid: Tensor) -> Tensor:
    """(B, h, w, 2) mean of each node's neighbours; at a border those along it, and corners stay."""
    x, y = grid.unbind(dim=-1)
    return covering(torch.stack([_mean_of_four(x), _mean_of_four(y)], dim=-1))


def _mean_of_four(values: Tensor) -> Tensor:
    """(B, h, w): what lies beyond a border is taken as the node itself mirrored about the border."""
    padded = torch.nn.functional.pad(values[:, None], (1, 1, 1, 1), mode="reflect")[:, 0]
    return (padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]) / 4
