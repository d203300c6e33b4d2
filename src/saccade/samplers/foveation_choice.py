"""From probabilities of the fields of view to the patch that is fed: the estimators of arXiv 2020, 3.3."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LEARNED = ("mean", "mode", "gumbel", "reinforce")
BASELINES = ("fixed", "random", "average", "ensemble")
ESTIMATORS = (*LEARNED, *BASELINES)
BLENDS = ("mean", "average", "ensemble")
"""Those that read every field of view when they predict."""


@dataclass(frozen=True)
class Choice:
    """What is fed at each of N locations.

    Attributes:
        weights: (N, D) float32, sum to 1: the patch that is fed is the sum of the D patches with these
            weights. One-hot where one field is chosen; carries the gradient to the foveation net.
        log_probability: (N,) of the chosen field, with a gradient, where the net learns from it (REINFORCE);
            None otherwise.
    """

    weights: Tensor
    log_probability: Tensor | None = None


def choose_in_training(
    log_probabilities: Tensor, estimator: str, generator: torch.Generator, temperature: float = 1.0
) -> Choice:
    """The patch to learn from.

    ``mean``: the probabilities themselves (Eq. 2). ``mode``: the most probable field (Eq. 3), its gradient
    that of the probabilities (straight through). ``gumbel``: softmax((log f + g) / temperature), g standard
    Gumbel noise (Jang et al. 2017). ``reinforce``: a field drawn by the probabilities.

    Args:
        log_probabilities: (N, D).
        estimator: mean, mode, gumbel or reinforce.
        generator: of the noise, on the CPU.
        temperature: of the Gumbel-softmax, > 0.
    """
    probabilities = log_probabilities.exp()
    if estimator == "mean":
        return Choice(probabilities)
    if estimator == "mode":
        chosen = one_hot(log_probabilities.argmax(1), probabilities)
        return Choice(chosen + (probabilities - probabilities.detach()))
    if estimator == "gumbel":
        noise = torch.rand(log_probabilities.shape, generator=generator).clamp_(1e-9, 1 - 1e-6)
        gumbel = -(-noise.log()).log()
        return Choice(((log_probabilities + gumbel.to(log_probabilities)) / temperature).softmax(1))
    drawn = torch.multinomial(probabilities.detach().cpu(), 1, generator=generator)[:, 0]
    drawn = drawn.to(log_probabilities.device)
    return Choice(one_hot(drawn, probabilities), log_probabilities.gather(1, drawn[:, None])[:, 0])


def choose_in_prediction(log_probabilities: Tensor, estimator: str) -> Tensor:
    """(N, D) weights without any chance: the probabilities for ``mean``, else the most probable field."""
    if estimator == "mean":
        return log_probabilities.exp()
    return one_hot(log_probabilities.argmax(1), log_probabilities)


def choose_blindly(
    count: int, fields: int, estimator: str, field: int, generator: torch.Generator | None
) -> Tensor:
    """(count, D) weights of the baselines, which look at no image (A.4).

    Args:
        count: N locations.
        fields: D.
        estimator: fixed, random, average or ensemble.
        field: which one ``fixed`` takes.
        generator: of ``random``.
    """
    if estimator in ("average", "ensemble"):
        return torch.full((count, fields), 1 / fields)
    if estimator == "fixed":
        chosen = torch.full((count,), field)
    else:
        chosen = torch.randint(fields, (count,), generator=generator)
    return one_hot(chosen, torch.empty(0, fields))


def one_hot(chosen: Tensor, like: Tensor) -> Tensor:
    """(N,) numbers as (N, D) rows of 0 and 1, of the type of ``like`` (..., D)."""
    return F.one_hot(chosen, like.shape[1]).to(like.dtype)


def temperature_at(step: int, steps: int, first: float, last: float) -> float:
    """The temperature of a step: falls geometrically from ``first`` and is ``last`` in the last step.

    The published max(0.10, exp(-t / T)) ends at 0.37 and never reaches its floor.
    """
    share = min(1.0, step / max(1, steps - 1))
    return first * (last / first) ** share
