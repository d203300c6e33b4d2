"""``saccade evaluate RUN DATA``: scores at full resolution."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from saccade.cli import options
from saccade.cli.console import Progress, say
from saccade.errors import FileProblem


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "evaluate",
        parents=[options.common(), options.as_json(), options.device()],
        help="scores of a trained run at full resolution",
        description="Predicts every image of a split at full resolution and counts what came out, "
        "pooled over the split; ignored pixels count nowhere.",
    )
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="a trained run")
    parser.add_argument("data", metavar="DATA", type=Path, help="the folder of a data set")
    parser.add_argument("--split", default="test", choices=("train", "val", "test"), help="default: test")
    options.data(parser)
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="which weights")
    return parser


def run(args: argparse.Namespace) -> int:
    from saccade.training.run_folder import load_run

    run = load_run(args.run_folder, args.checkpoint)
    from saccade.data import SampleCache, open_data
    from saccade.evaluation import evaluate
    from saccade.evaluation.results import Subject, keep_evaluation, own_file
    from saccade.report.html import score_lines
    from saccade.runtime.devices import torch_device
    from saccade.training.run_folder import require_classes

    device = torch_device(args.device)
    cache = SampleCache()
    how = options.data_options(args, run.config.data.evaluated())
    with Progress("checking", None, "images", quiet=args.quiet) as progress:
        data = open_data(
            args.data, how, splits=(args.split,), on_decoded=cache.keep, on_progress=progress.update
        )
    require_classes(run, data.classes, args.data)
    subject = Subject.of(run.path, data, args.split, args.checkpoint)
    for notice in data.notices:
        say(f"note: {notice}", args)
    items = data.split(args.split)
    with Progress("evaluating", len(items), "images", quiet=args.quiet) as progress:
        found = evaluate(
            run.segmenter, cache.iterate(data, items), data.classes,
            device=device, progress=progress.update,
        )  # fmt: skip
    scores = found.to_json()
    shown = json.dumps(scores, indent=1, allow_nan=False) if args.json else "\n".join(score_lines(scores))
    print(shown, flush=True)
    try:
        file = keep_evaluation(run.path, found, subject)
    except FileProblem as problem:
        fix = "the scores above are right; to keep them, evaluate a copy of the run"
        raise FileProblem(problem.path, "a place to keep the scores", problem.got, fix) from problem
    if file != own_file(run.path, args.split):
        say(f"note: kept as {file.name}, beside what is known of other data, options or weights", args)
    return 0
