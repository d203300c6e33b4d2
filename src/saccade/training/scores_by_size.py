"""What a run for a range of sizes scores at some of them on validation images: what a plan may promise."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch

from saccade.data.cache import Sample
from saccade.errors import FileProblem
from saccade.metrics import miou
from saccade.metrics.confusion import confusion_matrix
from saccade.runtime.files import write_file
from saccade.runtime.reading import read_text
from saccade.segmenter import Segmenter
from saccade.training.run_folder import BUDGETS, METRICS, Run, read_metrics

Size = tuple[int, int]
MOST_IMAGES = 100
"""Validation images that are looked at, evenly taken from all."""
_EXPECTED = "mIoU by size, as a training writes it"


def some_of(images: int, most: int = MOST_IMAGES) -> list[int]:
    """Numbers of at most so many of the images, evenly spread over all.

    Examples:
        >>> from saccade.training.scores_by_size import some_of
        >>> some_of(7, 3), some_of(2, 3)
        ([0, 2, 4], [0, 1])
    """
    count = min(most, images)
    return [number * images // count for number in range(count)]


def scores_by_size(
    segmenter: Segmenter, samples: Iterable[Sample], sizes: Sequence[Size], classes: int
) -> dict[Size, float]:
    """mIoU at full resolution at each size, counts pooled over the images; nan without anything to score.

    Args:
        segmenter: on the device where it runs; unchanged.
        samples: labelled images.
        sizes: (h, w) of the views.
        classes: K.
    """
    counts = {size: torch.zeros(classes, classes, dtype=torch.int64) for size in sizes}
    sized = {size: segmenter.with_size(size) for size in sizes}
    for sample in samples:
        labels = [sample.labels] if segmenter.sampler.sees_labels else None
        for size, segmenter_of in sized.items():
            pred = segmenter_of.predict(sample.pyramid, labels).cpu()
            counts[size] += confusion_matrix(pred, sample.labels, classes)
    return {size: float(miou(count)) for size, count in counts.items()}


def write_scores(root: Path, scores: Mapping[Size, float]) -> None:
    """Keeps them in a run folder."""
    rows = [
        {"size": list(size), "val_miou": None if math.isnan(score) else score}
        for size, score in scores.items()
    ]
    write_file(root / BUDGETS, json.dumps(rows, indent=1) + "\n")


def known_scores(run: Run) -> dict[Size, float]:
    """mIoU on validation images by (h, w): of a range of sizes those that were measured at its end, else that
    of the one size; empty where nothing is known of these weights.

    Raises:
        FileProblem: the file in the run folder is damaged.
    """
    file = run.path / BUDGETS
    if run.config.sampler.sizes is None or not file.is_file():
        rows = {int(row["epoch"]): row for row in read_metrics(run.path / METRICS)}
        score = rows.get(run.epoch - 1, {}).get("val_miou")
        return {} if score is None else {run.config.sampler.size: score}
    if run.checkpoint != "best":
        return {}
    try:
        rows_of_file = json.loads(read_text(file, _EXPECTED))
        pairs = [((int(row["size"][0]), int(row["size"][1])), row["val_miou"]) for row in rows_of_file]
        return {size: float(score) for size, score in pairs if score is not None}
    except (ValueError, TypeError, LookupError) as error:
        raise FileProblem(file, _EXPECTED, "something else", "delete it: plans do without") from error


def expected_score(scores: Mapping[Size, float], view: Size) -> float | None:
    """The score of a view, between those of the sizes next to it, linear in the logarithm of the samples;
    None outside of what was measured.

    Examples:
        >>> from saccade.training.scores_by_size import expected_score
        >>> scores = {(8, 8): 0.5, (32, 32): 0.7}
        >>> round(expected_score(scores, (16, 16)), 6), expected_score(scores, (9, 64))
        (0.6, None)
    """
    known = sorted((math.log(rows * columns), score) for (rows, columns), score in scores.items())
    at = math.log(view[0] * view[1])
    for (low, below), (high, above) in pairwise(known):
        if low <= at <= high:
            return below + (above - below) * (at - low) / (high - low)
    return next((score for place, score in known if place == at), None)
