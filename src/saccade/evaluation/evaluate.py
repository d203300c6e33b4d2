"""Evaluate a segmenter on labelled images, each at its full resolution, one in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

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
from saccade.segmenter import evaluating
from saccade.warp import Pyramid


@dataclass(frozen=True)
class Look:
    """What a segmenter said of one image, on the CPU.

    Attributes:
        labels: (1, H, W) integer class ids at full resolution.
        grids: (V, h, w, 2) sample positions (x, y) in [-1, 1] of its views.
        density: (1, 1, h_a, w_a) that the sampler predicted; None where it predicts none.
        classes: K that the network scores.
    """

    labels: Tensor
    grids: Tensor
    density: Tensor | None
    classes: int


def look(segmenter: nn.Module, pyramid: Pyramid, labels: Tensor | None = None) -> Look:
    """Predict one image, keeping what the segmenter saw on the way, so that the network runs only once.

    Args:
        segmenter: in evaluation mode, on the device of ``pyramid``.
        pyramid: of one image.
        labels: (1, H, W), for samplers that see them.
    """
    seen: list[Any] = []
    hook = segmenter.register_forward_hook(lambda _module, _given, found: seen.append(found))
    scored: list[int] = []
    network: Any = segmenter.network
    counter = network.register_forward_hook(lambda _module, _given, found: scored.append(found.shape[1]))
    try:
        said = segmenter.predict(pyramid, labels=labels)  # type: ignore[operator]
    finally:
        hook.remove()
        counter.remove()
    if not seen:
        return _of_bands(segmenter, pyramid, said, scored[0])
    density = seen[0].views.density
    return Look(
        labels=said.cpu(),
        grids=torch.cat([found.views.grids for found in seen]).detach().cpu(),
        density=None if density is None else density.detach().cpu(),
        classes=seen[0].scores.shape[1],
    )


def _of_bands(segmenter: Any, pyramid: Pyramid, labels: Tensor, classes: int) -> Look:
    """A segmenter that predicts band by band never has all its scores: its views are proposed again."""
    with torch.no_grad(), evaluating(segmenter):
        views = segmenter.look([pyramid])
    density = None if views.density is None else views.density.cpu()
    return Look(labels.cpu(), views.grids.cpu(), density, classes)


IGNORE_INDEX = ClassTable.ignore_index


class LabelledImage(Protocol):
    """What is evaluated on: a :class:`saccade.data.Sample`, or anything like it.

    Attributes:
        stem: name of the image.
        pyramid: of the image, uint8 (1, 3, H, W), on the CPU.
        labels: (1, H, W) uint8 class ids 0..K-1, ignored pixels 255.
    """

    @property
    def stem(self) -> str: ...

    @property
    def pyramid(self) -> Pyramid: ...

    @property
    def labels(self) -> Tensor: ...


def evaluate(
    segmenter: nn.Module,
    samples: Iterable[LabelledImage],
    classes: ClassTable | Sequence[str],
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[int], Any] | None = None,
) -> Evaluation:
    """Predict every image at full resolution and count what came out.

    Args:
        segmenter: a :class:`saccade.Segmenter` with scores of K classes; put on ``device`` and in evaluation
            mode while this runs, and back into the mode it was in.
        samples: labelled images, each held only while it is evaluated. Where one has ``instances``
            ((1, H, W) ids, 0 for no object), recall by object size is of instances; otherwise of connected
            components.
        classes: the K classes, or their names.
        device: where the network runs.
        progress: called with the number of images done, after each.

    Raises:
        InvalidInput: without images, or when the segmenter scores another number of classes.
    """
    names = classes.names if isinstance(classes, ClassTable) else tuple(classes)
    modes = {module: module.training for module in segmenter.modules()}
    segmenter.to(device).eval()
    records: list[ImageRecord] = []
    cost: Cost | None = None
    try:
        for sample in samples:
            records.append(_evaluate_one(segmenter, sample, len(names), device))
            if cost is None:
                cost = measure_cost(segmenter, sample.pyramid.level(0), sample.labels.to(device))
            if progress is not None:
                progress(len(records))
    finally:
        for module, training in modes.items():
            module.training = training
    if cost is None:
        raise InvalidInput("images", "at least one", "none", "choose a split that has images")
    return Evaluation(names, tuple(records), cost, WIDTHS)


def _evaluate_one(
    segmenter: nn.Module, sample: LabelledImage, num_classes: int, device: torch.device | str
) -> ImageRecord:
    target = sample.labels
    found = look(segmenter, sample.pyramid.to(device), target.to(device))
    if found.classes != num_classes:
        expected, got = f"one for the {num_classes} classes of the data", f"scores of {found.classes} classes"
        raise InvalidInput("segmenter", expected, got, "choose the data that it was trained on")
    pred, grids = found.labels, found.grids
    return ImageRecord(
        stem=sample.stem,
        confusion=confusion_matrix(pred, target, num_classes, IGNORE_INDEX),
        recovery=recovery_counts(target, grids, num_classes) if len(grids) == 1 else None,
        boundary=boundary_counts(pred, target, num_classes),
        trimap=trimap_counts(pred, target, num_classes),
        sampling=sampling_counts(target, grids, num_classes),
        objects=object_records(pred, target, num_classes, instances=getattr(sample, "instances", None)),
    )
