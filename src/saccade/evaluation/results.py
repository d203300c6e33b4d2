"""What an evaluation found: counts for each image, the scores of their sums, and the file that keeps them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saccade import figures
from saccade.data import DataFolder
from saccade.data.record import DataRecord, digest_of, digest_of_file
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
from saccade.runtime.files import write_file
from saccade.runtime.reading import read_json_value
from saccade.training.config import Config
from saccade.training.run_folder import CHECKPOINTS, open_config, version_of


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

    Examples:
        >>> import torch
        >>> from saccade.evaluation import ImageRecord
        >>> none = torch.zeros(2, 2, dtype=torch.int64)
        >>> confusion = torch.tensor([[90, 10], [0, 100]])
        >>> record = ImageRecord("leaf", confusion, None, none, none, none, none.new_zeros(0, 3))
        >>> round(record.miou, 3)  # of 90 / 100 and 100 / 110
        0.905
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
class Subject:
    """What an evaluation is of. Two of equal subject answer the same question.

    Attributes:
        split: "train", "val" or "test".
        data: digest of the split's images, labels, class table and ignored values, as they were read: cropped
            and with a target.
        options: how the data was read (crop, target, ...), for the reader.
        checkpoint: "best" or "last".
        weights: digest of the checkpoint's file.
        sampler: its name.
        size: (h, w) of the samples.
        version: of Saccade.
        path: where the data lay; not compared.
    """

    split: str
    data: str
    options: Mapping[str, Any]
    checkpoint: str
    weights: str
    sampler: str
    size: tuple[int, int]
    version: str
    path: str = field(default="", compare=False)

    @classmethod
    def of(
        cls,
        root: Path,
        data: DataFolder,
        split: str,
        checkpoint: str = "best",
        size: tuple[int, int] | None = None,
    ) -> Subject:
        """Of the run at ``root`` and a split of opened data; samples as the run's own where ``size`` is None.

        Raises:
            FileProblem: when ``root`` is no run folder, or its checkpoint is missing.
            InvalidInput: when the data has no such split.
        """
        config = open_config(root)[0]
        data.split(split)
        options = asdict(data.options.evaluated())
        del options["path"], options["format"]
        for name in (
            "bands",
            "scale",
            "picture",
        ):  # of 0.2: what 0.1 kept of its options is the same question
            if options[name] is None:
                del options[name]
        return cls(
            split=split,
            data=DataRecord.of(data, [split]).digest,
            options=options,
            checkpoint=checkpoint,
            weights=digest_of_file(root / CHECKPOINTS / f"{checkpoint}.ckpt"),
            sampler=config.sampler.name,
            size=size or config.sampler.size,
            version=version_of("saccade") or "",
            path=str(data.path.resolve()),
        )

    @property
    def key(self) -> str:
        """8 hexadecimal digits that stand for it in the names of files."""
        parts = self.to_json()
        del parts["path"]
        return digest_of(parts)[:8]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "options": dict(self.options), "size": list(self.size)}

    @classmethod
    def from_json(cls, parts: Mapping[str, Any]) -> Subject:
        """The inverse of :meth:`to_json`; raises KeyError, TypeError, ValueError."""
        rows, columns = parts["size"]
        subject = cls(**{**parts, "size": (int(rows), int(columns)), "options": dict(parts["options"])})
        texts = ("split", "data", "checkpoint", "weights", "sampler", "version", "path")
        if not all(isinstance(getattr(subject, name), str) for name in texts):
            raise ValueError("something else than text")
        return subject

    def is_own(self, config: Config) -> bool:
        """Whether this is the run's own question: its best weights on its own data, as it was trained."""
        if self.size != config.sampler.size:
            return False
        own = asdict(config.data.evaluated())
        same_options = all(own[name] == value for name, value in self.options.items() if name in own)
        return self.checkpoint == "best" and same_options and own["path"] == self.path


