"""PSPNet: a dilated encoder, and means over the image at four scales (Zhao et al., CVPR 2017)."""

from __future__ import annotations

from torch import Tensor, nn

from saccade.networks.blocks import ConvNorm, PyramidPooling
from saccade.networks.encoders import build_encoder


class PSPNet(nn.Module):
    """The network of "Pyramid scene parsing network", without its auxiliary loss.

    Args:
        encoder: its name; the paper's are resnet50 and resnet101.
        classes: K.
        stride: of the encoder; the paper's is 8.
        pretrained: ImageNet weights of the encoder.
    """

    choice = ("stride", (8, 16, 32))
    """What a name may end in, after a slash."""

    def __init__(self, encoder: str, classes: int, *, stride: int = 8, pretrained: bool = False) -> None:
        super().__init__()
        self.encoder, channels = build_encoder(encoder, stride=stride, pretrained=pretrained)
        deepest = channels[-1]
        branch = max(1, deepest // 4)
        self.pooling = PyramidPooling(deepest, branch)
        self.mix = ConvNorm(deepest + 4 * branch, branch, 3)
        self.head = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(branch, classes, 1))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, h, w) to scores (B, K, h / stride, w / stride); sides of a multiple of the stride."""
        return self.head(self.mix(self.pooling(self.encoder(image)[-1])))
