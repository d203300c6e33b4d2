"""Networks of other libraries and of the user's own, loaded when named, at any size of input."""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saccade.errors import InvalidInput, NetworkFault, SaccadeError, nearest_name
from saccade.runtime.plugins import imported

Given = nn.Module | Callable[..., nn.Module]
"""A network without a name: a module, or a function or class that makes one of K."""

STRIDE = 32
"""What both sides of an image must be a multiple of, for any encoder of five halvings."""


class Padded(nn.Module):
    """Lets a network that wants sides of a multiple of 32 take any size: repeats the border, then crops.

    A single tiny image in training gets one stride more to the right: batch norm has no spread of one value.

    Args:
        network: maps (B, C, h, w) to scores (B, K, h', w') of the same extent, at any resolution.
        stride: what the sides must be a multiple of.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from saccade.networks import Padded
        >>> Padded(nn.Conv2d(3, 2, 8, stride=8), stride=8)(torch.zeros(1, 3, 12, 20)).shape
        torch.Size([1, 2, 12, 20])
    """

    def __init__(self, network: nn.Module, stride: int = STRIDE) -> None:
        super().__init__()
        self.network = network
        self.stride = stride

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, h, w) to scores (B, K, h, w); bilinear where the network's are of another resolution."""
        rows, columns = image.shape[2:]
        below, right = -rows % self.stride, -columns % self.stride
        if (
            self.training
            and len(image) == 1
            and (rows + below, columns + right) == (self.stride, self.stride)
        ):
            right += self.stride
        if below or right:
            image = F.pad(image, (0, right, 0, below), mode="replicate")
        scores: Tensor = self.network(image)
        if scores.shape[2:] != image.shape[2:]:
            scores = F.interpolate(scores, image.shape[2:], mode="bilinear", align_corners=False)
        return scores[:, :, :rows, :columns]


