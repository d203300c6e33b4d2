"""Foveation's choice: the net that predicts it, its estimators, and what an answer stands for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saccade.errors import InvalidInput, nearest_name


class FieldEnsemble(nn.Module):
    """D networks, each trained on patches of its own field of view.

    Args:
        networks: from (N, 3, h, w) to scores (N, K, h', w') each.
    """

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, patches: Tensor) -> Tensor:
        """(N * D, 3, h, w), the D patches of a location one after the other, to their scores."""
        count = len(self.networks)
        scores = [network(patches[n::count]) for n, network in enumerate(self.networks)]
        return torch.stack(scores, 1).flatten(0, 1)


STRIP = 1 << 18
"""Pixels of a thumbnail that go through the net at once where no gradient is wanted."""


class FoveationNet(nn.Module):
    """The foveation module of arXiv 2020 (4 and A.2): 3x3 convolutions {40, 40, D} and a softmax.

    Each convolution is followed by batch norm and ReLU, the last too; He initialisation. 17,280 weights for
    D = 5. Works at any input size and sees 7 pixels of the thumbnail.

    Args:
        fields: D, how many fields of view there are to choose from.
        channels: of the layers before the last.
        bands: of the image.
    """

    def __init__(self, fields: int, channels: Sequence[int] = (40, 40), bands: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((bands, *channels, fields)):
            kernel = nn.Conv2d(before, after, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(kernel.weight, nonlinearity="relu")
            layers += [kernel, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.halo = len(channels) + 1

    def forward(self, thumbnail: Tensor) -> Tensor:
        """(B, 3, h, w) normalised thumbnail to (B, D, h, w) float32 logarithms of probabilities."""
        rows = max(1, STRIP // thumbnail.shape[3])
        if torch.is_grad_enabled() or self.training or rows >= thumbnail.shape[2]:
            return self.layers(thumbnail).float().log_softmax(dim=1)
        tops = range(0, thumbnail.shape[2], rows)
        return torch.cat([self._strip(thumbnail, top, top + rows) for top in tops], dim=2)

    def _strip(self, thumbnail: Tensor, top: int, bottom: int) -> Tensor:
        """Rows of the answer, from as many more rows of the thumbnail as they depend on."""
        first = max(0, top - self.halo)
        logits: Tensor = self.layers(thumbnail[:, :, first : bottom + self.halo])
        return logits[:, :, top - first : bottom - first].float().log_softmax(dim=1)


READINGS = ("aligned", "published")


class Reading:
    """Brings scores to the frame of the smallest field of view.

    ``published``: the answer stands for the smallest field, whatever patch was fed (arXiv 2020, 3.2): the
    network must learn to crop and enlarge by itself, without being told how much. ``aligned``: the answer
    stands for the patch that was fed, so of a patch of field F_d only its central share F_1 / F_d is taken,
    and enlarged bilinearly. A blend of patches was fed at D scales at once: its answer is read at each of
    them, and the readings are added with the weights of the blend (the expectation of the aligned answer).

    Args:
        kind: "aligned" or "published".
        fields: D widths of the fields of view, increasing; only their proportions matter.
        size: (h, w) of a patch.

    Raises:
        InvalidInput: for another kind.
    """

    def __init__(self, kind: str, fields: Sequence[float], size: tuple[int, int]) -> None:
        if kind not in READINGS:
            fix = nearest_name(str(kind), READINGS)
            raise InvalidInput("reading", " or ".join(READINGS), repr(kind), fix)
        self.kind = kind
        zooms = [fields[0] / field for field in fields]
        with torch.device("cpu"):  # values, not weights: they are there in a sampler made on "meta" too
            self.rows = torch.stack([central(size[0], share) for share in zooms])
            self.columns = torch.stack([central(size[1], share) for share in zooms])

    def __call__(self, scores: Tensor, weights: Tensor) -> Tensor:
        """Scores (N, K, h, w) of patches fed with weights (N, D), in the smallest field's frame."""
        if self.kind == "published":
            return scores
        with torch.autocast(scores.device.type, enabled=False):
            return self._aligned(scores.float(), weights.float())

    def _aligned(self, scores: Tensor, weights: Tensor) -> Tensor:
        chosen = weights.argmax(1)
        if not weights.requires_grad and bool((weights.gather(1, chosen[:, None]) == 1).all()):
            if not chosen.any():
                return scores
            rows, columns = self.rows.to(scores)[chosen], self.columns.to(scores)[chosen]
            return rows[:, None] @ scores @ columns[:, None].mT
        rows, columns = self.rows.to(scores), self.columns.to(scores)
        total = torch.zeros_like(scores)
        for field in range(weights.shape[1]):
            read = rows[field] @ scores @ columns[field].mT
            total = total + weights[:, field, None, None, None].to(scores) * read
        return total


