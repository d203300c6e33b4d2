"""Segmentation networks by name."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

from torch import nn

from saccade.errors import InvalidInput, SaccadeError, nearest_name
from saccade.networks import adapters
from saccade.networks.adapters import Given, Padded
from saccade.networks.published import (
    HRNET_WIDTHS,
    TIMM_PREFIX,
    DeepLabV3Plus,
    HRNetV2,
    OriginalUNet,
    PSPNet,
    SmallUNet,
    UPerNet,
    require_encoder,
    timm_models,
    weights_for,
)
from saccade.networks.unet_resnet import UNetOfResNet, is_known
from saccade.runtime.plugins import CODE_PREFIX, GIVEN_PREFIX

_SMALL = re.compile(r"small(?::([1-9][0-9]{0,4}))?")
ORIGINAL = "original"
PUBLISHED: dict[str, Any] = {"pspnet": PSPNet, "upernet": UPerNet, "deeplabv3plus": DeepLabV3Plus}
"""Architectures made here as their papers describe them: an encoder and, after a slash, what they vary."""
ADAPTED = ("transformers", "monai", "python")


def require_network(name: str, *, pretrained: bool = False) -> None:
    """Checks a name without building anything.

    Raises:
        InvalidInput: for a name that :func:`build_network` does not know, with the nearest that it does.

    Examples:
        >>> from saccade.networks import require_network
        >>> require_network("unet:resnet18")
        >>> require_network("unet:resnet81")
        Traceback (most recent call last):
            ...
        saccade.errors.InvalidInput: expected encoder to be a known encoder, or "tu-" and one ...
    """
    if _SMALL.fullmatch(name):
        return
    if name.startswith(GIVEN_PREFIX):
        got = f"{name!r}, which was handed over in Python"
        raise InvalidInput("network", "one with a name", got, "hand it over again there, as network=")
    architecture, colon, rest = name.partition(":")
    if not colon or not rest:
        expected = '"small", "small:WIDTH" or "ARCHITECTURE:ENCODER"'
        near = nearest_name(name, ["small"])
        fix = near if near.startswith("did") else 'for example "unet:resnet18"'
        raise InvalidInput("network", expected, repr(name), fix)
    if architecture in ADAPTED:
        _require_adapted(architecture, rest, pretrained)
    elif architecture == "hrnetv2":
        if rest not in HRNET_WIDTHS:
            raise InvalidInput("HRNetV2", "of a known width", repr(rest), nearest_name(rest, HRNET_WIDTHS))
    elif architecture in PUBLISHED:
        require_encoder(_encoder_and_choice(architecture, rest)[0])
    elif (architecture, rest) != ("unet", ORIGINAL):
        known = _architectures()
        if architecture not in known:
            fix = nearest_name(architecture, [*known, *PUBLISHED, *ADAPTED, "hrnetv2", "small"])
            raise InvalidInput("architecture", "one that there is", repr(architecture), fix)
        require_encoder(rest)


def build_network(
    name: str, classes: int, *, pretrained: bool = False, weights_follow: bool = False, channels: int = 3,
    given: Given | None = None,
) -> nn.Module:  # fmt: skip
    """A network that maps (B, channels, h, w) to scores (B, classes, h, w), for any h and w.

    Args:
        name: one of

            - ``small`` or ``small:WIDTH``, our small U-Net;
            - ``hrnetv2:w48`` and the other widths: HRNetV2 with its own head;
            - ``unet:original``, the U-Net of 2015;
            - ``pspnet:ENCODER``, ``upernet:ENCODER``, ``deeplabv3plus:ENCODER``, as their papers have them;
              ``pspnet:resnet50/16`` has an encoder that ends at 1/16 of the image instead of the paper's 1/8,
              ``upernet:resnet18/128`` a pyramid of 128 channels instead of 512;
            - ``ARCHITECTURE:ENCODER`` of segmentation-models-pytorch (unet, fpn, segformer, ...);
            - ``transformers:NAME``, ``monai:CLASS``, ``python:PACKAGE.MODULE.FUNCTION``: see
              :mod:`saccade.networks.adapters`.

            Encoders are those of segmentation-models-pytorch (``resnet50``) or, with the prefix ``tu-``, of
            timm (``tu-xception65``).
        classes: K.
        pretrained: ImageNet weights for the encoder; they are fetched by name, so this needs a connection or
            a filled cache. The first layer's are adapted where there are other channels than three.
        weights_follow: all weights will be replaced, so they need not be drawn, and libraries whose layers
            are known here need not be loaded.
        channels: of the image.
        given: the network, or what makes it, where ``name`` is none of these: handed over in Python.

    Raises:
        InvalidInput: for a name that is none of these, with the nearest that is.
        SaccadeError: when pretrained weights cannot be had, or the parts of a name do not go together.

    Examples:
        >>> import torch
        >>> from saccade.networks import build_network
        >>> network = build_network("small:4", classes=3).eval()
        >>> network(torch.zeros(1, 3, 20, 30)).shape
        torch.Size([1, 3, 20, 30])
    """
    if weights_follow and is_known(name):
        return Padded(UNetOfResNet(name.removeprefix("unet:"), classes, channels=channels))
    if given is None:
        require_network(name, pretrained=pretrained)
    small = _SMALL.fullmatch(name)
    if small:
        return SmallUNet(classes, width=int(small[1] or 16), channels=channels)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            if given is not None:
                return Padded(adapters.from_given(given, classes, channels=channels))
            return Padded(_maker(name, channels)(classes, pretrained))
    except (ImportError, MemoryError, SaccadeError):
        raise
    except Exception as error:
        raise SaccadeError(_refusal(name, pretrained, error)) from error


def _maker(name: str, channels: int) -> Callable[[int, bool], nn.Module]:
    """A function of K and whether weights are wanted, for a name that is known to be right."""
    architecture, _, rest = name.partition(":")
    if architecture == "transformers":
        return lambda classes, pretrained: adapters.from_transformers(
            rest, classes, pretrained=pretrained, channels=channels
        )
    if architecture == "monai":
        return lambda classes, _: adapters.from_monai(rest, classes, channels=channels)
    if architecture == "python":
        return lambda classes, _: adapters.from_python(rest, classes, channels=channels)
    if architecture == "hrnetv2":
        return lambda classes, pretrained: HRNetV2(rest, classes, pretrained=pretrained, channels=channels)
    if architecture in PUBLISHED:
        encoder, choice = _encoder_and_choice(architecture, rest)
        made = PUBLISHED[architecture]
        return lambda classes, pretrained: made(
            encoder, classes, pretrained=pretrained, channels=channels, **choice
        )
    if (architecture, rest) == ("unet", ORIGINAL):
        return lambda classes, _: OriginalUNet(classes, channels=channels)
    made = _architectures()[architecture]
    return lambda classes, pretrained: made(
        rest, encoder_weights=weights_for(rest, pretrained), in_channels=channels, classes=classes
    )


def _require_adapted(library: str, name: str, pretrained: bool) -> None:
    if library == "transformers":
        adapters.require_transformers(name, pretrained=pretrained)
    elif library == "monai":
        adapters.require_monai(name)
    else:
        adapters.require_python(name)


def _encoder_and_choice(architecture: str, text: str) -> tuple[str, dict[str, int]]:
    """``resnet50/16`` as a name and what the architecture is made with; nothing where its own is taken."""
    encoder, slash, number = text.partition("/")
    if not slash:
        return encoder, {}
    name, allowed = PUBLISHED[architecture].choice
    if number not in map(str, allowed):
        fix = f"for example {architecture}:{encoder}/{allowed[1]}"
        raise InvalidInput(
            f"{name} after the slash", f"one of {', '.join(map(str, allowed))}", repr(number), fix
        )
    return encoder, {name: int(number)}


def network_names(word: str | None = None) -> dict[str, list[str]]:
    """What names are made of: whole ones, architectures, encoders; with a ``word`` those that have it in
    them, encoders of timm too.

    Examples:
        >>> from saccade.networks.build import network_names
        >>> network_names("resnet18")["encoders"][0]
        'resnet18'
    """
    from segmentation_models_pytorch.encoders import encoders

    whole = ["small", "small:WIDTH", "unet:original", *(f"hrnetv2:{width}" for width in HRNET_WIDTHS)]
    whole += [f"{library}:NAME" for library in ADAPTED]
    architectures = [f"{name}:ENCODER" for name in sorted({*_architectures(), *PUBLISHED})]
    of_timm = [] if word is None else [TIMM_PREFIX + model for model in timm_models()]
    # What segmentation-models-pytorch lists of timm is the same as ours with a prefix.
    own = [name for name in encoders if not name.startswith(("timm-", TIMM_PREFIX))]
    names = {"networks": whole, "architectures": architectures, "encoders": [*own, *of_timm]}
    return {kind: [name for name in some if word is None or word in name] for kind, some in names.items()}


def _architectures() -> dict[str, Any]:
    import segmentation_models_pytorch as smp

    base = smp.base.SegmentationModel
    architectures = [made for made in vars(smp).values() if isinstance(made, type) and issubclass(made, base)]
    return {made.__name__.lower(): made for made in architectures}


def _refusal(name: str, pretrained: bool, error: Exception) -> str:
    reason = " ".join(str(error).split())[:300]
    if pretrained:
        way_out = "go online, or train without them"
        return f"the pretrained weights of {name!r} could not be had ({reason}); {way_out}"
    way_out = "choose another encoder or architecture"
    if name.startswith((CODE_PREFIX, GIVEN_PREFIX)):
        way_out = "it is called with the number of classes and returns a torch.nn.Module"
    return f"the network {name!r} could not be made ({reason}); {way_out}"
