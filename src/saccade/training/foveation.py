"""Foveation in training: locations drawn, joint gradient to both nets, bank and ensemble, maps kept."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from saccade.data import DataFolder
from saccade.data.cache import Sample
from saccade.errors import FileProblem, InvalidInput
from saccade.losses import segmentation_loss
from saccade.runtime.files import write_file, writing
from saccade.samplers import FoveationSampler
from saccade.samplers.foveation import blend
from saccade.samplers.foveation_choice import Choice, choose_blindly, choose_in_training, temperature_at
from saccade.samplers.foveation_lattice import Places, centres_of, thumbnail_size, to_unit
from saccade.segmenter import Segmenter, evaluating
from saccade.training import run_folder as folder
from saccade.training.augment import Augmentation, seed_of
from saccade.training.config import Config, FoveationConfig
from saccade.training.run_folder import build_segmenter, training_images
from saccade.warp import sample as sample_at

CHOICE, PLACES = 2, 3
"""What the seeds of a step's choices, and of an epoch's locations, have behind those of other draws."""


@dataclass(frozen=True)
class StepInfo:
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
        self._thumbnails: dict[str, Tensor] = {}

    def __call__(
        self, segmenter: Segmenter, batch: Sequence[Sample], draw: Augmentation, step_info: StepInfo
    ) -> tuple[Tensor, Tensor]:
        """The segmentation loss of the drawn locations, and what else teaches the net (REINFORCE)."""
        sampler = segmenter.sampler
        assert isinstance(sampler, FoveationSampler)
        drawn = [self._drawn(sampler, one, step_info) for one in batch]
        choice = self._choice(segmenter, batch, drawn, draw, step_info)
        owner = torch.arange(len(batch)).repeat_interleave(torch.tensor([len(some) for some in drawn]))
        fed, labels = [], []
        counts = [len(some) for some in drawn]
        for n, (one, weights) in enumerate(zip(batch, choice.weights.split(counts), strict=True)):
            pixels, truth = self._read(segmenter, one, drawn[n], draw.flipped[n], weights)
            fed.append(blend(pixels, weights.to(pixels.device)))
            labels.append(truth)
        colour_jitter = draw.of(owner.tolist())
        scores = segmenter.score(colour_jitter.colour_jitter(torch.cat(fed)))
        scores = sampler.reading(scores, choice.weights.to(scores.device))
        return self._losses(scores, torch.cat(labels).to(scores.device), choice)

    def _drawn(self, sampler: FoveationSampler, one: Sample, step_info: StepInfo) -> Tensor:
        """(B, 2) rows and columns of the thumbnail, none twice in an epoch."""
        size = thumbnail_size(one.size, sampler.shrink)
        seed = seed_of(self.config.training.seed, step_info.epoch, zlib.crc32(one.stem.encode()), PLACES)
        visit = step_info.step // max(1, step_info.steps // self.options.visits)
        return self.places.of(one, size, sampler.fields[0], visit, seed)

    def _choice(
        self,
        segmenter: Segmenter,
        batch: Sequence[Sample],
        drawn: Sequence[Tensor],
        draw: Augmentation,
        step_info: StepInfo,
    ) -> Choice:
        sampler = segmenter.sampler
        assert isinstance(sampler, FoveationSampler)
        options, seed = self.options, self.config.training.seed
        generator = torch.Generator().manual_seed(
            seed_of(seed, step_info.epoch, step_info.step, step_info.rank, CHOICE)
        )
        if sampler.net is None:
            count = sum(len(some) for some in drawn)
            return Choice(
                choose_blindly(count, len(sampler.bank), sampler.estimator, sampler.field, generator)
            )
        found = torch.cat(self._log_probabilities(segmenter, sampler, batch, drawn, draw))
        step = step_info.epoch * step_info.steps + step_info.step
        temperature = temperature_at(step, step_info.steps * step_info.epochs, *options.temperature)
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
        thumbnails = [self._thumbnail(segmenter, one) for one in batch]
        alike = len({one.shape for one in thumbnails}) == 1
        device = segmenter.mean.device
        groups = [list(range(len(batch)))] if alike else [[n] for n in range(len(batch))]
        maps: list[Tensor] = []
        for group in groups:
            part = draw.of(group)
            seen = part.colour_jitter(part.flip(torch.cat([thumbnails[n] for n in group])))
            maps += list(sampler.net(seen.to(device)))
        return [
            found[:, rows, columns].T
            for found, (rows, columns) in (
                (maps[n], self._flipped(some, draw.flipped[n], maps[n].shape[1:]).T)
                for n, some in enumerate(drawn)
            )
        ]

    @staticmethod
    def _flipped(places: Tensor, flipped: Tensor, size: Sequence[int]) -> Tensor:
        """Where places (B, 2) of a thumbnail are once it is flipped (along x, along y)."""
        last = torch.tensor([size[0] - 1, size[1] - 1])
        return torch.where(flipped.flip(0), last - places, places)

    def _thumbnail(self, segmenter: Segmenter, one: Sample) -> Tensor:
        """(1, 3, h, w) normalised; read once where the image is always the same."""
        kept = None if one.varied else self._thumbnails.get(one.stem)
        if kept is None:
            kept = segmenter.thumbnail([one.pyramid])
            assert kept is not None  # only asked for where there is a net
            if not one.varied:
                self._thumbnails[one.stem] = kept
        return kept

    def _read(
        self, segmenter: Segmenter, one: Sample, drawn: Tensor, flipped: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Patches (B, D, 3, h, w) of the flipped image, D = 1 where only the chosen one matters, and labels
        (B, h, w) of the smallest field of view."""
        sampler = segmenter.sampler
        assert isinstance(sampler, FoveationSampler)
        sign = 1 - 2 * flipped.double()
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


