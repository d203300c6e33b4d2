"""What training minimises: a segmentation loss on the samples, and an edge loss on the density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from saccade.errors import InvalidInput, all_at_least, at_least, nearest_name, one_of

SEGMENTATION_LOSSES = ("cross_entropy", "focal")
EDGE_LOSSES = ("kl", "mse")
_SURE = 1e-12
"""Least 1 - p in the focal loss: below gamma = 1 its gradient has no limit at 0."""


def segmentation_loss(
    scores: Tensor,
    labels: Tensor,
    kind: str = "cross_entropy",
    *,
    focal_gamma: float = 2.0,
    class_weights: Sequence[float] | Tensor | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """Mean loss over the samples that are not ignored; 0 (with a gradient of 0) where all are.

    "cross_entropy" is -log p of the true class; "focal" is (1 - p)^gamma times that (Lin et al. 2017), the
    loss of ICLR 2022. With class weights w the mean is weighted: sum w_y l / sum w_y.

    Args:
        scores: (V, K, h, w) floating, before any softmax.
        labels: (V, h, w) integer ids in [0, K) or ``ignore_index``.
        kind: "cross_entropy" or "focal".
        focal_gamma: gamma >= 0; 0 gives cross-entropy.
        class_weights: (K,) >= 0; default all 1.
        ignore_index: samples of this label count nowhere.

    Raises:
        InvalidInput: for an unknown kind, or labels or class weights that do not fit the scores.

    Examples:
        >>> import torch
        >>> from saccade.losses import segmentation_loss
        >>> scores = torch.zeros(1, 4, 2, 2)  # four classes, all alike: log 4
        >>> labels = torch.tensor([[[0, 1], [2, 255]]])
        >>> round(segmentation_loss(scores, labels).item(), 4)
        1.3863
    """
    if kind not in SEGMENTATION_LOSSES:
        raise InvalidInput("segmentation loss", " or ".join(SEGMENTATION_LOSSES), repr(kind),
                           nearest_name(str(kind), SEGMENTATION_LOSSES))  # fmt: skip
    if labels.shape != (scores.shape[0], *scores.shape[2:]):
        expected = f"of shape {(scores.shape[0], *scores.shape[2:])} as the scores"
        raise InvalidInput("labels", expected, tuple(labels.shape))
    labels = labels.long()
    counted = labels != ignore_index
    try:
        loss = F.cross_entropy(scores.float(), labels, reduction="none", ignore_index=ignore_index)
    except IndexError:
        got = f"labels up to {int(labels[counted].max())}"
        raise InvalidInput("labels", f"below {scores.shape[1]}, or {ignore_index}", got) from None
    if kind == "focal":
        missed = -torch.expm1(-loss)
        loss = missed.clamp_min(_SURE) ** focal_gamma * loss
    weights = counted.float()
    if class_weights is not None:
        weights = _table(class_weights, scores)[labels.where(counted, 0)] * counted
    return (weights * loss).sum() / weights.sum().clamp_min(1e-12)


def _table(class_weights: Sequence[float] | Tensor, scores: Tensor) -> Tensor:
    table = torch.as_tensor(class_weights, dtype=torch.float32, device=scores.device)
    if table.shape != scores.shape[1:2]:
        expected = f"one number for each of the {scores.shape[1]} classes"
        raise InvalidInput("class_weights", expected, f"of shape {tuple(table.shape)}")
    return table


def soft_cross_entropy(
    scores: Tensor, probabilities: Tensor, labels: Tensor, *, ignore_index: int = 255
) -> Tensor:
    """Mean of -sum_k q_k log p_k over the samples that are not ignored; 0 (gradient too) where all are.

    What a student learns from a teacher's soft scores (Hinton, Vinyals and Dean 2015, at temperature 1).

    Args:
        scores: (V, K, h, w) floating of the student, before any softmax.
        probabilities: (V, K, h, w) floating, q of the teacher; sum to 1 over the classes.
        labels: (V, h, w) integer; only where they are ``ignore_index`` is looked at.
        ignore_index: samples of this label count nowhere.

    Raises:
        InvalidInput: for shapes that do not fit together.

    Examples:
        >>> import torch
        >>> from saccade.losses import soft_cross_entropy
        >>> scores, q = torch.zeros(1, 4, 2, 2), torch.full((1, 4, 2, 2), 0.25)
        >>> round(soft_cross_entropy(scores, q, torch.zeros(1, 2, 2, dtype=torch.int64)).item(), 4)
        1.3863
    """
    if probabilities.shape != scores.shape or labels.shape != (scores.shape[0], *scores.shape[2:]):
        got = f"{tuple(probabilities.shape)} and labels {tuple(labels.shape)}"
        raise InvalidInput("shares", f"of the scores' shape {tuple(scores.shape)}, labels alike", got)
    counted = (labels != ignore_index).float()
    loss = F.cross_entropy(scores.float(), probabilities.float(), reduction="none")
    return (counted * loss).sum() / counted.sum().clamp_min(1)


def edge_loss(density: Tensor, target: Tensor, kind: str = "kl") -> Tensor:
    """How far a predicted density is from the target density, mean over the images.

    "kl" is the Kullback-Leibler divergence of the target from the prediction, both as distributions over
    the pixels: finite and smooth for any density, a constant one too. "mse" is the published loss (ICLR
    2022, 3): the mean squared error of the two maps, each brought to [0, 1] by its minimum and maximum; a
    constant map is all zeros there, where the published program divides by zero.

    Args:
        density: (B, 1, h, w) float32 >= 0, sums to 1 over each image.
        target: the same shape and scale.
        kind: "kl" or "mse".

    Raises:
        InvalidInput: for an unknown kind or different shapes.

    Examples:
        >>> import torch
        >>> from saccade.losses import edge_loss
        >>> density = torch.full((1, 1, 4, 4), 1 / 16)
        >>> edge_loss(density, density).item()
        0.0
    """
    if kind not in EDGE_LOSSES:
        fix = nearest_name(str(kind), EDGE_LOSSES)
        raise InvalidInput("edge loss", " or ".join(EDGE_LOSSES), repr(kind), fix)
    if density.shape != target.shape:
        raise InvalidInput("target", f"of the density's shape {tuple(density.shape)}", tuple(target.shape))
    if kind == "mse":
        return F.mse_loss(_normalised(density), _normalised(target))
    predicted = density.float().clamp_min(1e-12).log()
    return F.kl_div(predicted.flatten(1), target.float().flatten(1), reduction="batchmean")


def _normalised(density: Tensor) -> Tensor:
    """Each map to [0, 1] by its own range; a constant map to 0, with a finite gradient."""
    low, high = density.amin(dim=(2, 3), keepdim=True), density.amax(dim=(2, 3), keepdim=True)
    return (density - low) / (high - low).clamp_min(1e-3 / density[0].numel())


@dataclass(frozen=True)
class LossConfig:
    """What is minimised: segmentation loss + edge_weight x edge loss.

    Attributes:
        segmentation: cross_entropy, or focal (as published).
        focal_gamma: of the focal loss.
        class_weights: "rarity" (1 / sqrt of the share of pixels), or one number a class; default all alike.
        edge: kl, or mse of maps brought to [0, 1] (as published).
        edge_weight: weight of the edge loss; 100 with mse as published.
        through_grid: whether the segmentation loss also moves the samples (joint, as published).
        distillation: of a run for a range of sizes: share of the loss of its smaller glimpses that the soft
            scores of the largest teach, 0 to 1; the labels teach the rest.
    """

    segmentation: str = "cross_entropy"
    focal_gamma: float = 2.0
    class_weights: str | tuple[float, ...] | None = None
    edge: str = "kl"
    edge_weight: float = 0.3
    through_grid: bool = False
    distillation: float = 0.5

    def __post_init__(self) -> None:
        one_of("loss.segmentation", self.segmentation, SEGMENTATION_LOSSES)
        one_of("loss.edge", self.edge, EDGE_LOSSES)
        at_least("loss.edge_weight", self.edge_weight, 0)
        at_least("loss.focal_gamma", self.focal_gamma, 0)
        if not 0 <= self.distillation <= 1:
            raise InvalidInput("loss.distillation", "a share from 0 to 1", self.distillation)
        if isinstance(self.class_weights, str):
            one_of("loss.class_weights", self.class_weights, ("rarity", "a list as [1,2.5,1]"))
        else:
            all_at_least("loss.class_weights", self.class_weights, 0)

    def __call__(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The segmentation loss of scores (V, K, h, w) on labels (V, h, w): see :func:`segmentation_loss`."""
        weights = None if isinstance(self.class_weights, str) else self.class_weights
        return segmentation_loss(
            scores, labels, self.segmentation, focal_gamma=self.focal_gamma, class_weights=weights
        )


