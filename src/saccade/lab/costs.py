"""Cost of every method at every size, measured one after the other; and how long a comparison would take."""

from __future__ import annotations

import hashlib
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from saccade.data import DataFolder
from saccade.errors import SaccadeError
from saccade.evaluation.evaluate import evaluate
from saccade.lab.methods import ComparisonConfig, Key, Outcome, Size, Trial, named_size
from saccade.lab.state import MOOT
from saccade.metrics.cost import Cost, measure_cost
from saccade.runtime.devices import torch_device
from saccade.segmenter import Segmenter
from saccade.training import train
from saccade.training.config import ScheduleConfig, flat, to_dict
from saccade.training.loading import batches_of
from saccade.training.run_folder import read_metrics


@dataclass(frozen=True)
class Costs:
    """What was measured together, and where.

    Attributes:
        device: its name; "cpu" for any processor.
        threads: of PyTorch.
        load: programs that ran on the machine then (mean of the last minute); None where that is not known.
        image: that was predicted: its split and stem.
        rows: by method and size the options of the measured run, as :func:`fingerprint`, and its cost.
    """

    device: str
    threads: int
    load: float | None
    image: str
    rows: dict[Key, tuple[str, Cost]]

    def of(self, outcome: Outcome) -> Cost | None:
        """Of a run; None where no run of its options was measured at its size."""
        measured, cost = self.rows.get(_key(outcome.trial), ("", None))
        return cost if measured == fingerprint(outcome.trial) else None

    def fit(self, config: ComparisonConfig, outcomes: Sequence[Outcome]) -> bool:
        """Whether they are of this device, this image, and every method and size of which a run succeeded."""
        here = self.device == _device_name(config) and self.image == _image(config)
        return here and all(self.of(outcome) is not None for outcome in _first_finished(outcomes))

    def to_json(self) -> dict[str, Any]:
        rows = [
            # "arm", as in tables of 0.1.
            {"arm": method, "size": named_size(size), "options": measured, **asdict(cost)}
            for (method, size), (measured, cost) in self.rows.items()
        ]
        return {**asdict(self), "rows": rows}

    @classmethod
    def from_json(cls, content: Any) -> Costs | None:
        """What :meth:`to_json` gave; None for anything else, tables of earlier versions among it."""
        try:
            rows = {}
            for row in map(dict, content["rows"]):
                key = row.pop("arm"), _size(row.pop("size"))
                rows[key] = str(row.pop("options")), Cost.from_json(row)
            costs = cls(**{**content, "rows": rows})
            load = None if costs.load is None else float(costs.load)
            device, image, threads = str(costs.device), str(costs.image), int(costs.threads)
            return cls(device, threads, load, image, rows)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            return None


def measure_costs(
    config: ComparisonConfig, outcomes: Sequence[Outcome], on_progress: Callable[[], object]
) -> Costs:
    """Measures each method at each size on the first image of the split, by itself.

    ``on_progress`` is called after each.
    """
    sample = next(iter(config.samples()))
    device = torch_device(config.device)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    rows = {}
    for outcome in _first_finished(outcomes):
        segmenter = config.runs.get(outcome.folder).segmenter.to(device).eval()
        cost = measure_cost(segmenter, sample.pyramid.level(0), sample.labels.to(device))
        rows[_key(outcome.trial)] = fingerprint(outcome.trial), cost
        on_progress()
    return Costs(_device_name(config), torch.get_num_threads(), load, _image(config), rows)


