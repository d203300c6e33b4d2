"""The uniform grid, and grids resized to another number of samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.grids.sizes import require_count, require_size
from saccade.grids.validate import require_grid


def uniform_grid(size: Sequence[int], batch: int = 1, *, device: torch.device | str | None = None) -> Tensor:
    """Samples evenly spaced from the first to the last pixel centre of each axis.

    Args:
        size: (h, w), rows and columns of samples. The only row or column of a grid lies in the middle, at 0.
        batch: B, how many copies.
        device: where the grid is made.

    Returns:
        (B, h, w, 2) float32, last axis (x, y) in [-1, 1].

    Raises:
        InvalidInput: when ``size`` is not a pair of whole numbers of at least 1, or ``batch`` not one.
    """
    rows, columns = require_size(size)
    y, x = even_positions(rows, device=device), even_positions(columns, device=device)
    one = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    return one.repeat(require_count(batch, "batch"), 1, 1, 1)


def even_positions(
    count: int, *, device: torch.device | str | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """(count,) positions from -1 to 1, both included; a single one lies at 0."""
    if count == 1:
        return torch.zeros(1, device=device, dtype=dtype)
    return torch.linspace(-1, 1, count, device=device, dtype=dtype)


def resize_grid(grid: Tensor, size: Sequence[int]) -> Tensor:
    """``grid`` at another number of samples, bilinear between its nodes, outer nodes staying outer nodes.

    Args:
        grid: (B, h, w, 2), (x, y) in [-1, 1].
        size: (h', w') wanted. A single row or column is taken from the middle of the grid.

    Returns:
        (B, h', w', 2) float32 (float64 for a float64 grid); differentiable.

    Raises:
        InvalidInput: when ``grid`` or ``size`` is not as above.
    """
    rows, columns = require_size(size)
    require_grid(grid)
    grid = grid.to(torch.promote_types(grid.dtype, torch.float32))
    return _resize_axis(_resize_axis(grid, 1, rows), 2, columns)


def _resize_axis(grid: Tensor, axis: int, count: int) -> Tensor:
    nodes = grid.shape[axis]
    if nodes == count:
        return grid
    position = (even_positions(count, device=grid.device, dtype=torch.float64) + 1) / 2 * (nodes - 1)
    before = position.floor().long().clamp(0, max(nodes - 2, 0))
    after = (before + 1).clamp(max=nodes - 1)
    share = (position - before).to(grid.dtype)
    share = share.view([-1 if dim == axis else 1 for dim in range(grid.ndim)])
    return torch.lerp(grid.index_select(axis, before), grid.index_select(axis, after), share)
