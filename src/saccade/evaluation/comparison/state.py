"""What is there of a case: nothing, a part, a finished run, a failure, or something else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from saccade.data import DataFolder
from saccade.errors import FileProblem
from saccade.evaluation.comparison.agreement import why_other
from saccade.evaluation.comparison.arms import Case
from saccade.rasters.outputs import writing
from saccade.training import run as folder
from saccade.training.loop import resolve
from saccade.training.resume import is_finished
from saccade.training.table import read_metrics

RUNS, FAILURE = "runs", "failure.json"
MISSING, PARTIAL, FINISHED, FAILED, OTHER = "missing", "unfinished", "finished", "failed", "other"


@dataclass(frozen=True)
class State:
    """Of a case: missing, unfinished, finished, failed or other; of the last two the reason."""

    kind: str
    reason: str = ""


def state_of(case: Case, root: Path, data: DataFolder) -> State:
    """What is at ``root``, the run folder of ``case``."""
    reason = read_failure(root)
    if not (root / folder.CONFIG).is_file():
        if reason is not None:
            return State(FAILED, reason)
        empty = not root.exists() or not any(root.iterdir())
        return State(MISSING) if empty else State(OTHER, "it is no run folder")
    last = root / folder.CHECKPOINTS / folder.LAST
    try:
        saved = folder.read_checkpoint(last) if last.is_file() else {}
        config = resolve(case.config, data)
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
    """Keeps why a case failed beside what it left; a FileProblem where nothing can be written."""
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
        (root / FAILURE).write_text(json.dumps({"reason": reason}, indent=1) + "\n", encoding="utf-8")


def read_failure(root: Path) -> str | None:
    """Why a case failed; None where it did not."""
    file = root / FAILURE
    if not file.is_file():
        return None
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["reason"])
    except (ValueError, KeyError, TypeError):
        return "for a reason that cannot be read"


def training_seconds(root: Path) -> float | None:
    """Seconds that the epochs of a run took; None where it does not say."""
    rows = read_metrics(root / folder.METRICS)
    known = [row["seconds"] for row in rows if row.get("seconds") is not None]
    return sum(known) if known else None
