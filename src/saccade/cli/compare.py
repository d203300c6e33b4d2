"""``saccade compare DATA OUT``: methods beside each other, cost against quality, with the time left."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from saccade.cli import options
from saccade.cli.console import Progress, clock, say
from saccade.errors import UsageError

if TYPE_CHECKING:
    from saccade.cli.console import Progress
    from saccade.lab.methods import ComparisonConfig, Method, Trial
    from saccade.lab.results import Comparison
    from saccade.lab.runner import Plan
    from saccade.lab.studies import Block, Study


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
        self.runs = {trial.name: _Run(trial) for trial in trials}

    def tell(self, trial: Trial, share: float, line: str) -> None:
        """``share`` of a trial is done."""
        self.runs[trial.name].hear(share, self.now())
        finished = sum(one.share >= 1 for one in self.runs.values())
        note = f"{finished} of {len(self.runs)} runs; {trial.name}: {line}"
        self.progress.update(round(100 * self._done(), 1), note=note)

    def _done(self) -> float:
        """Share of all the work that was not done before, in [0, 1]."""
        taken: dict[object, list[float]] = {}
        for one in self.runs.values():
            if one.seconds:
                taken.setdefault(one.kind, []).append(one.seconds)
        known = {kind: mean(seconds) for kind, seconds in taken.items()}
        measured = [one for one in self.runs.values() if one.kind in known]
        of_weight = sum(one.weight for one in measured)
        rate = sum(known[one.kind] for one in measured) / of_weight if of_weight else 1.0
        whole = {name: known.get(one.kind, rate * one.weight) for name, one in self.runs.items()}
        done = sum(whole[name] * (one.share - one.before) for name, one in self.runs.items())
        wanted = sum(whole[name] * (1 - one.before) for name, one in self.runs.items())
        return done / wanted if wanted else 1.0


@dataclass
class _Run:
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
        self.share = share
        if not self.heard:
            self.heard, self.before = True, share
        elif self.first is None:
            self.first = (share, now)
        elif share > self.first[0]:
            self.seconds = (now - self.first[1]) / (share - self.first[0])


def forecast(
    args: argparse.Namespace, setting: ComparisonConfig, trials: Sequence[Trial], missing: Sequence[Trial],
    study: Study | None,
) -> int:  # fmt: skip
    """Prints it.

    Args:
        args: of the command.
        setting: what the runs share.
        trials: that the comparison or the study needs.
        missing: of these, those to be trained.
        study: if it is one.

    Returns:
        The exit code, 0.
    """
    if study is not None and not study.trains:
        _of_measuring(args, setting, study)
        return 0
    _of_training(args, setting, trials, missing)
    if study is not None:
        print(f"what the study measures besides on {_images(setting)}, from what was trained, is not in it")
    return 0


def _of_training(
    args: argparse.Namespace, setting: ComparisonConfig, trials: Sequence[Trial], missing: Sequence[Trial]
) -> None:
    from saccade.lab.costs import forecasts, seconds_of_all
    from saccade.lab.methods import named_size
    from saccade.lab.runner import outcome_of
    from saccade.lab.state import run_root

    there = [
        outcome_of(setting, trial, run_root(args.out, trial)) for trial in trials if trial not in missing
    ]
    kinds = len({(trial.method.name, trial.size) for trial in missing})
    with Progress("measuring", kinds, "kinds of runs", quiet=args.quiet) as progress:
        found = forecasts(setting, missing, there, progress.advance, jobs=args.jobs)
    print(f"{len(trials)} runs: {len(trials) - len(missing)} there, {len(missing)} to train")
    for one in found:
        each = one.failure or f"{clock(one.seconds)} each ({one.source})"
        print(f"  {one.method:<20}{named_size(one.size):>9}{one.runs:>4} x {each}")
    known = [one for one in found if not one.failure]
    print(f"about {clock(seconds_of_all(known, args.jobs))} with --jobs {args.jobs}, into {args.out}")


def _of_measuring(args: argparse.Namespace, setting: ComparisonConfig, study: Study) -> None:
    from saccade.lab.costs import seconds_of_measuring

    seconds = seconds_of_measuring(setting, lambda few: study.measure(few, ()))
    print(f"nothing to train; about {clock(seconds)} to measure on {_images(setting)}, into {args.out}")


def _images(setting: ComparisonConfig) -> str:
    return f"{len(setting.data.split(setting.split))} images of {setting.split}"


SHORT = {
    "network": "network.name",
    "epochs": "training.epochs",
    "batch_size": "training.batch_size",
    "data_format": "data.format",
    "crop": "data.crop",
}
AXES = {"sampler.name": "--samplers", "sampler.size": "--sizes", "training.seed": "--seeds"}
SAMPLERS, SIZES = "uniform,deformation", "32x64,64x128"

DESCRIPTION = """Trains every sampler at every size with every seed, all else alike, evaluates them at full
resolution, and writes OUT/comparison.html, .csv and .json. Runs that are there already, in
OUT/runs/SAMPLER_SIZE_sSEED, are used."""


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "compare",
        parents=[options.common(), options.as_json(), options.device(), options.output()],
        help="samplers beside each other: what does a pixel buy?",
        description=DESCRIPTION,
    )
    add = parser.add_argument
    add("data", metavar="DATA", type=Path, help="the folder of a data set")
    add("out", metavar="OUT", type=Path, nargs="?", help="the folder of the comparison")
    add("overrides", metavar="KEY=VALUE", nargs="*", help="options of all runs, as section.key=value")
    add("--samplers", metavar="LIST", help=f"SAMPLER or NAME=SAMPLER, by commas (default {SAMPLERS})")
    add("--sizes", metavar="LIST", help=f"ROWSxCOLUMNS, by commas (default {SIZES})")
    add("--seeds", metavar="N", default="3", help="how many, or a list such as 0,4,7 (default 3)")
    add("--set", metavar="NAME:KEY=VALUE", action="append", default=[], help="an option of one sampler only")
    add("--study", metavar="NAME", help="a study of the papers instead; 'list' names them")
    add("--config", metavar="FILE", type=Path, help="a YAML file of options of all runs")
    add("--network", metavar="NAME", help="small, or ARCHITECTURE:ENCODER")
    add("--epochs", help="passes over the training images")
    add("--batch-size", dest="batch_size", help="images a step")
    add("--split", default="test", choices=("test", "val"), help="what is evaluated on (default: test)")
    add("--jobs", metavar="N", type=int, default=1, help="runs side by side, each in a process (default 1)")
    options.data_short(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    if args.study == "list":
        return _list_studies()
    if args.out is None:
        raise UsageError("expected DATA and OUT, but got one folder (see 'saccade compare --help')")
    if args.jobs < 1:
        raise UsageError(f"expected --jobs to be 1 or more, but got {args.jobs}")
    from saccade.lab.methods import trials_of
    from saccade.lab.runner import plan
    from saccade.lab.state import NAME, require_place
    from saccade.lab.studies import load_study

    study = load_study(args.study) if args.study else None
    if study is not None and (args.samplers or args.set):
        raise UsageError("a study has its own samplers; leave --samplers and --set out, or --study")
    asked_arms = _methods(args) if study is None else []
    require_place(args.out)
    setting = _setting(args, study, asked_arms)
    methods = asked_arms or (list(study.methods(setting)) if study else [])
    trials = trials_of(setting, methods)
    planned = plan(setting, trials, args.out, resume=args.resume, overwrite=args.overwrite)
    if args.dry_run:
        return forecast(args, setting, trials, planned.to_train, study)
    _train(args, setting, planned)
    name = f"study_{study.name}" if study else NAME
    return _write(args, setting, methods, trials, study, name)


def _list_studies() -> int:
    from saccade.lab.studies import STUDIES, load_study

    for name in STUDIES:
        study = load_study(name)
        print(f"{name:<18}{study.title} ({study.source})")
    return 0


def _methods(args: argparse.Namespace) -> list[Method]:
    from saccade.lab.methods import methods_of

    return methods_of(_words(args.samplers or SAMPLERS, "--samplers"), args.set)


def _setting(args: argparse.Namespace, study: Study | None, methods: list[Method]) -> ComparisonConfig:
    """Checks every option before the data are opened, which takes a while."""
    from dataclasses import replace

    from saccade.data import SampleCache, open_data
    from saccade.lab.methods import ComparisonConfig
    from saccade.networks import require_network
    from saccade.runtime.devices import lightning_device
    from saccade.training.config import read_config

    given = [f"{key}={getattr(args, name)}" for name, key in SHORT.items() if getattr(args, name) is not None]
    given += args.overrides
    for key in (one.partition("=")[0] for one in given):
        if key in AXES:
            raise UsageError(f"{key} is what is compared; give it with {AXES[key]}")
    sizes, seeds = _sizes(args.sizes or SIZES), _seeds(args.seeds)
    base = read_config(args.config, given)
    for config in (base, *(read_config(overrides=method.options, base=base) for method in methods)):
        for name in filter(None, (config.network.name, config.sampler.net)):
            require_network(name)
    lightning_device(args.device)
    limit = base.training.cache_gigabytes
    cache = SampleCache(None if limit is None else round(limit * 1e9))
    trains = study is None or study.trains
    fresh = trains and args.jobs == 1 and not args.dry_run and not args.out.exists()
    keep = cache.keep if fresh else None  # else perhaps only the images of the split are needed
    with Progress("checking", None, "images", quiet=args.quiet) as progress:
        data = open_data(
            args.data, base.data, splits={"train", "val", args.split}, on_decoded=keep,
            on_progress=progress.update,
        )  # fmt: skip
    for notice in data.notices:
        say(f"note: {notice}", args)
    base = replace(base, data=data.options)
    setting = ComparisonConfig(data, cache, sizes, seeds, base, tuple(given), args.split, args.device)
    if study is not None and study.sizes is not None and args.sizes is None:
        setting = replace(setting, sizes=tuple(study.sizes(setting)))
    return setting


def _words(text: str, option: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise UsageError(f"expected {option} to be names by commas, but got {text!r}")
    return words


def _sizes(text: str) -> tuple[tuple[int, int], ...]:
    from saccade.errors import InvalidInput
    from saccade.geometry import parse_size

    try:
        sizes = {parse_size(word, "--sizes") for word in _words(text, "--sizes")}
    except InvalidInput as error:
        raise UsageError(str(error)) from error
    return tuple(sorted(sizes, key=lambda size: (size[0] * size[1], size)))


def _seeds(text: str) -> tuple[int, ...]:
    words = _words(text, "--seeds")
    if not all(word.isdecimal() for word in words) or (len(words) == 1 and "," not in text and int(text) < 1):
        raise UsageError(f"expected --seeds to be how many (3), or a list (0,4,7), but got {text!r}")
    if len(words) == 1 and "," not in text:
        return tuple(range(int(text)))
    return tuple(dict.fromkeys(int(word) for word in words))


def _train(args: argparse.Namespace, setting: ComparisonConfig, planned: Plan) -> None:
    from saccade.lab.runner import run_all
    from saccade.lab.state import RUNS
    from saccade.runtime.files import exclusively
    from saccade.training.loop import Interrupted

    for trial in planned.kept_failures:
        say(f"note: {trial.name} failed before; --resume tries it again", args)
    if not planned.queue:
        return
    args.hint = "what is finished is kept: repeat the command with --resume"
    with Progress("comparing", 100, "%", quiet=args.quiet) as progress:
        overall = Overall(progress, [one.trial for one in planned.queue])
        try:
            with exclusively(args.out / RUNS, "a comparison that no other program is at"):
                run_all(setting, planned.queue, overall.tell, jobs=args.jobs)
        except Interrupted:
            raise KeyboardInterrupt from None


def _write(
    args: argparse.Namespace, setting: ComparisonConfig, methods: list[Method], trials: list[Trial],
    study: Study | None, name: str,
) -> int:  # fmt: skip
    from saccade.lab.page import blocks_lines, comparison_lines, comparison_page
    from saccade.lab.results import to_csv, to_json
    from saccade.lab.runner import collect
    from saccade.lab.state import write_table, write_text
    from saccade.lab.studies import study_json

    found, table = None, ""
    if trials:
        with Progress("measuring costs", None, "kinds of runs", quiet=args.quiet) as progress:
            found = collect(setting, methods, trials, args.out, name=name, on_measured=progress.advance)
        table = write_table(to_json(found), args.out, name, to_csv(found))
    blocks = _measured(args, setting, study, found)
    if study is not None:
        table = write_table(study_json(setting, study, blocks, found), args.out, name)
    say("writing the page", args)
    page = write_text(args.out / f"{name}.html", comparison_page(setting, found, study, blocks))
    lines = [*blocks_lines(blocks), *(comparison_lines(found) if found else ())]
    print(table if args.json else "\n".join(lines))
    say(str(page), args)
    return 1 if found is not None and found.failures else 0


def _measured(
    args: argparse.Namespace, setting: ComparisonConfig, study: Study | None, found: Comparison | None
) -> Sequence[Block]:
    """What a study finds besides its methods; a line of progress for every image that it looks at."""
    if study is None:
        return ()
    from dataclasses import replace

    with Progress("measuring", None, "images", quiet=args.quiet) as progress:
        heard = replace(setting, on_sample=progress.advance)
        return study.measure(heard, found.outcomes if found is not None else ())
