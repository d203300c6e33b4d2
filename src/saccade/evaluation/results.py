"""What an evaluation found: counts for each image, the scores of their sums, and the file that keeps them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saccade.errors import FileProblem, InvalidInput
from saccade.metrics import (
    SizeBin,
    boundary_iou,
    iou,
    miou,
    pixel_accuracy,
    recall_by_size,
    sampling_ratio,
    trimap_accuracy,
)
from saccade.metrics.cost import Cost


@dataclass(frozen=True)
class ImageRecord:
    """The counts of one image; those of several add up.

    Attributes:
        stem: name of the image.
        confusion: (K, K) int64 pixels at full resolution, rows true, columns predicted.
        recovery: (K, K) int64 of labels pushed through the grid and back; None where an image has several
            views, whose answers the network decides how to blend.
        boundary: (2, K) int64, :func:`saccade.metrics.boundary_counts`.
        trimap: (2, n) int64, :func:`saccade.metrics.trimap_counts`.
        sampling: (2, K) int64, :func:`saccade.metrics.sampling_counts`.
        objects: (N, 3) int64, :func:`saccade.metrics.object_records`.
    """

    stem: str
    confusion: Tensor
    recovery: Tensor | None
    boundary: Tensor
    trimap: Tensor
    sampling: Tensor
    objects: Tensor

    @property
    def miou(self) -> float:
        """Mean IoU over the classes in this image's labels or predictions; nan where there are none."""
        return miou(self.confusion)


@dataclass(frozen=True)
class Evaluation:
    """Scores of a segmenter on a data set, at full resolution, from counts pooled over its images.

    Attributes:
        classes: K names.
        records: one an image.
        cost: of one image.
        widths: of the trimap bands, in pixels.

    Raises:
        InvalidInput: without images, or when the records are not of K classes.
    """

    classes: tuple[str, ...]
    records: tuple[ImageRecord, ...]
    cost: Cost
    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.records:
            raise InvalidInput("images", "at least one", "none", "choose a split that has images")
        if any(len(record.confusion) != len(self.classes) for record in self.records):
            raise InvalidInput("records", f"of {len(self.classes)} classes", "others")

    @cached_property
    def confusion(self) -> Tensor:
        """(K, K) int64, pooled."""
        return self._pooled(lambda record: record.confusion)

    @cached_property
    def recovery(self) -> Tensor | None:
        """(K, K) int64, pooled; None where an image has none."""
        if any(record.recovery is None for record in self.records):
            return None
        return self._pooled(lambda record: record.recovery)

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that occur."""
        return miou(self.confusion)

    @property
    def boundary_iou(self) -> Tensor:
        """(K,) float64."""
        return boundary_iou(self._pooled(lambda record: record.boundary))

    @property
    def sampling_ratio(self) -> Tensor:
        """(K,) float64."""
        return sampling_ratio(self._pooled(lambda record: record.sampling))

    @property
    def trimap_accuracy(self) -> Tensor:
        """(n,) float64, one for each of ``widths``."""
        return trimap_accuracy(self._pooled(lambda record: record.trimap))

    def recall_by_size(self, class_id: int | None = None) -> list[SizeBin]:
        """Recall of the objects of a class (default: of all) in quartiles of their size."""
        objects = torch.cat([record.objects for record in self.records])
        return recall_by_size(objects, classes=None if class_id is None else [class_id])

    def to_json(self) -> dict[str, Any]:
        """The object that ``saccade evaluate --json`` prints: numbers, or None where there is no value."""
        return {
            "miou": finite(self.miou),
            "iou": self._by_class(iou(self.confusion)),
            "pixel_accuracy": self._by_class(pixel_accuracy(self.confusion)),
            "label_recovery": {
                "miou": None if self.recovery is None else finite(miou(self.recovery)),
                "iou": self._by_class(None if self.recovery is None else iou(self.recovery)),
            },
            "boundary_iou": finite(self.boundary_iou.nanmean().item()),
            "trimap_accuracy": {
                str(width): finite(score)
                for width, score in zip(self.widths, self.trimap_accuracy.tolist(), strict=True)
            },
            "recall_by_size": {
                name: [finite(quarter.recall) for quarter in self.recall_by_size(k)]
                for k, name in enumerate(self.classes)
            },
            "sampling_ratio": self._by_class(self.sampling_ratio),
            "cost": self.cost.to_json(),
            "images": len(self.records),
        }

    def _pooled(self, part: Callable[[ImageRecord], Tensor | None]) -> Tensor:
        return torch.stack([counts for record in self.records if (counts := part(record)) is not None]).sum(0)

    def _by_class(self, scores: Tensor | None) -> dict[str, float | None]:
        numbers = [math.nan] * len(self.classes) if scores is None else scores.tolist()
        return {name: finite(number) for name, number in zip(self.classes, numbers, strict=True)}


def finite(number: float) -> float | None:
    """A number that JSON has: None for nan and infinity."""
    return number if math.isfinite(number) else None


KIND = "saccade evaluation 1"


def save_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write an evaluation, all its counts included, as JSON."""
    content = {
        "kind": KIND,
        "scores": evaluation.to_json(),
        "classes": evaluation.classes,
        "widths": evaluation.widths,
        "cost": evaluation.cost.to_json(),
        "records": [_plain(record) for record in evaluation.records],
    }
    path.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")


def load_evaluation(path: Path) -> Evaluation:
    """Read what :func:`save_evaluation` wrote.

    Raises:
        FileProblem: when the file is missing, or is not an evaluation of this version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["kind"] != KIND:
            raise FileProblem(path, KIND, content["kind"], "evaluate the run again")
        return Evaluation(
            classes=tuple(content["classes"]),
            records=tuple(_record(record) for record in content["records"]),
            cost=Cost(**content["cost"]),
            widths=tuple(content["widths"]),
        )
    except OSError as error:
        raise FileProblem(path, "an evaluation", error.strerror, "run `saccade evaluate` first") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileProblem(path, KIND, "something else", "evaluate the run again") from error


def _plain(record: ImageRecord) -> dict[str, Any]:
    parts = {field.name: getattr(record, field.name) for field in fields(record)}
    return {name: part.tolist() if isinstance(part, Tensor) else part for name, part in parts.items()}


def _record(plain: dict[str, Any]) -> ImageRecord:
    parts: dict[str, Any] = {
        name: part if name == "stem" or part is None else _counts(part) for name, part in plain.items()
    }
    parts["objects"] = parts["objects"].reshape(-1, 3)
    return ImageRecord(**parts)


def _counts(numbers: Any) -> Tensor:
    return torch.tensor(numbers, dtype=torch.int64)
