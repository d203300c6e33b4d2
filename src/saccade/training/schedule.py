"""Optimisers and learning-rate schedules by name."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from saccade.training.config import OptimizerConfig


def build_optimizer(parameters: Iterable[nn.Parameter], options: OptimizerConfig) -> torch.optim.Optimizer:
    """Adam or AdamW."""
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
    return kinds[options.name](parameters, lr=options.learning_rate, weight_decay=options.weight_decay)


def rate_factor(step: int, steps: int, steps_an_epoch: int, options: OptimizerConfig) -> float:
    """What the highest learning rate is multiplied with at ``step`` of ``steps``.

    A linear warm-up, then cosine to 0; poly (1 - t)^0.9; step, times ``step_factor`` after every
    ``step_epochs`` epochs; or constant.
    """
    warmup = options.warmup * steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    passed = min(1.0, (step - warmup) / max(1.0, steps - warmup))
    if options.schedule == "cosine":
        return (1 + math.cos(math.pi * passed)) / 2
    if options.schedule == "poly":
        return (1 - passed) ** 0.9
    if options.schedule == "step":
        return options.step_factor ** (step // (steps_an_epoch * options.step_epochs))
    return 1.0
