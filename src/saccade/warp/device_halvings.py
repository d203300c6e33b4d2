"""Levels of a pyramid where there are no compiled kernels: whole-tensor code, equal to them to the bit."""

from __future__ import annotations

import torch
from torch import Tensor


def halvings_on_device(base: Tensor) -> Tensor:
    """The levels above ``base`` (B, H, W, C), one after the other, each halved from the one below."""
    full: tuple[int, int] = (int(base.shape[1]), int(base.shape[2]))
    below, parts = base, [base.new_empty(0)]
    for level in range(1, max(full).bit_length()):
        below = _halved(below, full, level)
        parts.append(below.reshape(-1))
    return torch.cat(parts)


def _halved(below: Tensor, full: tuple[int, int], level: int) -> Tensor:
    rows, columns = (((side - 1) >> level) + 1 for side in full)
    whole_rows, whole = full[0] >> level, full[1] >> level
    wide = torch.int16 if below.dtype == torch.uint8 else below.dtype
    upper, lower = (
        below[:, 0 : 2 * whole_rows : 2, : 2 * whole],
        below[:, 1 : 2 * whole_rows : 2, : 2 * whole],
    )
    sums = upper.to(wide) + lower.to(wide)
    total = sums[:, :, 0::2] + sums[:, :, 1::2]
    out = below.new_empty(below.shape[0], rows, columns, below.shape[3])
    up = 2 if level % 2 == 0 else 1
    mean = (total + up) >> 2 if below.dtype == torch.uint8 else total * 0.25
    out[:, :whole_rows, :whole] = mean.to(below.dtype)
    half = up * 0.25 if below.dtype == torch.uint8 else 0.0
    if whole_rows < rows:
        out[:, -1:] = _weighed(below[:, 2 * rows - 2 :], full, level, half, rows - 1, 0)
    if whole < columns:
        out[:, :, -1:] = _weighed(below[:, :, 2 * columns - 2 :], full, level, half, 0, columns - 1)
    return out


def _weighed(below: Tensor, full: tuple[int, int], level: int, half: float, row: int, column: int) -> Tensor:
    """Pixels from (row, column) of a level on, of children that cover unlike shares of the image."""
    for axis in (1, 2):
        if below.shape[axis] % 2:
            below = torch.cat([below, below.narrow(axis, below.shape[axis] - 1, 1)], axis)
    wide = below.double()
    down = _covered(2 * row, below.shape[1], level - 1, full[0], wide)[:, None, None]
    across = _covered(2 * column, below.shape[2], level - 1, full[1], wide)[:, None]
    left, right = across[0::2], across[1::2]
    sums = wide[:, :, 0::2] * left + wide[:, :, 1::2] * right
    total = sums[:, 0::2] * down[0::2] + sums[:, 1::2] * down[1::2]
    area = (down[0::2] + down[1::2]) * (left + right)
    return (total / area + half).to(below.dtype)


def _covered(first: int, count: int, level: int, full: int, like: Tensor) -> Tensor:
    """(count,) how many of ``full`` pixels each pixel of a level covers along an axis, from ``first`` on."""
    index = torch.arange(first, first + count, device=like.device)
    return (torch.clamp((index + 1) << level, max=full) - (index << level)).clamp(min=0).to(like.dtype)
