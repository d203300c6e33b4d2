"""Runs and data sets are opened, however they are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from saccade import figures
from saccade.data import ClassTable, DataFolder, SampleCache, open_data
from saccade.data.options import DataOptions, parse_value_range
from saccade.errors import InvalidInput, UsageError, one_of
from saccade.networks.evaluation_mode import evaluating
from saccade.rasters.bands import Bands
from saccade.runtime.devices import torch_device
from saccade.runtime.plugins import GIVEN_PREFIX
from saccade.runtime.progress import Voice
from saccade.samplers import DeformationSampler
from saccade.samplers.recipe import SamplerConfig
from saccade.segmenter import Segmenter
from saccade.training.config import Config, NetworkConfig
from saccade.training.run_folder import Run, load_run

RunSource = Path | str | Run | Segmenter
"""A trained run: its folder, what :func:`train` returned, or what :func:`load` returned; or a segmenter that
was made in Python."""

DataSource = Path | str | DataFolder
"""A data set: its folder, or what :func:`saccade.data.open_data` returned."""

ValueRange = str | tuple[float, float] | None
"""Sample values of black and white, as (low, high) or ``"LOW,HIGH"``."""


@dataclass(frozen=True)
class MadeInPython(Run):
    """A segmenter that was made in Python, where a run is asked for: it has no folder and no checkpoint."""


def run_of(source: RunSource, checkpoint: str | None = None) -> Run:
    """The run, with the segmenter that was given where one was."""
    if checkpoint is not None:
        one_of("checkpoint", checkpoint, ("best", "last"))
    if isinstance(source, str | Path):
        return load_run(source, checkpoint or "best")
    run = source.run if isinstance(source, Segmenter) else source
    if isinstance(source, Segmenter) and run is None:
        if checkpoint is not None:
            raise InvalidInput("checkpoint", "left out for a segmenter made in Python", checkpoint)
        return _made_in_python(source)
    if not isinstance(run, Run):
        fix = "put a network into one: saccade.Segmenter(sampler, network)"
        raise InvalidInput("run", "a run folder, or a segmenter", type(source).__name__, fix)
    if checkpoint not in (None, run.checkpoint):
        raise InvalidInput("checkpoint", f"that of the model, {run.checkpoint}", checkpoint, "load the other")
    return replace(run, segmenter=source) if isinstance(source, Segmenter) else run


def require_folder(run: Run, what: str) -> None:
    """Refuses a segmenter that was made in Python, for what is written into the folder of a run."""
    if isinstance(run, MadeInPython):
        raise InvalidInput("run", f"a trained run, {what}", "a segmenter made in Python")


def _made_in_python(segmenter: Segmenter) -> MadeInPython:
    """What is known of it: how it looks, its classes, no data that it was trained on."""
    sampler, learned = segmenter.sampler, isinstance(segmenter.sampler, DeformationSampler)
    sizes = sampler.sizes
    looks = SamplerConfig(
        "deformation" if learned else "uniform", sampler.size,
        smallest=None if sizes is None else sizes.smallest, largest=None if sizes is None else sizes.largest,
        fit=bool(sampler.fits), net=None,
    )  # fmt: skip
    network = NetworkConfig(GIVEN_PREFIX + type(segmenter.network).__name__)
    config = Config(sampler=looks, network=network)
    return MadeInPython(Path("a segmenter made in Python"), config, _classes_of(segmenter), segmenter, 0)


def _classes_of(segmenter: Segmenter) -> ClassTable:
    """Its table; of a bare number, or where the network is to say, classes by number."""
    table = segmenter.classes
    if isinstance(table, ClassTable):
        return table
    if table is not None:
        colours = tuple((int(red), int(green), int(blue)) for red, green, blue in table.colours)
        return ClassTable(tuple(table.names), tuple(range(len(table.names))), colours)
    count = segmenter.num_classes or _scored_classes(segmenter)
    rows = figures.class_palette(range(count, 0, -1)).tolist()
    names = tuple(f"class {number}" for number in range(count))
    return ClassTable(names, tuple(range(count)), tuple((red, green, blue) for red, green, blue in rows))


@torch.no_grad()
def _scored_classes(segmenter: Segmenter) -> int:
    """K, which the network is asked for with a blank view."""
    with evaluating(segmenter) as twin:
        blank = torch.zeros(1, twin.reading.channels, *twin.sampler.size, device=twin.mean.device)
        return int(twin.score(blank).shape[1])


def on_device(source: RunSource, run: Run, device: str | None) -> torch.device:
    """Where it runs, and puts it there; a model stays where it is unless a device is named."""
    if device is None and not isinstance(source, str | Path):
        return run.segmenter.mean.device
    place = torch_device(device or "auto")
    run.segmenter.to(place)
    return place


def opened_data(
    data: DataSource,
    options: DataOptions,
    splits: Sequence[str],
    cache: SampleCache | None,
    voice: Voice,
    bands: Bands | str | None = None,
) -> DataFolder:
    """The data set, checked; what was opened already is taken as it is. ``bands``: those of a run."""
    if isinstance(data, DataFolder):
        for name in splits:
            data.split(name)
        return data
    keep = None if cache is None else cache.keep
    with voice.progress("checking", None, options.unit) as progress:
        folder = open_data(
            Path(data), options, splits=splits, on_decoded=keep, on_progress=progress.update, bands=bands
        )
    for notice in folder.notices:
        voice.say(f"note: {notice}")
    return folder


def limits_of(value_range: ValueRange, run: Run) -> tuple[float, float] | None:
    """The sample values of black and white: as told, else as the run was trained."""
    if value_range is not None and run.segmenter.reading.own:
        bands = ", ".join(run.segmenter.reading.bands.names) if run.segmenter.reading.bands else "bands"
        raise UsageError(f"value_range is for runs of colour; this one reads {bands} in their own values")
    if value_range is None:
        return run.config.data.value_range
    text = value_range if isinstance(value_range, str) else ",".join(map(str, value_range))
    return parse_value_range(text)
