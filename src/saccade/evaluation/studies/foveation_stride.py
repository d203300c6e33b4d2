"""How closely must the locations of a prediction lie (arXiv 2020, B.5 and Table B.5.1)?"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch

from saccade.data import ClassTable
from saccade.data.cache import Sample
from saccade.errors import InvalidInput
from saccade.evaluation.comparison.arms import Outcome, Setting
from saccade.evaluation.studies.blocks import Block, Cell, Chart, Curve, Table
from saccade.evaluation.studies.foveation_arms import arms
from saccade.evaluation.studies.study import Study
from saccade.metrics import confusion_matrix, miou
from saccade.samplers import FoveationSampler
from saccade.segmenter import Segmenter
from saccade.training import load_run


@dataclass(frozen=True)
class StrideScore:
    """A run, predicted with one stride.

    Attributes:
        stride: in pixels of the overview.
        miou: at full resolution, counts pooled over the images.
        locations: of an image, the mean over the images.
        seconds: an image.
    """

    stride: int
    miou: float
    locations: float
    seconds: float


@dataclass(frozen=True)
class StrideScores:
    """A run at several strides, as Table B.5.1; strides that would leave gaps are not among them."""

    scores: Sequence[StrideScore]

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(one) for one in self.scores]


def stride_study(
    segmenter: Segmenter, samples: Iterable[Sample], classes: ClassTable, strides: Sequence[int]
) -> StrideScores:
    """Predicts the images with each stride and scores them.

    Args:
        segmenter: with a foveation sampler; its own stride is afterwards as it was.
        samples: labelled images.
        classes: of the labels.
        strides: in pixels of the overview.

    Raises:
        InvalidInput: without images.
    """
    counts = {stride: torch.zeros(len(classes), len(classes), dtype=torch.int64) for stride in strides}
    seconds, locations = dict.fromkeys(strides, 0.0), dict.fromkeys(strides, 0)
    images = 0
    for sample in samples:
        images += 1
        for stride in list(counts):
            with strided(segmenter, stride) as sampler:
                try:
                    rows, columns = sampler.lattice(sample.size).shape
                except InvalidInput:
                    del counts[stride]
                    continue
                start = time.perf_counter()
                predicted = segmenter.predict(sample.pyramid).view(sample.labels.shape)
            seconds[stride] += time.perf_counter() - start
            locations[stride] += rows * columns
            counts[stride] += confusion_matrix(predicted, sample.labels, len(classes), 255)
    if not images:
        raise InvalidInput("images", "at least one", "none")
    return StrideScores([
        StrideScore(stride, miou(found), locations[stride] / images, seconds[stride] / images)
        for stride, found in counts.items()
    ])  # fmt: skip


@contextmanager
def strided(segmenter: Segmenter, stride: int) -> Iterator[FoveationSampler]:
    """The sampler with another stride inside."""
    sampler = segmenter.sampler
    assert isinstance(sampler, FoveationSampler)
    own, sampler.stride = sampler.stride, stride
    try:
        yield sampler
    finally:
        sampler.stride = own


STRIDES = (2, 4, 8, 16, 32)


def measure(setting: Setting, outcomes: Sequence[Outcome]) -> Sequence[Block]:
    """Each trained arm at its own stride and the others, and the seconds that each takes."""
    rows: list[list[Cell]] = []
    curves = []
    for outcome in outcomes:
        if outcome.evaluation is None:
            continue
        segmenter = load_run(outcome.folder).segmenter
        assert isinstance(segmenter.sampler, FoveationSampler)
        strides = sorted({*STRIDES, segmenter.sampler.stride})
        found = stride_study(segmenter, setting.samples(), setting.data.classes, strides).scores
        rows += [[outcome.case.name, one.stride, one.miou, one.locations, one.seconds] for one in found]
        curves.append(Curve(outcome.case.name, [one.stride for one in found], [one.miou for one in found]))
    head = ("run", "stride", "mIoU", "locations an image", "seconds an image")
    return [
        Chart("mIoU over the stride", "stride, pixels of the overview", "mIoU", curves[:8], log_x=True),
        Table("Sensitivity to the stride of a prediction", head, rows, "Strides with gaps are left out."),
    ]


FOVEATION_STRIDE = Study(
    name="foveation-stride",
    title="The stride of a foveated prediction",
    question="How closely must the locations lie at which an image is looked at?",
    source="arXiv 2020, B.5",
    arms=lambda setting: [one for one in arms(setting) if one.name in ("fixed0", "mean", "mode", "gumbel")],
    measure=measure,
)
