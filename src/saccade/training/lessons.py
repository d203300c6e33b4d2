"""What a sampler is taught in training beside the segmentation loss; one class a sampler."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from saccade.data.cache import Sample
from saccade.losses import edge_loss
from saccade.samplers import EdgeTarget, Views
from saccade.training.augment import Augmentation
from saccade.training.build import edge_target
from saccade.training.config import Config


class Lesson(ABC):
    """The difference between what a sampler proposed and what the true labels ask for."""

    @abstractmethod
    def __call__(self, batch: list[Sample], views: Views, draw: Augmentation) -> Tensor:
        """The loss of the sampler, with its weight: a scalar with a gradient.

        Args:
            batch: B samples as they are on the disk, not mirrored.
            views: of the mirrored, tinted images.
            draw: how they were mirrored.
        """


class EdgeLesson(Lesson):
    """A density is taught to be high where labels change (ICLR 2022, 3)."""

    def __init__(self, target: EdgeTarget, kind: str, weight: float) -> None:
        self.target, self.kind, self.weight = target, kind, weight
        self._made: dict[str, Tensor] = {}

    def __call__(self, batch: list[Sample], views: Views, draw: Augmentation) -> Tensor:
        assert views.density is not None  # only samplers that predict one get this lesson
        size = (views.density.shape[2], views.density.shape[3])
        target = draw.mirror(torch.cat([self._of(one, size) for one in batch]))
        return self.weight * edge_loss(views.density, target.to(views.density.device), self.kind)

    def _of(self, one: Sample, size: tuple[int, int]) -> Tensor:
        """The edge density of an image, made once and kept: it is small."""
        if one.varied:
            return self.target([one.labels], size)
        if one.stem not in self._made:
            self._made[one.stem] = self.target([one.labels], size)
        return self._made[one.stem]


def build_lesson(config: Config) -> Lesson | None:
    """The lesson of the sampler that ``config`` describes; None where it has none, or is to have none."""
    from saccade.training.lessons_boundary import GridLesson

    if config.variant == "single":
        return None
    if config.sampler.name == "boundary":
        return GridLesson.of(config)
    if config.sampler.name == "deformation":
        return EdgeLesson(edge_target(config.sampler), config.loss.edge, config.loss.edge_weight)
    return None
