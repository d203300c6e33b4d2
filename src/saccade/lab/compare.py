"""A comparison or a study from what was asked to its tables and page: prepare, foresee, carry out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from saccade.data import DataFolder, SampleCache, open_data
from saccade.data.open import scored_split
from saccade.errors import InvalidInput, UsageError
from saccade.geometry import parse_size
from saccade.lab.costs import forecasts, seconds_of_all, seconds_of_measuring
from saccade.lab.methods import ComparisonConfig, Method, Size, Trial, methods_of, named_size, trials_of
from saccade.lab.page import blocks_html, blocks_lines, comparison_lines, comparison_page
from saccade.lab.results import Comparison, to_csv, to_json
from saccade.lab.runner import OnProgress, Plan, collect, outcome_of, plan, run_all
from saccade.lab.state import NAME, RUNS, require_place, run_root, write_table, write_text
from saccade.lab.studies import Block, Study, load_study, study_json
from saccade.networks import require_network
from saccade.runtime.cluster import connected, distributed, local_workers, worker_count
from saccade.runtime.devices import lightning_device
from saccade.runtime.files import exclusively
from saccade.runtime.progress import Progress, Voice, clock
from saccade.training.config import Config, read_config
from saccade.training.loop import Interrupted, require_as_opened

SAMPLERS, USUAL_SIZES = ("uniform", "deformation"), ("32x64", "64x128")
AXES = {"sampler.name": "samplers", "sampler.size": "sizes", "training.seed": "seeds"}


@dataclass(frozen=True)
class ComparisonRequest:
    """What a comparison or a study is asked for, as on the command line.

    Attributes:
        data: a folder, or opened data with the splits train, val and ``split``.
        out: its folder.
        samplers: SAMPLER or NAME=SAMPLER each; () for the usual ones, or those of the study.
        sizes: (rows, columns) or ``ROWSxCOLUMNS`` each; () likewise.
        seeds: how many, or which.
        own_options: ``NAME:section.key=value`` each, of one sampler only.
        study: its name; None for a plain comparison.
        config: a YAML file of options of all runs.
        options: ``section.key=value`` each, of all runs.
        split: what is evaluated on; None: test, or val of data sets whose test has no public labels.
        jobs: runs side by side, each in a process.
        cluster: where Dask shares the runs out: "local:N" or the address of a scheduler.
        client: of Dask, in place of ``cluster``.
        resume, overwrite: what is done with what is there.
        device: where networks run.
    """

    data: Path | DataFolder
    out: Path
    samplers: Sequence[str] = ()
    sizes: Sequence[str | Sequence[int]] = ()
    seeds: int | Sequence[int] = 3
    own_options: Sequence[str] = ()
    study: str | None = None
    config: Path | None = None
    options: Sequence[str] = ()
    split: str | None = None
    jobs: int = 1
    cluster: str | None = None
    client: Any = None
    resume: bool = False
    overwrite: bool = False
    device: str = "auto"

    @property
    def elsewhere(self) -> bool:
        """Whether a cluster does the runs."""
        return self.cluster is not None or self.client is not None

    @property
    def side_by_side(self) -> int:
        """How many runs there are at a time."""
        if self.client is not None:
            return worker_count(self.client)
        if self.cluster is None:
            return self.jobs
        local = local_workers(self.cluster)
        if local is not None:
            return local
        with connected(self.cluster) as client:
            return worker_count(client)


@dataclass(frozen=True)
class Prepared:
    """A comparison whose options and data are checked, and what there is to do.

    Attributes:
        request: for what.
        config: what the runs share.
        methods: that are compared; none of a study that trains nothing.
        trials: the runs that are needed.
        planned: what is there of them, and what is to be done.
        study: if it is one.
    """

    request: ComparisonRequest
    config: ComparisonConfig
    methods: Sequence[Method]
    trials: Sequence[Trial]
    planned: Plan
    study: Study | None = None


@dataclass(frozen=True)
class StudyResult:
    """What a study found. In a notebook it shows its tables and charts.

    Attributes:
        study: which.
        blocks: what it measured besides its methods.
        comparison: of its methods; None where it trains nothing.
        page: its HTML file.
        table: its JSON file.
    """

    study: Study
    blocks: Sequence[Block]
    comparison: Comparison | None
    page: Path
    table: Path

    def lines(self) -> list[str]:
        """The results for a terminal."""
        scores = () if self.comparison is None else comparison_lines(self.comparison)
        return [*blocks_lines(self.blocks), *scores]

    def _repr_html_(self) -> str:
        scores = "" if self.comparison is None else self.comparison._repr_html_()
        return f"<div>{blocks_html(self.blocks)}{scores}</div>"


def prepare(request: ComparisonRequest, voice: Voice, *, foresee: bool = False) -> Prepared:
    """Checks every option before the data are opened, which takes a while, and looks at what is there.

    Args:
        request: for what.
        voice: hears of the checking.
        foresee: whether nothing will be trained, so that no image need stay in memory.

    Raises:
        UsageError: for options that there are not, or that do not go together.
        SaccadeError: for data with faults, or a folder that holds something else.
    """
    if request.jobs < 1:
        raise UsageError(f"expected --jobs to be 1 or more, but got {request.jobs}")
    if (request.cluster is not None) + (request.client is not None) + (request.jobs > 1) > 1:
        raise UsageError("of jobs, cluster and client one alone shares the runs out")
    local_workers(request.cluster)  # refused before the data are looked at
    if request.elsewhere:
        distributed()
        request = replace(request, data=_absolute(request.data))
    study = load_study(request.study) if request.study else None
    if study is not None and (request.samplers or request.own_options):
        raise UsageError("a study has its own samplers; leave --samplers and --set out, or --study")
    methods = methods_of(request.samplers or SAMPLERS, request.own_options) if study is None else []
    require_place(request.out)
    config = _config(request, study, methods, voice, foresee)
    methods = methods or (list(study.methods(config)) if study else [])
    trials = trials_of(config, methods)
    planned = plan(config, trials, request.out, resume=request.resume or foresee, overwrite=request.overwrite)
    return Prepared(request, config, methods, trials, planned, study)


def _absolute(data: Path | DataFolder) -> Path | DataFolder:
    """For workers in other folders."""
    if isinstance(data, Path):
        return data.absolute()
    if not data.path.is_absolute():
        fix = "open it by an absolute path"
        raise UsageError(f"{data.path}: data that workers of a cluster look for in other folders; {fix}")
    return data


def _config(
    request: ComparisonRequest, study: Study | None, methods: Sequence[Method], voice: Voice, foresee: bool
) -> ComparisonConfig:
    for key in (option.partition("=")[0] for option in request.options):
        if key in AXES:
            raise UsageError(f"{key} is what is compared; give it with --{AXES[key]}")
    sizes, seeds = sizes_of(request.sizes or USUAL_SIZES), seeds_of(request.seeds)
    base = read_config(request.config, request.options)
    for run_config in (base, *(read_config(overrides=method.options, base=base) for method in methods)):
        for name in filter(None, (run_config.network.name, run_config.sampler.net)):
            require_network(name)
    lightning_device(request.device)
    limit = base.training.cache_gigabytes
    cache = SampleCache(None if limit is None else round(limit * 1e9))
    trains = study is None or study.trains
    keeps = (
        trains and request.jobs == 1 and not request.elsewhere and not foresee and not request.out.exists()
    )
    split = request.split or scored_split(request.data, base.data)
    data = _data(request, split, base, cache if keeps else None, voice)
    base = replace(base, data=data.options)
    config = ComparisonConfig(data, cache, sizes, seeds, base, tuple(request.options), split, request.device)
    if study is not None and study.sizes is not None and not request.sizes:
        config = replace(config, sizes=tuple(study.sizes(config)))
    return config


def _data(
    request: ComparisonRequest, split: str, base: Config, cache: SampleCache | None, voice: Voice
) -> DataFolder:
    """The data; without a cache perhaps only the images of the split are needed."""
    if isinstance(request.data, DataFolder):
        for name in ("train", "val", split):
            request.data.split(name)
        require_as_opened(request.data, base.data)
        return request.data
    keep = None if cache is None else cache.keep
    with voice.progress("checking", None, base.data.unit) as progress:
        data = open_data(
            request.data, base.data, splits={"train", "val", split}, on_decoded=keep,
            on_progress=progress.update,
        )  # fmt: skip
    for notice in data.notices:
        voice.say(f"note: {notice}")
    return data


def sizes_of(sizes: Sequence[str | Sequence[int]]) -> tuple[Size, ...]:
    """Sizes, each once, small ones first; raises UsageError for what is no size."""
    try:
        parsed = {parse_size(_size_text(size), "--sizes") for size in sizes}
    except InvalidInput as error:
        raise UsageError(str(error)) from error
    return tuple(sorted(parsed, key=lambda size: (size[0] * size[1], size)))


def _size_text(size: str | Sequence[int]) -> str:
    return size if isinstance(size, str) else "x".join(map(str, size))


def seeds_of(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """The seeds 0 to n - 1, or those of a list, each once; raises UsageError where there are none."""
    listed = range(seeds) if isinstance(seeds, int) else seeds
    if not listed or any(not isinstance(seed, int) or seed < 0 for seed in listed):
        raise UsageError(f"expected --seeds to be how many (3), or a list (0,4,7), but got {seeds!r}")
    return tuple(dict.fromkeys(listed))


def foreseen(ready: Prepared, voice: Voice) -> list[str]:
    """How long it would take, one line each; nothing is kept."""
    study, images = ready.study, f"{len(ready.config.data.split(ready.config.split))} images"
    images = f"{images} of {ready.config.split}"
    if study is not None and not study.trains:
        seconds = seconds_of_measuring(ready.config, lambda few: study.measure(few, ()))
        about = f"about {clock(seconds)} to measure on {images}"
        return [f"nothing to train; {about}, into {ready.request.out}"]
    lines = _training_foreseen(ready, voice)
    if study is not None:
        lines.append(f"what the study measures besides on {images}, from what was trained, is not in it")
    return lines


def _training_foreseen(ready: Prepared, voice: Voice) -> list[str]:
    request, missing = ready.request, ready.planned.to_train
    there = [
        outcome_of(ready.config, trial, run_root(request.out, trial))
        for trial in ready.trials
        if trial not in missing
    ]
    kinds, jobs = len({(trial.method.name, trial.size) for trial in missing}), request.side_by_side
    with voice.progress("measuring", kinds, "kinds of runs") as progress:
        rows = forecasts(ready.config, missing, there, progress.advance, jobs=jobs)
    lines = [f"{len(ready.trials)} runs: {len(there)} there, {len(missing)} to train"]
    for row in rows:
        each = row.failure or f"{clock(row.seconds)} each ({row.source})"
        lines.append(f"  {row.method:<20}{named_size(row.size):>9}{row.runs:>4} x {each}")
    known = [row for row in rows if not row.failure]
    how = f"{jobs} workers" if request.elsewhere else f"--jobs {jobs}"
    about = f"about {clock(seconds_of_all(known, jobs))} with {how}"
    return [*lines, f"{about}, into {request.out}"]


def carried_out(ready: Prepared, voice: Voice) -> Comparison:
    """Trains what is missing, evaluates, and writes OUT/comparison.json, .csv and .html.

    Raises:
        KeyboardInterrupt: after Ctrl-C; what is finished is kept.
        SaccadeError: when no run succeeded.
    """
    _train(ready, voice)
    compared = _collected(ready, NAME, voice)
    _write_page(ready, NAME, compared, (), voice)
    return compared


def study_carried_out(ready: Prepared, voice: Voice) -> StudyResult:
    """As :func:`carried_out`, with what the study measures besides; its files are study_NAME.*."""
    study = ready.study
    assert study is not None
    name = f"study_{study.name}"
    _train(ready, voice)
    compared = _collected(ready, name, voice) if ready.trials else None
    with voice.progress("measuring", None, "images") as progress:
        heard = replace(ready.config, on_sample=progress.advance)
        blocks = study.measure(heard, compared.outcomes if compared is not None else ())
    write_table(study_json(ready.config, study, blocks, compared), ready.request.out, name)
    page = _write_page(ready, name, compared, blocks, voice)
    return StudyResult(study, blocks, compared, page, ready.request.out / f"{name}.json")


def _train(ready: Prepared, voice: Voice) -> None:
    planned = ready.planned
    for trial in planned.kept_failures:
        voice.say(f"note: {trial.name} failed before; --resume tries it again")
    if not planned.queue:
        return
    with voice.progress("comparing", 100, "%") as progress:
        overall = Overall(progress, [job.trial for job in planned.queue])
        try:
            with exclusively(ready.request.out / RUNS, "a comparison that no other program is at"):
                _run(ready, overall.tell)
        except Interrupted:
            raise KeyboardInterrupt from None


def _run(ready: Prepared, on_progress: OnProgress) -> None:
    request, queue = ready.request, ready.planned.queue
    if not request.elsewhere:
        run_all(ready.config, queue, on_progress, jobs=request.jobs)
        return
    from saccade.lab.cluster import run_on_cluster

    connection = (
        nullcontext(request.client) if request.client is not None else connected(str(request.cluster))
    )
    with connection as client:
        run_on_cluster(client, ready.config, queue, on_progress, local=local_workers(request.cluster))


def _collected(ready: Prepared, name: str, voice: Voice) -> Comparison:
    """What came out, its tables written."""
    with voice.progress("measuring costs", None, "kinds of runs") as progress:
        compared = collect(
            ready.config, ready.methods, ready.trials, ready.request.out, name=name,
            on_measured=progress.advance,
        )  # fmt: skip
    write_table(to_json(compared), ready.request.out, name, to_csv(compared))
    return compared


def _write_page(
    ready: Prepared, name: str, compared: Comparison | None, blocks: Sequence[Block], voice: Voice
) -> Path:
    voice.say("writing the page")
    html = comparison_page(ready.config, compared, ready.study, blocks)
    return write_text(ready.request.out / f"{name}.html", html)


EVERY_IMAGE = 2000
"""Pixels' worth of work that a sample costs whatever the size: reading, and the full-size answer."""


