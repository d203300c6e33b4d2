"""What tensors are to the kernels: their memory, their types, and grids in pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from saccade.errors import InvalidInput

MOST_CLASSES = 65_535

_SAME_WIDTH = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def flat(tensor: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """A 1-D view of the memory that a CPU tensor spans, and its strides in elements; nothing is copied."""
    tensor = tensor.detach()
    if tensor.is_contiguous():
        return tensor.view(-1).numpy(), np.array(tensor.stride(), np.int64)
    extent = 1 + sum((side - 1) * stride for side, stride in zip(tensor.shape, tensor.stride(), strict=True))
    if tensor.numel() == 0:
        extent = 0
    span = torch.as_strided(tensor, (extent,), (1,), tensor.storage_offset())
    return span.numpy(), np.array(tensor.stride(), np.int64)


def as_bits(tensor: Tensor) -> Tensor:
    """The same memory as an integer type of equal width, for kernels that only move values."""
    width = tensor.element_size()
    if width not in _SAME_WIDTH:
        return torch.view_as_real(tensor)
    return tensor.view(_SAME_WIDTH[width])


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type that interpolation works in: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def result_dtype(dtype: torch.dtype) -> torch.dtype:
    """What interpolating ``dtype`` gives: floating types keep theirs, integers give float32."""
    return dtype if dtype.is_floating_point else torch.float32


def pixels(grid: Tensor, size: Sequence[int]) -> Tensor:
    """Grid coordinates (..., 2) as float64 pixel coordinates inside an image of ``size`` (H, W)."""
    sides = torch.tensor([size[1] - 1, size[0] - 1], dtype=torch.float64, device=grid.device)
    return torch.minimum(((grid.detach().double() + 1) * 0.5 * sides).clamp(min=0), sides)


def with_area(values: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Values (B, C, h, w) and their grid, an only row or column doubled and drawn out to both image borders.

    A grid of one row has no triangles; drawn out, its values are linear along the row and constant across.
    """
    if grid.shape[1] == 1:
        ends = grid.repeat(1, 2, 1, 1)
        ends[:, 0, :, 1], ends[:, 1, :, 1] = -1.0, 1.0
        values, grid = values.expand(-1, -1, 2, -1), ends
    if grid.shape[2] == 1:
        ends = grid.repeat(1, 1, 2, 1)
        ends[:, :, 0, 0], ends[:, :, 1, 0] = -1.0, 1.0
        values, grid = values.expand(-1, -1, -1, 2), ends
    return values, grid


def label_dtype(classes: int) -> tuple[torch.dtype, int]:
    """The type of a label map of so many classes, and a value in it that is no class.

    Raises:
        InvalidInput: for more than 65,535 classes.
    """
    if classes > MOST_CLASSES:
        raise InvalidInput("scores", f"of at most {MOST_CLASSES} classes", classes)
    if classes <= 255:
        return torch.uint8, 255
    return (torch.int16 if classes <= 32_767 else torch.int32), -1
