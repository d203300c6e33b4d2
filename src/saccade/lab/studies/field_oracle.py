"""The oracle of foveation: at every location the field of view with which the network errs least.

It splits what foveation loses into the choice (the learned field of view beside the best one) and the
network (one over all fields beside one for each). It is the best choice in the mean cross-entropy of each
location; of trained networks it is far above every field alone in mIoU too, of untrained ones it need not be.
Where patches overlap their answers are blended, so the bound is one of locations, not of pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from saccade.data import ClassTable
from saccade.data.cache import Sample
from saccade.errors import InvalidInput
from saccade.metrics import confusion_matrix, iou, miou
from saccade.networks.evaluation_mode import evaluating
from saccade.samplers import FoveationSampler
from saccade.samplers.foveation import ROWS_AT_ONCE, FoveatedImage
from saccade.samplers.foveation_choice import BLENDS
from saccade.segmenter import Segmenter
from saccade.warp import sample as sample_at

IGNORED = 255


class OracleChoice(FoveatedImage):
    """An image, segmented with the best field of view at each location, which only its labels tell.

    Args:
        images: D of the same image, the n-th fed with the n-th field of view at every location, by one
            network or by a network each.
        labels: (1, H, W) uint8 class ids, 255 ignored.

    Attributes:
        picks: (D,) int64, how often each field was the best; locations without a counted pixel are left out.
    """

    def __init__(self, images: Sequence[FoveatedImage], labels: Tensor) -> None:
        super().__init__(images[0].sampler, images[0].image, images[0].foveation)
        self.images, self.labels = images, labels
        self.picks = torch.zeros(len(images), dtype=torch.int64)

    def row(self, number: int) -> Tensor:
        """(C, h, w, K) float32 probabilities of a row of locations, each of the field of least loss."""
        each = torch.stack([image.row(number) for image in self.images])
        losses, counted = self._losses(each, self.foveation.lattice.places[number])
        best = losses.argmin(0)
        self.picks += torch.bincount(best[counted], minlength=len(self.images))
        return each[best, torch.arange(len(best))]

    def _losses(self, each: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """(D, C) mean cross-entropy over the counted pixels of the smallest field; (C,) whether any is."""
        smallest = torch.zeros(len(places), dtype=torch.int64)
        grids, inside = self.sampler.fields_at(places, self.size, smallest)
        truth = sample_at(self.labels, grids[:, 0], mode="nearest").long()
        truth = truth.masked_fill(~inside[:, 0], IGNORED)
        counted = truth != IGNORED
        target = truth.where(counted, torch.zeros_like(truth))[None, ..., None].expand(*each.shape[:-1], 1)
        losses = -each.gather(-1, target)[..., 0].clamp_min(1e-12).log()
        pixels = counted.flatten(1).sum(1)
        return (losses * counted).flatten(2).sum(2) / pixels.clamp_min(1), pixels > 0


@dataclass(frozen=True)
class OracleScores:
    """What a perfect choice of the field of view would score.

    Attributes:
        miou: at full resolution, counts pooled over the images.
        iou: (K,) by class; None for one that is in neither labels nor prediction.
        picks: (D,) share of the locations at which each field of view was the best.
        alone: (D,) mIoU of each field of view fed everywhere.
    """

    miou: float
    iou: Sequence[float | None]
    picks: Sequence[float]
    alone: Sequence[float]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@torch.no_grad()
def field_oracle(
    segmenters: Sequence[Segmenter], samples: Iterable[Sample], classes: ClassTable
) -> OracleScores:
    """Segments the images with the best field of view at each location, and with each of them everywhere.

    Args:
        segmenters: with foveation samplers of one bank: a single one, whose network is fed with every field
            ("random", "mode", "gumbel"); or D, the n-th the fixed baseline of the n-th field.
        samples: labelled images.
        classes: of the labels.

    Raises:
        InvalidInput: without images, for a network that is fed a blend of fields, or where the number of
            segmenters is neither 1 nor that of the fields.
    """
    sampler = cast(FoveationSampler, segmenters[0].sampler)
    fields = len(sampler.bank)
    if len(segmenters) not in (1, fields):
        raise InvalidInput("segmenters", f"1, or {fields}, one for each field of view", len(segmenters))
    if sampler.estimator in BLENDS:
        raise InvalidInput("the estimator", "one that feeds one field a location", repr(sampler.estimator))
    oracle = torch.zeros(len(classes), len(classes), dtype=torch.int64)
    alone = [oracle.clone() for _ in range(fields)]
    picks = torch.zeros(fields, dtype=torch.int64)
    images = 0
    for sample in samples:
        images += 1
        each = [fed_with(segmenters[min(n, len(segmenters) - 1)], n, sample) for n in range(fields)]
        choice = OracleChoice(each, sample.labels)
        for counts, image in zip([oracle, *alone], [choice, *each], strict=True):
            predicted = np.concatenate([strip.labels for strip in image.strips(ROWS_AT_ONCE)])
            counts += confusion_matrix(
                torch.from_numpy(predicted)[None], sample.labels, len(classes), IGNORED
            )
        picks += choice.picks
    if not images:
        raise InvalidInput("images", "at least one", "none")
    shares = (picks / picks.sum().clamp_min(1)).tolist()
    by_class = [None if np.isnan(value) else value for value in iou(oracle).tolist()]
    return OracleScores(miou(oracle), by_class, shares, [miou(one) for one in alone])


def fed_with(segmenter: Segmenter, field: int, sample: Sample) -> FoveatedImage:
    """The image with one field of view at every location."""
    with evaluating(segmenter) as twin:
        sampler = cast(FoveationSampler, twin.sampler)
        glimpses = sampler.foveate(twin.view(sample.pyramid))
    weights = F.one_hot(torch.full((glimpses.count,), field), len(sampler.bank)).float()
    return FoveatedImage(sampler, glimpses.image, replace(glimpses.foveation, weights=weights))
