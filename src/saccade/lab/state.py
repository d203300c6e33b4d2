"""The folder of a comparison, what is there of each run, and whether it is the run that was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saccade.data import DataFolder
from saccade.errors import FileProblem, SaccadeError
from saccade.lab.methods import Trial
from saccade.runtime.files import write_file, writing
from saccade.runtime.reading import read_json_value
from saccade.samplers.recipe import recipes
from saccade.training import run_folder as folder
from saccade.training.config import Config, flat, to_dict
from saccade.training.loop import resolve
from saccade.training.run_folder import is_finished, read_metrics, training_images

NAME = "comparison"


def run_root(out: Path, trial: Trial) -> Path:
    """Where the run of a trial lies, or should be put to be used."""
    return out / RUNS / trial.name


def require_place(out: Path) -> None:
    """Refuses a folder that is neither new nor a comparison.

    Raises:
        FileProblem: with what is there.
    """
    if out.is_file():
        raise FileProblem(out, "a new or empty folder, or a comparison", "a file")
    if out.is_dir() and any(out.iterdir()) and not _is_comparison(out):
        expected = f"a new or empty folder, or a comparison (with a folder {RUNS}/)"
        raise FileProblem(out, expected, "something else", "choose another folder")


def _is_comparison(out: Path) -> bool:
    """A study that trains nothing leaves its page alone, without runs."""
    return (out / RUNS).is_dir() or any(out.glob("study_*.html"))


def write_table(content: dict[str, Any], out: Path, name: str = NAME, csv: str | None = None) -> str:
    """Writes NAME.json, and NAME.csv where there is one; returns the text of the first."""
    text = json.dumps(content, indent=1, allow_nan=False)
    write_text(out / f"{name}.json", text)
    if csv is not None:
        write_text(out / f"{name}.csv", csv)
    return text


def write_text(path: Path, text: str) -> Path:
    """A file of the comparison, complete or not at all."""
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, text)
    return path


def read_costs(out: Path, name: str = NAME) -> Any:
    """The costs that were measured for an earlier table; None where there are none."""
    try:
        return read_json_value(out / f"{name}.json", "a comparison").get("costs")
    except (FileProblem, AttributeError):
        return None


MOOT = ("data.path", "classes", "training.cache_gigabytes")
"""Where data lie and how much memory they may take does not change what is learnt."""


def why_other(root: Path, config: Config, data: DataFolder, saved: dict[str, Any]) -> str:
    """Why the run at ``root`` is not what was asked for; "" where it is.

    Args:
        root: a run folder.
        config: the options that it should have, resolved.
        data: that it should be trained on.
        saved: its last checkpoint.
    """
    try:
        of_run, classes = folder.open_config(root)
        folder.require_same_classes(classes, data.classes, data.path)
    except SaccadeError as error:
        return str(error)
    differing = [f"{key}={there} instead of {here}" for key, here, there in _differences(config, of_run)]
    if differing:
        return "it has other options: " + ", ".join(differing)
    return _why_other_images(root, of_run, data, saved)


def _why_other_images(root: Path, of_run: Config, data: DataFolder, saved: dict[str, Any]) -> str:
    """Runs keep what they were trained on, by content; older ones the names or only where it lay."""
    known = saved.get("training_images")
    if known is None:
        there, here = Path(of_run.data.path or "").resolve(), data.path.resolve()
        return "" if there == here else f"it was trained on {there}, not on {here}"
    if folder.DATA in saved:
        differing = folder.why_other_data(saved, data, root)
        return differing and f"it was trained on other images or masks than those of {data.path}: {differing}"
    if known != training_images(data):
        return f"it was trained on other images than those of {data.path}"
    return ""


def _differences(config: Config, of_run: Config) -> Iterator[tuple[str, Any, Any]]:
    there, unread = _effective(of_run), _unread(config)
    for key, here in _effective(config).items():
        if key in MOOT or key in unread or key.partition(".")[0] in unread or here == there.get(key):
            continue
        if key == "data.format" and "auto" in (here, there[key]):
            continue
        yield key, _text(here), _text(there.get(key))


def _unread(config: Config) -> set[str]:
    """Sections and options that only other samplers read."""
    others = [recipe for name, recipe in recipes().items() if name != config.recipe.name]
    return {recipe.name for recipe in others} | {
        f"sampler.{option}" for recipe in others for option in recipe.shared_options
    }


def _effective(config: Config) -> dict[str, Any]:
    """Every option, with what stands for "the sampler's own" filled in."""
    stages = {"training.variant": config.variant, "training.first_stage_epochs": config.first_epochs}
    return flat(to_dict(config)) | stages


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_text(item) for item in value) + "]"
    return "null" if value is None else str(value)


RUNS, FAILURE = "runs", "failure.json"
MISSING, PARTIAL, FINISHED, FAILED, OTHER = "missing", "unfinished", "finished", "failed", "other"


@dataclass(frozen=True)
class State:
    """Of a trial: missing, unfinished, finished, failed or other; of the last two the reason."""

    kind: str
    reason: str = ""


def state_of(
    trial: Trial,
    root: Path,
    data: DataFolder,
    facts: Callable[[Path], dict[str, Any]] = folder.read_checkpoint,
) -> State:
    """What is at ``root``, the run folder of ``trial``; ``facts`` reads a checkpoint."""
    reason = read_failure(root)
    if not (root / folder.CONFIG).is_file():
        if reason is not None:
            return State(FAILED, reason)
        empty = not root.exists() or not any(root.iterdir())
        return State(MISSING) if empty else State(OTHER, "it is no run folder")
    last = root / folder.CHECKPOINTS / folder.LAST
    try:
        saved = facts(last) if last.is_file() else {}
        config = resolve(trial.config, data)
        other = why_other(root, config, data, saved or {"training_images": None})
        if other:
            return State(OTHER, other)
    except FileProblem as error:
        return State(FAILED, str(error))
    if reason is not None:
        return State(FAILED, reason)
    finished = bool(saved) and is_finished(saved, config) and (last.parent / folder.BEST).is_file()
    return State(FINISHED if finished else PARTIAL)


def can_go_on(root: Path) -> bool:
    """Whether there is a checkpoint to go on from."""
    return (root / folder.CHECKPOINTS / folder.LAST).is_file()


def write_failure(root: Path, reason: str) -> None:
    """Keeps why a trial failed beside what it left; a FileProblem where nothing can be written."""
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
        write_file(root / FAILURE, json.dumps({"reason": reason}, indent=1) + "\n")


def read_failure(root: Path) -> str | None:
    """Why a trial failed; None where it did not."""
    file = root / FAILURE
    if not file.is_file():
        return None
    try:
        return str(read_json_value(file, "why a run failed")["reason"])
    except (FileProblem, LookupError, TypeError):
        return "for a reason that cannot be read"


def training_seconds(root: Path) -> float | None:
    """Seconds that the epochs of a run took; None where it does not say."""
    rows = read_metrics(root / folder.METRICS)
    known = [row["seconds"] for row in rows if row.get("seconds") is not None]
    return sum(known) if known else None
