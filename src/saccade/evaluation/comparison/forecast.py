"""How long a comparison would take: from runs that are there, or from a few steps that are run."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from saccade.data import DataFolder
from saccade.errors import SaccadeError
from saccade.evaluation.comparison.arms import Case, Outcome, Setting, Size
from saccade.evaluation.evaluate import evaluate
from saccade.training import load_run, train
from saccade.training.devices import torch_device
from saccade.training.table import read_metrics

STEPS = 2
"""Steps of an epoch that is measured."""
IMAGES = 2
"""Images of a validation that is measured."""
FIRST, EPOCHS, VALIDATED = 2, 4, 2
"""Epochs of the first stage, if there is one; epochs after it; every how many of these is validated. The
first of each kind reads images and compiles what is not compiled yet; only the last of it is measured."""


@dataclass(frozen=True)
class Forecast:
    """Of one arm at one size.

    Attributes:
        arm: its name.
        size: (rows, columns).
        runs: that are still to be trained.
        seconds: of one run, its evaluation included.
        source: "earlier runs", or "steps measured now".
        failure: why it could not be measured; "" where it could.
    """

    arm: str
    size: Size
    runs: int
    seconds: float
    source: str
    failure: str = ""


def forecasts(
    setting: Setting,
    missing: Sequence[Case],
    there: Sequence[Outcome],
    on_progress: Callable[[], object],
    *,
    jobs: int = 1,
) -> list[Forecast]:
    """One for each arm and size that has runs to be trained.

    Steps are measured with the threads that one of ``jobs`` processes would have.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // jobs))
    try:
        return _forecasts(setting, missing, there, on_progress)
    finally:
        torch.set_num_threads(threads)


def _forecasts(
    setting: Setting, missing: Sequence[Case], there: Sequence[Outcome], on_progress: Callable[[], object]
) -> list[Forecast]:
    groups: dict[tuple[str, Size], list[Case]] = {}
    for case in missing:
        groups.setdefault((case.arm.name, case.size), []).append(case)
    found = []
    for (arm, size), cases in groups.items():
        earlier = [
            one.seconds for one in there
            if one.seconds and (one.case.arm.name, one.case.size) == (arm, size)
        ]  # fmt: skip
        if earlier:
            found.append(Forecast(arm, size, len(cases), statistics.mean(earlier), "earlier runs"))
        else:
            found.append(_measured(setting, cases))
        on_progress()
    return found


def seconds_of_all(found: Sequence[Forecast], jobs: int) -> float:
    """Seconds until all is done with ``jobs`` side by side, none of them slowing another."""
    longest = max((one.seconds for one in found), default=0.0)
    return max(longest, sum(one.runs * one.seconds for one in found) / max(1, jobs))


def seconds_of_measuring(setting: Setting, measure: Callable[[Setting], object]) -> float:
    """Of what looks at every image of the split, from two images; one before them warms up."""
    items = setting.data.split(setting.split)
    for images in (1, IMAGES):
        few = replace(setting.data, splits=dict(setting.data.splits) | {setting.split: items[:images]})
        start = time.perf_counter()
        measure(replace(setting, data=few))
        taken = time.perf_counter() - start
    return taken / min(IMAGES, len(items)) * len(items)


def _measured(setting: Setting, cases: Sequence[Case]) -> Forecast:
    case = cases[0]
    try:
        seconds, failure = seconds_of(setting, case), ""
    except SaccadeError as error:
        seconds, failure = math.nan, str(error)
    return Forecast(case.arm.name, case.size, len(cases), seconds, "steps measured now", failure)


def seconds_of(setting: Setting, case: Case) -> float:
    """Of training and evaluating a case, from a few epochs of two steps on its own images."""
    options = case.config.training
    small = _few(setting.data, STEPS * options.batch_size)
    short = replace(
        options, epochs=EPOCHS, validate_every=VALIDATED, early_stopping=None, first_stage_epochs=FIRST
    )  # fmt: skip
    config = replace(case.config, training=short)
    with tempfile.TemporaryDirectory(prefix="saccade_") as folder:
        root = Path(folder) / "run"
        train(small, root, config, cache=setting.cache, device=setting.device)
        rows = read_metrics(root / "metrics.csv")
        evaluating = _seconds_of_evaluating(setting, root)
    first, plain, last = rows[FIRST - 1]["seconds"], rows[-2]["seconds"], rows[-1]["seconds"]
    longer = _steps(setting.data, options.batch_size) / _steps(small, options.batch_size)
    trained = longer * (case.config.first_epochs * first + options.epochs * plain)
    validated = math.ceil(options.epochs / options.validate_every) * len(setting.data.split("val"))
    validating = max(0.0, last - plain) / len(small.split("val"))
    return trained + validated * validating + len(setting.data.split(setting.split)) * evaluating


def _steps(data: DataFolder, batch_size: int) -> int:
    """Of an epoch."""
    return max(1, len(data.split("train")) // batch_size)


def _few(data: DataFolder, images: int) -> DataFolder:
    """The first images of training and validation."""
    splits = dict(data.splits)
    splits |= {"train": data.split("train")[:images], "val": data.split("val")[:IMAGES]}
    return replace(data, splits=splits)


def _seconds_of_evaluating(setting: Setting, root: Path) -> float:
    """Of one image, the cost measurement left out."""
    items = setting.data.split(setting.split)[: IMAGES + 1]
    marks: list[float] = []
    samples = [setting.cache.get(setting.data, item) for item in items]
    evaluate(
        load_run(root).segmenter, samples, setting.data.classes, device=torch_device(setting.device),
        progress=lambda _: marks.append(time.perf_counter()),
    )  # fmt: skip
    return (marks[-1] - marks[0]) / max(1, len(marks) - 1)