@dataclass(frozen=True)
class Evaluation:
    """Scores of a segmenter on a data set, at full resolution, from counts pooled over its images.

    Attributes:
        classes: K names.
        records: one an image.
        cost: of one image.
        widths: of the trimap bands, in pixels.
        subject: what it is of; None where nobody said, as in the files of version 0.1.
        colours: of the classes by name, where they are known; not kept in files.

    Raises:
        InvalidInput: without images, or when the records are not of K classes.

    Examples:
        >>> import torch
        >>> from saccade.evaluation import ImageRecord
        >>> none = torch.zeros(2, 2, dtype=torch.int64)
        >>> confusion = torch.tensor([[90, 10], [0, 100]])
        >>> record = ImageRecord("leaf", confusion, None, none, none, none, none.new_zeros(0, 3))
        >>> from saccade.evaluation import Evaluation
        >>> from saccade.metrics.cost import Cost
        >>> cost = Cost(96, 0.1, 0.0, seconds_per_image=0.02, peak_memory_bytes=None)
        >>> evaluation = Evaluation(("soil", "leaf"), (record,), cost, widths=(3, 5))
        >>> round(evaluation.miou, 3), evaluation.to_json()["images"]
        (0.905, 1)
    """

    classes: tuple[str, ...]
    records: tuple[ImageRecord, ...]
    cost: Cost
    widths: tuple[int, ...]
    subject: Subject | None = None
    colours: Mapping[str, Sequence[int]] = field(default_factory=dict, compare=False, repr=False)

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

    def _repr_html_(self) -> str:
        """The scores by class, for a notebook."""
        scores = self.to_json()
        recovery = scores["label_recovery"]
        columns = (scores["iou"], scores["pixel_accuracy"], recovery["iou"], scores["sampling_ratio"])
        rows = [(name, *(column[name] for column in columns)) for name in self.classes]
        rows.append(("mean", scores["miou"], None, recovery["miou"], None))
        head = ("class", "IoU", "accuracy", "recovery", "sampling")
        where = "" if self.subject is None else f" of {self.subject.split}"
        about = f"boundary IoU {scores['boundary_iou'] or 0:.3f}, {scores['images']} images{where}"
        return figures.titled_html(
            f"mIoU {self.miou:.3f}, {about}", figures.table_html(head, rows, self.colours)
        )

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


def own_file(root: Path, split: str) -> Path:
    """Where a run keeps the counts of its best weights on a split of its own data."""
    return root / f"evaluation_{split}.json"


def stored_evaluation(root: Path, subject: Subject) -> Evaluation | None:
    """What a run folder holds of exactly this question; None where there is nothing, or it is of another."""
    for file in _files_of(root, subject):
        try:
            evaluation = load_evaluation(file)
        except FileProblem:
            continue
        if evaluation.subject == subject:
            return evaluation
    return None


def keep_evaluation(root: Path, evaluation: Evaluation, subject: Subject) -> Path:
    """Writes an evaluation into a run folder, beside those of other questions, and returns its file.

    The run's own question has the plain name, unless an answer to another one stands there.

    Raises:
        FileProblem: when it cannot be written.
    """
    plain, named = _files_of(root, subject)
    own = subject.is_own(open_config(root)[0]) and (not plain.exists() or _subject_in(plain) == subject)
    file = plain if own else named
    save_evaluation(replace(evaluation, subject=subject), file)
    return file


def _files_of(root: Path, subject: Subject) -> tuple[Path, Path]:
    return own_file(root, subject.split), root / f"evaluation_{subject.split}_{subject.key}.json"


def _subject_in(file: Path) -> Subject | None:
    try:
        return load_evaluation(file).subject
    except FileProblem:
        return None


