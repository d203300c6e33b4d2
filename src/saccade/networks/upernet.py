"""UPerNet: pyramid pooling on a feature pyramid (Xiao et al., ECCV 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from saccade.networks.blocks import ConvNorm, PyramidPooling, resized
from saccade.networks.encoders import build_encoder


class UPerNet(nn.Module):
    """The network of "Unified perceptual parsing for scene understanding", segmentation alone.

    Args:
        encoder: its name; the paper's is resnet50.
        classes: K.
        pretrained: ImageNet weights of the encoder.
        width: channels of the pyramid; the paper's are 512.
    """

    choice = ("width", (64, 128, 256, 512))
    """What a name may end in, after a slash."""

    def __init__(self, encoder: str, classes: int, *, pretrained: bool = False, width: int = 512) -> None:
        super().__init__()
        self.encoder, channels = build_encoder(encoder, pretrained=pretrained)
        *finer, coarsest = channels[-4:]
        self.pooling = PyramidPooling(coarsest, width)
        self.top = ConvNorm(coarsest + 4 * width, width, 3)
        self.sideways = nn.ModuleList(ConvNorm(one, width) for one in finer)
        self.smooth = nn.ModuleList(ConvNorm(width, width, 3) for _ in finer)
        self.mix = ConvNorm(4 * width, width, 3)
        self.head = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(width, classes, 1))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, h, w) to scores (B, K, h / 4, w / 4); sides of a multiple of 32."""
        *finer, coarsest = self.encoder(image)[-4:]
        x = self.top(self.pooling(coarsest))
        levels = [x]
        for features, sideways, smooth in zip(
            reversed(finer), reversed(self.sideways), reversed(self.smooth), strict=True
        ):
            given = sideways(features)
            x = given + resized(x, given)
            levels.append(smooth(x))
        joined = torch.cat([resized(level, levels[-1]) for level in levels], dim=1)
        return self.head(self.mix(joined))
