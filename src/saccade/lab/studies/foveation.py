"""Studies of foveation (arXiv 2020): each field of view, maps beside the gold standard, strides."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from saccade.data import ClassTable
from saccade.data.cache import Sample
from saccade.errors import InvalidInput
from saccade.lab.methods import ComparisonConfig, Method, Outcome, named_size
from saccade.lab.studies.field_oracle import field_oracle
from saccade.lab.studies.study import Block, Cell, Chart, Curve, Study, Table, compared, gain_text
from saccade.metrics import confusion_matrix, miou
from saccade.networks.evaluation_mode import evaluating
from saccade.samplers import FoveationSampler
from saccade.samplers.foveation_lattice import centres_of, thumbnail_size
from saccade.samplers.foveation_training import FoveationConfig, default_bank
from saccade.segmenter import Segmenter

FOVEATION = ("sampler.name=foveation",)


def _sampler_of(segmenter: Segmenter) -> FoveationSampler:
    """The sampler of a run of these studies, all of whose methods are foveation."""
    return cast(FoveationSampler, segmenter.sampler)


def bank_of(config: ComparisonConfig) -> tuple[int, ...]:
    """The comparison's bank, or the default one of its smallest patch."""
    bank = config.base.options_of(FoveationConfig).bank
    return bank or default_bank(config.sizes[0], list(config.data.sizes("train")))


def thumbnail_for(config: ComparisonConfig) -> tuple[str, ...]:
    """The comparison's thumbnail, or where that leaves gaps between patches, one of two pixels in each."""
    most = max(1, min(min(size) for size in config.sizes) // 2)
    return () if config.base.options_of(FoveationConfig).shrink <= most else (f"foveation.shrink={most}",)


def methods_of_fields(config: ComparisonConfig) -> Sequence[Method]:
    """The baselines and estimators of arXiv 2020, Table 2, but for the ensemble, which needs other runs."""
    bank = bank_of(config)
    shared = (*FOVEATION, f"foveation.bank={list(bank)}", *thumbnail_for(config))
    fixed = [
        Method(f"fixed{n}", (*shared, "foveation.estimator=fixed", f"foveation.field={n}"))
        for n in range(len(bank))
    ]
    others = ("random", "average", "mean", "mode", "gumbel")
    return [*fixed, *(Method(name, (*shared, f"foveation.estimator={name}")) for name in others)]


def measure_of_fields(config: ComparisonConfig, outcomes: Sequence[Outcome]) -> Sequence[Block]:
    """What choosing or blending gains over the best field of view alone, which differs from the first."""
    comparison = compared(config, outcomes)
    rows: list[list[Cell]] = []
    for size in config.sizes:
        points = [
            point for method in comparison.methods if (point := comparison.at(method, size)) is not None
        ]
        alone = [point for point in points if point.method.name.startswith("fixed")]
        if not alone:
            continue
        best = max(alone, key=lambda point: float(point.iou.values[-1]))
        rows += [
            [f"{point.method.name}, {named_size(size)}", float(point.iou.values[-1]), best.method.name,
             gain_text(point.iou.gain(best.iou))]
            for point in points if point not in alone
        ]  # fmt: skip
    head = ("way, size of the patch", "mIoU", "best field alone", "gain over it, points")
    note = "The best field was chosen on the same images, which favours it a little."
    gains = [Table("Does it beat the best field of view alone?", head, rows, note)] if rows else []
    return [*gains, *_bound_of_the_choice(config, outcomes)]


def _bound_of_the_choice(config: ComparisonConfig, outcomes: Sequence[Outcome]) -> Sequence[Block]:
    """What a perfect choice would score, of a network for each field and of one over all fields."""
    there = {outcome.trial.name: outcome for outcome in outcomes if outcome.evaluation is not None}
    rows: list[list[Cell]] = []
    for size, seed in sorted({(outcome.trial.size, outcome.trial.seed) for outcome in there.values()}):
        runs = {
            outcome.trial.method.name: outcome.folder
            for outcome in there.values()
            if (outcome.trial.size, outcome.trial.seed) == (size, seed)
        }
        alone = [runs[name] for name in sorted(runs) if name.startswith("fixed")]
        shared = [runs[name] for name in ("random",) if name in runs]
        networks = {"a network for each field": alone, "one network, random fields": shared}
        for name, folders in networks.items():
            if len(folders) != (1 if folders is shared else len(bank_of(config))):
                continue
            segmenters = [config.runs.get(folder).segmenter for folder in folders]
            oracle = field_oracle(segmenters, config.samples(), config.data.classes)
            picks = ", ".join(f"{share:.0%}" for share in oracle.picks)
            rows.append([f"{name}, {named_size(size)}, seed {seed}", oracle.miou, max(oracle.alone), picks])
    head = ("network", "mIoU, best field at each location", "best field everywhere", "picked, by field")
    note = "The field of the least true loss at each location, which no net can choose better."
    return [Table("What would a perfect choice reach?", head, rows, note)] if rows else []


def field_methods(config: ComparisonConfig) -> Sequence[Method]:
    """A network for each field of view alone, which predicts all of what it sees (arXiv 2020, 3.1)."""
    return [
        Method(
            f"width-{width}",
            (*FOVEATION, f"foveation.bank=[{width}]", "foveation.estimator=fixed", *thumbnail_for(config)),
            float(width),
        )
        for width in bank_of(config)
    ]


TABLE = Study(
    name="foveation",
    title="Foveation",
    question="Does choosing or blending fields of view, place by place, beat each of them alone?",
    source="arXiv 2020, Table 2",
    methods=methods_of_fields,
    measure=measure_of_fields,
)

FIELDS = Study(
    name="fields-of-view",
    title="Field of view against resolution",
    question="At a fixed number of pixels a patch, how wide should it look, class by class?",
    source="arXiv 2020, 3.1 and Fig. 2; MICCAI 2020, 2.1",
    methods=field_methods,
    value_name="width of the field of view, pixels",
    log_value=True,
)


Map = NDArray[np.float32]
"""(h, w) of a thumbnail: 0 the smallest field of view, 1 the widest."""


@dataclass(frozen=True)
class MapComparison:
    """How near the learned fields of view are to those that served best.

    Attributes:
        mse: for each run, the mean squared error of its map to the gold standard, one an image.
        mse_best: the same to the map of the best field at each place, which is less even.
        stems: of the images.
    """

    mse: Mapping[str, Sequence[float]]
    mse_best: Mapping[str, Sequence[float]]
    stems: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """Means and standard deviations over the images, and each image's."""
        return {
            "mse": {name: _spread(values) for name, values in self.mse.items()},
            "mse_best": {name: _spread(values) for name, values in self.mse_best.items()},
            "by_image": {name: list(values) for name, values in self.mse.items()},
            "stems": list(self.stems),
        }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "mean": statistics.mean(values),
        "deviation": statistics.stdev(values) if len(values) > 1 else 0.0,
    }