class ClassNames(Protocol):
    """The classes of a data set."""

    @property
    def names(self) -> tuple[str, ...]: ...


class LabelledData(Protocol):
    """What weights of classes follow from: :class:`saccade.data.DataFolder` is one."""

    @property
    def classes(self) -> ClassNames: ...

    def class_counts(self, split: str) -> Any:
        """(K,) pixels of each class in a split."""
        ...


def rarity_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """Weights that let rare classes count more: 1 / sqrt(share of the pixels), at most 1.

    Args:
        counts: pixels of each class over the training images; a class that never occurs weighs 1.

    Returns:
        One weight a class, in (0, 1], the rarest class that occurs at 1.

    Raises:
        InvalidInput: when no class has a pixel.

    Examples:
        >>> from saccade.losses import rarity_weights
        >>> rarity_weights([900, 100, 0])
        (0.3333333333333333, 1.0, 1.0)
    """
    present = [count for count in counts if count > 0]
    if not present:
        raise InvalidInput("counts", "at least one class with pixels", list(counts))
    return tuple((min(present) / count) ** 0.5 if count > 0 else 1.0 for count in counts)


def resolved_weights(option: str, value: Any, data: LabelledData) -> Any:
    """Weights of the classes as numbers, where an option asks for them by "rarity"; others as they are.

    Raises:
        InvalidInput: for more or fewer numbers than classes, or none above 0.
    """
    if value == "rarity":
        return tuple(round(w, 6) for w in rarity_weights(data.class_counts("train").tolist()))
    count = len(data.classes.names)
    if isinstance(value, tuple) and len(value) != count:
        raise InvalidInput(option, f"one number for each of the {count} classes", value)
    if isinstance(value, tuple) and not any(value):
        raise InvalidInput(option, "above 0 for a class at least", value, "nothing can be learned without")
    return value
