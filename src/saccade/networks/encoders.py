"""Encoders by name, of segmentation-models-pytorch and timm, with ImageNet weights where they are wanted."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn

from saccade.errors import InvalidInput, nearest_name

PREFIX = "tu-"
"""Of timm's encoders, as in segmentation-models-pytorch."""


def require_encoder(name: str) -> None:
    """Checks a name without building anything.

    Raises:
        InvalidInput: for a name that :func:`build_encoder` does not know, with the nearest that it does.
    """
    from segmentation_models_pytorch.encoders import encoders

    of_timm = name.startswith(PREFIX)
    names = [PREFIX + model for model in timm_models()] if of_timm else list(encoders)
    if (name.partition(".")[0] if of_timm else name) not in names:
        expected = 'a known encoder, or "tu-" and one of timm\'s'
        fix = nearest_name(name, names)
        way_out = fix if fix.startswith("did") else "look at the encoders of segmentation-models-pytorch"
        raise InvalidInput("encoder", expected, repr(name), way_out)


def build_encoder(name: str, *, stride: int = 32, pretrained: bool = False) -> tuple[nn.Module, list[int]]:
    """An encoder whose output is a list of feature maps, from the input down to the coarsest.

    Args:
        name: of segmentation-models-pytorch ("resnet50"), or "tu-" and one of timm's ("tu-xception65").
        stride: of the coarsest map, 8, 16 or 32; below 32 the last stages are dilated instead.
        pretrained: ImageNet weights.

    Returns:
        The encoder, and the channels of each map.
    """
    from segmentation_models_pytorch.encoders import get_encoder

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        encoder = get_encoder(name, depth=5, weights=weights_for(name, pretrained), output_stride=stride)
    return encoder, list(encoder.out_channels)


def weights_for(name: str, pretrained: bool) -> Any:
    """What segmentation-models-pytorch wants to hear."""
    if not pretrained:
        return None
    return True if name.startswith(PREFIX) else "imagenet"


def timm_models() -> list[str]:
    """Names of all models of timm."""
    import timm

    models: list[str] = timm.list_models()
    return models
