"""Foveation maps beside the gold standard of the fixed baselines (arXiv 2020, 4.3, B.4 and Table 3)."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from saccade.data.cache import Sample
from saccade.errors import InvalidInput
from saccade.samplers import FoveationSampler
from saccade.samplers.foveation_lattice import centres_of, overview_size
from saccade.segmenter import Segmenter, evaluating

Map = NDArray[np.float32]
"""(h, w) of an overview: 0 the smallest field of view, 1 the widest."""


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
            found = foveation_map(segmenter, sample)
            mse[name].append(float(np.square(found - gold).mean()))
            best[name].append(float(np.square(found - nearest).mean()))
    if not stems:
        raise InvalidInput("images", "at least one", "none")
    return MapComparison(mse, best, stems)


@torch.no_grad()
def foveation_map(segmenter: Segmenter, sample: Sample) -> Map:
    """The expected field of view at every pixel of the overview, 0 the smallest, 1 the widest."""
    sampler = segmenter.sampler
    assert isinstance(sampler, FoveationSampler)
    with evaluating(segmenter):
        found = segmenter.foveate(sample.pyramid).found
    if found.probabilities is None:
        expected = (found.weights @ _normal(sampler.bank)).view(found.lattice.shape)
        size = found.lattice.overview
        return F.interpolate(expected[None, None], size, mode="nearest")[0, 0].numpy()
    return torch.einsum("dhw,d->hw", found.probabilities[0], _normal(sampler.bank)).numpy()


def gold_standard(fixed: Sequence[Segmenter], sample: Sample, classes: int) -> tuple[Map, Map]:
    """What the fixed baselines say of an image: the fields of view weighed by the local mIoU of each, and
    that of the best one (of equal ones the smallest), both 0 to 1.

    The local mIoU is that of the labels in the smallest field of view around a place, over the classes there.
    """
    sampler = fixed[0].sampler
    assert isinstance(sampler, FoveationSampler)
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
    """(h, w) float32 mIoU of labels (H, W) in the smallest field of view around each overview pixel."""
    size = truth.shape[0], truth.shape[1]
    counted = truth != 255
    windows = [_window(axis, size, sampler) for axis in (0, 1)]
    total, present = torch.zeros(overview_size(size, sampler.shrink)), torch.zeros(1)
    for k in range(classes):
        said, true = (predicted == k) & counted, truth == k
        union = _boxes(said | true, windows)
        total = total + torch.where(union > 0, _boxes(said & true, windows) / union.clamp_min(1), 0.0)
        present = present + (union > 0)
    return total / present.clamp_min(1)


def _window(axis: int, size: tuple[int, int], sampler: FoveationSampler) -> tuple[Tensor, Tensor]:
    """First pixel, and the one after the last, of the smallest field around each overview pixel."""
    count = overview_size(size, sampler.shrink)[axis]
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
