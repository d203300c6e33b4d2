"""The attraction grid by dense convolution, as the paper writes it: the readable twin."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from saccade.grids.axes import gaussian, reflect, replicate
from saccade.grids.uniform import even_positions


def attraction_grid_reference(density: Tensor, *, radius: tuple[int, int], cover: bool = True) -> Tensor:
    """Eq. 2 of ICLR 2022 by three convolutions with a two-dimensional Gaussian, at the size of the density.

    Args:
        density: (B, 1, h, w) float32 or float64, > 0 somewhere within reach of every node.
        radius: (rows, columns) of the Gaussian in pixels of the density.
        cover: mirror the density at its borders, instead of repeating its outermost pixels.

    Returns:
        (B, h, w, 2), in the type of ``density``.
    """
    columns, rows = (gaussian(np.arange(-r, r + 1), r) for r in reversed(radius))
    kernel = density.new_tensor(rows[:, None] * columns)[None, None]
    mass = _pad(_pad(density, 2, radius[0], cover), 3, radius[1], cover)
    y, x = (_extended(side, r, density) for side, r in zip(density.shape[2:], radius, strict=True))
    total = F.conv2d(mass, kernel)
    grid_x, grid_y = F.conv2d(mass * x, kernel) / total, F.conv2d(mass * y[:, None], kernel) / total
    return torch.cat([grid_x, grid_y], dim=1).permute(0, 2, 3, 1).clamp(-1, 1)


def _pad(density: Tensor, axis: int, radius: int, cover: bool) -> Tensor:
    """``density`` with ``radius`` pixels more on both sides of ``axis``."""
    side = density.shape[axis]
    home = (reflect if cover else replicate)(np.arange(-radius, side + radius), side)
    return density.index_select(axis, torch.from_numpy(home).to(density.device))


def _extended(side: int, radius: int, like: Tensor) -> Tensor:
    """Coordinates of the pixels of one axis, going on past -1 and 1 with the padding."""
    step = 2 / (side - 1) if side > 1 else 0.0
    padding = torch.arange(1, radius + 1, device=like.device, dtype=like.dtype) * step
    even = even_positions(side, device=like.device, dtype=like.dtype)
    return torch.cat([even[0] - padding.flip(0), even, even[-1] + padding])
