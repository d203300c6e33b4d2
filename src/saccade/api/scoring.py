"""``evaluate`` and ``compare``: the functions behind the commands of these names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import torch

from saccade.api.opening import DataSource, MadeInPython, RunSource, on_device, opened_data, run_of
from saccade.data import ClassTable, DataFolder, SampleCache
from saccade.data.open import scored_split
from saccade.data.options import DataOptions
from saccade.errors import FileProblem, InvalidInput, UsageError, nearest_name
from saccade.evaluation.evaluate import evaluate as evaluate_samples
from saccade.evaluation.results import Evaluation, Subject, keep_evaluation, own_file
from saccade.inference.layout import outside
from saccade.inference.options import sampling_of
from saccade.lab.compare import (
    ComparisonRequest,
    StudyResult,
    carried_out,
    foreseen,
    prepare,
    study_carried_out,
)
from saccade.lab.results import Comparison
from saccade.runtime.progress import Voice
from saccade.runtime.trust import name_code, trusting
from saccade.training.options import (
    TrainingOptions,
    config_file,
    data_options,
    given_network,
    overrides_of,
)
from saccade.training.run_folder import (
    CHECKPOINTS,
    Run,
    read_checkpoint,
    reading_of,
    require_bands,
    require_classes,
    weights_in,
)


class Unstored(FileProblem):
    """Scores that could not be kept in the run folder; they are in ``evaluation``.

    Args:
        problem: why not.
        evaluation: what was to be kept.
    """

    def __init__(self, problem: FileProblem, evaluation: Evaluation) -> None:
        fix = "the scores are right; to keep them, evaluate a copy of the run"
        super().__init__(problem.path, "a place to keep the scores", problem.got, fix)
        self.evaluation = evaluation


def evaluate(
    run: RunSource,
    data: DataSource | None = None,
    *,
    split: str | None = None,
    size: str | Sequence[int] | None = None,
    checkpoint: str | None = None,
    data_format: str | None = None,
    crop: str | None = None,
    options: Mapping[str, Any] | Iterable[str] = (),
    store: bool = True,
    device: str | None = None,
    progress: bool | None = None,
    allow_code: bool = False,
) -> Evaluation:
    """Scores of a run at full resolution, as ``saccade evaluate`` tells them.

    Args:
        run: a run folder, a loaded model, or a segmenter made in Python, whose scores are kept nowhere.
        data: a folder, read as the run's own data was; or opened data, taken as it was opened; default the
            folder that the run was trained on.
        split: "train", "val", "test", or another of ``splits.json``; default test, or val of data sets whose
            test has no public labels (Cityscapes, ApolloScape, Inria).
        size: (h, w) samples of a view, or ``"64x128"``; default as trained, of a run for a range of sizes its
            middle. A note says where it is outside of that range.
        checkpoint: "best" or "last"; default best, or that of the model.
        data_format, crop, options: how a folder is read, where not as the run's own data;
            ``options={"data.scale": ...}``.
        store: keep the counts in the run folder, where reports and comparisons look for them.
        device: where the network runs; default auto, or where the model is.
        progress: whether to say what goes on; default on a terminal or in a notebook.
        allow_code: run the code that the run's options name (``python:...``): only of people you trust.

    Returns:
        The counts of each image and the scores of their sums; a notebook shows them by class.

    Raises:
        FileProblem: for a folder that is no run, or data of other classes; :class:`Unstored`, which has the
            evaluation, when it cannot be kept.
        DataFaults: for data with faults.
        InvalidInput: for a split that there is not, or a model whose weights are no longer those of its
            checkpoint, whose scores are not to be kept as its own; or a size that is none.
        UsageError: for a size of a sampler that chooses its own.

    Examples:
        >>> import saccade
        >>> from saccade.data.scenes import make_scenes
        >>> data = make_scenes("sea", count=(4, 2, 2), size=(32, 48))
        >>> run = saccade.train(data, "run", size=(8, 12), network="small:4", epochs=1, device="cpu")
        >>> scores = saccade.evaluate("run", data, device="cpu")
        >>> len(scores.records), sorted(scores.to_json()["iou"])
        (2, ['boat', 'forest', 'land', 'water'])
        >>> scores.miou == saccade.evaluate(run, data, store=False).miou
        True
    """
    voice = Voice(progress)
    with trusting(code=allow_code):
        opened_run = run_of(run, checkpoint)
    view = None if size is None else sampling_of({"size": size}).size
    place = on_device(run, opened_run, device)
    segmenter = opened_run.segmenter if view is None else opened_run.segmenter.with_size(view)
    if beyond := outside(segmenter.sampler.size, segmenter.sampler.sizes):
        voice.say(f"note: {beyond}")
    how = _data_options(opened_run, data_format, crop, options)
    data = _own_data(opened_run) if data is None else data
    split = split or scored_split(data, how)
    cache = SampleCache(None if how.window is None else 0)
    keep = cache if how.window is None else None  # each window is looked at once
    folder = opened_data(data, how, (split,), keep, voice, reading_of(opened_run))
    _require_classes(opened_run, folder)
    require_bands(opened_run, folder, split)
    store = store and not isinstance(opened_run, MadeInPython)
    subject = Subject.of(opened_run.path, folder, split, opened_run.checkpoint, view) if store else None
    if store and not isinstance(run, str | Path):
        _require_own_weights(opened_run)
    items = folder.split(split)
    with voice.progress("evaluating", len(items), "images") as shown:
        samples = cache.iterate(folder, items)
        scores = evaluate_samples(segmenter, samples, folder.classes, device=place, progress=shown.update)
    return scores if subject is None else _stored(scores, opened_run, subject, voice)


def _own_data(run: Run) -> Path:
    """The folder that a run was trained on.

    Raises:
        FileProblem: where it is no longer there.
    """
    if isinstance(run, MadeInPython):
        raise UsageError(
            "a segmenter made in Python needs data to be evaluated on: evaluate(segmenter, DATA)"
        )
    path = run.config.data.path
    if path is None or not Path(path).is_dir():
        where = "none that it names" if path is None else f"none at {path}"
        fix = "name it: saccade evaluate RUN DATA"
        raise FileProblem(run.path, "the data folder that it was trained on", where, fix)
    return Path(path)


def _require_classes(run: Run, data: DataFolder) -> None:
    """Refuses data of other classes, or of another number of them than a segmenter without a table scores."""
    if not isinstance(run, MadeInPython) or isinstance(run.segmenter.classes, ClassTable):
        require_classes(run, data.classes, data.path)
    elif len(run.classes) != len(data.classes):
        names = ", ".join(data.classes.names)
        expected = f"{len(run.classes)} classes, which the segmenter scores"
        fix = "make its network for the classes of the data"
        raise FileProblem(data.path, expected, f"{len(data.classes)} ({names})", fix)


def _data_options(
    run: Run, data_format: str | None, crop: str | None, options: Mapping[str, Any] | Iterable[str]
) -> DataOptions:
    """How data is read: as the run's own, but for what is told."""
    values: dict[str, Any] = {"data_format": data_format, "crop": crop, "options": options}
    return data_options(overrides_of(values), run.config.data.evaluated())


