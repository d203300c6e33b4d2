"""DeepLabv3+: dilated convolutions at several rates, and a small decoder (Chen et al., ECCV 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from saccade.networks.blocks import ConvNorm, PyramidPooling, SeparableConv, resized
from saccade.networks.encoders import build_encoder

WIDTH, FINE = 256, 48


class DeepLabV3Plus(nn.Module):
    """The network of "Encoder-decoder with atrous separable convolution for semantic image segmentation".

    Args:
        encoder: its name; the paper's are tu-xception65 and resnet101.
        classes: K.
        stride: of the encoder; the paper trains at 16, with rates 6, 12 and 18, and tests at 8 too, with
            twice the rates.
        pretrained: ImageNet weights of the encoder.
    """

    choice = ("stride", (8, 16, 32))
    """What a name may end in, after a slash."""

    def __init__(self, encoder: str, classes: int, *, stride: int = 16, pretrained: bool = False) -> None:
        super().__init__()
        self.encoder, channels = build_encoder(encoder, stride=stride, pretrained=pretrained)
        fine, coarse = channels[2], channels[-1]
        rates = [max(1, rate * 16 // stride) for rate in (6, 12, 18)]
        self.pixel = ConvNorm(coarse, WIDTH)
        self.rates = nn.ModuleList(SeparableConv(coarse, WIDTH, rate) for rate in rates)
        self.image = PyramidPooling(coarse, WIDTH, bins=(1,)).branches[0]
        self.join = nn.Sequential(ConvNorm(5 * WIDTH, WIDTH), nn.Dropout(0.1))
        self.fine = ConvNorm(fine, FINE)
        self.mix = nn.Sequential(SeparableConv(WIDTH + FINE, WIDTH), SeparableConv(WIDTH, WIDTH))
        self.head = nn.Conv2d(WIDTH, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, h, w) to scores (B, K, h / 4, w / 4); sides of a multiple of the stride."""
        features = self.encoder(image)
        coarse = features[-1]
        branches = [self.pixel(coarse), *(rate(coarse) for rate in self.rates)]
        x = self.join(torch.cat([*branches, resized(self.image(coarse), coarse)], dim=1))
        fine = self.fine(features[2])
        return self.head(self.mix(torch.cat([resized(x, fine), fine], dim=1)))