def fingerprint(trial: Trial) -> str:
    """The same for runs of the same options, whatever their seed and the place of their data."""
    options = flat(to_dict(trial.config))
    counted = {key: options[key] for key in options if key not in (*MOOT, "training.seed")}
    return hashlib.sha256(json.dumps(counted, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _first_finished(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The first finished run of every method and size."""
    first: dict[Key, Outcome] = {}
    for outcome in outcomes:
        if outcome.evaluation is not None:
            first.setdefault(_key(outcome.trial), outcome)
    return list(first.values())


def _key(trial: Trial) -> Key:
    return trial.method.name, trial.size


def _image(config: ComparisonConfig) -> str:
    return f"{config.split}/{config.data.split(config.split)[0].stem}"


def _device_name(config: ComparisonConfig) -> str:
    device = torch_device(config.device)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _size(text: str) -> tuple[int, int]:
    rows, columns = text.split("x")
    return int(rows), int(columns)


STEPS = 2
"""Steps of an epoch that is measured."""
IMAGES = 2
"""Images of a validation that is measured."""
FIRST, EPOCHS, VALIDATED = 2, 4, 2
"""Epochs of the first stage, if there is one; epochs after it; every how many of these is validated. The
first of each kind reads images and compiles what is not compiled yet; only the last of it is measured."""


@dataclass(frozen=True)
class Forecast:
    """Of one method at one size.

    Attributes:
        method: its name.
        size: (rows, columns).
        runs: that are still to be trained.
        seconds: of one run, its evaluation included.
        source: "earlier runs", or "steps measured now".
        failure: why it could not be measured; "" where it could.
    """

    method: str
    size: Size
    runs: int
    seconds: float
    source: str
    failure: str = ""


def forecasts(
    config: ComparisonConfig,
    missing: Sequence[Trial],
    there: Sequence[Outcome],
    on_progress: Callable[[], object],
    *,
    jobs: int = 1,
) -> list[Forecast]:
    """One for each method and size that has runs to be trained.

    Steps are measured with the threads that one of ``jobs`` processes would have.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // jobs))
    try:
        return _forecasts(config, missing, there, on_progress)
    finally:
        torch.set_num_threads(threads)


def _forecasts(
    config: ComparisonConfig,
    missing: Sequence[Trial],
    there: Sequence[Outcome],
    on_progress: Callable[[], object],
) -> list[Forecast]:
    groups: dict[tuple[str, Size], list[Trial]] = {}
    for trial in missing:
        groups.setdefault((trial.method.name, trial.size), []).append(trial)
    forecasts = []
    for (method, size), trials in groups.items():
        earlier = [
            forecast.seconds for forecast in there
            if forecast.seconds and (forecast.trial.method.name, forecast.trial.size) == (method, size)
        ]  # fmt: skip
        if earlier:
            forecasts.append(Forecast(method, size, len(trials), statistics.mean(earlier), "earlier runs"))
        else:
            forecasts.append(_measured(config, trials))
        on_progress()
    return forecasts


def seconds_of_all(forecasts: Sequence[Forecast], jobs: int) -> float:
    """Seconds until all is done with ``jobs`` side by side, none of them slowing another."""
    longest = max((forecast.seconds for forecast in forecasts), default=0.0)
    return max(longest, sum(forecast.runs * forecast.seconds for forecast in forecasts) / max(1, jobs))


def seconds_of_measuring(config: ComparisonConfig, measure: Callable[[ComparisonConfig], object]) -> float:
    """Of what looks at every image of the split, from two images; one before them warms up."""
    items = config.data.split(config.split)
    for images in (1, IMAGES):
        few = replace(config.data, splits=dict(config.data.splits) | {config.split: items[:images]})
        start = time.perf_counter()
        measure(replace(config, data=few))
        elapsed = time.perf_counter() - start
    return elapsed / min(IMAGES, len(items)) * len(items)


def _measured(config: ComparisonConfig, trials: Sequence[Trial]) -> Forecast:
    trial = trials[0]
    try:
        seconds, failure = seconds_of(config, trial), ""
    except SaccadeError as error:
        seconds, failure = math.nan, str(error)
    return Forecast(trial.method.name, trial.size, len(trials), seconds, "steps measured now", failure)


def seconds_of(config: ComparisonConfig, trial: Trial) -> float:
    """Of training and evaluating a trial, from a few epochs of two steps on its own images."""
    options = trial.config.training
    small = _few(config.data, STEPS * options.batch_size)
    short = replace(
        options, epochs=EPOCHS, validate_every=VALIDATED, early_stopping=None, first_stage_epochs=FIRST
    )  # fmt: skip
    run_config = replace(trial.config, training=short)
    with tempfile.TemporaryDirectory(prefix="saccade_") as folder:
        root = Path(folder) / "run"
        run = train(small, root, run_config, cache=config.cache, device=config.device)
        rows = read_metrics(root / "metrics.csv")
        evaluating = _seconds_of_evaluating(config, run.segmenter)
    first, plain, last = rows[FIRST - 1]["seconds"], rows[-2]["seconds"], rows[-1]["seconds"]
    longer = _steps(config.data, options) / _steps(small, options)
    trained = longer * (trial.config.first_epochs * first + options.epochs * plain)
    validated = math.ceil(options.epochs / options.validate_every) * len(config.data.split("val"))
    validating = max(0.0, last - plain) / len(small.split("val"))
    return trained + validated * validating + len(config.data.split(config.split)) * evaluating


def _steps(data: DataFolder, options: ScheduleConfig) -> int:
    """Of an epoch."""
    return batches_of(len(data.split("train")), options.batch_size, options.every_image)


def _few(data: DataFolder, images: int) -> DataFolder:
    """The first images of training and validation."""
    splits = dict(data.splits)
    splits |= {"train": data.split("train")[:images], "val": data.split("val")[:IMAGES]}
    return replace(data, splits=splits)


def _seconds_of_evaluating(config: ComparisonConfig, segmenter: Segmenter) -> float:
    """Of one image, the cost measurement left out."""
    items = config.data.split(config.split)[: IMAGES + 1]
    marks: list[float] = []
    samples = [config.cache.get(config.data, item) for item in items]
    evaluate(
        segmenter, samples, config.data.classes, device=torch_device(config.device),
        progress=lambda _: marks.append(time.perf_counter()),
    )  # fmt: skip
    return (marks[-1] - marks[0]) / max(1, len(marks) - 1)
