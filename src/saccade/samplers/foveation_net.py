"""The network that says, place by place, how wide to look."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

STRIP = 1 << 18
"""Pixels of an overview that go through the net at once where no gradient is wanted."""


class FoveationNet(nn.Module):
    """The foveation module of arXiv 2020 (4 and A.2): 3x3 convolutions {40, 40, D} and a softmax.

    Each convolution is followed by batch norm and ReLU, the last too; He initialisation. 17,280 weights for
    D = 5. Works at any input size and sees 7 pixels of the overview.

    Args:
        fields: D, how many fields of view there are to choose from.
        channels: of the layers before the last.
    """

    def __init__(self, fields: int, channels: Sequence[int] = (40, 40)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((3, *channels, fields)):
            kernel = nn.Conv2d(before, after, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(kernel.weight, nonlinearity="relu")
            layers += [kernel, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.halo = len(channels) + 1

    def forward(self, overview: Tensor) -> Tensor:
        """(B, 3, h, w) normalised overview to (B, D, h, w) float32 logarithms of probabilities."""
        rows = max(1, STRIP // overview.shape[3])
        if torch.is_grad_enabled() or self.training or rows >= overview.shape[2]:
            return self.layers(overview).float().log_softmax(dim=1)
        tops = range(0, overview.shape[2], rows)
        return torch.cat([self._strip(overview, top, top + rows) for top in tops], dim=2)

    def _strip(self, overview: Tensor, top: int, bottom: int) -> Tensor:
        """Rows of the answer, from as many more rows of the overview as they depend on."""
        first = max(0, top - self.halo)
        found: Tensor = self.layers(overview[:, :, first : bottom + self.halo])
        return found[:, :, top - first : bottom - first].float().log_softmax(dim=1)
