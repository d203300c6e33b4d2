"""How close to the boundaries should samples lie: the lambda of the boundary energy (ICCV 2019, Fig. 3)?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saccade.evaluation.evaluate import LabelledImage
from saccade.evaluation.results import finite
from saccade.grids import folds, resize_grid, uniform_grid
from saccade.lab.methods import ComparisonConfig, Outcome, Size, named_size
from saccade.lab.studies.study import Block, Cell, Chart, Curve, Study, Table, Text
from saccade.metrics import iou, miou, recovery_counts, sampling_counts, sampling_ratio
from saccade.metrics.boundary import squared_distance_to_marked
from saccade.samplers import BoundaryTarget
from saccade.samplers.boundary import BoundaryConfig, sampling_grid, target_classes

STEPS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Values of lambda, from samples on the boundaries to samples spread evenly."""

NEAR = 0.01
"""What counts as near a boundary, as a share of the image's diagonal."""


@dataclass(frozen=True)
class Placement:
    """One way of placing samples.

    Attributes:
        smoothness: lambda; None for the uniform grid.
        tensor: (rows, columns) of the exact grid, stretched to the view; None for as many as the view has.
    """

    smoothness: float | None = None
    tensor: tuple[int, int] | None = None

    def grid(self, labels: Tensor, size: tuple[int, int], classes: tuple[int, ...] | None) -> Tensor:
        """(1, h, w, 2) for labels (1, H, W)."""
        return (
            uniform_grid(size)
            if self.smoothness is None
            else sampling_grid(self.nodes(labels, size, classes), size)
        )

    def nodes(self, labels: Tensor, size: tuple[int, int], classes: tuple[int, ...] | None) -> Tensor:
        """(1, h_t, w_t, 2) the exact grid before anything is done to it."""
        assert self.smoothness is not None
        return BoundaryTarget(self.smoothness, classes)([labels], self.tensor or size).permute(0, 2, 3, 1)


@dataclass(frozen=True)
class Recovered:
    """What a way of placing samples gives, pooled over the images.

    Attributes:
        placement: of placing them.
        recovery: (K, K) int64, of labels pushed through the grids and back.
        sampling: (2, K) int64, :func:`saccade.metrics.sampling_counts`.
        near: share of the samples that lie near a target boundary.
        folded: share of the images whose exact grid folds, so that it had to be mended.
    """

    placement: Placement
    recovery: Tensor
    sampling: Tensor
    near: float
    folded: float

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Numbers by name; None where there is no value."""
        by_class = {
            "label_recovery": iou(self.recovery), "sampling_ratio": sampling_ratio(self.sampling),
        }  # fmt: skip
        return {
            "smoothness": self.placement.smoothness,
            "tensor": self.placement.tensor,
            "label_recovery_miou": finite(miou(self.recovery)),
            "near_boundary": finite(self.near),
            "folded": self.folded,
            **{
                key: {name: finite(x) for name, x in zip(names, scores.tolist(), strict=True)}
                for key, scores in by_class.items()
            },
        }


def placements_of(smoothness: Sequence[float] = STEPS, tensor: tuple[int, int] = (8, 8)) -> list[Placement]:
    """Uniform; then for each smoothness the grid of the tensor's size; then those as large as the view."""
    return [Placement(), *(Placement(step, shape) for shape in (tensor, None) for step in smoothness)]


def smoothness_study(
    samples: Iterable[LabelledImage],
    num_classes: int,
    size: tuple[int, int],
    *,
    placements: Sequence[Placement] | None = None,
    classes: tuple[int, ...] | None = None,
) -> list[Recovered]:
    """Label recovery of exact boundary grids, and where their samples lie (ICCV 2019, Eq. 2 and Fig. 3).

    No network is involved: the grids are those that an auxiliary net without error would predict.

    Args:
        samples: labelled images; each is visited once.
        num_classes: K.
        size: (h, w) of the view.
        placements: of placing samples; default :func:`placements_of`.
        classes: ids of the target classes; default all.

    Returns:
        What each placement gives, in their order.
    """
    chosen = placements_of() if placements is None else list(placements)
    sums = [_Sum(placement, num_classes) for placement in chosen]
    for sample in samples:
        near = _near(sample.labels[0].numpy(), classes)
        for counts in sums:
            counts.add(sample.labels, size, classes, near)
    return [counts.scores() for counts in sums]