def compare_maps(
    fixed: Sequence[Segmenter], learned: Mapping[str, Segmenter], samples: Iterable[Sample], classes: int
) -> MapComparison:
    """Squared errors of the foveation maps of ``learned`` to what the ``fixed`` baselines say.

    Args:
        fixed: the fixed baselines in the order of the bank.
        learned: runs with a foveation net of the same bank, by name.
        samples: labelled images.
        classes: K.

    Raises:
        InvalidInput: without images.
    """
    mse: dict[str, list[float]] = {name: [] for name in learned}
    best: dict[str, list[float]] = {name: [] for name in learned}
    stems = []
    for sample in samples:
        gold, nearest = gold_standard(fixed, sample, classes)
        stems.append(sample.stem)
        for name, segmenter in learned.items():
            mapped = foveation_map(segmenter, sample)
            mse[name].append(float(np.square(mapped - gold).mean()))
            best[name].append(float(np.square(mapped - nearest).mean()))
    if not stems:
        raise InvalidInput("images", "at least one", "none")
    return MapComparison(mse, best, stems)


@torch.no_grad()
def foveation_map(segmenter: Segmenter, sample: Sample) -> Map:
    """The expected field of view at every pixel of the thumbnail, 0 the smallest, 1 the widest."""
    with evaluating(segmenter) as twin:
        sampler = _sampler_of(twin)
        foveation = sampler.foveate(twin.view(sample.pyramid)).foveation
    if foveation.probabilities is None:
        expected = (foveation.weights @ _normal(sampler.bank)).view(foveation.lattice.shape)
        size = foveation.lattice.thumbnail
        return F.interpolate(expected[None, None], size, mode="nearest")[0, 0].numpy()
    return torch.einsum("dhw,d->hw", foveation.probabilities[0], _normal(sampler.bank)).numpy()


def gold_standard(fixed: Sequence[Segmenter], sample: Sample, classes: int) -> tuple[Map, Map]:
    """What the fixed baselines say of an image: the fields of view weighed by the local mIoU of each, and
    that of the best one (of equal ones the smallest), both 0 to 1.

    The local mIoU is that of the labels in the smallest field of view around a place, over the classes there.
    """
    sampler = _sampler_of(fixed[0])
    scores = []
    for segmenter in fixed:
        predicted = segmenter.predict(sample.pyramid).view(sample.labels.shape)
        scores.append(local_miou(predicted[0], sample.labels[0], classes, sampler))
    quality = torch.stack(scores)
    normal = _normal(sampler.bank)
    total = quality.sum(0)
    even = torch.full_like(total, float(normal.mean()))
    weighed = torch.einsum("dhw,d->hw", quality, normal) / total.clamp_min(1e-12)
    return torch.where(total > 0, weighed, even).numpy(), normal[quality.argmax(0)].numpy()


