"""What a boundary net is taught: the grid that minimises the boundary energy of the true labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.data.cache import Sample
from saccade.data.classesfile import classes_from_dict
from saccade.errors import InvalidInput, nearest_name
from saccade.samplers import BoundaryTarget, Views
from saccade.training.augment import Augmentation
from saccade.training.config import Config
from saccade.training.lessons import Lesson
from saccade.training.run import CONFIG
from saccade.training.sampler_options import BoundaryConfig


class GridLesson(Lesson):
    """Squared distance of the nodes from those of the exact grid (ICCV 2019, 3.1).

    Mean over nodes and images, positions in [-1, 1]. The net is compared before its nodes are projected.
    """

    def __init__(self, target: BoundaryTarget) -> None:
        self.target = target
        self._made: dict[str, Tensor] = {}

    @classmethod
    def of(cls, config: Config) -> GridLesson:
        """The lesson that a resolved configuration describes."""
        names = () if config.classes is None else classes_from_dict(config.classes, CONFIG).names
        wanted = target_classes(config.boundary, names)
        return cls(BoundaryTarget(config.boundary.smoothness, wanted))

    def __call__(self, batch: list[Sample], views: Views, draw: Augmentation) -> Tensor:
        assert views.tensor is not None  # only samplers that predict one get this lesson
        size = (views.tensor.shape[2], views.tensor.shape[3])
        target = draw.mirror(torch.cat([self._of(one, size) for one in batch]))
        target = target * (1 - 2 * draw.mirrored.to(target))[:, :, None, None]
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
