"""``saccade compare DATA OUT``: samplers beside each other, cost against quality."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saccade.cli import options
from saccade.cli.console import Progress, say
from saccade.errors import UsageError

if TYPE_CHECKING:
    from saccade.evaluation.comparison.arms import Arm, Case, Setting
    from saccade.evaluation.comparison.results import Comparison
    from saccade.evaluation.comparison.run import Plan
    from saccade.evaluation.studies import Block, Study

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
    add("--samplers", metavar="LIST", help=f"NAME or NAME=SAMPLER, by commas (default {SAMPLERS})")
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
    from saccade.evaluation.comparison.files import NAME, require_place
    from saccade.evaluation.comparison.plan import cases_of
    from saccade.evaluation.comparison.run import plan
    from saccade.evaluation.studies import load_study

    study = load_study(args.study) if args.study else None
    if study is not None and (args.samplers or args.set):
        raise UsageError("a study has its own samplers; leave --samplers and --set out, or --study")
    asked_arms = _arms(args) if study is None else []
    require_place(args.out)
    setting = _setting(args, study, asked_arms)
    arms = asked_arms or (list(study.arms(setting)) if study else [])
    cases = cases_of(setting, arms)
    planned = plan(setting, cases, args.out, resume=args.resume, overwrite=args.overwrite)
    if args.dry_run:
        from saccade.cli.compare_forecast import forecast

        return forecast(args, setting, cases, planned.to_train, study)
    _train(args, setting, planned)
    name = f"study_{study.name}" if study else NAME
    return _write(args, setting, arms, cases, study, name)


def _list_studies() -> int:
    from saccade.evaluation.studies import STUDIES, load_study

    for name in STUDIES:
        study = load_study(name)
        print(f"{name:<18}{study.title} ({study.source})")
    return 0


def _arms(args: argparse.Namespace) -> list[Arm]:
    from saccade.evaluation.comparison.plan import arms_of

    return arms_of(_words(args.samplers or SAMPLERS, "--samplers"), args.set)


def _setting(args: argparse.Namespace, study: Study | None, arms: list[Arm]) -> Setting:
    """Checks every option before the data are opened, which takes a while."""
    from dataclasses import replace

    from saccade.data import SampleCache, open_data
    from saccade.evaluation.comparison.arms import Setting
    from saccade.networks import require_network
    from saccade.training.configfile import read_config
    from saccade.training.devices import lightning_device

    given = [f"{key}={getattr(args, name)}" for name, key in SHORT.items() if getattr(args, name) is not None]
    given += args.overrides
    for key in (one.partition("=")[0] for one in given):
        if key in AXES:
            raise UsageError(f"{key} is what is compared; give it with {AXES[key]}")
    sizes, seeds = _sizes(args.sizes or SIZES), _seeds(args.seeds)
    base = read_config(args.config, given)
    for config in (base, *(read_config(overrides=arm.options, base=base) for arm in arms)):
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
    setting = Setting(data, cache, sizes, seeds, base, tuple(given), args.split, args.device)
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
    from saccade.training.sizes import parse_size

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


def _train(args: argparse.Namespace, setting: Setting, planned: Plan) -> None:
    from saccade.cli.compare_progress import Overall
    from saccade.evaluation.comparison.pool import run_all
    from saccade.evaluation.comparison.state import RUNS
    from saccade.rasters.alone import working_alone
    from saccade.training.fitting import Interrupted

    for case in planned.kept_failures:
        say(f"note: {case.name} failed before; --resume tries it again", args)
    if not planned.errands:
        return
    args.hint = "what is finished is kept: repeat the command with --resume"
    with Progress("comparing", 100, "%", quiet=args.quiet) as progress:
        overall = Overall(progress, [one.case for one in planned.errands])
        try:
            with working_alone(args.out / RUNS, "a comparison that no other program is at"):
                run_all(setting, planned.errands, overall.tell, jobs=args.jobs)
        except Interrupted:
            raise KeyboardInterrupt from None


def _write(
    args: argparse.Namespace, setting: Setting, arms: list[Arm], cases: list[Case],
    study: Study | None, name: str,
) -> int:  # fmt: skip
    from saccade.evaluation.comparison.files import write_table, write_text
    from saccade.evaluation.comparison.run import collect
    from saccade.evaluation.comparison.table import to_csv, to_json
    from saccade.evaluation.studies import study_json
    from saccade.report.comparison import comparison_lines, comparison_page
    from saccade.report.comparison_study import blocks_lines

    found, table = None, ""
    if cases:
        with Progress("measuring costs", None, "kinds of runs", quiet=args.quiet) as progress:
            found = collect(setting, arms, cases, args.out, name=name, on_measured=progress.advance)
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
    args: argparse.Namespace, setting: Setting, study: Study | None, found: Comparison | None
) -> Sequence[Block]:
    """What a study finds besides its arms; a line of progress for every image that it looks at."""
    if study is None:
        return ()
    from dataclasses import replace

    with Progress("measuring", None, "images", quiet=args.quiet) as progress:
        heard = replace(setting, on_sample=progress.advance)
        return study.measure(heard, found.outcomes if found is not None else ())
