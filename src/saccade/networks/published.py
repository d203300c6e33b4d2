"""HRNetV2, PSPNet, UPerNet, DeepLabv3+ and the U-Net as published, and a small U-Net for two cores."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saccade.errors import InvalidInput, nearest_name


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


TIMM_PREFIX = "tu-"
"""Of timm's encoders, as in segmentation-models-pytorch."""


def require_encoder(name: str) -> None:
    """Checks a name without building anything.

    Raises:
        InvalidInput: for a name that :func:`build_encoder` does not know, with the nearest that it does.
    """
    from segmentation_models_pytorch.encoders import encoders

    of_timm = name.startswith(TIMM_PREFIX)
    names = [TIMM_PREFIX + model for model in timm_models()] if of_timm else list(encoders)
    if (name.partition(".")[0] if of_timm else name) not in names:
        expected = 'a known encoder, or "tu-" and one of timm\'s'
        fix = nearest_name(name, names)
        way_out = fix if fix.startswith("did") else "look at the encoders of segmentation-models-pytorch"
        raise InvalidInput("encoder", expected, repr(name), way_out)


def build_encoder(
    name: str, *, stride: int = 32, pretrained: bool = False, channels: int = 3
) -> tuple[nn.Module, list[int]]:
    """An encoder whose output is a list of feature maps, from the input down to the coarsest.

    Args:
        name: of segmentation-models-pytorch ("resnet50"), or "tu-" and one of timm's ("tu-xception65").
        stride: of the coarsest map, 8, 16 or 32; below 32 the last stages are dilated instead.
        pretrained: ImageNet weights; those of the first layer are adapted to other ``channels`` than three.
        channels: of the image.

    Returns:
        The encoder, and the channels of each map.
    """
    from segmentation_models_pytorch.encoders import get_encoder

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        weights = weights_for(name, pretrained)
        encoder = get_encoder(name, channels, depth=5, weights=weights, output_stride=stride)
    return encoder, list(encoder.out_channels)


def weights_for(name: str, pretrained: bool) -> Any:
    """What segmentation-models-pytorch wants to hear."""
    if not pretrained:
        return None
    return True if name.startswith(TIMM_PREFIX) else "imagenet"


def timm_models() -> list[str]:
    """Names of all models of timm."""
    import timm

    models: list[str] = timm.list_models()
    return models


HRNET_WIDTHS = ("w18", "w18_small", "w18_small_v2", "w30", "w32", "w40", "w44", "w48", "w64")
"""The encoders: timm's ``hrnet_WIDTH``."""


class HRNetV2(nn.Module):
    """The network of "High-resolution representations for labeling pixels and regions" (arXiv 1904.04514).

    The encoder's maps at 1/4, 1/8, 1/16 and 1/32 of the image are brought to 1/4, joined, mixed by a 1x1
    convolution with norm and ReLU, and scored by another. HRNetV2-W48 has 65.9 million parameters.

    Args:
        width: one of :data:`HRNET_WIDTHS`.
        classes: K.
        pretrained: ImageNet weights of the encoder, as its authors published them, from timm.
        channels: of the image.
    """

    def __init__(self, width: str, classes: int, *, pretrained: bool = False, channels: int = 3) -> None:
        super().__init__()
        import timm

        encoder: Any = timm.create_model(
            f"hrnet_{width}", pretrained=pretrained, features_only=True, feature_location="",
            out_indices=(1, 2, 3, 4), in_chans=channels,
        )  # fmt: skip
        self.encoder = encoder
        features = sum(encoder.feature_info.channels())
        self.mix = ConvNorm(features, features)
        self.head = nn.Conv2d(features, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, h, w) to scores (B, K, h / 4, w / 4); sides of a multiple of 32."""
        maps = self.encoder(image)
        joined = torch.cat([resized(features, maps[0]) for features in maps], dim=1)
        return self.head(self.mix(joined))


class PSPNet(nn.Module):
    """The network of "Pyramid scene parsing network", without its auxiliary loss.

    Args:
        encoder: its name; the paper's are resnet50 and resnet101.
        classes: K.
        stride: of the encoder; the paper's is 8.
        pretrained: ImageNet weights of the encoder.
        channels: of the image.
    """

    choice = ("stride", (8, 16, 32))
    """What a name may end in, after a slash."""

    def __init__(
        self, encoder: str, classes: int, *, stride: int = 8, pretrained: bool = False, channels: int = 3
    ) -> None:
        super().__init__()
        made = build_encoder(encoder, stride=stride, pretrained=pretrained, channels=channels)
        self.encoder, features = made
        deepest = features[-1]
        branch = max(1, deepest // 4)
        self.pooling = PyramidPooling(deepest, branch)
        self.mix = ConvNorm(deepest + 4 * branch, branch, 3)
        self.head = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(branch, classes, 1))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, h, w) to scores (B, K, h / stride, w / stride); sides of a multiple of the stride."""
        return self.head(self.mix(self.pooling(self.encoder(image)[-1])))


