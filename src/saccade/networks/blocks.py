"""What the heads are made of: convolution with norm, separable convolution, pooling to a few bins."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch norm, ReLU; (B, ``before``, h, w) to (B, ``after``, h, w)."""

    def __init__(self, before: int, after: int, kernel: int = 1, *, groups: int = 1, rate: int = 1) -> None:
        padding = rate * (kernel // 2)
        layer = nn.Conv2d(before, after, kernel, padding=padding, dilation=rate, groups=groups, bias=False)
        super().__init__(layer, BatchNorm(after), nn.ReLU(True))


class SeparableConv(nn.Sequential):
    """3x3 within each channel, dilated by ``rate``, then 1x1 across them, each with norm and ReLU."""

    def __init__(self, before: int, after: int, rate: int = 1) -> None:
        super().__init__(ConvNorm(before, before, 3, groups=before, rate=rate), ConvNorm(before, after))


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that takes its running statistics where a batch has one value a channel, and so no spread:
    a branch that pools to one pixel, in the training of a single image."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.numel() == input.shape[1]:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)


class PyramidPooling(nn.Module):
    """Means over 1x1, 2x2, ... bins, each through a 1x1 convolution and back to the size (PSPNet, 3.2).

    Args:
        before: channels of the input.
        after: channels of each branch.
        bins: rows and columns of bins of each branch.
    """

    def __init__(self, before: int, after: int, bins: Sequence[int] = (1, 2, 3, 6)) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(count), ConvNorm(before, after)) for count in bins
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, before, h, w) to (B, before + branches x after, h, w)."""
        return torch.cat([x, *(resized(branch(x), x) for branch in self.branches)], dim=1)


def resized(x: Tensor, like: Tensor) -> Tensor:
    """(B, C, h, w) to the height and width of ``like``, bilinear."""
    if x.shape[2:] == like.shape[2:]:
        return x
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)
