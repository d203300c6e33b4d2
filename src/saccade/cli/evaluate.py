"""``saccade evaluate RUN DATA``: scores at full resolution."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from saccade.cli import options
from saccade.runtime.lazy import loading


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "evaluate",
        parents=[options.common(), options.trust(), options.as_json(), options.device()],
        help="scores of a trained run at full resolution",
        description="Predicts every image of a split at full resolution and counts what came out, "
        "pooled over the split; ignored pixels count nowhere.",
    )
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="a trained run")
    parser.add_argument(
        "data",
        metavar="DATA",
        type=Path,
        nargs="?",
        help="the folder of a data set (default: that of the run)",
    )
    parser.add_argument("--split", metavar="NAME", help=options.SPLIT)
    parser.add_argument("--size", metavar="ROWSxCOLUMNS", help="samples of a view; default as trained")
    options.data(parser)
    options.region(parser)
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="which weights")
    return parser


def run(args: argparse.Namespace) -> int:
    with loading():
        from saccade.api.scoring import Unstored, evaluate

    if args.data is not None:
        options.require_order(args.run_folder, [args.data], "saccade evaluate RUN DATA")
    problem = None
    try:
        evaluation = evaluate(
            args.run_folder, args.data, split=args.split, size=args.size, checkpoint=args.checkpoint,
            options=[*options.data_words(args), *options.region_words(args)],
            device=args.device, progress=not args.quiet,
        )  # fmt: skip
    except Unstored as unstored:
        problem, evaluation = unstored, unstored.evaluation
    from saccade.report.html import score_lines

    scores = evaluation.to_json()
    shown = json.dumps(scores, indent=1, allow_nan=False) if args.json else "\n".join(score_lines(scores))
    print(shown, flush=True)
    if problem is not None:
        raise problem
    return 0