class _Sum:
    """The counts of one placement, added up image by image."""

    def __init__(self, placement: Placement, num_classes: int) -> None:
        self.placement, self.num_classes = placement, num_classes
        self.recovery = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.sampling = torch.zeros(2, num_classes, dtype=torch.int64)
        self.near, self.all, self.folded, self.images = 0, 0, 0, 0

    def add(
        self, labels: Tensor, size: tuple[int, int], classes: tuple[int, ...] | None, near: np.ndarray | None
    ) -> None:
        grid = self.placement.grid(labels, size, classes)
        self.recovery += recovery_counts(labels, grid, self.num_classes)
        self.sampling += sampling_counts(labels, grid, self.num_classes)
        self.images += 1
        if self.placement.smoothness is not None:
            exact = resize_grid(self.placement.nodes(labels, size, classes), size)
            self.folded += bool(folds(exact))
        if near is not None:
            self.near += int(_at(near, grid).sum())
            self.all += size[0] * size[1]

    def scores(self) -> Recovered:
        near = self.near / self.all if self.all else float("nan")
        return Recovered(
            self.placement, self.recovery, self.sampling, near, self.folded / max(1, self.images)
        )


def _near(labels: np.ndarray, classes: tuple[int, ...] | None, ignore: int = 255) -> np.ndarray | None:
    """(H, W) bool: whether a pixel is near a target boundary; None where there is no boundary."""
    marked = np.zeros(labels.shape, np.bool_)
    for turned, out in ((labels, marked), (labels.T, marked.T)):
        one, other = turned[:-1], turned[1:]
        meets = (one != other) & (one != ignore) & (other != ignore)
        if classes is not None:
            meets &= np.isin(one, classes) | np.isin(other, classes)
        out[:-1] |= meets
        out[1:] |= meets
    if not marked.any():
        return None
    reach = NEAR * float(np.hypot(*labels.shape))
    return squared_distance_to_marked(marked, reach) <= reach**2


def _at(raster: np.ndarray, grid: Tensor) -> np.ndarray:
    """Values of (H, W) at the pixels nearest to the samples of (1, h, w, 2)."""
    last = np.array([raster.shape[1] - 1, raster.shape[0] - 1])
    x, y = np.rint((grid[0].numpy().reshape(-1, 2) + 1) / 2 * last).astype(np.int64).T
    return raster[y, x]


NOTE = (
    "Boundaries of {targets} attract. Label recovery: the labels are sampled by the exact grid of the true "
    "labels and put back, without any network; nothing is trained. Near: within 1 % of the image's diagonal "
    "of a target boundary. Folded: share of images whose exact grid folds and was mended."
)


def measure(config: ComparisonConfig, outcomes: Sequence[Outcome]) -> Sequence[Block]:
    """Grids of the published size, and as large as the view, for ``boundary.classes`` of the comparison."""
    names = config.data.classes.names
    options = config.base.options_of(BoundaryConfig)
    targets, placements = target_classes(options, names), placements_of(tensor=options.tensor)
    blocks: list[Block] = []
    for size in config.sizes:
        scores = smoothness_study(config.samples(), len(names), size, placements=placements, classes=targets)
        blocks += _blocks(names, size, scores)
    targeted = "all classes" if targets is None else ", ".join(names[k] for k in targets)
    return [*blocks, Text(NOTE.format(targets=targeted))]


def _blocks(names: Sequence[str], size: Size, scores: Sequence[Recovered]) -> list[Block]:
    rows = [_row(score, size) for score in scores]
    head = ("grid", "lambda", *names, "mean", "samples near", "folded")
    halves = scores[1 : 1 + len(STEPS)], scores[1 + len(STEPS) :]
    curves = [
        Curve(
            f"{name}, {_grid(part[0].placement, size)}",
            STEPS,
            [_cell(float(iou(score.recovery)[k])) for score in part],
        )
        for part in halves
        for k, name in enumerate(names[:4])
    ]
    title = f"Label recovery over lambda, {named_size(size)}"
    return [
        Chart(title, "lambda", "IoU of label recovery", curves, log_x=True),
        Table(f"IoU of label recovery by lambda, {named_size(size)}", head, rows),
    ]


def _row(score: Recovered, size: Size) -> list[Cell]:
    placement = score.placement
    scores = [_cell(x) for x in iou(score.recovery).tolist()]
    smoothness = None if placement.smoothness is None else f"{placement.smoothness:g}"
    return [
        _grid(placement, size),
        smoothness,
        *scores,
        _cell(miou(score.recovery)),
        _cell(score.near),
        score.folded,
    ]


def _grid(placement: Placement, size: Size) -> str:
    return "uniform" if placement.smoothness is None else named_size(placement.tensor or size)


def _cell(number: float) -> float | None:
    return number if number == number else None


SMOOTHNESS = Study(
    name="smoothness",
    title="The smoothness of boundary grids",
    question="How close to the boundaries should samples lie, so that fewest labels are lost?",
    source="ICCV 2019, Eq. 2 and Fig. 3",
    measure=measure,
)
