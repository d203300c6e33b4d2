"""Segmentation networks by name: ``small``, or ``architecture:encoder`` of segmentation-models-pytorch."""

from __future__ import annotations

import re

import torch.nn.functional as F
from torch import Tensor, nn

from saccade.errors import InvalidInput, SaccadeError, nearest_name
from saccade.networks.small import SmallUNet

_SMALL = re.compile(r"small(?::(\d+))?$")
STRIDE = 32
"""What both sides of an image must be a multiple of, for any encoder of five halvings."""


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
    small = _SMALL.match(name)
    if small:
        return SmallUNet(classes, width=int(small[1] or 16))
    architecture, colon, encoder = name.partition(":")
    if not colon or not encoder:
        expected = '"small", "small:WIDTH" or "ARCHITECTURE:ENCODER"'
        raise InvalidInput("network", expected, repr(name), 'for example "unet:resnet18"')
    return Padded(_from_library(architecture, encoder, classes, pretrained))


def _from_library(architecture: str, encoder: str, classes: int, pretrained: bool) -> nn.Module:
    import segmentation_models_pytorch as smp
    from segmentation_models_pytorch.encoders import encoders

    architectures = {made.__name__.lower(): made for made in smp.MODEL_ARCHITECTURES}
    if architecture not in architectures:
        way_out = nearest_name(architecture, architectures)
        raise InvalidInput(
            "architecture", "one of segmentation-models-pytorch's", repr(architecture), way_out
        )
    if not encoder.startswith("tu-") and encoder not in encoders:
        raise InvalidInput("encoder", 'a known encoder, or "tu-" and one of timm\'s', repr(encoder),
                           nearest_name(encoder, encoders))  # fmt: skip
    weights = "imagenet" if pretrained else None
    try:
        return architectures[architecture](encoder, encoder_weights=weights, classes=classes)
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        raise SaccadeError(_refusal(f"{architecture}:{encoder}", pretrained, error)) from error


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
