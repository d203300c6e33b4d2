"""A grid drawn back towards the uniform one, just so far that it does not fold."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.grids.uniform import uniform_grid
from saccade.grids.validate import require_grid


def unfold_grid(grid: Tensor) -> Tensor:
    """The blend of each grid with the uniform grid that has no fold and is nearest to the grid.

    In steps of the uniform grid a triangle of the mesh is a 2 x 2 matrix A, and that of the blend with share
    t / (1 + t) of the uniform grid is (A + t I) / (1 + t), whose determinant turns positive at the larger
    root of t^2 + t tr A + det A. The largest such t of an image is taken; one bad cell draws all nodes back.

    Args:
        grid: (B, h, w, 2), (x, y) in [-1, 1].

    Returns:
        (B, h, w, 2) float32 (float64 for a float64 grid); a grid without folds comes back as it is. A grid
        that covers its image still does. Differentiable, with the shares held.

    Raises:
        InvalidInput: when ``grid`` is not as above.
    """
    require_grid(grid)
    grid = grid.to(torch.promote_types(grid.dtype, torch.float32))
    even = uniform_grid(grid.shape[1:3], device=grid.device).to(grid.dtype)
    share = _share(grid.detach().double()).to(grid.dtype)
    return torch.lerp(grid, even, share[:, None, None, None])


def _share(grid: Tensor) -> Tensor:
    """(B,) the share of the uniform grid that each grid needs."""
    rows, columns = grid.shape[1:3]
    if min(rows, columns) == 1:
        return grid.new_zeros(len(grid))
    across, down = grid.diff(dim=2) * (columns - 1) / 2, grid.diff(dim=1) * (rows - 1) / 2
    upper, lower = _root(across[:, :-1], down[:, :, :-1]), _root(across[:, 1:], down[:, :, 1:])
    needed = torch.maximum(upper, lower).amax(dim=(1, 2))
    return needed / (1 + needed)


def _root(u: Tensor, v: Tensor) -> Tensor:
    """The smallest t >= 0 from which on the matrix of columns u, v plus t I has no negative determinant."""
    trace = u[..., 0] + v[..., 1]
    root = trace**2 - 4 * (u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0])
    return torch.where(root > 0, (root.clamp_min(0).sqrt() - trace) / 2, 0).clamp_min(0)
