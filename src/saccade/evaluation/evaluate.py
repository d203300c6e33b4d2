"""Evaluate a segmenter on labelled images, each at its full resolution, one in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from saccade.data import ClassTable
from saccade.errors import InvalidInput
from saccade.evaluation.results import Evaluation, ImageRecord
from saccade.metrics import (
    boundary_counts,
    confusion_matrix,
    object_records,
    recovery_counts,
    sampling_counts,
    trimap_counts,
)
from saccade.metrics.boundary import WIDTHS
from saccade.metrics.cost import Cost, measure_cost
from saccade.networks.evaluation_mode import evaluating
from saccade.segmenter import Segmenter
from saccade.warp import Pyramid

IGNORE_INDEX = ClassTable.ignore_index


class LabelledImage(Protocol):
    """What is evaluated on: a :class:`saccade.data.Sample`, or anything like it.

    Attributes:
        stem: name of the image.
        pyramid: of the image, uint8 (1, 3, H, W), on the CPU.
        labels: (1, H, W) uint8 class ids 0..K-1, ignored pixels 255.

    Examples:
        >>> from saccade.data import SampleCache, open_data
        >>> from saccade.testing import make_fake
        >>> data = open_data(make_fake("folder", "leaves"))
        >>> cache = SampleCache()
        >>> sample = cache.get(data, data.split("test")[0])
        >>> sample.stem, sample.pyramid.size, tuple(sample.labels.shape)
        ('image_000005', (16, 24), (1, 16, 24))
    """

    @property
    def stem(self) -> str: ...

    @property
    def pyramid(self) -> Pyramid: ...

    @property
    def labels(self) -> Tensor: ...


def evaluate(
    segmenter: Segmenter,
    samples: Iterable[LabelledImage],
    classes: ClassTable | Sequence[str],
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[int], Any] | None = None,
) -> Evaluation:
    """Predict every image at full resolution and count what came out.

    Args:
        segmenter: with scores of K classes; put on ``device``, else unchanged.
        samples: labelled images, each held only while it is evaluated. Where one has ``instances``
            ((1, H, W) ids, 0 for no object), recall by object size is of instances; otherwise of connected
            components.
        classes: the K classes, or their names.
        device: where the network runs.
        progress: called with the number of images done, after each.

    Raises:
        InvalidInput: without images, or when the segmenter scores another number of classes.

    Examples:
        >>> import saccade
        >>> from saccade.networks import build_network
        >>> sampler, network = saccade.UniformSampler((8, 12)), build_network("small:4", classes=3)
        >>> segmenter = saccade.Segmenter(sampler, network)
        >>> from saccade.data import SampleCache, open_data
        >>> from saccade.testing import make_fake
        >>> data = open_data(make_fake("folder", "leaves"))
        >>> cache = SampleCache()
        >>> from saccade.evaluation import evaluate
        >>> evaluation = evaluate(segmenter, cache.iterate(data, data.split("test")), data.classes)
        >>> len(evaluation.records), evaluation.cost.pixels, tuple(evaluation.confusion.shape)
        (2, 96, (3, 3))
    """
    names = classes.names if isinstance(classes, ClassTable) else tuple(classes)
    segmenter.to(device)
    records: list[ImageRecord] = []
    cost: Cost | None = None
    with evaluating(segmenter) as twin:
        for sample in samples:
            records.append(_evaluate_one(twin, sample, len(names), device))
            if cost is None:
                cost = measure_cost(twin, sample.pyramid.level(0), sample.labels.to(device))
            if progress is not None:
                progress(len(records))
    if cost is None:
        raise InvalidInput("images", "at least one", "none", "choose a split that has images")
    known = classes.colours if isinstance(classes, ClassTable) else ()
    colours = dict(zip(names, known, strict=False))
    return Evaluation(names, tuple(records), cost, WIDTHS, colours=colours)


def _evaluate_one(
    segmenter: Segmenter, sample: LabelledImage, num_classes: int, device: torch.device | str
) -> ImageRecord:
    target = sample.labels
    segmented = segmenter.segment(sample.pyramid.to(device), target.to(device))
    if segmented.classes != num_classes:
        expected = f"one for the {num_classes} classes of the data"
        got = f"scores of {segmented.classes} classes"
        raise InvalidInput("segmenter", expected, got, "choose the data that it was trained on")
    pred, grids = segmented.labels.cpu()[None], segmented.glimpses.grids.cpu()
    return ImageRecord(
        stem=sample.stem,
        confusion=confusion_matrix(pred, target, num_classes, IGNORE_INDEX),
        recovery=recovery_counts(target, grids, num_classes) if len(grids) == 1 else None,
        boundary=boundary_counts(pred, target, num_classes),
        trimap=trimap_counts(pred, target, num_classes),
        sampling=sampling_counts(target, grids, num_classes),
        objects=object_records(pred, target, num_classes, instances=getattr(sample, "instances", None)),
    )
