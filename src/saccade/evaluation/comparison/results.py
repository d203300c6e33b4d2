"""What a comparison found: scores, gains over the reference, and how sure they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from saccade.errors import SaccadeError
from saccade.evaluation.comparison.arms import Arm, Key, Outcome, Setting, Size
from saccade.evaluation.comparison.costs import Costs
from saccade.evaluation.results import Evaluation, ImageRecord
from saccade.metrics import iou
from saccade.metrics.bootstrap import Array, Interval, Resampled, draw_images, iou_parts, resample
from saccade.metrics.cost import Cost

Parts = Callable[[ImageRecord], Tensor | Array]
"""Of an image, (2, M) numerators and denominators."""


@dataclass(frozen=True)
class Point:
    """An arm at a size: all its seeds.

    Attributes:
        arm: whose.
        size: (rows, columns).
        evaluations: of the seeds that succeeded, at least one.
        seeds: that succeeded.
        cost: of one image; measured beside the others where that was done.
        iou: K class IoUs and their mean, averaged over the seeds, resampled.
    """

    arm: Arm
    size: Size
    evaluations: tuple[Evaluation, ...]
    seeds: tuple[int, ...]
    cost: Cost
    iou: Resampled

    @property
    def pixels(self) -> int:
        """That the segmentation network sees of an image."""
        return self.cost.pixels

    def scores(self, which: int = -1) -> list[float]:
        """By seed the mean IoU, or the IoU of class ``which``."""
        return self.by_seed(lambda one: one.miou if which == -1 else float(iou(one.confusion)[which]))

    def by_seed(self, score: Callable[[Evaluation], float | None]) -> list[float]:
        """A score of every seed; those without value left out."""
        found = [score(one) for one in self.evaluations]
        return [value for value in found if value is not None and np.isfinite(value)]


@dataclass(frozen=True)
class Comparison:
    """All points of a comparison, and the runs that failed.

    Attributes:
        setting: what the arms share.
        arms: in the order in which they are shown; gains are over the first.
        outcomes: of all cases, those that failed too.
        costs: of one image, measured side by side; None where that was not done.
    """

    setting: Setting
    arms: tuple[Arm, ...]
    outcomes: tuple[Outcome, ...]
    costs: Costs | None = None

    @property
    def reference(self) -> Arm:
        """The arm that the others are compared with: uniform where there is one, else the first."""
        names = {arm.name: arm for arm in reversed(self.arms)}
        return names.get("uniform", self.arms[0])

    @property
    def classes(self) -> tuple[str, ...]:
        return self.setting.data.classes.names

    @property
    def failures(self) -> list[Outcome]:
        """What failed, or is not there."""
        return [one for one in self.outcomes if one.evaluation is None]

    @cached_property
    def sees_labels(self) -> frozenset[str]:
        """Names of the arms whose sampler sees the true labels."""
        return frozenset(
            one.case.arm.name for one in self.outcomes if one.case.config.sampler.name == "oracle"
        )

    @cached_property
    def images(self) -> Array:
        """(draws, N) the drawn images, the same for every point."""
        return draw_images(len(self.setting.data.split(self.setting.split)))

    @cached_property
    def points(self) -> dict[Key, Point]:
        """Every arm at every size of which a seed succeeded."""
        found: dict[Key, Point] = {}
        for number, arm in enumerate(self.arms):
            for size in self.setting.sizes:
                own = [one for one in self.outcomes if one.case.arm == arm and one.case.size == size]
                there = [one for one in own if one.evaluation is not None]
                if there:
                    found[arm.name, size] = self._point(arm, size, there, number)
        return found

    @cached_property
    def shares(self) -> Array:
        """(K,) share of the pixels of each class in the split."""
        pixels = self.setting.data.class_counts(self.setting.split).astype(np.float64)
        return pixels / max(1.0, pixels.sum())

    @cached_property
    def by_frequency(self) -> list[int]:
        """Ids of the classes that occur, the rarest first."""
        return [k for k in np.argsort(self.shares, kind="stable").tolist() if self.shares[k] > 0]

    def at(self, arm: Arm, size: Size) -> Point | None:
        return self.points.get((arm.name, size))

    def of(self, arm: Arm) -> list[Point]:
        """The points of an arm, small sizes first."""
        return [point for size in self.setting.sizes if (point := self.at(arm, size)) is not None]

    def cost(self, one: Outcome, evaluation: Evaluation) -> Cost:
        """Of an image: measured beside the others where that was done, else when the run was evaluated."""
        measured = self.costs.of(one) if self.costs is not None else None
        return evaluation.cost if measured is None else measured

    def gain(self, point: Point, which: int = -1) -> Interval | None:
        """Over the reference at the same size: of the mean IoU, or the IoU of class ``which``."""
        other = self.at(self.reference, point.size)
        return None if other is None or other is point else point.iou.gain(other.iou, which)

    def resampled(self, point: Point, parts: Parts, seed: int = 1) -> Resampled:
        """Any other ratios of a point with the same drawn images."""
        return resample(stacked(point.evaluations, parts), self.images, seed)

    def _point(self, arm: Arm, size: Size, there: Sequence[Outcome], number: int) -> Point:
        found = tuple(one.evaluation for one in there if one.evaluation is not None)
        parts = stacked(found, lambda record: iou_parts(record.confusion))
        drawn = resample(parts, self.images, seed=1 + number * 1000 + self.setting.sizes.index(size))
        cost = self.cost(there[0], found[0])
        return Point(arm, size, found, tuple(one.case.seed for one in there), cost, drawn)


def stacked(evaluations: Sequence[Evaluation], parts: Parts) -> Array:
    """(S, N, 2, M) of S evaluations of the same N images.

    Raises:
        SaccadeError: when they are of other images, or in another order.
    """
    stems = [[record.stem for record in one.records] for one in evaluations]
    if any(one != stems[0] for one in stems):
        raise SaccadeError("the runs were evaluated on different images; evaluate them again")
    rows = [[np.asarray(parts(record), np.float64) for record in one.records] for one in evaluations]
    return np.array(rows)


def trimap_parts(record: ImageRecord) -> Tensor:
    """(2, n): right pixels and all, by width of the band."""
    return record.trimap


def boundary_parts(record: ImageRecord) -> Tensor:
    """(2, K): pixels in both contours, and in either."""
    return record.boundary
