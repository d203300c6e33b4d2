"""A comparison from its configuration to its results: what is there is used, what is missing is trained."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from saccade.data import SampleCache
from saccade.errors import FileProblem, SaccadeError, UsageError
from saccade.evaluation.evaluate import evaluate
from saccade.evaluation.results import Evaluation, Subject, keep_evaluation, stored_evaluation
from saccade.lab.costs import Costs, measure_costs
from saccade.lab.methods import ComparisonConfig, Method, Outcome, Trial
from saccade.lab.results import Comparison
from saccade.lab.state import (
    FAILED,
    FAILURE,
    FINISHED,
    MISSING,
    OTHER,
    PARTIAL,
    State,
    can_go_on,
    read_costs,
    run_root,
    state_of,
    training_seconds,
    write_failure,
)
from saccade.runtime.devices import torch_device
from saccade.runtime.files import writing
from saccade.runtime.processes import Killed, run_jobs
from saccade.training import train
from saccade.training.loop import Interrupted
from saccade.training.run_folder import METRICS, open_config, read_metrics

Tell = Callable[[float, str], None]
"""Called with the share of a trial that is done, in [0, 1], and a line about it."""
TRAINING = 0.9
"""The share of a trial's work that is its training; the rest is its evaluation."""


def do_trial(config: ComparisonConfig, trial: Trial, root: Path, tell: Tell, *, anew: bool = False) -> None:
    """Trains and evaluates what is not there yet; a failure is kept at ``root`` and does not leave here.

    Args:
        config: what all trials share.
        trial: to be done.
        root: its run folder.
        tell: hears of the progress.
        anew: whether to throw away what is there.

    Raises:
        Interrupted: after Ctrl-C; what was done is kept.
    """
    try:
        if anew:
            _remove(root)
        with writing(root):
            (root / FAILURE).unlink(missing_ok=True)
        if state_of(trial, root, config.data, config.runs.facts).kind != FINISHED:
            _train(config, trial, root, tell)
        if trial_evaluation(config, root) is None:
            _evaluate(config, root, tell)
        tell(1.0, "done")
    except (Interrupted, KeyboardInterrupt):
        raise
    except SaccadeError as error:
        write_failure(root, str(error))
    except Exception as error:
        write_failure(root, f"{type(error).__name__}: {error}")


def removed(job: TrialJob) -> None:
    """What is to be thrown away of a run is thrown away."""
    if job.anew:
        _remove(job.root)


def _remove(root: Path) -> None:
    with writing(root):
        if root.is_dir():
            shutil.rmtree(root)


def outcome_of(config: ComparisonConfig, trial: Trial, root: Path) -> Outcome:
    """What is there of a trial, without doing anything."""
    state = state_of(trial, root, config.data, config.runs.facts)
    evaluation = trial_evaluation(config, root) if state.kind == FINISHED else None
    if evaluation is not None:
        return Outcome(trial, root, evaluation, seconds=training_seconds(root))
    reason = {FINISHED: "not evaluated yet"}.get(state.kind, f"{state.kind}: {state.reason}".rstrip(": "))
    return Outcome(trial, root, failure=state.reason if state.kind == "failed" else reason)


def trial_evaluation(config: ComparisonConfig, root: Path) -> Evaluation | None:
    """The counts of a run's best weights on the images of the comparison; None where there are none."""
    try:
        return stored_evaluation(root, Subject.of(root, config.data, config.split))
    except FileProblem:
        return None


def _train(config: ComparisonConfig, trial: Trial, root: Path, tell: Tell) -> None:
    def on_epoch(done: int, of: int, scores: dict[str, float]) -> None:
        note = f"val mIoU {scores['val_miou']:.4f}" if "val_miou" in scores else f"epoch {done} of {of}"
        tell(TRAINING * done / of, note)

    goes_on = can_go_on(root)
    before = len(read_metrics(root / METRICS)) if goes_on else 0
    tell(
        TRAINING * before / trial.config.all_epochs, f"goes on after epoch {before}" if before else "started"
    )
    run_config = open_config(root)[0] if goes_on else trial.config
    run = train(
        config.data, root, run_config, cache=config.cache, resume=goes_on, overwrite=not goes_on,
        device=config.device, on_epoch=on_epoch,
    )  # fmt: skip
    config.runs.keep(run)


def _evaluate(config: ComparisonConfig, root: Path, tell: Tell) -> None:
    images = len(config.data.split(config.split))
    tell(TRAINING, "evaluating")
    evaluation = evaluate(
        config.runs.get(root).segmenter, config.samples(), config.data.classes,
        device=torch_device(config.device),
        progress=lambda done: tell(TRAINING + (1 - TRAINING) * done / images, f"image {done} of {images}"),
    )  # fmt: skip
    keep_evaluation(root, evaluation, Subject.of(root, config.data, config.split))


OnProgress = Callable[[Trial, float, str], None]


@dataclass(frozen=True)
class TrialJob:
    """A trial to be done.

    Attributes:
        trial: what.
        root: its run folder.
        anew: whether to throw away what is there.
    """

    trial: Trial
    root: Path
    anew: bool = False


