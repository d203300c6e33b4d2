"""Tensors as the flat arrays that kernels index by stride: any layout, one compiled version per dtype."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

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