def save_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write an evaluation, all its counts included, as JSON.

    Examples:
        >>> import torch
        >>> from pathlib import Path
        >>> from saccade.evaluation import ImageRecord
        >>> none = torch.zeros(2, 2, dtype=torch.int64)
        >>> confusion = torch.tensor([[90, 10], [0, 100]])
        >>> record = ImageRecord("leaf", confusion, None, none, none, none, none.new_zeros(0, 3))
        >>> from saccade.evaluation import Evaluation, load_evaluation, save_evaluation
        >>> from saccade.metrics.cost import Cost
        >>> cost = Cost(96, 0.1, 0.0, seconds_per_image=0.02, peak_memory_bytes=None)
        >>> evaluation = Evaluation(("soil", "leaf"), (record,), cost, widths=(3, 5))
        >>> save_evaluation(evaluation, Path("evaluation.json"))
        >>> load_evaluation(Path("evaluation.json")).miou == evaluation.miou
        True
    """
    content = {
        "kind": KIND,
        "of": None if evaluation.subject is None else evaluation.subject.to_json(),
        "scores": evaluation.to_json(),
        "classes": evaluation.classes,
        "widths": evaluation.widths,
        "cost": evaluation.cost.to_json(),
        "records": [_plain(record) for record in evaluation.records],
    }
    write_file(path, json.dumps(content, allow_nan=False))


def load_evaluation(path: Path) -> Evaluation:
    """Read what :func:`save_evaluation` wrote.

    Raises:
        FileProblem: when the file is missing, or is not an evaluation of this version.

    Examples:
        >>> from pathlib import Path
        >>> from saccade.evaluation import load_evaluation
        >>> load_evaluation(Path("run/evaluation_test.json"))
        Traceback (most recent call last):
        ...
        saccade.errors.FileProblem: run/evaluation_test.json: expected an evaluation...
    """
    if not path.exists():
        raise FileProblem(path, "an evaluation", "no such file", "run `saccade evaluate` first")
    content = read_json_value(path, "an evaluation", "evaluate the run again")
    try:
        if content["kind"] != KIND:
            raise FileProblem(path, KIND, str(content["kind"])[:80], "evaluate the run again")
        return _evaluation(content)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, OverflowError) as error:
        raise FileProblem(path, KIND, "something else", "evaluate the run again") from error


def _evaluation(content: Mapping[str, Any]) -> Evaluation:
    """What a file holds; any error of Python's where it is none."""
    classes, widths = tuple(content["classes"]), tuple(content["widths"])
    if not all(isinstance(name, str) for name in classes) or len(set(classes)) < len(classes):
        raise ValueError("names of classes")
    if not all(isinstance(width, int) and width > 0 for width in widths):
        raise ValueError("widths of bands")
    return Evaluation(
        classes=classes,
        records=tuple(_record(record, len(classes), len(widths)) for record in content["records"]),
        cost=Cost.from_json(content["cost"]),
        widths=widths,
        subject=Subject.from_json(content["of"]) if content.get("of") else None,
    )


def _plain(record: ImageRecord) -> dict[str, Any]:
    parts = {field.name: getattr(record, field.name) for field in fields(record)}
    return {name: part.tolist() if isinstance(part, Tensor) else part for name, part in parts.items()}


def _record(plain: Mapping[str, Any], classes: int, widths: int) -> ImageRecord:
    shapes = {
        "confusion": (classes, classes), "recovery": (classes, classes), "boundary": (2, classes),
        "trimap": (2, widths), "sampling": (2, classes),
    }  # fmt: skip
    parts: dict[str, Any] = {
        name: part if name == "stem" or (part is None and name == "recovery") else _counts(part)
        for name, part in plain.items()
    }
    parts["objects"] = parts["objects"].reshape(-1, 3)
    record = ImageRecord(**parts)
    if not isinstance(record.stem, str):
        raise ValueError("the name of an image")
    counted = {name: counts for name in shapes if (counts := parts.get(name)) is not None}
    if any(counts.shape != shapes[name] for name, counts in counted.items()):
        raise ValueError("counts of other shapes")
    kinds, sizes, right = record.objects.T
    if len(kinds) and not ((kinds < classes).all() and (right <= sizes).all() and (sizes > 0).all()):
        raise ValueError("objects that there cannot be")
    return record


_MOST_COUNT = 1 << 52
"""Sums of counts stay exact, and within 64 bits."""


def _counts(numbers: Any) -> Tensor:
    counts = torch.tensor(numbers, dtype=torch.int64)
    if counts.numel() and not 0 <= int(counts.min()) <= int(counts.max()) <= _MOST_COUNT:
        raise ValueError("counts below 0, or of more pixels than there are")
    return counts
