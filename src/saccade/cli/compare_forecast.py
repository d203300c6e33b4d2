"""``saccade compare --dry-run``: how long it would take; nothing is written."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from saccade.cli.console import Progress, clock

if TYPE_CHECKING:
    from saccade.evaluation.comparison.arms import Case, Setting
    from saccade.evaluation.studies import Study


def forecast(
    args: argparse.Namespace, setting: Setting, cases: Sequence[Case], missing: Sequence[Case],
    study: Study | None,
) -> int:  # fmt: skip
    """Prints it.

    Args:
        args: of the command.
        setting: what the runs share.
        cases: that the comparison or the study needs.
        missing: of these, those to be trained.
        study: if it is one.

    Returns:
        The exit code, 0.
    """
    if study is not None and not study.trains:
        _of_measuring(args, setting, study)
        return 0
    _of_training(args, setting, cases, missing)
    if study is not None:
        print(f"what the study measures besides on {_images(setting)}, from what was trained, is not in it")
    return 0


def _of_training(
    args: argparse.Namespace, setting: Setting, cases: Sequence[Case], missing: Sequence[Case]
) -> None:
    from saccade.evaluation.comparison.arms import named_size
    from saccade.evaluation.comparison.files import run_root
    from saccade.evaluation.comparison.forecast import forecasts, seconds_of_all
    from saccade.evaluation.comparison.work import outcome_of

    there = [outcome_of(setting, case, run_root(args.out, case)) for case in cases if case not in missing]
    kinds = len({(case.arm.name, case.size) for case in missing})
    with Progress("measuring", kinds, "kinds of runs", quiet=args.quiet) as progress:
        found = forecasts(setting, missing, there, progress.advance, jobs=args.jobs)
    print(f"{len(cases)} runs: {len(cases) - len(missing)} there, {len(missing)} to train")
    for one in found:
        each = one.failure or f"{clock(one.seconds)} each ({one.source})"
        print(f"  {one.arm:<20}{named_size(one.size):>9}{one.runs:>4} x {each}")
    known = [one for one in found if not one.failure]
    print(f"about {clock(seconds_of_all(known, args.jobs))} with --jobs {args.jobs}, into {args.out}")


def _of_measuring(args: argparse.Namespace, setting: Setting, study: Study) -> None:
    from saccade.evaluation.comparison.forecast import seconds_of_measuring

    seconds = seconds_of_measuring(setting, lambda few: study.measure(few, ()))
    print(f"nothing to train; about {clock(seconds)} to measure on {_images(setting)}, into {args.out}")


def _images(setting: Setting) -> str:
    return f"{len(setting.data.split(setting.split))} images of {setting.split}"