def run_all(
    config: ComparisonConfig, queue: Sequence[TrialJob], on_progress: OnProgress, *, jobs: int = 1
) -> None:
    """Does all jobs; one that fails leaves its reason in its folder, and the others go on.

    Args:
        config: what they share. With ``jobs`` > 1 each process has a cache of its own, of its part of the
            memory, and its part of the threads; GPUs are dealt out in turn.
        queue: the jobs, in the order in which they are begun.
        on_progress: hears of each: the share done, and a line.
        jobs: processes side by side.

    Raises:
        Interrupted, KeyboardInterrupt: after Ctrl-C; what was done is kept.
    """
    jobs = min(jobs, len(queue))
    if jobs <= 1:
        for job in queue:
            _do(config, job, on_progress)
        return

    def on_news(number: int, share: float, line: str) -> None:
        on_progress(queue[number].trial, share, line)

    threads = max(1, torch.get_num_threads() // jobs)
    shared = plain_parts(config), config.cache.limit_bytes // jobs, threads
    with closing(run_jobs(queue, jobs, _begin, *shared, on_news=on_news)) as ended:
        for number, result in ended:
            if isinstance(result, Killed):
                reason = f"its process ended early ({result.how}); if memory is short, lower --jobs"
                write_failure(queue[number].root, reason)


def plain_parts(config: ComparisonConfig) -> dict[str, Any]:
    """What of a comparison another process takes over; caches and what is opened belong to a process."""
    return {
        part.name: getattr(config, part.name) for part in fields(config) if part.name not in ("cache", "runs")
    }


def _do(config: ComparisonConfig, job: TrialJob, on_progress: OnProgress) -> None:
    def tell(share: float, line: str) -> None:
        on_progress(job.trial, share, line)

    do_trial(config, job.trial, job.root, tell, anew=job.anew)


def _begin(
    number: int, plain: dict[str, Any], cache_bytes: int, threads: int
) -> Callable[[TrialJob, Tell], None]:
    """In each process: the comparison with a cache of its own and one of the GPUs."""
    torch.set_num_threads(threads)
    if plain["device"] in ("auto", "cuda") and torch.cuda.is_available():
        plain["device"] = f"cuda:{number % torch.cuda.device_count()}"
    config = ComparisonConfig(**plain, cache=SampleCache(cache_bytes))

    def work(job: TrialJob, tell: Tell) -> None:
        try:
            do_trial(config, job.trial, job.root, tell, anew=job.anew)
        except Interrupted:
            raise KeyboardInterrupt from None

    return work


@dataclass(frozen=True)
class Plan:
    """What is there, and what is to be done.

    Attributes:
        states: of every trial, in order.
        queue: the jobs to be run.
        kept_failures: trials that failed before and are not tried again.
    """

    states: dict[str, State]
    queue: tuple[TrialJob, ...]
    kept_failures: tuple[Trial, ...]

    @property
    def to_train(self) -> list[Trial]:
        """Trials whose training is not over."""
        return [
            step.trial for step in self.queue if step.anew or self.states[step.trial.name].kind != FINISHED
        ]


def plan(
    config: ComparisonConfig,
    trials: Sequence[Trial],
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> Plan:
    """Looks at every run folder.

    Args:
        config: of the comparison.
        trials: that it needs.
        out: its folder.
        resume: go on with what is unfinished, and try again what failed.
        overwrite: train every run anew.

    Raises:
        UsageError: for an unfinished run, when neither ``resume`` nor ``overwrite`` says what to do.
        SaccadeError: for run folders of other options or data, with the reason of each.
    """
    states = {
        trial.name: state_of(trial, run_root(out, trial), config.data, config.runs.facts) for trial in trials
    }
    if overwrite:
        return Plan(states, tuple(TrialJob(trial, run_root(out, trial), True) for trial in trials), ())
    _refuse_others(states, out)
    partial = [name for name, state in states.items() if state.kind == PARTIAL]
    if partial and not resume:
        raise UsageError(f"{out}: {_list(partial)} not finished; use --resume to go on, or --overwrite")
    todo, failed = [], []
    for trial in trials:
        kind, root = states[trial.name].kind, run_root(out, trial)
        if kind == FAILED and not resume:
            failed.append(trial)
        elif kind in (MISSING, PARTIAL, FAILED) or trial_evaluation(config, root) is None:
            todo.append(TrialJob(trial, root))
    return Plan(states, tuple(todo), tuple(failed))


def collect(
    config: ComparisonConfig,
    methods: Sequence[Method],
    trials: Sequence[Trial],
    out: Path,
    *,
    name: str,
    on_measured: Callable[[], object],
) -> Comparison:
    """What came out, with the costs measured side by side; those of an earlier table where they fit.

    Raises:
        SaccadeError: when no run succeeded.
    """
    outcomes = tuple(outcome_of(config, trial, run_root(out, trial)) for trial in trials)
    if not any(outcome.evaluation for outcome in outcomes):
        first = f": {outcomes[0].trial.name}: {outcomes[0].failure}" if outcomes else ""
        raise SaccadeError(f"{out}: no run succeeded{first}")
    costs = Costs.from_json(read_costs(out, name))
    if costs is None or not costs.fit(config, outcomes):
        costs = measure_costs(config, outcomes, on_measured)
    return Comparison(config, tuple(methods), outcomes, costs)


def _refuse_others(states: dict[str, State], out: Path) -> None:
    others = [f"{name}: {state.reason}" for name, state in states.items() if state.kind == OTHER]
    if others:
        way_out = "choose another OUT, give the options of these runs, or --overwrite them"
        lines = "\n".join(f"  {line}" for line in others)
        raise SaccadeError(f"{out} holds runs that are not what was asked for; {way_out}:\n{lines}")


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"{shown} {'is' if len(names) == 1 else 'are'}"
