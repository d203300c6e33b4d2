"""One step on the side before a run folder is made: a network that cannot be trained is refused by name."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from saccade.data.cache import Sample
from saccade.errors import InvalidInput, SaccadeError
from saccade.segmenter import Segmenter
from saccade.training.task import SegmentationTask


def sanity_check(
    task: SegmentationTask,
    batch: Sequence[Sample],
    sizes: Sequence[tuple[int, int]],
    counts: Sequence[int],
    device: torch.device | str = "cpu",
) -> None:
    """Runs sampler, network, loss and their gradients once, and leaves weights and chance as they were.

    Args:
        task: about to be trained.
        batch: of training images, tiny.
        sizes: (h, w) of what the network will see.
        counts: numbers of images that it will see at once.
        device: where it will be trained.

    Raises:
        InvalidInput: with the network's name, when it does not give scores (B, K, h, w) for these.
        SaccadeError: whatever else the step is refused with.
    """
    name = task.config.network.name
    with _on_the_side(task, device):
        for size in sizes:
            for count in counts:
                _check_network(task.segmenter, name, len(task.class_names), (count, 3, *size))
        _check_step(task, list(batch))


@contextmanager
def _on_the_side(task: SegmentationTask, device: torch.device | str) -> Iterator[None]:
    """Everything that a step changes is afterwards what it was: a run is the same with and without it."""
    modes = {part: part.training for part in task.modules()}
    learning = {parameter: parameter.requires_grad for parameter in task.parameters()}
    tensors = [*task.parameters(), *task.buffers()]
    kept = [tensor.detach().clone() for tensor in tensors]
    place = torch.device(device)
    gpus = [place.index or 0] if place.type == "cuda" else []
    try:
        with torch.random.fork_rng(gpus), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            task.to(place).train().requires_grad_(True)
            yield
    finally:
        task.to("cpu")
        with torch.no_grad():
            for tensor, before in zip([*task.parameters(), *task.buffers()], kept, strict=True):
                tensor.grad = None
                tensor.copy_(before)
        for part, training in modes.items():
            part.training = training
        for parameter, learns in learning.items():
            parameter.requires_grad_(learns)
        task.shrinks.clear()


def _check_network(segmenter: Segmenter, name: str, classes: int, shape: tuple[int, ...]) -> None:
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(segmenter.mean.device)
    pixels = noise.contiguous(memory_format=segmenter._layout)
    labels = torch.zeros((shape[0], *shape[2:]), dtype=torch.int64, device=pixels.device)
    with _named(f"network {name}", f"one that trains on images {shape}"):
        scores = segmenter.score(pixels)
        _require_scores(scores, name, classes, shape)
        if scores.requires_grad:
            F.cross_entropy(scores, labels).backward()
    if not scores.requires_grad:
        raise InvalidInput(f"network {name}", "one whose scores have a gradient", "scores without one")
    segmenter.network.eval()
    with torch.no_grad(), _named(f"network {name}", f"one that predicts from images {shape}"):
        _require_scores(segmenter.score(pixels), name, classes, shape)
    segmenter.network.train()


def _require_scores(scores: Tensor, name: str, classes: int, shape: tuple[int, ...]) -> None:
    wanted = (shape[0], classes, *shape[2:])
    if tuple(scores.shape) != wanted:
        expected = f"one that gives scores {wanted} for images {shape}: one for each of the {classes} classes"
        fix = "make it for the classes of the data"
        raise InvalidInput(f"network {name}", expected, f"scores {tuple(scores.shape)}", fix)
    if not bool(torch.isfinite(scores).all()):
        raise InvalidInput(
            f"network {name}", "one whose scores are finite", "nan or infinity before any step"
        )


def _check_step(task: SegmentationTask, batch: list[Sample]) -> None:
    config = task.config
    what = f"the sampler {config.sampler.name} with network {config.network.name}"
    with _named(what, f"something that makes a step on {len(batch)} images"):
        loss = task.training_step(batch, 0)
        if loss.requires_grad:
            loss.backward()


@contextmanager
def _named(what: str, expected: str) -> Iterator[None]:
    """Whatever a foreign network raises becomes one line; what tells of memory goes on as it is."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except SaccadeError as error:
        if what in str(error):
            raise
        raise SaccadeError(f"{what}: {error}") from error
    except Exception as error:
        if "can't allocate memory" in str(error):
            raise
        reason = " ".join(str(error).split())[:200]
        fix = "choose another sampler.size or training.batch_size, or another network"
        raise InvalidInput(what, expected, f"{type(error).__name__}: {reason}", fix) from error


def tolerate_single_values(module: nn.Module) -> None:
    """Lets batch norm train on batches that give it one value a channel, of which there is no spread.

    Such a layer then takes the mean and the variance that it has gathered so far and leaves them as they are,
    as in a prediction. This is so for an image alone behind a pooling of the whole image (DeepLabv3,
    PSPNet). With two values or more nothing changes.
    """
    for layer in module.modules():
        if isinstance(layer, _BatchNorm) and layer.track_running_stats:
            layer.register_forward_pre_hook(_use_running_statistics)
            layer.register_forward_hook(_train_again, always_call=True)


def _use_running_statistics(layer: nn.Module, given: tuple[Any, ...]) -> None:
    if layer.training and given[0].numel() == given[0].shape[1]:
        layer.training, layer._single_value = False, True  # type: ignore[assignment]


def _train_again(layer: nn.Module, given: tuple[Any, ...], found: Any) -> None:
    if getattr(layer, "_single_value", False):
        layer.training, layer._single_value = True, False  # type: ignore[assignment]
