"""The U-Net as it was published (Ronneberger et al., MICCAI 2015), with padding and batch norm."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from saccade.networks.blocks import ConvNorm

WIDTHS = (64, 128, 256, 512, 1024)


class OriginalUNet(nn.Module):
    """Four halvings, two 3x3 convolutions a level, 2x2 transposed convolutions up: 31.0 million parameters.

    The paper's convolutions are not padded and have no norm; these are and have, as in all its successors.

    Args:
        classes: K.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        pairs = list(pairwise(WIDTHS))
        self.down = nn.ModuleList(_twice(before, after) for before, after in [(3, WIDTHS[0]), *pairs])
        self.wider = nn.ModuleList(nn.ConvTranspose2d(below, here, 2, stride=2) for here, below in pairs)
        self.up = nn.ModuleList(_twice(below, here) for here, below in pairs)
        self.head = nn.Conv2d(WIDTHS[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, h, w) to scores (B, K, h, w); sides of a multiple of 16."""
        kept: list[Tensor] = []
        x = image
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else torch.nn.functional.max_pool2d(x, 2))
            kept.append(x)
        steps = zip(reversed(self.wider), reversed(self.up), reversed(kept[:-1]), strict=True)
        for wider, block, skip in steps:
            x = block(torch.cat([skip, wider(x)], dim=1))
        return self.head(x)


def _twice(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(ConvNorm(before, after, 3), ConvNorm(after, after, 3))
