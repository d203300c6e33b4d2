"""Foveation trained: its options, the locations drawn, a gradient to both nets."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saccade.errors import InvalidInput, all_at_least, at_least, one_of
from saccade.grids.uniform import BORDERS
from saccade.losses import LossConfig, resolved_weights
from saccade.runtime.seeds import seed_of
from saccade.samplers.base import TrainingSample
from saccade.samplers.foveation import FoveationSampler, blend
from saccade.samplers.foveation_choice import (
    ESTIMATORS,
    READINGS,
    Choice,
    FieldEnsemble,
    choose_blindly,
    choose_in_training,
    expected_regret,
    temperature_at,
)
from saccade.samplers.foveation_lattice import Places, centres_of, thumbnail_size, to_unit
from saccade.samplers.foveation_maps import FieldMaps, field_maps
from saccade.samplers.recipe import (
    Augmented,
    Model,
    Recipe,
    StepInfo,
    TrainingData,
    TrainingMaps,
    register,
)
from saccade.warp import sample as sample_at
from saccade.warp.stitch import WINDOWS

CHOICE, LOCATIONS = 2, 3
"""What the seeds of a step's choices, and of an epoch's locations, have behind those of other draws."""


@dataclass(frozen=True)
class FoveationConfig:
    """The section ``foveation``: options of foveation (arXiv / MICCAI 2020).

    ``sampler.size`` is the patch that the network sees.

    Attributes:
        bank: widths of the fields of view in pixels of the image, increasing; their heights are in proportion
            to the patch. Default five, from the patch to as much as the smallest training image holds.
        shrink: pixels of the image that a pixel of the thumbnail stands for, along an axis.
        estimator: mean, mode, gumbel or reinforce; regret (the net is taught what every field costs); or a
            baseline: fixed, random, average or ensemble.
        field: which field of view the fixed baseline takes, from 0.
        members: run folders of the fixed baselines, one for each field of view: what an ensemble is put
            together from, without training.
        reading: aligned (the output stands for the patch that was fed), or published (always for the
            smallest field of view).
        border: reflect, zero or edge: what a patch sees beyond the image.
        locations: drawn from each image of a batch in a step.
        visits: how often an epoch comes to each image; no location is drawn twice in an epoch.
        stride: between the locations of a prediction, in pixels of the thumbnail; default half the smallest
            field of view.
        window: uniform or smooth: weights of a prediction inside its patch, where predictions overlap.
        channels: of the foveation net's 3x3 layers, before its D outputs.
        temperature: (first, last) of the Gumbel-softmax over the training.
        draw: "rarity" draws locations near rare classes more often (1 / sqrt of the share of pixels), or one
            weight a class; default all alike.
    """

    bank: tuple[int, ...] | None = None
    shrink: int = 16
    estimator: str = "mode"
    field: int = 0
    members: tuple[str, ...] | None = None
    reading: str = "aligned"
    border: str = "reflect"
    locations: int = 4
    visits: int = 8
    stride: int | None = None
    window: str = "smooth"
    channels: tuple[int, ...] = (40, 40)
    temperature: tuple[float, float] = (1.0, 0.1)
    draw: str | tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        all_at_least("foveation.bank", self.bank, 1)
        if self.bank is not None and any(a >= b for a, b in pairwise(self.bank)):
            raise InvalidInput("foveation.bank", "fields of view that increase", self.bank)
        one_of("foveation.estimator", self.estimator, ESTIMATORS)
        one_of("foveation.reading", self.reading, READINGS)
        one_of("foveation.border", self.border, BORDERS)
        one_of("foveation.window", self.window, WINDOWS)
        all_at_least("foveation.channels", self.channels, 1)
        for name in ("locations", "visits", "shrink", "stride"):
            at_least(f"foveation.{name}", getattr(self, name), 1)
        at_least("foveation.field", self.field, 0)
        self._require_members()
        if not 0 < self.temperature[1] <= self.temperature[0]:
            raise InvalidInput("foveation.temperature", "two numbers above 0 that fall", self.temperature)
        if isinstance(self.draw, str):
            one_of("foveation.draw", self.draw, ("rarity",))
        else:
            all_at_least("foveation.draw", self.draw, 0)

    def _require_members(self) -> None:
        if (self.estimator == "ensemble") == (self.members is not None):
            return
        fix = "train one run for each foveation.field with foveation.estimator=fixed, then list them"
        got = f"foveation.estimator={self.estimator}, {'none' if self.members is None else 'some'} given"
        raise InvalidInput("foveation.members", "run folders, for an ensemble and nothing else", got, fix)


class FoveationStep:
    """Losses of a batch, as published (arXiv 2020, 3.2, A.2 and Algorithm 1).

    Args:
        options: resolved.
        loss: that is minimised at the locations.
        seed: of the training.
    """

    def __init__(self, options: FoveationConfig, loss: LossConfig, seed: int) -> None:
        self.options, self.loss, self.seed = options, loss, seed
        weights = None if isinstance(self.options.draw, str) else self.options.draw
        self.locations = Places(self.options.locations, weights)
        self._thumbnails: dict[str, Tensor] = {}

    def __call__(
        self, segmenter: Model, batch: Sequence[TrainingSample], augmentation: Augmented, step_info: StepInfo
    ) -> tuple[Tensor, Tensor]:
        """The segmentation loss of the drawn locations, and what else the net learns from (REINFORCE)."""
        sampler: FoveationSampler = segmenter.sampler
        drawn = [self._drawn(sampler, sample, step_info) for sample in batch]
        choice = self._choice(segmenter, batch, drawn, augmentation, step_info)
        counts = [len(locations) for locations in drawn]
        owner = torch.arange(len(batch)).repeat_interleave(torch.tensor(counts))
        if choice.log_probabilities is not None:
            taught = self._regret(segmenter, batch, drawn, augmentation, choice.log_probabilities)
        patches, labels = [], []
        for n, (sample, weights) in enumerate(zip(batch, choice.weights.split(counts), strict=True)):
            pixels, target = self._read(segmenter, sample, drawn[n], augmentation.flipped[n], weights)
            patches.append(blend(pixels, weights.to(pixels.device)))
            labels.append(target)
        scores = segmenter.score(augmentation.of(owner.tolist()).colour_jitter(torch.cat(patches)))
        scores = sampler.reading(scores, choice.weights.to(scores.device))
        segmentation, extra = self._losses(scores, torch.cat(labels).to(scores.device), choice)
        return segmentation, extra if choice.log_probabilities is None else taught

    def _regret(
        self,
        segmenter: Model,
        batch: Sequence[TrainingSample],
        drawn: Sequence[Tensor],
        augmentation: Augmented,
        log_probabilities: Tensor,
    ) -> Tensor:
        """The expected regret of the net, from the losses of all fields as the network is now."""
        sampler: FoveationSampler = segmenter.sampler
        fields = len(sampler.bank)
        losses = torch.zeros(log_probabilities.shape)
        with torch.no_grad(), _in_evaluation_mode(segmenter):
            for field in range(fields):
                patches, labels = [], []
                for n, (sample, places) in enumerate(zip(batch, drawn, strict=True)):
                    fed = F.one_hot(torch.full((len(places),), field), fields).float()
                    pixels, target = self._read(segmenter, sample, places, augmentation.flipped[n], fed)
                    patches.append(pixels[:, 0])
                    labels.append(target)
                scores = segmenter.score(torch.cat(patches))
                fed = F.one_hot(torch.full((len(scores),), field), fields).float()
                scores = sampler.reading(scores, fed.to(scores.device))
                pairs = zip(scores.split(1), torch.cat(labels).to(scores.device).split(1), strict=True)
                losses[:, field] = torch.stack([self.loss(*pair) for pair in pairs])
        return expected_regret(log_probabilities, losses.to(log_probabilities))

    def _drawn(self, sampler: FoveationSampler, sample: TrainingSample, step_info: StepInfo) -> Tensor:
        """(B, 2) rows and columns of the thumbnail, none twice in an epoch."""
        size = thumbnail_size(sample.size, sampler.shrink)
        seed = seed_of(self.seed, step_info.epoch, zlib.crc32(sample.stem.encode()), LOCATIONS)
        visit = step_info.step // max(1, step_info.steps // self.options.visits)
        return self.locations.of(sample, size, sampler.fields[0], visit, seed)

    def _choice(
        self,
        segmenter: Model,
        batch: Sequence[TrainingSample],
        drawn: Sequence[Tensor],
        augmentation: Augmented,
        step_info: StepInfo,
    ) -> Choice:
        sampler: FoveationSampler = segmenter.sampler
        generator = torch.Generator().manual_seed(
            seed_of(self.seed, step_info.epoch, step_info.step, step_info.rank, CHOICE)
        )
        if sampler.net is None:
            count = sum(len(locations) for locations in drawn)
            return Choice(
                choose_blindly(count, len(sampler.bank), sampler.estimator, sampler.field, generator)
            )
        log_probabilities = torch.cat(self._log_probabilities(segmenter, sampler, batch, drawn, augmentation))
        step = step_info.epoch * step_info.steps + step_info.step
        temperature = temperature_at(step, step_info.steps * step_info.epochs, *self.options.temperature)
        return choose_in_training(log_probabilities, sampler.estimator, generator, temperature)

    def _log_probabilities(
        self,
        segmenter: Model,
        sampler: FoveationSampler,
        batch: Sequence[TrainingSample],
        drawn: Sequence[Tensor],
        augmentation: Augmented,
    ) -> list[Tensor]:
        """(B, D) at the drawn locations of each image; images of sample size go through the net together."""
        assert sampler.net is not None
        thumbnails = [self._thumbnail(segmenter, sample) for sample in batch]
        alike = len({thumbnail.shape for thumbnail in thumbnails}) == 1
        device = segmenter.mean.device
        groups = [list(range(len(batch)))] if alike else [[n] for n in range(len(batch))]
        maps: list[Tensor] = []
        for group in groups:
            part = augmentation.of(group)
            seen = part.colour_jitter(part.flip(torch.cat([thumbnails[n] for n in group])))
            maps += list(sampler.net(seen.to(device)))
        probabilities = []
        for n, locations in enumerate(drawn):
            rows, columns = self._flipped(locations, augmentation.flipped[n], maps[n].shape[1:]).T
            probabilities.append(maps[n][:, rows, columns].T)
        return probabilities

    @staticmethod
    def _flipped(places: Tensor, flipped: Tensor, size: Sequence[int]) -> Tensor:
        """Where places (B, 2) of a thumbnail are once it is flipped (along x, along y)."""
        last = torch.tensor([size[0] - 1, size[1] - 1])
        return torch.where(flipped.flip(0), last - places, places)

    def _thumbnail(self, segmenter: Model, sample: TrainingSample) -> Tensor:
        """(1, 3, h, w) normalised; read once where the image is always the same."""
        kept = None if sample.varied else self._thumbnails.get(sample.stem)
        if kept is None:
            kept = segmenter.thumbnail([sample.pyramid])
            assert kept is not None  # only asked for where there is a net
            if not sample.varied:
                self._thumbnails[sample.stem] = kept
        return kept

    def _read(
        self, segmenter: Model, sample: TrainingSample, drawn: Tensor, flipped: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Patches (B, D, 3, h, w) of the flipped image, D = 1 where only the chosen one matters, and labels
        (B, h, w) of the smallest field of view."""
        sampler: FoveationSampler = segmenter.sampler
        sign = 1 - 2 * flipped.double()
        chosen = None if weights.requires_grad else sampler.fed(weights)
        places = places_of(drawn, sample.size, sampler.shrink) * sign
        grids, inside = sampler.fields_at(places, sample.size, chosen)
        pixels = sample_at(sample.pyramid, grids.flatten(0, 1) * sign.float(), antialias=segmenter.antialias)
        pixels = segmenter.normalise(pixels, [sample.pyramid]).unflatten(0, grids.shape[:2])
        smallest, seen = sampler.fields_at(places, sample.size, torch.zeros(len(places), dtype=torch.int64))
        labels = sample_at(sample.labels, smallest[:, 0] * sign.float(), mode="nearest")
        if sampler.border == "zero":
            pixels = pixels * inside[:, :, None].to(pixels.device)
            labels = labels.masked_fill(~seen[:, 0], 255)
        return pixels, labels

    def _losses(self, scores: Tensor, labels: Tensor, choice: Choice) -> tuple[Tensor, Tensor]:
        segmentation = self.loss(scores, labels)
        if choice.log_probability is None:
            return segmentation, segmentation.new_zeros(())
        each = [self.loss(*pair) for pair in zip(scores.detach().split(1), labels.split(1), strict=True)]
        losses = torch.stack(each)
        return segmentation, (advantage(losses) * choice.log_probability.to(losses.device)).mean()


