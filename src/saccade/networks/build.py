"""Segmentation networks by name: ``small``, or ``architecture:encoder`` of segmentation-models-pytorch."""

from __future__ import annotations

import re
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from saccade.errors import InvalidInput, SaccadeError, nearest_name
from saccade.networks.small import SmallUNet

_SMALL = re.compile(r"small(?::([1-9][0-9]{0,4}))?")
STRIDE = 32
"""What both sides of an image must be a multiple of, for any encoder of five halvings."""


def require_network(name: str) -> None:
    """Checks a name without building anything.

    Raises:
        InvalidInput: for a name that :func:`build_network` does not know, with the nearest that it does.
    """
    if _SMALL.fullmatch(name):
        return
    architecture, colon, encoder = name.partition(":")
    if not colon or not encoder:
        expected = '"small", "small:WIDTH" or "ARCHITECTURE:ENCODER"'
        near = nearest_name(name, ["small"])
        fix = near if near.startswith("did") else 'for example "unet:resnet18"'
        raise InvalidInput("network", expected, repr(name), fix)
    from segmentation_models_pytorch.encoders import encoders

    known = _architectures()
    if architecture not in known:
        fix = nearest_name(architecture, [*known, "small"])
        raise InvalidInput("architecture", "one of segmentation-models-pytorch's", repr(architecture), fix)
    timm = encoder.startswith("tu-")
    names = [f"tu-{model}" for model in _timm_models()] if timm else list(encoders)
    if (encoder.partition(".")[0] if timm else encoder) not in names:
        expected = 'a known encoder, or "tu-" and one of timm\'s'
        raise InvalidInput("encoder", expected, repr(encoder), _nearest(encoder, names))


def build_network(name: str, classes: int, *, pretrained: bool = False) -> nn.Module:
    """A network that maps (B, 3, h, w) to scores (B, classes, h, w), for any h and w.

    Args:
        name: "small" or "small:WIDTH", our small U-Net; or "ARCHITECTURE:ENCODER" with any architecture of
            segmentation-models-pytorch (unet, pspnet, upernet, deeplabv3plus, ...) and any of its encoders
            or, with the prefix "tu-", of timm's: "unet:resnet18", "upernet:tu-hrnet_w48".
        classes: K.
        pretrained: ImageNet weights for the encoder; they are fetched by name, so this needs a connection or
            a filled cache.

    Raises:
        InvalidInput: for a name that is none of these, with the nearest that is.
        SaccadeError: when pretrained weights cannot be had.
    """
    require_network(name)
    small = _SMALL.fullmatch(name)
    if small:
        return SmallUNet(classes, width=int(small[1] or 16))
    architecture, _, encoder = name.partition(":")
    weights = "imagenet" if pretrained else None
    try:
        network = _architectures()[architecture](encoder, encoder_weights=weights, classes=classes)
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        raise SaccadeError(_refusal(name, pretrained, error)) from error
    return Padded(network)


def _architectures() -> dict[str, Any]:
    import segmentation_models_pytorch as smp

    base = smp.base.SegmentationModel
    found = [made for made in vars(smp).values() if isinstance(made, type) and issubclass(made, base)]
    return {made.__name__.lower(): made for made in found}


def _timm_models() -> list[str]:
    import timm

    models: list[str] = timm.list_models()
    return models


def _nearest(encoder: str, names: list[str]) -> str:
    """The way out of a typo; the whole list would be too long here."""
    fix = nearest_name(encoder, names)
    return fix if fix.startswith("did you mean") else "look at the encoders of segmentation-models-pytorch"


def _refusal(name: str, pretrained: bool, error: Exception) -> str:
    reason = " ".join(str(error).split())[:300]
    if pretrained:
        way_out = "go online, or train without them"
        return f"the pretrained weights of {name!r} could not be had ({reason}); {way_out}"
    return f"the network {name!r} could not be made ({reason}); choose another encoder or architecture"


class Padded(nn.Module):
    """Lets a network that wants sides of a multiple of 32 take any size: repeats the border, then crops.

    Args:
        network: maps (B, C, h, w) to scores (B, K, h, w).
        stride: what the sides must be a multiple of.
    """

    def __init__(self, network: nn.Module, stride: int = STRIDE) -> None:
        super().__init__()
        self.network = network
        self.stride = stride

    def forward(self, image: Tensor) -> Tensor:
        rows, columns = image.shape[2:]
        below, right = -rows % self.stride, -columns % self.stride
        if below or right:
            image = F.pad(image, (0, right, 0, below), mode="replicate")
        return self.network(image)[:, :, :rows, :columns]
