"""Scores of a comparison, gains over the reference, how sure they are; as CSV and JSON."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from saccade import figures
from saccade.errors import SaccadeError
from saccade.evaluation.results import Evaluation, ImageRecord, finite
from saccade.lab.costs import Costs
from saccade.lab.methods import ComparisonConfig, Key, Method, Outcome, Size, named_size
from saccade.metrics import iou
from saccade.metrics.bootstrap import Array, Interval, Resampled, draw_images, interval, iou_parts, resample
from saccade.metrics.cost import Cost


def pixels_for(scores: Array, pixels: Array, curve: Array) -> Array:
    """Where a curve of scores over pixels first reaches a score.

    Between two sizes the score is taken as linear in the logarithm of the pixels. Outside the sizes that were
    measured nothing is assumed.

    Args:
        scores: (T,) to be reached.
        pixels: (P,) of the curve, ascending.
        curve: (T, P) scores of the curve.

    Returns:
        (T,) pixels; infinite above all that the curve reaches, 0 at or below its first score.
    """
    needed = np.full(scores.shape, np.inf)
    steps = np.log2(pixels)
    for here in range(len(pixels) - 2, -1, -1):
        low, high = curve[:, here], curve[:, here + 1]
        crosses = (low < scores) & (scores <= high)
        rise = np.where(crosses, high - low, 1)
        share = np.where(crosses, (scores - low) / rise, 0)
        needed = np.where(crosses, 2 ** (steps[here] + share * (steps[here + 1] - steps[here])), needed)
    return np.where(scores <= curve[:, 0], 0.0, needed)


def equal_quality(compared: Comparison, point: Point, which: int = -1) -> Interval | None:
    """Times the pixels that the reference needs for the score of ``point``; None without two of its sizes.

    The value is infinite where the reference reaches that score at no size measured, 0 where it is there
    already at its smallest.
    """
    reference = sorted(compared.of(compared.reference), key=lambda one: one.pixels)
    if len(reference) < 2 or point.method == compared.reference:
        return None
    pixels = np.array([one.pixels for one in reference], np.float64)
    drawn = np.stack([one.iou.draws[:, which] for one in reference], 1)
    value = np.array([[one.iou.values[which] for one in reference]])
    factors = pixels_for(point.iou.draws[:, which], pixels, drawn) / point.pixels
    middle = pixels_for(point.iou.values[which : which + 1 or None], pixels, value) / point.pixels
    return interval(float(middle[0]), factors)


Parts = Callable[[ImageRecord], Tensor | Array]
"""Of an image, (2, M) numerators and denominators."""


@dataclass(frozen=True)
class Point:
    """A method at a size: all its seeds.

    Attributes:
        method: whose.
        size: (rows, columns).
        evaluations: of the seeds that succeeded, at least one.
        seeds: that succeeded.
        cost: of one image; measured beside the others where that was done.
        iou: K class IoUs and their mean, averaged over the seeds, resampled.
    """

    method: Method
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
        scores = [score(evaluation) for evaluation in self.evaluations]
        return [value for value in scores if value is not None and np.isfinite(value)]


@dataclass(frozen=True)
class Comparison:
    """All points of a comparison, and the runs that failed.

    Attributes:
        config: what the methods share.
        methods: in the order in which they are shown; gains are over the first.
        outcomes: of all trials, those that failed too.
        costs: of one image, measured side by side; None where that was not done.
    """

    config: ComparisonConfig
    methods: tuple[Method, ...]
    outcomes: tuple[Outcome, ...]
    costs: Costs | None = None

    def _repr_html_(self) -> str:
        """The score of every method at every size, for a notebook."""
        head = ("sampler", "size", "seeds", "mIoU", "gain", *(f"IoU of {name}" for name in self.classes))
        rows = []
        for point in self.points.values():
            gain = self.gain(point)
            scores = [_mean(point.scores(which)) for which in (-1, *range(len(self.classes)))]
            first = (point.method.name, named_size(point.size), len(point.seeds), scores[0])
            rows.append((*first, None if gain is None else gain.value, *scores[1:]))
        failed = [(outcome.trial.name, outcome.failure) for outcome in self.failures]
        tables = figures.table_html(head, rows) + figures.table_html(("not there", "why"), failed)
        title = f"{self.config.data.path.name}, {self.config.split}: gains over {self.reference.name}"
        return figures.titled_html(title, tables)

    @property
    def reference(self) -> Method:
        """The method that the others are compared with: uniform where there is one, else the first."""
        names = {method.name: method for method in reversed(self.methods)}
        return names.get("uniform", self.methods[0])

    @property
    def classes(self) -> tuple[str, ...]:
        return self.config.data.classes.names

    @property
    def failures(self) -> list[Outcome]:
        """What failed, or is not there."""
        return [outcome for outcome in self.outcomes if outcome.evaluation is None]

    @cached_property
    def sees_labels(self) -> frozenset[str]:
        """Names of the methods whose sampler sees the true labels."""
        return frozenset(
            outcome.trial.method.name for outcome in self.outcomes if outcome.trial.config.recipe.sees_labels
        )

    @cached_property
    def images(self) -> Array:
        """(draws, N) the drawn images, the same for every point."""
        return draw_images(len(self.config.data.split(self.config.split)))

    @cached_property
    def points(self) -> dict[Key, Point]:
        """Every method at every size of which a seed succeeded."""
        points: dict[Key, Point] = {}
        for number, method in enumerate(self.methods):
            for size in self.config.sizes:
                own = [
                    outcome
                    for outcome in self.outcomes
                    if outcome.trial.method == method and outcome.trial.size == size
                ]
                there = [outcome for outcome in own if outcome.evaluation is not None]
                if there:
                    points[method.name, size] = self._point(method, size, there, number)
        return points

    @cached_property
    def shares(self) -> Array:
        """(K,) share of the pixels of each class in the split."""
        pixels = self.config.data.class_counts(self.config.split).astype(np.float64)
        return pixels / max(1.0, pixels.sum())

    @cached_property
    def by_frequency(self) -> list[int]:
        """Ids of the classes that occur, the rarest first."""
        return [k for k in np.argsort(self.shares, kind="stable").tolist() if self.shares[k] > 0]

    def at(self, method: Method, size: Size) -> Point | None:
        return self.points.get((method.name, size))

    def of(self, method: Method) -> list[Point]:
        """The points of a method, small sizes first."""
        return [point for size in self.config.sizes if (point := self.at(method, size)) is not None]

    def cost(self, outcome: Outcome, evaluation: Evaluation) -> Cost:
        """Of an image: measured beside the others where that was done, else when the run was evaluated."""
        measured = self.costs.of(outcome) if self.costs is not None else None
        return evaluation.cost if measured is None else measured

    def gain(self, point: Point, which: int = -1) -> Interval | None:
        """Over the reference at the same size: of the mean IoU, or the IoU of class ``which``."""
        other = self.at(self.reference, point.size)
        return None if other is None or other is point else point.iou.gain(other.iou, which)

    def resampled(self, point: Point, parts: Parts, seed: int = 1) -> Resampled:
        """Any other ratios of a point with the same drawn images."""
        return resample(stacked(point.evaluations, parts), self.images, seed)

    def _point(self, method: Method, size: Size, there: Sequence[Outcome], number: int) -> Point:
        evaluations = tuple(outcome.evaluation for outcome in there if outcome.evaluation is not None)
        parts = stacked(evaluations, lambda record: iou_parts(record.confusion))
        drawn = resample(parts, self.images, seed=1 + number * 1000 + self.config.sizes.index(size))
        cost = self.cost(there[0], evaluations[0])
        return Point(method, size, evaluations, tuple(outcome.trial.seed for outcome in there), cost, drawn)


def _mean(scores: Sequence[float]) -> float | None:
    return statistics.fmean(scores) if scores else None


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


KIND = "saccade comparison 1"


def run_row(outcome: Outcome, compared: Comparison) -> dict[str, Any]:
    """One run as names and values; None where it failed."""
    trial = outcome.trial
    row: dict[str, Any] = {
        "sampler": trial.method.name, "size": named_size(trial.size), "seed": trial.seed,
        "status": "failed" if outcome.evaluation is None else "done", "reason": outcome.failure,
        "train_seconds": outcome.seconds,
    }  # fmt: skip
    if outcome.evaluation is None:
        return row
    evaluation = outcome.evaluation
    scores = evaluation.to_json()
    cost = compared.cost(outcome, evaluation)
    row |= {"miou": scores["miou"], "recovery_miou": scores["label_recovery"]["miou"]}
    row |= {"boundary_iou": scores["boundary_iou"], **cost.to_json()}
    for part, name in (("iou", "iou"), ("label_recovery", "recovery"), ("sampling_ratio", "sampling")):
        values = scores[part]["iou"] if part == "label_recovery" else scores[part]
        row |= {f"{name}_{label}": value for label, value in values.items()}
    trimap = zip(evaluation.widths, evaluation.trimap_accuracy.tolist(), strict=True)
    return row | {f"trimap_{width}": finite(value) for width, value in trimap}


def point_row(point: Point, compared: Comparison) -> dict[str, Any]:
    """A method at a size: means, spreads, and gains over the reference with their intervals."""
    scores = point.scores()
    row: dict[str, Any] = {
        "sampler": point.method.name, "size": named_size(point.size), "seeds": list(point.seeds),
        "cost": point.cost.to_json(), "miou": interval_json(point.iou.interval()),
        "miou_by_seed": scores, "miou_deviation": statistics.stdev(scores) if len(scores) > 1 else None,
        "miou_gain": interval_json(compared.gain(point), verdict=True),
        "pixels_for_equal_miou": interval_json(equal_quality(compared, point)),
        "classes": {},
    }  # fmt: skip
    for k, name in enumerate(compared.classes):
        row["classes"][name] = {
            "share": compared.shares[k],
            "iou": interval_json(point.iou.interval(k)),
            "iou_by_seed": point.scores(k),
            "gain": interval_json(compared.gain(point, k), verdict=True),
            "pixels_for_equal_iou": interval_json(equal_quality(compared, point, k)),
        }
    return row


def to_json(compared: Comparison) -> dict[str, Any]:
    """The whole comparison, numbers or None."""
    config = compared.config
    return {
        "kind": KIND,
        **config_json(config),
        # As 0.1 called methods: tables that it wrote are read, and it reads these.
        "arms": {method.name: list(method.options) for method in compared.methods},
        "reference": compared.reference.name,
        "summary": [point_row(point, compared) for point in compared.points.values()],
        "runs": [run_row(outcome, compared) for outcome in compared.outcomes],
        "costs": compared.costs.to_json() if compared.costs else None,
    }


def config_json(config: ComparisonConfig) -> dict[str, Any]:
    """What was looked at, and with which options."""
    return {
        "data": str(config.data.path.resolve()),
        "split": config.split,
        "images": len(config.data.split(config.split)),
        "options": list(config.options),
    }


def to_csv(compared: Comparison) -> str:
    """A row a run, those that failed with their reason."""
    rows = [run_row(outcome, compared) for outcome in compared.outcomes]
    columns: dict[str, None] = {}
    for row in sorted(rows, key=len, reverse=True):
        columns |= dict.fromkeys(row)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def interval_json(interval: Interval | None, *, verdict: bool = False) -> dict[str, Any] | None:
    """Value and range; infinity is written as a text, since JSON has none."""
    if interval is None or math.isnan(interval.value):
        return None
    plain = {"value": interval.value, "low": interval.low, "high": interval.high}
    named = {key: "inf" if math.isinf(x) else finite(x) for key, x in plain.items()}
    return {**named, "verdict": interval.verdict} if verdict else named