class Overall:
    """Turns the progress of single runs into that of all, in percent of the time.

    What a sampler costs cannot be told from its options. So a run counts for the seconds that runs of its
    sampler and size take so far, and before there is one for what its weight says at the rate of the others.

    Args:
        progress: of 100 steps.
        trials: that will be done.
        now: the time in seconds.
    """

    def __init__(
        self, progress: Progress, trials: Sequence[Trial], now: Callable[[], float] = time.monotonic
    ) -> None:
        self.progress, self.now = progress, now
        self.runs = {trial.name: RunProgress(trial) for trial in trials}

    def tell(self, trial: Trial, share: float, line: str) -> None:
        """``share`` of a trial is done."""
        self.runs[trial.name].hear(share, self.now())
        finished = sum(run.share >= 1 for run in self.runs.values())
        note = f"{finished} of {len(self.runs)} runs; {trial.name}: {line}"
        self.progress.update(round(100 * self._done(), 1), note=note)

    def _done(self) -> float:
        """Share of all the work that was not done before, in [0, 1]."""
        whole = self._whole_seconds()
        done = sum(whole[name] * (run.share - run.before) for name, run in self.runs.items())
        all_of_it = sum(whole[name] * (1 - run.before) for name, run in self.runs.items())
        return done / all_of_it if all_of_it else 1.0

    def _whole_seconds(self) -> Mapping[str, float]:
        """By run the seconds that all of it takes."""
        durations: dict[object, list[float]] = {}
        for run in self.runs.values():
            if run.seconds:
                durations.setdefault(run.kind, []).append(run.seconds)
        known = {kind: mean(seconds) for kind, seconds in durations.items()}
        measured = [run for run in self.runs.values() if run.kind in known]
        of_weight = sum(run.weight for run in measured)
        rate = sum(known[run.kind] for run in measured) / of_weight if of_weight else 1.0
        return {name: known.get(run.kind, rate * run.weight) for name, run in self.runs.items()}


@dataclass
class RunProgress:
    """What was heard of one run.

    Attributes:
        trial: the run.
        share: of it that is done.
        before: share that was done before this comparison began.
        heard: whether anything was.
        first: (share, time) when its first epoch was over, which reads the images and so tells no speed.
        seconds: that all of it takes, by what it took since; 0 as long as nobody knows.
    """

    trial: Trial
    share: float = 0.0
    before: float = 0.0
    heard: bool = False
    first: tuple[float, float] | None = None
    seconds: float = 0.0

    @property
    def kind(self) -> object:
        """What runs that take as long have in common."""
        return self.trial.method.name, self.trial.size

    @property
    def weight(self) -> float:
        """A guess at the work, in pixels."""
        config = self.trial.config
        samples = config.recipe.visits * config.recipe.glimpses
        return config.all_epochs * samples * (self.trial.size[0] * self.trial.size[1] + EVERY_IMAGE)

    def hear(self, share: float, now: float) -> None:
        """A share that is done, and when."""
        self.share = share
        if not self.heard:
            self.heard, self.before = True, share
        elif self.first is None:
            self.first = (share, now)
        elif share > self.first[0]:
            self.seconds = (now - self.first[1]) / (share - self.first[0])