class UPerNet(nn.Module):
    """The network of "Unified perceptual parsing for scene understanding", segmentation alone.

    Args:
        encoder: its name; the paper's is resnet50.
        classes: K.
        pretrained: ImageNet weights of the encoder.
        channels: of the image.
        width: channels of the pyramid; the paper's are 512.
    """

    choice = ("width", (64, 128, 256, 512))
    """What a name may end in, after a slash."""

    def __init__(
        self, encoder: str, classes: int, *, pretrained: bool = False, width: int = 512, channels: int = 3
    ) -> None:
        super().__init__()
        self.encoder, features = build_encoder(encoder, pretrained=pretrained, channels=channels)
        *finer, coarsest = features[-4:]
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
            inputs = sideways(features)
            x = inputs + resized(x, inputs)
            levels.append(smooth(x))
        joined = torch.cat([resized(level, levels[-1]) for level in levels], dim=1)
        return self.head(self.mix(joined))


WIDTH, FINE = 256, 48


class DeepLabV3Plus(nn.Module):
    """The network of "Encoder-decoder with atrous separable convolution for semantic image segmentation".

    Args:
        encoder: its name; the paper's are tu-xception65 and resnet101.
        classes: K.
        stride: of the encoder; the paper trains at 16, with rates 6, 12 and 18, and tests at 8 too, with
            twice the rates.
        pretrained: ImageNet weights of the encoder.
        channels: of the image.
    """

    choice = ("stride", (8, 16, 32))
    """What a name may end in, after a slash."""

    def __init__(
        self, encoder: str, classes: int, *, stride: int = 16, pretrained: bool = False, channels: int = 3
    ) -> None:
        super().__init__()
        made = build_encoder(encoder, stride=stride, pretrained=pretrained, channels=channels)
        self.encoder, features = made
        fine, coarse = features[2], features[-1]
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


UNET_WIDTHS = (64, 128, 256, 512, 1024)


class OriginalUNet(nn.Module):
    """Four halvings, two 3x3 convolutions a level, 2x2 transposed convolutions up: 31.0 million parameters.

    The paper's convolutions are not padded and have no norm; these are and have, as in all its successors.

    Args:
        classes: K.
        channels: of the image.
    """

    def __init__(self, classes: int, *, channels: int = 3) -> None:
        super().__init__()
        pairs = list(pairwise(UNET_WIDTHS))
        self.down = nn.ModuleList(
            _twice(before, after) for before, after in [(channels, UNET_WIDTHS[0]), *pairs]
        )
        self.wider = nn.ModuleList(nn.ConvTranspose2d(below, here, 2, stride=2) for here, below in pairs)
        self.up = nn.ModuleList(_twice(below, here) for here, below in pairs)
        self.head = nn.Conv2d(UNET_WIDTHS[0], classes, 1)

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