def _require_own_weights(run: Run) -> None:
    saved = weights_in(read_checkpoint(run.path / CHECKPOINTS / f"{run.checkpoint}.ckpt"))
    here = run.segmenter.state_dict()
    if any(name not in here or not torch.equal(here[name].cpu(), saved[name]) for name in saved):
        expected = f"with the weights of its checkpoint ({run.checkpoint}), as whose scores they are kept"
        raise InvalidInput("model", expected, "others", "give store=False")


def _stored(evaluation: Evaluation, run: Run, subject: Subject, voice: Voice) -> Evaluation:
    try:
        file = keep_evaluation(run.path, evaluation, subject)
    except FileProblem as problem:
        raise Unstored(problem, evaluation) from problem
    if file != own_file(run.path, subject.split):
        voice.say(f"note: kept as {file.name}, beside what is known of other data, options or weights")
    return replace(evaluation, subject=subject)


class CompareOptions(TrainingOptions, total=False):
    """What is compared and how, beside the options of all runs.

    Attributes:
        samplers: SAMPLER or ``"NAME=SAMPLER"`` each; default uniform and deformation.
        sizes: (h, w) or ``"64x128"`` each; default 32x64 and 64x128.
        seeds: how many, or a list; default 3.
        own_options: ``"NAME:section.key=value"`` each, of one sampler only.
        split: what is evaluated on; default as :func:`evaluate`.
        jobs: runs side by side, each in a process; default 1.
        cluster: where Dask shares the runs out: "local:N", N processes here, or the address of a scheduler,
            "tcp://host:8786"; data and ``out`` are on a disk that all share.
        client: of Dask, in place of ``cluster``.
        resume: go on with what is unfinished, and try again what failed.
        overwrite: train every run anew.
        device: auto, cpu, cuda, cuda:1, ...
        allow_code: run the code that a file of options, or runs that are there, name (``python:...``).
    """

    samplers: Sequence[str]
    sizes: Sequence[str | Sequence[int]]
    seeds: int | Sequence[int]
    own_options: Sequence[str]
    split: str | None
    jobs: int
    cluster: str | None
    client: Any
    resume: bool
    overwrite: bool
    device: str
    allow_code: bool


