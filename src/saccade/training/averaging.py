"""A moving average of the weights beside those that are trained: validated, kept and predicted with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

KEY = "training_weights"
"""Where a checkpoint keeps what a training goes on from, where its ``state_dict`` is the average."""
COUNT = "averaged_steps"


def decay_at(step: int, decay: float) -> float:
    """The share of the old average that stays at ``step`` (1, 2, ...): at most ``decay``, and little at
    first, so that an average of few steps does not remember weights that were drawn.

    Examples:
        >>> from saccade.training.averaging import decay_at
        >>> decay_at(8, 0.99), decay_at(10_000, 0.99)
        (0.5, 0.99)
    """
    return min(decay, (1 + step) / (10 + step))


class WeightAverage:
    """The exponential moving average of a module's weights and buffers, after each step

        average <- d average + (1 - d) weights,    d = min(decay, (1 + step) / (10 + step)),

    after Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992). The running
    means and variances of batch norm are averaged as weights are; whole numbers are those of the last step.

    Args:
        module: that is trained; copied, and never changed.
        decay: in (0, 1).

    Attributes:
        module: of the averaged weights.

    Examples:
        >>> import torch
        >>> from saccade.training.averaging import WeightAverage
        >>> layer = torch.nn.Linear(1, 1, bias=False)
        >>> _ = layer.weight.data.fill_(0.0)
        >>> average = WeightAverage(layer, 0.99)
        >>> average.update(layer)
        >>> _ = layer.weight.data.fill_(1.0)
        >>> average.update(layer)
        >>> average.module.weight.item()
        0.75
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        def step(averaged: Any, current: Any, done: Tensor | int) -> None:
            _move(averaged, current, 1 - decay_at(int(done) + 1, decay))

        self._averaged = AveragedModel(module, multi_avg_fn=step, use_buffers=True)
        self.module.requires_grad_(False).zero_grad()

    @property
    def module(self) -> nn.Module:
        return self._averaged.module

    def update(self, module: nn.Module) -> None:
        """Takes the weights after a step into the average."""
        self._averaged.update_parameters(module)

    def save(self, checkpoint: dict[str, Any], prefix: str) -> None:
        """Puts the average in the place of the weights, and these under :data:`KEY`."""
        averaged = {prefix + name: value for name, value in self.module.state_dict().items()}
        checkpoint[KEY] = checkpoint["state_dict"]
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **averaged}
        checkpoint[COUNT] = int(self._averaged.n_averaged)

    def restore(self, weights: dict[str, Tensor], steps: int) -> None:
        """Goes on from an average that was saved, of so many steps."""
        self.module.load_state_dict(weights)
        self._averaged.n_averaged.fill_(steps)


def swapped_back(checkpoint: dict[str, Any], prefix: str) -> tuple[dict[str, Tensor], int] | None:
    """Puts what was trained back in the place of the average; gives this and its steps, where it was kept."""
    if KEY not in checkpoint:
        return None
    saved = checkpoint["state_dict"].items()
    averaged = {name.removeprefix(prefix): value for name, value in saved if name.startswith(prefix)}
    checkpoint["state_dict"] = checkpoint.pop(KEY)
    return averaged, checkpoint.pop(COUNT)


@torch.no_grad()
def _move(averaged: Sequence[Tensor], current: Sequence[Tensor], share: float) -> None:
    for mean, value in zip(averaged, current, strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, share)
        else:
            mean.copy_(value)
