"""What a run scores at some budgets on validation images, and how far its samples should gather there."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import torch

from saccade.data.cache import Sample
from saccade.metrics import miou
from saccade.metrics.confusion import confusion_matrix
from saccade.segmenter import Segmenter
from saccade.training.budgets import Budget, read_budgets
from saccade.training.run_folder import METRICS, Run, read_metrics

Size = tuple[int, int]
MOST_IMAGES = 100
"""Validation images that are looked at, evenly taken from all."""


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
    segmenter: Segmenter,
    samples: Iterable[Sample],
    sizes: Sequence[Size],
    classes: int,
    shares: Sequence[float] = (1.0,),
) -> list[Budget]:
    """mIoU at full resolution at each size, counts pooled over the images; nan without anything to score.

    Args:
        segmenter: on the device where it runs; unchanged.
        samples: labelled images.
        sizes: (h, w) of the views.
        classes: K.
        shares: how far samples may gather: of several that with the highest mIoU is taken, of equal ones the
            first.
    """
    ways = [(size, share) for size in sizes for share in shares]
    counts = {way: torch.zeros(classes, classes, dtype=torch.int64) for way in ways}
    each = {way: _looking(segmenter, *way) for way in ways}
    for sample in samples:
        labels = [sample.labels] if segmenter.sampler.sees_labels else None
        for way, segmenter_of in each.items():
            pred = segmenter_of.predict(sample.pyramid, labels).cpu()
            counts[way] += confusion_matrix(pred, sample.labels, classes)
    scores = {way: float(miou(count)) for way, count in counts.items()}
    best = (max((scores[size, share], -number) for number, share in enumerate(shares)) for size in sizes)
    return [Budget(size, score, shares[-number]) for size, (score, number) in zip(sizes, best, strict=True)]


def _looking(segmenter: Segmenter, size: Size, share: float) -> Segmenter:
    """The same segmenter, weights included, with glimpses of that size whose samples gather so far."""
    sampler, sized = copy.copy(segmenter.sampler), copy.copy(segmenter)
    if size != sampler.size:
        sampler.size = size
    if share != 1:
        sampler.shares = {size: share}  # type: ignore[assignment]
    sized._modules = {**segmenter._modules, "sampler": sampler}
    return sized


def known_scores(run: Run) -> dict[Size, float]:
    """mIoU on validation images by (h, w): where several budgets, or ways to look, were measured at the end
    of a training, what is best of them; else that of the one size; empty where nothing is known of these
    weights.

    Raises:
        FileProblem: the file in the run folder is damaged.
    """
    measured = read_budgets(run.path)
    several = run.config.sampler.sizes is not None or run.config.recipe.draws_shares
    if not several or not measured:
        rows = {int(row["epoch"]): row for row in read_metrics(run.path / METRICS)}
        score = rows.get(run.epoch - 1, {}).get("val_miou")
        return {} if score is None else {run.config.sampler.size: score}
    if run.checkpoint != "best":
        return {}
    return {one.size: one.val_miou for one in measured if not math.isnan(one.val_miou)}


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
