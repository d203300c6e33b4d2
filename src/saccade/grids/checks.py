"""What a grid does to an image: the footprint of each sample, cover, folds, samples in each region."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.grids.validate import require_grid, require_size


def footprints(grid: Tensor, size: Sequence[int]) -> Tensor:
    """Width and height, in image pixels, of the cell around each sample.

    The cell spans half the way to the neighbours on either side; its axis-aligned box is
    ``width = |dx/dj| + |dx/di|`` and ``height = |dy/dj| + |dy/di|`` with i, j the row and column of the
    sample. Differences are central inside and one-sided at the borders. The only row (or column) of a grid
    has no neighbour to span to: it stands for the whole height (or width) of the image.

    Args:
        grid: (B, h, w, 2), (x, y) in [-1, 1].
        size: (H, W) of the image.

    Returns:
        (B, h, w, 2) float32 (float64 for a float64 grid), last axis (width, height), >= 0.

    Raises:
        InvalidInput: when ``grid`` or ``size`` is not as above.
    """
    height, width = require_size(size)
    require_grid(grid)
    dtype = torch.promote_types(grid.dtype, torch.float32)
    half_sides = torch.tensor([(width - 1) / 2, (height - 1) / 2], device=grid.device, dtype=dtype)
    pixels = grid.to(dtype) * half_sides
    along_rows = _spans(pixels, 1, pixels.new_tensor([0.0, float(height)]))
    along_columns = _spans(pixels, 2, pixels.new_tensor([float(width), 0.0]))
    return along_rows + along_columns


def _spans(pixels: Tensor, axis: int, alone: Tensor) -> Tensor:
    """(B, h, w, 2) absolute difference per step of ``axis``; ``alone`` where the axis has one node."""
    if pixels.shape[axis] == 1:
        return alone.expand_as(pixels)
    return torch.gradient(pixels, dim=axis)[0].abs()
