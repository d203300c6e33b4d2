"""``report_run``: the function behind ``saccade report``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from saccade.api.opening import DataSource, RunSource, on_device, opened_data, require_folder, run_of
from saccade.data import DataFolder, SampleCache
from saccade.data.open import scored_split
from saccade.evaluation.evaluate import evaluate as evaluate_samples
from saccade.evaluation.results import (
    Evaluation,
    Subject,
    keep_evaluation,
    load_evaluation,
    stored_evaluation,
)
from saccade.report import draw_examples, save_examples, write_report
from saccade.report.run import FIGURES
from saccade.runtime.progress import Voice
from saccade.runtime.trust import trusting
from saccade.training.run_folder import Run, reading_of, require_bands, require_classes


def report_run(
    run: RunSource,
    data: DataSource | None = None,
    *,
    split: str | None = None,
    device: str | None = None,
    progress: bool | None = None,
    allow_code: bool = False,
) -> Path:
    """One HTML page of a run: scores, curves, examples, as ``saccade report`` writes it.

    Args:
        run: a run folder, or a loaded model; its folder takes the page.
        data: default the run's own. Where that is gone, the page has what the run keeps, and a note says so.
        split: whose images are evaluated, where that has not been done with these weights, and drawn; default
            as :func:`saccade.evaluate`.
        device: where the network runs; default auto, or where the model is.
        progress: whether to say what goes on; default on a terminal or in a notebook.
        allow_code: run the code that the run's options name (``python:...``): only of people you trust.

    Returns:
        The page, ``report.html`` in the run folder.

    Raises:
        FileProblem: for a folder that is no run, or data of other classes.
        DataFaults: for data with faults.
        InvalidInput: for a split that there is not.

    Examples:
        >>> import saccade
        >>> from saccade.data.scenes import make_scenes
        >>> data = make_scenes("sea", count=(4, 2, 2), size=(32, 48))
        >>> run = saccade.train(data, "run", size=(8, 12), network="small:4", epochs=1, device="cpu")
        >>> saccade.report_run(run).as_posix()
        'run/report.html'
    """
    voice, cache = Voice(progress), SampleCache()
    with trusting(code=allow_code):
        opened_run = run_of(run)
    require_folder(opened_run, "in whose folder the page is written")
    source = data if data is not None else Path(opened_run.config.data.path or "")
    if not isinstance(source, DataFolder) and not Path(source).is_dir():
        voice.say(f"note: no data folder at {source}, so no new scores and examples; name it")
        return write_report(opened_run.path, None)
    place = on_device(run, opened_run, device)
    how = opened_run.config.data.evaluated()
    split = split or scored_split(source, how)
    folder = opened_data(source, how, (split,), cache, voice, reading_of(opened_run))
    require_classes(opened_run, folder.classes, folder.path)
    require_bands(opened_run, folder, split)
    evaluation = _evaluation(opened_run, folder, split, cache, place, voice)
    items = {item.stem: item for item in folder.split(split)}
    with voice.progress("drawing", None, "examples"):
        examples = draw_examples(
            opened_run.segmenter, evaluation, lambda stem: cache.get(folder, items[stem]),
            own_colours=np.asarray(folder.classes.colours, np.uint8), device=place,
        )  # fmt: skip
    save_examples(examples, opened_run.path / FIGURES)
    return write_report(opened_run.path, evaluation)


def _evaluation(
    run: Run, folder: DataFolder, split: str, cache: SampleCache, place: torch.device, voice: Voice
) -> Evaluation:
    """What the run keeps of these weights and these images; evaluated now where that is nothing."""
    subject = Subject.of(run.path, folder, split, run.checkpoint)
    if (stored := stored_evaluation(run.path, subject)) is not None:
        return stored
    items = folder.split(split)
    with voice.progress("evaluating", len(items), "images") as shown:
        samples = cache.iterate(folder, items)
        scores = evaluate_samples(run.segmenter, samples, folder.classes, device=place, progress=shown.update)
    return load_evaluation(keep_evaluation(run.path, scores, subject))
