"""A step of foveation training: B locations from each of L images, joint gradient to both nets."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saccade.data.cache import Sample
from saccade.losses import segmentation_loss
from saccade.samplers import FoveationSampler
from saccade.samplers.foveation_choice import Choice, choose_blindly, choose_in_training, temperature_at
from saccade.samplers.foveation_image import blend
from saccade.samplers.foveation_lattice import centres_of, overview_size, to_unit
from saccade.segmenter import Segmenter
from saccade.training.augment import Augmentation
from saccade.training.config import Config
from saccade.training.foveation_places import Places
from saccade.training.seeds import seed_of
from saccade.warp import sample as sample_at

CHOICE, PLACES = 2, 3
"""What the seeds of a step's choices, and of an epoch's locations, have behind those of other draws."""


@dataclass(frozen=True)
class Moment:
    """When a step is.

    Attributes:
        epoch, step: from 0; the step within the epoch.
        steps: of an epoch.
        epochs: of the training.
        rank: of the process.
    """

    epoch: int
    step: int
    steps: int
    epochs: int
    rank: int = 0


class FoveationStep:
    """Losses of a batch, as published (arXiv 2020, 3.2, A.2 and Algorithm 1).

    Args:
        config: of the run, resolved.
    """

    def __init__(self, config: Config) -> None:
        self.config, self.options = config, config.foveation
        weights = None if isinstance(self.options.draw, str) else self.options.draw
        self.places = Places(self.options.locations, weights)
        self._overviews: dict[str, Tensor] = {}

    def __call__(
        self, segmenter: Segmenter, batch: Sequence[Sample], draw: Augmentation, moment: Moment
    ) -> tuple[Tensor, Tensor]:
        """The segmentation loss of the drawn locations, and what else teaches the net (REINFORCE)."""
        sampler = segmenter.sampler
        assert isinstance(sampler, FoveationSampler)
        drawn = [self._drawn(sampler, one, moment) for one in batch]
        choice = self._choice(segmenter, batch, drawn, draw, moment)
        owner = torch.arange(len(batch)).repeat_interleave(torch.tensor([len(some) for some in drawn]))
        fed, labels = [], []
        counts = [len(some) for some in drawn]
        for n, (one, weights) in enumerate(zip(batch, choice.weights.split(counts), strict=True)):
            pixels, truth = self._read(segmenter, one, drawn[n], draw.mirrored[n], weights)
            fed.append(blend(pixels, weights.to(pixels.device)))
            labels.append(truth)
        tint = draw.of(owner.tolist())
        scores = segmenter.score(tint.tint(torch.cat(fed)))
        scores = sampler.reading(scores, choice.weights.to(scores.device))
        return self._losses(scores, torch.cat(labels).to(scores.device), choice)

    def _drawn(self, sampler: FoveationSampler, one: Sample, moment: Moment) -> Tensor:
        """(B, 2) rows and columns of the overview, none twice in an epoch."""
        size = overview_size(one.size, sampler.shrink)
        seed = seed_of(self.config.training.seed, moment.epoch, zlib.crc32(one.stem.encode()), PLACES)
        visit = moment.step // max(1, moment.steps // self.options.visits)
        return self.places.of(one, size, sampler.fields[0], visit, seed)

    def _choice(
        self,
        segmenter: Segmenter,
        batch: Sequence[Sample],
        drawn: Sequence[Tensor],
        draw: Augmentation,
        moment: Moment,
    ) -> Choice:
        sampler = segmenter.sampler
        assert isinstance(sampler, FoveationSampler)
        options, seed = self.options, self.config.training.seed
        generator = torch.Generator().manual_seed(
            seed_of(seed, moment.epoch, moment.step, moment.rank, CHOICE)
        )
        if sampler.net is None:
            count = sum(len(some) for some in drawn)
            return Choice(
                choose_blindly(count, len(sampler.bank), sampler.estimator, sampler.field, generator)
            )
        found = torch.cat(self._log_probabilities(segmenter, sampler, batch, drawn, draw))
        step = moment.epoch * moment.steps + moment.step
        temperature = temperature_at(step, moment.steps * moment.epochs, *options.temperature)
        return choose_in_training(found, sampler.estimator, generator, temperature)

    def _log_probabilities(
        self,
        segmenter: Segmenter,
        sampler: FoveationSampler,
        batch: Sequence[Sample],
        drawn: Sequence[Tensor],
        draw: Augmentation,
    ) -> list[Tensor]:
        """(B, D) at the drawn places of each image; images of one size go through the net together."""
        assert sampler.net is not None
        overviews = [self._overview(segmenter, one) for one in batch]
        alike = len({one.shape for one in overviews}) == 1
        device = segmenter.mean.device
        groups = [list(range(len(batch)))] if alike else [[n] for n in range(len(batch))]
        maps: list[Tensor] = []
        for group in groups:
            part = draw.of(group)
            seen = part.tint(part.mirror(torch.cat([overviews[n] for n in group])))
            maps += list(sampler.net(seen.to(device)))
        return [
            found[:, rows, columns].T
            for found, (rows, columns) in (
                (maps[n], self._mirrored(some, draw.mirrored[n], maps[n].shape[1:]).T)
                for n, some in enumerate(drawn)
            )
        ]

    @staticmethod
    def _mirrored(places: Tensor, mirrored: Tensor, size: Sequence[int]) -> Tensor:
        """Where places (B, 2) of an overview are once it is mirrored (along x, along y)."""
        last = torch.tensor([size[0] - 1, size[1] - 1])
        return torch.where(mirrored.flip(0), last - places, places)

    def _overview(self, segmenter: Segmenter, one: Sample) -> Tensor:
        """(1, 3, h, w) normalised; read once where the image is always the same."""
        kept = None if one.varied else self._overviews.get(one.stem)
        if kept is None:
            kept = segmenter.overview([one.pyramid])
            assert kept is not None  # only asked for where there is a net
            if not one.varied:
                self._overviews[one.stem] = kept
        return kept

    def _read(
        self, segmenter: Segmenter, one: Sample, drawn: Tensor, mirrored: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Patches (B, D, 3, h, w) of the mirrored image, D = 1 where only the chosen one matters, and labels
        (B, h, w) of the smallest field of view."""
        sampler = segmenter.sampler
        assert isinstance(sampler, FoveationSampler)
        sign = 1 - 2 * mirrored.double()
        chosen = None if weights.requires_grad else sampler.fed(weights)
        places = places_of(drawn, one.size, sampler.shrink) * sign
        grids, inside = sampler.fields_at(places, one.size, chosen)
        pixels = sample_at(one.pyramid, grids.flatten(0, 1) * sign.float(), antialias=segmenter.antialias)
        pixels = segmenter.normalise(pixels, [one.pyramid]).unflatten(0, grids.shape[:2])
        smallest, seen = sampler.fields_at(places, one.size, torch.zeros(len(places), dtype=torch.int64))
        labels = sample_at(one.labels, smallest[:, 0] * sign.float(), mode="nearest")
        if sampler.border == "zero":
            pixels = pixels * inside[:, :, None].to(pixels.device)
            labels = labels.masked_fill(~seen[:, 0], 255)
        return pixels, labels

    def _losses(self, scores: Tensor, labels: Tensor, choice: Choice) -> tuple[Tensor, Tensor]:
        segmentation = self._loss(scores, labels)
        if choice.log_probability is None:
            return segmentation, segmentation.new_zeros(())
        each = [self._loss(*pair) for pair in zip(scores.detach().split(1), labels.split(1), strict=True)]
        losses = torch.stack(each)
        return segmentation, (advantage(losses) * choice.log_probability.to(losses.device)).mean()

    def _loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        options = self.config.loss
        weights = None if isinstance(options.class_weights, str) else options.class_weights
        return segmentation_loss(
            scores, labels, options.segmentation, focal_gamma=options.focal_gamma, class_weights=weights
        )


def places_of(drawn: Tensor, size: tuple[int, int], shrink: int) -> Tensor:
    """Rows and columns (B, 2) of the overview to (x, y) in [-1, 1] of the image (H, W), float64."""
    overview = overview_size(size, shrink)
    y, x = (
        to_unit(centres_of(drawn[:, axis].numpy(), overview[axis], size[axis]), size[axis]) for axis in (0, 1)
    )
    return torch.stack([torch.from_numpy(x), torch.from_numpy(y)], 1)


def advantage(losses: Tensor) -> Tensor:
    """(N,) each loss less the mean of the others, a baseline that leaves REINFORCE without bias."""
    if len(losses) == 1:
        return torch.zeros_like(losses)
    return (losses - losses.mean()) * len(losses) / (len(losses) - 1)
