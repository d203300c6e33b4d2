"""Any size of image for networks that want sides of a multiple of something."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 32
"""What both sides of an image must be a multiple of, for any encoder of five halvings."""


class Padded(nn.Module):
    """Lets a network that wants sides of a multiple of 32 take any size: repeats the border, then crops.

    A single tiny image in training gets one stride more to the right: batch norm has no spread of one value.

    Args:
        network: maps (B, C, h, w) to scores (B, K, h', w') of the same extent, at any resolution.
        stride: what the sides must be a multiple of.
    """

    def __init__(self, network: nn.Module, stride: int = STRIDE) -> None:
        super().__init__()
        self.network = network
        self.stride = stride

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, h, w) to scores (B, K, h, w); bilinear where the network's are of another resolution."""
        rows, columns = image.shape[2:]
        below, right = -rows % self.stride, -columns % self.stride
        if (
            self.training
            and len(image) == 1
            and (rows + below, columns + right) == (self.stride, self.stride)
        ):
            right += self.stride
        if below or right:
            image = F.pad(image, (0, right, 0, below), mode="replicate")
        scores: Tensor = self.network(image)
        if scores.shape[2:] != image.shape[2:]:
            scores = F.interpolate(scores, image.shape[2:], mode="bilinear", align_corners=False)
        return scores[:, :, :rows, :columns]
