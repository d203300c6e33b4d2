"""One case from nothing to its counts: train it, or go on with it, and evaluate it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from saccade.errors import FileProblem, SaccadeError
from saccade.evaluation.comparison.arms import Case, Outcome, Setting
from saccade.evaluation.comparison.state import (
    FAILURE,
    FINISHED,
    can_go_on,
    state_of,
    training_seconds,
    write_failure,
)
from saccade.evaluation.evaluate import evaluate
from saccade.evaluation.results import Evaluation
from saccade.evaluation.storage import load_evaluation, save_evaluation
from saccade.rasters.outputs import writing
from saccade.training import load_run, train
from saccade.training.devices import torch_device
from saccade.training.fitting import Interrupted
from saccade.training.run import METRICS, open_config
from saccade.training.table import read_metrics

Tell = Callable[[float, str], None]
"""Called with the share of a case that is done, in [0, 1], and a line about it."""
TRAINING = 0.9
"""The share of a case's work that is its training; the rest is its evaluation."""


def do_case(setting: Setting, case: Case, root: Path, tell: Tell, *, anew: bool = False) -> None:
    """Trains and evaluates what is not there yet; a failure is kept at ``root`` and does not leave here.

    Args:
        setting: what all cases share.
        case: to be done.
        root: its run folder.
        tell: hears of the progress.
        anew: whether to throw away what is there.

    Raises:
        Interrupted: after Ctrl-C; what was done is kept.
    """
    try:
        with writing(root):
            if anew and root.is_dir():
                shutil.rmtree(root)
            (root / FAILURE).unlink(missing_ok=True)
        if state_of(case, root, setting.data).kind != FINISHED:
            _train(setting, case, root, tell)
        if stored_evaluation(setting, root) is None:
            _evaluate(setting, root, tell)
        tell(1.0, "done")
    except (Interrupted, KeyboardInterrupt):
        raise
    except SaccadeError as error:
        write_failure(root, str(error))
    except Exception as error:
        write_failure(root, f"{type(error).__name__}: {error}")


def outcome_of(setting: Setting, case: Case, root: Path) -> Outcome:
    """What is there of a case, without doing anything."""
    state = state_of(case, root, setting.data)
    found = stored_evaluation(setting, root) if state.kind == FINISHED else None
    if found is not None:
        return Outcome(case, root, found, seconds=training_seconds(root))
    reason = {FINISHED: "not evaluated yet"}.get(state.kind, f"{state.kind}: {state.reason}".rstrip(": "))
    return Outcome(case, root, failure=state.reason if state.kind == "failed" else reason)


def evaluation_file(root: Path, split: str) -> Path:
    """Where ``saccade evaluate`` keeps the counts of a split too."""
    return root / f"evaluation_{split}.json"


def stored_evaluation(setting: Setting, root: Path) -> Evaluation | None:
    """The counts of a run on the images of the setting; None where there are none, or of others.

    Masks are told apart by the pixels of each class in each image.
    """
    file = evaluation_file(root, setting.split)
    if not file.is_file():
        return None
    try:
        found = load_evaluation(file)
    except FileProblem:
        return None
    there = [(record.stem, tuple(record.confusion.sum(1).tolist())) for record in found.records]
    data = setting.data
    here = [(item.stem, tuple(data.facts[item.stem].counts)) for item in data.split(setting.split)]
    return found if there == here else None


def _train(setting: Setting, case: Case, root: Path, tell: Tell) -> None:
    def on_epoch(done: int, of: int, scores: dict[str, float]) -> None:
        note = f"val mIoU {scores['val_miou']:.4f}" if "val_miou" in scores else f"epoch {done} of {of}"
        tell(TRAINING * done / of, note)

    goes_on = can_go_on(root)
    before = len(read_metrics(root / METRICS)) if goes_on else 0
    tell(TRAINING * before / case.config.all_epochs, f"goes on after epoch {before}" if before else "started")
    config = open_config(root)[0] if goes_on else case.config
    train(
        setting.data, root, config, cache=setting.cache, resume=goes_on, overwrite=not goes_on,
        device=setting.device, on_epoch=on_epoch,
    )  # fmt: skip


def _evaluate(setting: Setting, root: Path, tell: Tell) -> None:
    images = len(setting.data.split(setting.split))
    tell(TRAINING, "evaluating")
    found = evaluate(
        load_run(root).segmenter, setting.samples(), setting.data.classes,
        device=torch_device(setting.device),
        progress=lambda done: tell(TRAINING + (1 - TRAINING) * done / images, f"image {done} of {images}"),
    )  # fmt: skip
    with writing(root):
        save_evaluation(found, evaluation_file(root, setting.split))
