"""An image and its halvings, so that averaging over any footprint reads few pixels.

Level l holds the mean over blocks of 2^l x 2^l full pixels, aligned at the top left: pixel (i, j) of level l
covers rows ``2^l i`` to ``min(2^l (i + 1), H)`` and the same for columns, so the last one may cover fewer.
Nothing is padded and nothing is dropped. With centres at whole numbers, full coordinate x lies at
``(x + 0.5) / 2^l - 0.5`` on level l.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saccade.errors import InvalidInput
from saccade.grids.validate import require_tensor
from saccade.runtime.threads import run_bands
from saccade.warp._pyramid_kernels import halve, spread
from saccade.warp.device_halvings import halvings_on_device
from saccade.warp.halvings import rounding, strides_of
from saccade.warp.tensors import flat, working_dtype

SMALLEST_BAND = 1 << 14
"""Values worth a thread of their own."""


@dataclass(frozen=True)
class Pyramid:
    """Levels of one batch of images; make it with :meth:`of`.

    Attributes:
        base: (B, H, W, C) level 0, any strides; uint8, float32 or float64.
        rest: 1-D, levels 1, 2, ... one after the other, each (B, H_l, W_l, C) with channels adjacent.

    Examples:
        >>> import saccade, torch
        >>> pyramid = saccade.Pyramid.of(torch.full((1, 3, 64, 128), 7, dtype=torch.uint8))
        >>> pyramid.size, pyramid.channels, pyramid.levels
        ((64, 128), 3, 8)
        >>> pyramid.level(1).shape
        torch.Size([1, 3, 32, 64])
    """

    base: Tensor
    rest: Tensor

    @classmethod
    def of(cls, image: Tensor) -> Pyramid:
        """The pyramid of ``image``, (B, C, H, W).

        uint8 stays uint8: each level is rounded, up at .5 on even levels and down on odd ones, so that
        rounding does not brighten the image. float32 and float64 stay; every other type becomes float32.
        Level 0 is the image itself, not a copy, where its type stays. Differentiable for floating images.

        Raises:
            InvalidInput: when ``image`` is not (B, C, H, W) of numbers, or a side is zero.
        """
        base = as_base(image)
        rest = _Halvings.apply(base) if base.device.type == "cpu" else halvings_on_device(base)
        return cls(base, rest)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of level 0."""
        return int(self.base.shape[1]), int(self.base.shape[2])

    @property
    def batch(self) -> int:
        return int(self.base.shape[0])

    @property
    def channels(self) -> int:
        return int(self.base.shape[3])

    @property
    def levels(self) -> int:
        """How many levels there are, level 0 included; the last is at most two pixels long."""
        return max(self.size).bit_length()

    @property
    def dtype(self) -> torch.dtype:
        return self.base.dtype

    @property
    def device(self) -> torch.device:
        return self.base.device

    @property
    def nbytes(self) -> int:
        """Bytes of all levels together: a third more than the image."""
        return self.base.numel() * self.base.element_size() + self.rest.numel() * self.rest.element_size()

    def level(self, number: int) -> Tensor:
        """(B, C, H_l, W_l) view of one level.

        Raises:
            InvalidInput: when there is no such level.
        """
        if not 0 <= number < self.levels:
            raise InvalidInput("level", f"from 0 to {self.levels - 1}", number)
        if number == 0:
            return self.base.permute(0, 3, 1, 2)
        at, rows, columns = level_table(self.base.shape)[number].tolist()
        block = self.rest[at : at + self.batch * rows * columns * self.channels]
        return block.view(self.batch, rows, columns, self.channels).permute(0, 3, 1, 2)

    def to(self, device: torch.device | str) -> Pyramid:
        """The same pyramid on another device."""
        return Pyramid(self.base.to(device), self.rest.to(device))


def as_base(image: Tensor) -> Tensor:
    """(B, H, W, C) view of an image (B, C, H, W), as uint8, float32 or float64.

    Raises:
        InvalidInput: when ``image`` is not (B, C, H, W) of numbers, or a side is zero.
    """
    require_tensor(image, "image", "of shape (B, C, H, W)")
    if image.ndim != 4 or 0 in image.shape:
        fix = "add the batch axis with image[None]" if image.ndim == 3 else ""
        raise InvalidInput("image", "of shape (B, C, H, W) with no side of zero", tuple(image.shape), fix)
    if image.is_complex():
        raise InvalidInput("image", "of real numbers", image.dtype)
    kept = image if image.dtype == torch.uint8 else image.to(working_dtype(image.dtype))
    return kept.permute(0, 2, 3, 1)


def level_table(shape: Sequence[int]) -> np.ndarray:
    """(levels, 3) int64: where each level starts in ``Pyramid.rest``, its rows, its columns."""
    return _level_table(tuple(shape))


@lru_cache(maxsize=256)
def _level_table(shape: tuple[int, int, int, int]) -> np.ndarray:
    batch, height, width, channels = shape
    table, at = [(0, height, width)], 0
    for level in range(1, max(height, width).bit_length()):
        rows, columns = ((height - 1) >> level) + 1, ((width - 1) >> level) + 1
        table.append((at, rows, columns))
        at += batch * rows * columns * channels
    return np.array(table, np.int64)


def _values_above(shape: Sequence[int]) -> int:
    batch, _, _, channels = shape
    table = level_table(shape)
    return int((table[1:, 1] * table[1:, 2]).sum()) * batch * channels


class _Halvings(torch.autograd.Function):
    """Level 0 (B, H, W, C) to levels 1, 2, ... as one flat tensor."""

    @staticmethod
    def forward(ctx: Any, base: Tensor) -> Tensor:
        ctx.shape = tuple(base.shape)
        rest = base.new_empty(_values_above(base.shape))
        levels = level_table(base.shape)
        full = tuple(base.shape[1:])
        below, strides = flat(base)
        for level in range(1, len(levels)):
            at, rows, columns = (int(number) for number in levels[level])
            out = rest.detach().numpy()[at:]
            arguments = (below, strides, out, full, level, *rounding(below.dtype, level))
            smallest = max(1, SMALLEST_BAND // (columns * full[2]))
            run_bands(halve, base.shape[0] * rows, *arguments, smallest=smallest)
            below, strides = out, strides_of(rows, columns, full[2])
        return rest

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        batch, height, width, channels = ctx.shape
        above = gradients[0].detach().clone(memory_format=torch.contiguous_format).numpy()
        base = np.zeros(ctx.shape, above.dtype).reshape(-1)
        levels = level_table(ctx.shape)
        full = (height, width, channels)
        for level in range(len(levels) - 1, 0, -1):
            below = base if level == 1 else above[levels[level - 1, 0] :]
            rows, columns = (int(side) for side in levels[level - 1, 1:])
            smallest = max(1, SMALLEST_BAND // (columns * channels))
            run_bands(spread, batch * rows, above[levels[level, 0] :], below, full, level, smallest=smallest)
        return torch.from_numpy(base).view(ctx.shape)


def halvings_reference(base: Tensor) -> Tensor:
    """The twin: the levels above ``base`` (B, H, W, C) in plain PyTorch, each from the image itself."""
    image = base.permute(0, 3, 1, 2)
    wide = image.to(working_dtype(image.dtype))
    parts = [base.new_empty(0)]
    for level in range(1, len(level_table(base.shape))):
        mean = torch.nn.functional.avg_pool2d(wide, 2**level, ceil_mode=True)
        if base.dtype == torch.uint8:
            mean = mean.round()
        parts.append(mean.permute(0, 2, 3, 1).reshape(-1).to(base.dtype))
    return torch.cat(parts)
