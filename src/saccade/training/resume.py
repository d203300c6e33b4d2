"""Going on with a run: only with the options and the images that it was started with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from saccade.data import DataFolder
from saccade.errors import FileProblem, UsageError
from saccade.training import run as folder
from saccade.training.config import Config
from saccade.training.configfile import flat, to_dict


def require_same_options(root: Path, asked: Config) -> None:
    """Refuses options that are not those of the run; the data folder may have moved.

    More epochs are refused too: the learning rate's schedule depends on their number from the first step.

    Raises:
        UsageError: with every option that differs.
    """
    of_run = flat(to_dict(folder.open_config(root)[0]))
    differing = [
        f"{key}={_text(value)} (the run has {_text(of_run[key])})"
        for key, value in flat(to_dict(asked)).items()
        if value != of_run[key] and key not in ("data.path", "classes")
    ]
    if differing:
        way_out = "leave them out to go on, or train a new run"
        raise UsageError(f"{root} was started with other options than {', '.join(differing)}; {way_out}")


def require_same_images(root: Path, data: DataFolder, saved: dict[str, Any]) -> None:
    """Refuses data that is not what the checkpoint was trained on.

    Raises:
        FileProblem: for other classes, or other training images.
    """
    folder.require_same_classes(folder.open_config(root)[1], data.classes, data.path)
    if saved.get("training_images") != training_images(data) or "keep" not in saved.get("callbacks", ()):
        expected = f"the training images of {root}"
        raise FileProblem(data.path, expected, "others", "go on with its own data, or train a new run")


def training_images(data: DataFolder) -> list[str]:
    """Their stems, in order: the shuffling goes by position."""
    return [item.stem for item in data.split("train")]


def is_finished(saved: dict[str, Any], config: Config) -> bool:
    """Whether a checkpoint is the last that its training would make."""
    patience = config.training.early_stopping
    stopped = patience is not None and saved["callbacks"]["keep"]["since_best"] >= patience
    return stopped or saved["epoch"] + 1 >= config.all_epochs


def _text(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)