def scores_in(network: Any, pixels: Tensor, classes: int | None = None) -> Tensor:
    """What a network answers to pixels (B, C, h, w), as scores (B, K, h', w') floating.

    Dicts, tuples and objects are opened as :func:`scores_of` does. One logit (B, 1, h', w') of a binary
    network becomes the scores 0 and the logit of two classes: softmax of both is the sigmoid of the one.

    Args:
        network: the module.
        pixels: as it takes them.
        classes: K that is wanted; 1 leaves one logit as it is, None takes any K.

    Raises:
        NetworkFault: when it refuses the pixels, or what it answers is nothing of the kind.
    """
    padded = isinstance(network, Padded)
    inner = network
    while isinstance(inner, Padded | Scores):  # ours around the network that a user would look for
        inner = inner.network
    name, shape = type(inner).__name__, tuple(pixels.shape)
    try:
        answer = network(pixels)
    except (SaccadeError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if "allocate memory" in str(error):
            raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        fix = f"it must take {shape[1]} channels of any size"
        if not padded:
            fix = "wrap it in saccade.networks.Padded where it wants sides of a multiple"
        raise NetworkFault(f"{name} to take pixels of shape {shape}", reason, fix) from error
    scores = answer if isinstance(answer, Tensor) else _opened(answer, name)
    whole = scores.ndim == 4 and len(scores) == len(pixels) and 0 not in scores.shape
    if whole and _is_turned(scores, pixels):
        answer_shape = f"({shape[0]}, K, {shape[2]}, {shape[3]})"
        expected = f"{name} to answer pixels of shape {shape} with scores {answer_shape}"
        raise NetworkFault(expected, f"{tuple(scores.shape)}", "give the axes this order with .permute")
    if not whole or not scores.is_floating_point():
        kind = "" if scores.is_floating_point() else f" of {scores.dtype}"
        expected = f"{name} to answer pixels of shape {shape} with floating scores ({shape[0]}, K, h, w)"
        raise NetworkFault(
            expected, f"{tuple(scores.shape)}{kind}", "wrap it in a module that returns scores"
        )
    if scores.shape[1] == 1 and classes != 1:
        scores = torch.cat([torch.zeros_like(scores), scores], dim=1)
    if classes is not None and scores.shape[1] != classes:
        expected = f"{name} to score {classes} classes"
        fix = "make it with as many outputs as there are classes"
        raise NetworkFault(expected, f"scores of shape {tuple(scores.shape)}", fix)
    return scores


def _is_turned(scores: Tensor, pixels: Tensor) -> bool:
    """Whether rows and columns stand where the classes do, or in each other's place."""
    rows, columns = pixels.shape[2:]
    if rows == columns or tuple(scores.shape[2:]) == (rows, columns):
        return tuple(scores.shape[1:3]) == (rows, columns) and scores.shape[3] < columns
    return tuple(scores.shape[2:]) == (columns, rows) or tuple(scores.shape[1:3]) == (rows, columns)


def _opened(answer: Any, name: str) -> Tensor:
    try:
        return scores_of(answer)
    except InvalidInput as error:
        raise NetworkFault(f"{name} to answer with {error.expected}", error.got, error.fix) from None


MONAI_DEFAULTS: dict[str, dict[str, Any]] = {
    name: {"channels": (16, 32, 64, 128, 256), "strides": (2, 2, 2, 2)} for name in ("UNet", "AttentionUnet")
}
"""Of the networks that need more than dimensions and channels: the values of MONAI's tutorials."""


class Scores(nn.Module):
    """Takes the scores out of whatever a network answers: ``.logits``, ``["out"]``, or the first of several.

    Args:
        network: maps (B, 3, h, w) to a tensor, a list, a mapping, or an object with ``logits``.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from saccade.networks import Scores
        >>> class Torchvisions(nn.Module):
        ...     def forward(self, image):
        ...         return {"out": image[:, :2]}
        >>> Scores(Torchvisions())(torch.zeros(1, 3, 4, 4)).shape
        torch.Size([1, 2, 4, 4])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, h, w) to scores (B, K, h', w')."""
        return scores_of(self.network(image))


def scores_of(answer: Any) -> Tensor:
    """The scores in a network's answer.

    Raises:
        InvalidInput: when there are none, with what there is instead.
    """
    scores = answer
    if hasattr(answer, "logits"):
        scores = answer.logits
    elif isinstance(answer, dict):
        scores = next((answer[key] for key in ("logits", "out") if key in answer), None)
    elif isinstance(answer, list | tuple) and answer:
        scores = answer[0]
    if not isinstance(scores, Tensor) or scores.ndim != 4:
        got = (
            f"a tensor of shape {tuple(scores.shape)}"
            if isinstance(scores, Tensor)
            else type(answer).__name__
        )
        expected = "scores (B, K, h, w), or something whose logits, out or first part they are"
        raise InvalidInput("the network's answer", expected, got, "wrap it in a module that returns scores")
    return scores


def from_transformers(name: str, classes: int, *, pretrained: bool = False, channels: int = 3) -> nn.Module:
    """A semantic segmentation model of Hugging Face ``transformers``.

    Args:
        name: a model type ("segformer"), of its default shape; or a folder or a name on the hub, such as
            "nvidia/mit-b0".
        classes: K.
        pretrained: the weights that the folder or the hub has; a head of another K starts fresh.
        channels: of the image; the first layer of pretrained weights of others is adapted.
    """
    library = _library("transformers", "transformers")
    if name in transformers_types():
        options = library.AutoConfig.for_model(name, num_labels=classes)
    else:
        # transformers would ask on the terminal whether to run what a repository brings along
        options = library.AutoConfig.from_pretrained(name, num_labels=classes, trust_remote_code=False)
    maker = library.AutoModelForSemanticSegmentation
    if pretrained:
        model = maker.from_pretrained(
            name,
            config=options,
            ignore_mismatched_sizes=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
        return Scores(with_channels(model, channels))
    options.num_channels = channels
    return Scores(maker.from_config(options))


def with_channels(network: nn.Module, channels: int) -> nn.Module:
    """A network whose first convolution takes images of other channels, changed in place: its weights are
    repeated over them and scaled, so that its answer to grey is what it was (as in timm).

    Raises:
        InvalidInput: where no convolution takes three channels.
    """
    first = next((m for m in network.modules() if isinstance(m, nn.Conv2d) and m.in_channels == 3), None)
    if channels == 3:
        return network
    if first is None or first.groups != 1:
        raise InvalidInput("network", "one with a convolution of three channels first", "none")
    weight = first.weight.detach()
    repeated = weight.repeat(1, -(-channels // 3), 1, 1)[:, :channels] * (3 / channels)
    first.weight, first.in_channels = nn.Parameter(repeated), channels
    config = getattr(network, "config", None)
    if config is not None and hasattr(config, "num_channels"):
        config.num_channels = channels
    return network


def from_monai(name: str, classes: int, *, channels: int = 3) -> nn.Module:
    """A network of MONAI by its class, in two dimensions: ``SegResNet``, ``BasicUNet``, ``UNet``, ..."""
    options = {"spatial_dims": 2, "in_channels": channels, "out_channels": classes}
    options |= MONAI_DEFAULTS.get(name, {})
    made: nn.Module = _monai_networks()[name](**options)
    return Scores(made)


def from_python(name: str, classes: int, *, channels: int = 3) -> nn.Module:
    """What a function of an importable module makes: ``package.module.function``, called with K, and for
    images of other channels than three with ``channels`` by name."""
    return _made_by(_function(name), name, classes, channels)


def from_given(given: Given, classes: int, *, channels: int = 3) -> nn.Module:
    """A copy of a module, its weights too; or what a function or class makes, called as in
    :func:`from_python`."""
    if not isinstance(given, nn.Module):
        return _made_by(given, getattr(given, "__name__", type(given).__name__), classes, channels)
    return Scores(copy.deepcopy(given))


def _made_by(function: Callable[..., Any], name: str, classes: int, channels: int) -> nn.Module:
    if channels != 3 and not _takes(function, "channels"):
        expected = f"a function with an argument channels, for images of {channels} bands"
        raise InvalidInput(name, expected, "one without", "or choose three: data.bands=4,3,2")
    made = function(classes) if channels == 3 else function(classes, channels=channels)
    if not isinstance(made, nn.Module):
        raise InvalidInput(f"what {name} returns", "a torch.nn.Module", type(made).__name__)
    return Scores(made)


def require_transformers(name: str, *, pretrained: bool = False) -> None:
    """Refuses a model type that there is not; a folder or a name on the hub is only known when it is read."""
    _library("transformers", "transformers")
    if "/" in name or Path(name).is_dir():
        return
    known = transformers_types()
    if name not in known:
        fix = nearest_name(name, known)
        raise InvalidInput("model of transformers", "a type, a folder, or ORGANISATION/NAME", repr(name), fix)
    if pretrained:
        fix = "name the weights: transformers:nvidia/mit-b0, for example"
        raise InvalidInput("model of transformers", "a folder or ORGANISATION/NAME", repr(name), fix)


def require_monai(name: str) -> None:
    """Refuses a class that MONAI lacks, or that needs more than dimensions and channels."""
    known = _monai_networks()
    if name not in known:
        raise InvalidInput(
            "network of MONAI", "a class with known options", repr(name), nearest_name(name, known)
        )


def require_python(name: str) -> None:
    """Refuses what cannot be imported."""
    _function(name)


def transformers_types() -> list[str]:
    """Model types that segment."""
    auto = _library("transformers.models.auto.modeling_auto", "transformers")
    return sorted(auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES)


def _monai_networks() -> dict[str, Any]:
    """The classes that can be made from dimensions and channels alone."""
    nets = _library("monai.networks.nets", "monai")
    networks = {}
    for name, made in vars(nets).items():
        if isinstance(made, type) and issubclass(made, nn.Module) and name[:1].isupper():
            parameters = inspect.signature(made).parameters
            needed = {
                key
                for key, parameter in parameters.items()
                if parameter.default is parameter.empty and parameter.kind < parameter.VAR_POSITIONAL
            }
            offered = {"spatial_dims", "in_channels", "out_channels"}
            if offered <= parameters.keys() and needed <= offered | MONAI_DEFAULTS.get(name, {}).keys():
                networks[name] = made
    return networks


def _library(module: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        fix = f"install it: pip install {package}"
        raise InvalidInput("network", "one whose library is installed", f"one of {package}", fix) from error


def _takes(function: Any, name: str) -> bool:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    return name in parameters or any(
        parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values()
    )


def _function(name: str) -> Any:
    expected = "PACKAGE.MODULE.FUNCTION, a function of K that returns a torch.nn.Module"
    function = imported("network", name, expected)
    if not callable(function):
        raise InvalidInput("network", expected, f"{name!r}, which is no function")
    return function
