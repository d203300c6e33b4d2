"""HRNetV2: four resolutions side by side to the end, joined by a 1x1 convolution (Sun et al., 2019)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from saccade.networks.blocks import ConvNorm, resized

WIDTHS = ("w18", "w18_small", "w18_small_v2", "w30", "w32", "w40", "w44", "w48", "w64")
"""The encoders: timm's ``hrnet_WIDTH``."""


class HRNetV2(nn.Module):
    """The network of "High-resolution representations for labeling pixels and regions" (arXiv 1904.04514).

    The encoder's maps at 1/4, 1/8, 1/16 and 1/32 of the image are brought to 1/4, joined, mixed by a 1x1
    convolution with norm and ReLU, and scored by another. HRNetV2-W48 has 65.9 million parameters.

    Args:
        width: one of :data:`WIDTHS`.
        classes: K.
        pretrained: ImageNet weights of the encoder, as its authors published them, from timm.
    """

    def __init__(self, width: str, classes: int, *, pretrained: bool = False) -> None:
        super().__init__()
        import timm

        encoder: Any = timm.create_model(
            f"hrnet_{width}", pretrained=pretrained, features_only=True, feature_location="",
            out_indices=(1, 2, 3, 4),
        )  # fmt: skip
        self.encoder = encoder
        channels = sum(encoder.feature_info.channels())
        self.mix = ConvNorm(channels, channels)
        self.head = nn.Conv2d(channels, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, h, w) to scores (B, K, h / 4, w / 4); sides of a multiple of 32."""
        maps = self.encoder(image)
        joined = torch.cat([resized(one, maps[0]) for one in maps], dim=1)
        return self.head(self.mix(joined))