def resolve_foveation(config: Config, data: DataFolder, draw: tuple[float, ...] | None) -> FoveationConfig:
    """The section foveation with bank and weights as numbers; as it is where another sampler is used.

    Raises:
        InvalidInput: when the training images are too small for a bank, the field is not in it, or the
            locations of a prediction would leave gaps.
    """
    options = config.foveation
    if config.sampler.name != "foveation":
        return options
    if options.members is not None:
        options = replace(options, bank=folder.open_config(Path(options.members[0]))[0].foveation.bank)
    bank = options.bank or default_bank(config.sampler.size, list(data.sizes("train")))
    if options.field >= len(bank):
        raise InvalidInput("foveation.field", f"from 0 to {len(bank) - 1}", options.field)
    options = replace(options, bank=bank, draw=draw)
    if options.members is None:
        _require_no_gaps(config.sampler.size, options, data)
    return options


def _require_no_gaps(patch: tuple[int, int], options: FoveationConfig, data: DataFolder) -> None:
    """Refuses, before anything is trained, locations whose predictions would leave pixels out."""
    bank = options.bank or ()
    sampler = FoveationSampler(patch, bank, shrink=options.shrink, estimator="fixed", stride=options.stride)
    for size in sorted({size for split in ("train", "val") for size in data.sizes(split)}):
        sampler.lattice(size)


def default_bank(patch: tuple[int, int], sizes: list[tuple[int, int]]) -> tuple[int, ...]:
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


def assemble(data: DataFolder, root: Path, config: Config) -> None:
    """Writes a run whose networks are those of trained runs, one for each field of view: nothing is trained.

    Raises:
        FileProblem: when a member is not the fixed baseline of its field, or was made otherwise.
    """
    bank, members = config.foveation.bank or (), config.foveation.members or ()
    if len(members) != len(bank):
        expected = f"one run for each of the {len(bank)} fields of view"
        raise InvalidInput("foveation.members", expected, f"{len(members)}")
    runs = [folder.load_run(member) for member in members]
    first = runs[0].config
    for field, run in enumerate(runs):
        _require_member(run, first, field)
        folder.require_classes(run, data.classes, data.path)
    paths = tuple(str(Path(member).resolve()) for member in members)
    together = replace(first.foveation, estimator="ensemble", field=0, members=paths)
    network = folder.without_pretrained(first).network
    made = replace(config, sampler=first.sampler, network=network, foveation=together)
    segmenter = build_segmenter(made, len(data.classes))
    for network, run in zip(segmenter.network.networks, runs, strict=True):  # type: ignore[arg-type]
        network.load_state_dict(run.segmenter.network.state_dict())
    saved = {
        "state_dict": {f"segmenter.{name}": value for name, value in segmenter.state_dict().items()},
        "epoch": max(run.epoch for run in runs) - 1,
        "training_images": training_images(data),
        folder.DATA: folder.record_of(data).to_json(),
        "callbacks": {"keep": {"best": None, "since_best": 0}},
    }
    with writing(root):
        folder.prepare(root, made, False, "cpu")
        for name in (folder.BEST, folder.LAST):
            folder.save_checkpoint(saved, root / folder.CHECKPOINTS / name)


def _require_member(run: folder.Run, first: Config, field: int) -> None:
    found = run.config
    same = replace(found.foveation, field=0) == replace(first.foveation, field=0)
    alike = found.sampler == first.sampler and found.network.name == first.network.name and same
    if found.sampler.name != "foveation" or found.foveation.estimator != "fixed":
        expected, got = "a fixed baseline of foveation", f"{found.sampler.name}, {found.foveation.estimator}"
    elif found.foveation.field != field:
        expected, got = f"the baseline of field {field}", f"that of field {found.foveation.field}"
    elif not alike:
        expected, got = "the options of the first member", "others"
    else:
        return
    raise FileProblem(run.path, expected, got, "list the fixed baselines in the order of the bank")


FOLDER = "foveation"
"""Of a run: epoch_NNNN.npy, (D, h, w) float16 probabilities of the fields of view in one validation image."""


class FieldMapsCallback(L.Callback):
    """Writes the probabilities of the first validation image after each validation.

    Args:
        root: the run folder.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER

    @torch.no_grad()
    def on_validation_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        segmenter = pl_module.segmenter
        assert isinstance(segmenter, Segmenter)
        sampler = segmenter.sampler
        if batch_idx or not batch or not isinstance(sampler, FoveationSampler) or not sampler.learns:
            return
        with evaluating(segmenter):
            found = sampler.foveate(segmenter.view(batch[0].pyramid)).foveation.probabilities
        assert found is not None  # there is a net
        self.folder.mkdir(exist_ok=True)
        if trainer.current_epoch == 0:
            for old in self.folder.glob("epoch_*.npy"):
                old.unlink()
        name = f"epoch_{trainer.current_epoch + 1:04}.npy"
        content = io.BytesIO()
        np.save(content, found[0].numpy().astype(np.float16))
        write_file(self.folder / name, content.getvalue())