def _request(
    data: DataSource, out: Path | str, study: str | None, options: Mapping[str, Any]
) -> ComparisonRequest:
    for name in options:
        if name not in CompareOptions.__annotations__:
            fix = nearest_name(name, CompareOptions.__annotations__)
            raise UsageError(f"unknown option {name!r}; {fix}; others go by options={{'section.key': value}}")
    # A TypedDict lists the keys of those it extends too: what belongs to every run is told apart by name.
    shared = {name: value for name, value in options.items() if name in TrainingOptions.__annotations__}
    own = {name: value for name, value in options.items() if name not in shared and name != "allow_code"}
    if given_network(shared) is not None:
        fix = "put what makes it into a module, and hand that over or name it python:MODULE.NAME"
        raise UsageError(
            f"a comparison opens its runs again, which a network without a name does not allow: {fix}"
        )
    name_code([*overrides_of(shared), *own.get("samplers", ()), *own.get("own_options", ())])
    return ComparisonRequest(
        data if isinstance(data, DataFolder) else Path(data),
        Path(out),
        study=study,
        config=config_file(shared.get("config")),
        options=overrides_of(shared),
        **own,
    )


def compare(
    data: DataSource,
    out: Path | str,
    *,
    progress: bool | None = None,
    **options: Unpack[CompareOptions],
) -> Comparison:
    """Samplers beside each other, as ``saccade compare`` puts them: trains every sampler at every size with
    every seed, all else alike, evaluates at full resolution, and writes OUT/comparison.html, .csv and .json.

    Args:
        data: a folder, or opened data with the splits train, val and test.
        out: the folder of the comparison; runs that are there already are used.
        progress: whether to say what goes on; default on a terminal or in a notebook.
        **options: see :class:`CompareOptions`.

    Returns:
        All scores, and gains with their intervals; a notebook shows the table.

    Raises:
        UsageError: for options that there are not, or that do not go together.
        KeyboardInterrupt: after Ctrl-C; what is finished is kept, and ``resume=True`` goes on.
        SaccadeError: for data with faults, an ``out`` that holds something else, or when no run succeeded.

    Examples:
        >>> import saccade
        >>> from saccade.data.scenes import make_scenes
        >>> data = make_scenes("sea", count=(4, 2, 2), size=(32, 48))
        >>> how = {"network": "small:4", "epochs": 1, "device": "cpu"}
        >>> compared = saccade.compare(data, "out", sizes=[(8, 12)], seeds=1, **how)
        >>> list(compared.points)
        [('uniform', (8, 12)), ('deformation', (8, 12))]
    """
    voice = Voice(progress)
    with trusting(code=options.get("allow_code", False)):
        return carried_out(prepare(_request(data, out, None, options), voice), voice)


def study(
    data: DataSource,
    out: Path | str,
    name: str,
    *,
    progress: bool | None = None,
    **options: Unpack[CompareOptions],
) -> StudyResult:
    """A study of the papers, as ``saccade compare --study NAME`` does it.

    Args:
        data, out, progress, **options: as for :func:`compare`, without ``samplers`` and ``own_options``.
        name: one of :data:`saccade.lab.studies.STUDIES`.

    Raises:
        UsageError: for a study that there is not; else as :func:`compare`.
    """
    voice = Voice(progress)
    with trusting(code=options.get("allow_code", False)):
        return study_carried_out(prepare(_request(data, out, name, options), voice), voice)


def describe_comparison(
    data: DataSource,
    out: Path | str,
    name: str | None = None,
    *,
    progress: bool | None = None,
    **options: Unpack[CompareOptions],
) -> list[str]:
    """What :func:`compare`, or :func:`study` with a ``name``, would train with the same arguments, and how
    long it would take, one line each; nothing is kept.

    Raises:
        SaccadeError: as :func:`compare`.
    """
    voice = Voice(progress)
    return foreseen(prepare(_request(data, out, name, options), voice, foresee=True), voice)
