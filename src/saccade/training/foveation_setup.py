"""What the data decides about a foveation run, and an ensemble put together from runs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import torch

from saccade.data import DataFolder
from saccade.errors import FileProblem, InvalidInput
from saccade.rasters.outputs import writing
from saccade.samplers import FoveationSampler
from saccade.training import run as folder
from saccade.training.build import build_segmenter
from saccade.training.config import Config
from saccade.training.resume import training_images
from saccade.training.sampler_options import FoveationConfig

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
        "callbacks": {"keep": {"best": None, "since_best": 0}},
    }
    with writing(root):
        folder.prepare(root, made, False, "cpu")
        torch.save(saved, root / folder.CHECKPOINTS / folder.BEST)
        shutil.copyfile(root / folder.CHECKPOINTS / folder.BEST, root / folder.CHECKPOINTS / folder.LAST)


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
