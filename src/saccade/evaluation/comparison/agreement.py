"""Whether a run that is there is the one that was asked for: its options, and its data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from saccade.data import DataFolder
from saccade.errors import SaccadeError
from saccade.training import run as folder
from saccade.training.config import Config
from saccade.training.configfile import flat, to_dict
from saccade.training.resume import training_images

MOOT = ("data.path", "classes", "training.cache_gigabytes")
"""Where data lie and how much memory they may take does not change what is learnt."""
OWN_SECTIONS = ("boundary", "foveation")
"""Sections of options that only the sampler of this name reads."""
OWN_OPTIONS = {"sampler.net": "deformation"}
"""Options that only this sampler reads."""


def why_other(root: Path, asked: Config, data: DataFolder, saved: dict[str, Any]) -> str:
    """Why the run at ``root`` is not what was asked for; "" where it is.

    Args:
        root: a run folder.
        asked: the options that it should have, resolved.
        data: that it should be trained on.
        saved: its last checkpoint.
    """
    try:
        of_run, classes = folder.open_config(root)
        folder.require_same_classes(classes, data.classes, data.path)
    except SaccadeError as error:
        return str(error)
    differing = [f"{key}={there} instead of {here}" for key, here, there in _differences(asked, of_run)]
    if differing:
        return "it has other options: " + ", ".join(differing)
    return _why_other_images(of_run, data, saved)


def _why_other_images(of_run: Config, data: DataFolder, saved: dict[str, Any]) -> str:
    """Runs keep the names of their training images; older ones only where these lay."""
    known = saved.get("training_images")
    if known is None:
        there, here = Path(of_run.data.path or "").resolve(), data.path.resolve()
        return "" if there == here else f"it was trained on {there}, not on {here}"
    if known != training_images(data):
        return f"it was trained on other images than those of {data.path}"
    return ""


def _differences(asked: Config, of_run: Config) -> Iterator[tuple[str, Any, Any]]:
    there = _effective(of_run)
    for key, here in _effective(asked).items():
        section = key.partition(".")[0]
        reader = section if section in OWN_SECTIONS else OWN_OPTIONS.get(key, asked.sampler.name)
        if key in MOOT or reader != asked.sampler.name or here == there.get(key):
            continue
        if key == "data.format" and "auto" in (here, there[key]):
            continue
        yield key, _text(here), _text(there.get(key))


def _effective(config: Config) -> dict[str, Any]:
    """Every option, with what stands for "the sampler's own" filled in."""
    stages = {"training.variant": config.variant, "training.first_stage_epochs": config.first_epochs}
    return flat(to_dict(config)) | stages


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_text(one) for one in value) + "]"
    return "null" if value is None else str(value)
