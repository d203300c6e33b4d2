"""Runs and data sets are opened, however they are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from saccade.data import DataFolder, SampleCache, open_data
from saccade.data.options import DataOptions, parse_value_range
from saccade.errors import InvalidInput, UsageError, one_of
from saccade.rasters.bands import Bands
from saccade.runtime.devices import torch_device
from saccade.runtime.progress import Voice
from saccade.segmenter import Segmenter
from saccade.training.run_folder import Run, load_run

RunSource = Path | str | Run | Segmenter
"""A trained run: its folder, what :func:`train` returned, or what :func:`load` returned."""

DataSource = Path | str | DataFolder
"""A data set: its folder, or what :func:`saccade.data.open_data` returned."""

ValueRange = str | tuple[float, float] | None
"""Sample values of black and white, as (low, high) or ``"LOW,HIGH"``."""


def run_of(source: RunSource, checkpoint: str | None = None) -> Run:
    """The run, with the segmenter that was given where one was."""
    if checkpoint is not None:
        one_of("checkpoint", checkpoint, ("best", "last"))
    if isinstance(source, str | Path):
        return load_run(source, checkpoint or "best")
    run = source.run if isinstance(source, Segmenter) else source
    if not isinstance(run, Run):
        got = "one made in code" if isinstance(source, Segmenter) else type(source).__name__
        expected = "a run folder, or a model from saccade.load or saccade.train"
        raise InvalidInput("run", expected, got, "load it, or use model.segment")
    if checkpoint not in (None, run.checkpoint):
        raise InvalidInput("checkpoint", f"that of the model, {run.checkpoint}", checkpoint, "load the other")
    return replace(run, segmenter=source) if isinstance(source, Segmenter) else run


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
    with voice.progress("checking", None, "images") as progress:
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