def central(count: int, share: float) -> Tensor:
    """(count, count) float32: reads the central ``share`` of ``count`` cells at ``count`` even places.

    Each row holds the weights of linear interpolation between the centres of two cells; beyond the first and
    the last centre, that cell alone.
    """
    place = ((torch.arange(count, dtype=torch.float64) + 0.5) / count - 0.5) * share
    at = ((place + 0.5) * count - 0.5).clamp(0, count - 1)
    below = at.floor().long().clamp(max=max(0, count - 2))
    matrix = torch.zeros(count, count, dtype=torch.float64)
    matrix[torch.arange(count), below] = 1 - (at - below)
    if count > 1:
        matrix[torch.arange(count), below + 1] = at - below
    return matrix.float()


LEARNED = ("mean", "mode", "gumbel", "reinforce", "regret")
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
        log_probabilities: (N, D) of every field, with a gradient, where the net is taught what each costs
            (regret); None otherwise.
    """

    weights: Tensor
    log_probability: Tensor | None = None
    log_probabilities: Tensor | None = None


def choose_in_training(
    log_probabilities: Tensor, estimator: str, generator: torch.Generator, temperature: float = 1.0
) -> Choice:
    """The patch to learn from.

    ``mean``: the probabilities themselves (Eq. 2). ``mode``: the most probable field (Eq. 3), its gradient
    that of the probabilities (straight through). ``gumbel``: softmax((log f + g) / temperature), g standard
    Gumbel noise (Jang et al. 2017). ``reinforce``: a field drawn by the probabilities. ``regret``, beyond the
    papers: a field drawn evenly, so that the network knows all of them, while the net is taught what each
    costs (:func:`expected_regret`).

    Args:
        log_probabilities: (N, D).
        estimator: mean, mode, gumbel, reinforce or regret.
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
    if estimator == "regret":
        even = torch.randint(probabilities.shape[1], (len(probabilities),), generator=generator)
        weights = one_hot(even.to(probabilities.device), probabilities.detach())
        return Choice(weights, log_probabilities=log_probabilities)
    drawn = torch.multinomial(probabilities.detach().cpu(), 1, generator=generator)[:, 0]
    drawn = drawn.to(log_probabilities.device)
    return Choice(one_hot(drawn, probabilities), log_probabilities.gather(1, drawn[:, None])[:, 0])


def expected_regret(log_probabilities: Tensor, losses: Tensor) -> Tensor:
    """The mean over locations of what a field drawn by the net costs above the best one.

    Args:
        log_probabilities: (N, D) of the fields of view, with a gradient.
        losses: (N, D) measured with each of them.

    Returns:
        A number >= 0; 0 where the net is sure of a best field everywhere.

    Examples:
        >>> import torch
        >>> from saccade.samplers.foveation_choice import expected_regret
        >>> losses = torch.tensor([[0.2, 0.6]])
        >>> round(float(expected_regret(torch.tensor([[0.5, 0.5]]).log(), losses)), 3)
        0.2
    """
    regret = losses - losses.min(1, keepdim=True).values
    return (log_probabilities.exp() * regret).sum(1).mean()


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
