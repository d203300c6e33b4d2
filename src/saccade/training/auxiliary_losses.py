"""Auxiliary losses of samplers: what each is taught beside the segmentation loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.data.cache import Sample
from saccade.data.classes import classes_from_dict
from saccade.errors import InvalidInput, nearest_name
from saccade.losses import edge_loss
from saccade.samplers import BoundaryTarget, EdgeTarget, Glimpses
from saccade.training.augment import Augmentation
from saccade.training.config import BoundaryConfig, Config
from saccade.training.run_folder import CONFIG, edge_target


class AuxiliaryLoss(ABC):
    """The difference between what a sampler proposed and what the true labels ask for."""

    @abstractmethod
    def __call__(self, batch: list[Sample], views: Glimpses, draw: Augmentation) -> Tensor:
        """The loss of the sampler, with its weight: a scalar with a gradient.

        Args:
            batch: B samples as they are on the disk, not flipped.
            views: of the flipped, tinted images.
            draw: how they were flipped.
        """


class EdgeDensityLoss(AuxiliaryLoss):
    """A density is taught to be high where labels change (ICLR 2022, 3)."""

    def __init__(self, target: EdgeTarget, kind: str, weight: float) -> None:
        self.target, self.kind, self.weight = target, kind, weight
        self._made: dict[str, Tensor] = {}

    def __call__(self, batch: list[Sample], views: Glimpses, draw: Augmentation) -> Tensor:
        assert views.density is not None  # only samplers that predict one get this loss
        size = (views.density.shape[2], views.density.shape[3])
        target = draw.flip(torch.cat([self._of(one, size) for one in batch]))
        return self.weight * edge_loss(views.density, target.to(views.density.device), self.kind)

    def _of(self, one: Sample, size: tuple[int, int]) -> Tensor:
        """The edge density of an image, made once and kept: it is small."""
        if one.varied:
            return self.target([one.labels], size)
        if one.stem not in self._made:
            self._made[one.stem] = self.target([one.labels], size)
        return self._made[one.stem]


def build_auxiliary_loss(config: Config) -> AuxiliaryLoss | None:
    """The auxiliary loss of the sampler that ``config`` describes, if it is to have one."""

    if config.variant == "single":
        return None
    if config.sampler.name == "boundary":
        return SamplingTensorLoss.of(config)
    if config.sampler.name == "deformation":
        return EdgeDensityLoss(edge_target(config.sampler), config.loss.edge, config.loss.edge_weight)
    return None


class SamplingTensorLoss(AuxiliaryLoss):
    """Squared distance of the nodes from those of the exact grid (ICCV 2019, 3.1).

    Mean over nodes and images, positions in [-1, 1]. The net is compared before its nodes are projected.
    """

    def __init__(self, target: BoundaryTarget) -> None:
        self.target = target
        self._made: dict[str, Tensor] = {}

    @classmethod
    def of(cls, config: Config) -> SamplingTensorLoss:
        """The loss that a resolved configuration describes."""
        names = () if config.classes is None else classes_from_dict(config.classes, CONFIG).names
        wanted = target_classes(config.boundary, names)
        return cls(BoundaryTarget(config.boundary.smoothness, wanted))

    def __call__(self, batch: list[Sample], views: Glimpses, draw: Augmentation) -> Tensor:
        assert views.tensor is not None  # only samplers that predict one get this loss
        size = (views.tensor.shape[2], views.tensor.shape[3])
        target = draw.flip(torch.cat([self._of(one, size) for one in batch]))
        target = target * (1 - 2 * draw.flipped.to(target))[:, :, None, None]
        return (views.tensor - target.to(views.tensor)).square().sum(dim=1).mean()

    def _of(self, one: Sample, size: tuple[int, int]) -> Tensor:
        """(1, 2, h_t, w_t) of an image, made once and kept: a few hundred bytes."""
        if one.varied:
            return self.target([one.labels], size)
        if one.stem not in self._made:
            self._made[one.stem] = self.target([one.labels], size)
        return self._made[one.stem]


def target_classes(options: BoundaryConfig, names: Sequence[str]) -> tuple[int, ...] | None:
    """Ids of ``boundary.classes``; None for all.

    Raises:
        InvalidInput: for a name that is no class of the data, or no name at all.
    """
    if options.classes is None:
        return None
    if not options.classes:
        raise InvalidInput("boundary.classes", "at least one class, or null for all", "none")
    for name in options.classes:
        if name not in names:
            allowed, fix = ", ".join(names), nearest_name(name, names)
            raise InvalidInput("boundary.classes", f"classes of the data ({allowed})", repr(name), fix)
    return tuple(names.index(name) for name in options.classes)