@contextmanager
def _in_evaluation_mode(model: Any) -> Iterator[None]:
    """Batch norm does not learn from what is only measured."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def places_of(drawn: Tensor, size: tuple[int, int], shrink: int) -> Tensor:
    """Rows and columns (B, 2) of the thumbnail to (x, y) in [-1, 1] of the image (H, W), float64."""
    thumbnail = thumbnail_size(size, shrink)
    y, x = (
        to_unit(centres_of(drawn[:, axis].numpy(), thumbnail[axis], size[axis]), size[axis])
        for axis in (0, 1)
    )
    return torch.stack([torch.from_numpy(x), torch.from_numpy(y)], 1)


def advantage(losses: Tensor) -> Tensor:
    """(N,) each loss less the mean of the others, a baseline that leaves REINFORCE without bias."""
    if len(losses) == 1:
        return torch.zeros_like(losses)
    return (losses - losses.mean()) * len(losses) / (len(losses) - 1)


FIELDS = 5
"""Fields of view in a bank where none is given, as published."""


def default_bank(patch: tuple[int, int], sizes: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """Five widths in pixels, in equal proportions, from the patch's own to what the smallest image holds.

    Raises:
        InvalidInput: when the images are hardly larger than the patch.
    """
    widest = min(min(width, height * patch[1] // patch[0]) for height, width in sizes)
    steps = torch.logspace(0, 1, FIELDS, base=max(1.0, widest / patch[1]), dtype=torch.float64)
    bank = tuple(round(patch[1] * step) for step in steps.tolist())
    if len(set(bank)) < FIELDS:
        fix = "choose a smaller sampler.size, or give foveation.bank"
        expected = f"larger than the patch of {patch[0]} x {patch[1]}"
        raise InvalidInput("training images", expected, f"one that holds a width of {widest}", fix)
    return bank


@register
class FoveationRecipe(Recipe[FoveationConfig]):
    """Many patches an image; both nets learn together, step by step its own way."""

    name = "foveation"
    options_class = FoveationConfig
    members_fix = "list the fixed baselines in the order of the bank"
    may_idle = True

    def check(self) -> None:
        if self.shared.fit:
            fix = "its patches have one size, whatever the image's"
            raise InvalidInput("sampler.fit", "false for foveation", "true", fix)

    def build(self) -> FoveationSampler:
        options = self.own
        if options.bank is None:
            raise InvalidInput("foveation.bank", "resolved before the sampler is built", "none")
        if self.shared.thumbnail is not None:
            fix = "leave sampler.thumbnail out"
            raise InvalidInput("the thumbnail", "given as foveation.shrink", self.shared.thumbnail, fix)
        return FoveationSampler(
            self.shared.size,
            options.bank,
            shrink=options.shrink,
            estimator=options.estimator,
            field=options.field,
            reading=options.reading,
            border=options.border,
            stride=options.stride,
            window=options.window,
            channels=options.channels,
            bands=self.bands,
        )

    def resolve(self, data: TrainingData, member: FoveationConfig | None = None) -> FoveationConfig:
        """Bank and weights as numbers.

        Raises:
            InvalidInput: when the training images are too small for a bank, the field is not in it, there
                are more or fewer members than fields, or the locations of a prediction would leave gaps.
        """
        options, draw = self.own, resolved_weights("foveation.draw", self.own.draw, data)
        bank = options.bank if member is None else member.bank
        bank = bank or default_bank(self.shared.size, data.sizes("train"))
        if options.field >= len(bank):
            raise InvalidInput("foveation.field", f"from 0 to {len(bank) - 1}", options.field)
        options = replace(options, bank=bank, draw=draw)
        if options.members is None:
            _require_no_gaps(self.shared.size, options, data)
        elif len(options.members) != len(bank):
            expected = f"one run for each of the {len(bank)} fields of view"
            raise InvalidInput("foveation.members", expected, f"{len(options.members)}")
        return options

    def network(self, first: nn.Module, another: Callable[[], nn.Module]) -> nn.Module:
        if self.own.estimator != "ensemble":
            return first
        return FieldEnsemble([first, *(another() for _ in (self.own.bank or ())[1:])])

    def training_step(self, loss: LossConfig, seed: int) -> FoveationStep:
        return FoveationStep(self.own, loss, seed)

    @property
    def visits(self) -> int:
        return self.own.visits

    @property
    def glimpses(self) -> int:
        return self.own.locations

    def callbacks(self, root: Path) -> list[Any]:
        from lightning.pytorch.callbacks import LambdaCallback

        return [LambdaCallback(on_validation_batch_start=FieldMaps(root))]

    def training_maps(self, root: Path) -> TrainingMaps | None:
        note = "The expected field of view in the first validation image, light where it is wide."
        maps = field_maps(root, self.own.bank or ())
        return TrainingMaps("Fields of view", note, maps) if maps else None

    @property
    def members(self) -> tuple[str, ...]:
        return self.own.members or ()

    def refusal(self, member: Recipe[Any], first: Recipe[Any], number: int) -> tuple[str, str] | None:
        estimator = getattr(member.own, "estimator", "none")
        if not isinstance(member, FoveationRecipe) or estimator != "fixed":
            return "a fixed baseline of foveation", f"{member.name}, {estimator}"
        if member.own.field != number:
            return f"the baseline of field {number}", f"that of field {member.own.field}"
        if replace(member.own, field=0) != replace(first.own, field=0):
            return "the options of the first member", "others"
        return None

    def joined(self, first: FoveationConfig) -> FoveationConfig:
        paths = tuple(str(Path(member).resolve()) for member in self.members)
        return replace(first, estimator="ensemble", field=0, members=paths)


def _require_no_gaps(patch: tuple[int, int], options: FoveationConfig, data: TrainingData) -> None:
    """Refuses, before anything is trained, locations whose predictions would leave pixels out."""
    bank = options.bank or ()
    sampler = FoveationSampler(patch, bank, shrink=options.shrink, estimator="fixed", stride=options.stride)
    for size in sorted({size for split in ("train", "val") for size in data.sizes(split)}):
        sampler.lattice(size)
