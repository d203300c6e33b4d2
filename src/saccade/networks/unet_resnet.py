"""The U-Net on a ResNet of segmentation-models-pytorch, for weights that exist: the same layers under the
same names, without the two seconds of a processor that the library and torchvision take to load.

Training makes the network by the library; a run that is opened has its weights already.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAYERS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}
"""Residual blocks of each stage (He et al., CVPR 2016)."""
_PLAIN = ("resnet18", "resnet34")
_DECODER = (256, 128, 64, 32, 16)
"""Channels of the decoder's blocks."""


def is_known(name: str) -> bool:
    """Whether a network of this name can be made here."""
    return name.startswith("unet:") and name.removeprefix("unet:") in LAYERS


class UNetOfResNet(nn.Module):
    """As ``segmentation_models_pytorch.Unet(encoder, encoder_weights=None, classes=classes)``, its weights
    not yet set.

    Args:
        encoder: one of :data:`LAYERS`.
        classes: K.
        channels: of the image.

    Examples:
        >>> from saccade.networks.unet_resnet import UNetOfResNet
        >>> sum(weight.numel() for weight in UNetOfResNet("resnet18", 3).parameters())
        14328499
    """

    def __init__(self, encoder: str, classes: int, *, channels: int = 3) -> None:
        super().__init__()
        self.encoder = _Encoder(encoder, channels)
        self.decoder = _Decoder(self.encoder.channels)
        self.segmentation_head = nn.Sequential(_Convolution(_DECODER[-1], classes, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, h, w), sides multiples of 32, to scores (B, K, h, w)."""
        return cast(Tensor, self.segmentation_head(self.decoder(self.encoder(image))))


class _Convolution(nn.Conv2d):
    """Whose weights are whatever was in memory: to draw them, for others to replace, would take time."""

    def reset_parameters(self) -> None:
        pass


class _Encoder(nn.Module):
    """Feature maps at 1/2, 1/4, ... 1/32 of the image, after the image itself."""

    def __init__(self, name: str, image: int) -> None:
        super().__init__()
        kind = _Basic if name in _PLAIN else _Bottleneck
        self.conv1 = _Convolution(image, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        before, self.channels = 64, [image, 64]
        for number, count in enumerate(LAYERS[name]):
            width = 64 << number
            blocks = []
            for block in range(count):
                blocks.append(kind(before, width, stride=2 if number and not block else 1))
                before = width * kind.expansion
            self.add_module(f"layer{number + 1}", nn.Sequential(*blocks))
            self.channels.append(before)

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = [image, self.relu(self.bn1(self.conv1(image)))]
        x = self.maxpool(maps[-1])
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
            maps.append(x)
        return maps


def _shortcut(before: int, after: int, stride: int) -> nn.Module | None:
    """What brings the input of a block to the size of its output; None where it is that."""
    if stride == 1 and before == after:
        return None
    return nn.Sequential(_Convolution(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))


class _Basic(nn.Module):
    expansion = 1

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _Convolution(before, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _Convolution(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(before, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        return cast(Tensor, self.relu(out))


class _Bottleneck(nn.Module):
    """The stride at the 3x3 convolution, as torchvision has it."""

    expansion = 4

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        after = width * self.expansion
        self.conv1 = _Convolution(before, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _Convolution(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _Convolution(width, after, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(before, after, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        return cast(Tensor, self.relu(out))


class _Decoder(nn.Module):
    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        head, *skips = channels[:0:-1]
        before = (head, *_DECODER[:-1])
        self.blocks = nn.ModuleList(
            _DecoderBlock(one + skip, after)
            for one, skip, after in zip(before, (*skips, 0), _DECODER, strict=True)
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        image, *maps = maps
        x, *skips = maps[::-1]
        for block, skip in zip(self.blocks, (*skips, None), strict=True):
            x = F.interpolate(x, size=(image if skip is None else skip).shape[2:], mode="nearest")
            x = block(x if skip is None else torch.cat([x, skip], dim=1))
        return x


class _DecoderBlock(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = _conv_relu(before, after)
        self.conv2 = _conv_relu(after, after)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv2(self.conv1(x)))


def _conv_relu(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        _Convolution(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )
