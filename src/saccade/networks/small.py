"""A small U-Net that trains in minutes on a CPU: for the demo, for tests, and for studies on two cores."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saccade.errors import InvalidInput
from saccade.networks.published import BatchNorm


def _block(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), BatchNorm(after), nn.ReLU(True)]
    return nn.Sequential(*layers)


class SmallUNet(nn.Module):
    """Three halvings, two 3x3 convolutions a level, about 0.48 million parameters at width 16.

    Args:
        classes: K, channels of the output.
        width: channels of the first level; each level below has twice as many.
        channels: of the input.
        depth: how often the image is halved.

    Examples:
        >>> import torch
        >>> from saccade.networks import SmallUNet
        >>> SmallUNet(classes=2, width=4).eval()(torch.zeros(1, 3, 16, 24)).shape
        torch.Size([1, 2, 16, 24])
    """

    def __init__(self, classes: int, *, width: int = 16, channels: int = 3, depth: int = 3) -> None:
        super().__init__()
        if min(classes, width, channels, depth) < 1:
            raise InvalidInput(
                "classes, width, channels and depth", "at least 1", (classes, width, channels, depth)
            )
        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(map(_block, [channels, *widths[:-1]], widths))
        self.up = nn.ModuleList(_block(a + b, a) for a, b in pairwise(widths))
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, channels, h, w) to scores (B, K, h, w); any h and w."""
        kept: list[Tensor] = []
        x = image
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else F.max_pool2d(x, 2, ceil_mode=True))
            kept.append(x)
        for block, skip in zip(reversed(self.up), reversed(kept[:-1]), strict=True):
            x = F.interpolate(x, size=skip.shape[2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([skip, x], dim=1))
        return self.head(x)