def local_miou(predicted: Tensor, truth: Tensor, classes: int, sampler: FoveationSampler) -> Tensor:
    """(h, w) float32 mIoU of labels (H, W) in the smallest field of view around each thumbnail pixel."""
    size = truth.shape[0], truth.shape[1]
    counted = truth != 255
    windows = [_window(axis, size, sampler) for axis in (0, 1)]
    total, present = torch.zeros(thumbnail_size(size, sampler.shrink)), torch.zeros(1)
    for k in range(classes):
        pred, true = (predicted == k) & counted, truth == k
        union = _boxes(pred | true, windows)
        total = total + torch.where(union > 0, _boxes(pred & true, windows) / union.clamp_min(1), 0.0)
        present = present + (union > 0)
    return total / present.clamp_min(1)


def _window(axis: int, size: tuple[int, int], sampler: FoveationSampler) -> tuple[Tensor, Tensor]:
    """First pixel, and the one after the last, of the smallest field around each thumbnail pixel."""
    count = thumbnail_size(size, sampler.shrink)[axis]
    middle, half = centres_of(np.arange(count), count, size[axis]), sampler.fields[0][axis] / 2
    low = np.ceil(middle - half).clip(0, size[axis] - 1)
    high = np.floor(middle + half).clip(0, size[axis] - 1) + 1
    return torch.from_numpy(low).long(), torch.from_numpy(high).long()


def _boxes(marked: Tensor, windows: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """How many pixels of (H, W) are marked in each window."""
    counts = marked.to(torch.int32).cumsum(0, dtype=torch.int32).cumsum(1, dtype=torch.int32)
    summed = F.pad(counts, (1, 0, 1, 0))
    (top, bottom), (left, right) = windows
    rows = summed[bottom] - summed[top]
    return (rows[:, right] - rows[:, left]).float()


def _normal(bank: Sequence[float]) -> Tensor:
    """(D,) widths brought to 0 for the smallest and 1 for the widest; 0 for a single one."""
    widths = torch.tensor(bank, dtype=torch.float32)
    return (widths - widths[0]) / (widths[-1] - widths[0]).clamp_min(1e-12)


@dataclass(frozen=True)
class StrideScore:
    """A run, predicted with one stride.

    Attributes:
        stride: in pixels of the thumbnail.
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
        return [asdict(score) for score in self.scores]


def stride_study(
    segmenter: Segmenter, samples: Iterable[Sample], classes: ClassTable, strides: Sequence[int]
) -> StrideScores:
    """Predicts the images with each stride and scores them.

    Args:
        segmenter: with a foveation sampler; its own stride is afterwards as it was.
        samples: labelled images.
        classes: of the labels.
        strides: in pixels of the thumbnail.

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
        StrideScore(stride, miou(counted), locations[stride] / images, seconds[stride] / images)
        for stride, counted in counts.items()
    ])  # fmt: skip


@contextmanager
def strided(segmenter: Segmenter, stride: int) -> Iterator[FoveationSampler]:
    """The sampler with another stride inside."""
    sampler = _sampler_of(segmenter)
    own, sampler.stride = sampler.stride, stride
    try:
        yield sampler
    finally:
        sampler.stride = own


STRIDES = (2, 4, 8, 16, 32)


def measure_of_stride(config: ComparisonConfig, outcomes: Sequence[Outcome]) -> Sequence[Block]:
    """Each trained method at its own stride and the others, and the seconds that each takes."""
    rows: list[list[Cell]] = []
    curves = []
    for outcome in outcomes:
        if outcome.evaluation is None:
            continue
        segmenter = config.runs.get(outcome.folder).segmenter
        strides = sorted({*STRIDES, _sampler_of(segmenter).stride})
        scores = stride_study(segmenter, config.samples(), config.data.classes, strides).scores
        rows += [
            [outcome.trial.name, score.stride, score.miou, score.locations, score.seconds] for score in scores
        ]
        curves.append(
            Curve(outcome.trial.name, [score.stride for score in scores], [score.miou for score in scores])
        )
    head = ("run", "stride", "mIoU", "locations an image", "seconds an image")
    return [
        Chart("mIoU over the stride", "stride, pixels of the thumbnail", "mIoU", curves[:8], log_x=True),
        Table("Sensitivity to the stride of a prediction", head, rows, "Strides with gaps are left out."),
    ]


FOVEATION_STRIDE = Study(
    name="foveation-stride",
    title="The stride of a foveated prediction",
    question="How closely must the locations lie at which an image is looked at?",
    source="arXiv 2020, B.5",
    methods=lambda config: [
        one for one in methods_of_fields(config) if one.name in ("fixed0", "mean", "mode", "gumbel")
    ],
    measure=measure_of_stride,
)
