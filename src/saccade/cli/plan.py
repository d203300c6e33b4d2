"""``saccade plan RUN IMAGE``: what a prediction would cost, and why."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from saccade.cli import options
from saccade.runtime.addresses import path_of
from saccade.runtime.lazy import loading


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "plan",
        parents=[options.common(), options.trust(), options.as_json(), options.device(), options.sampling()],
        help="what a prediction would cost: pixels, operations, memory, time",
        description="Foresees what 'saccade predict' would do with an image and what it would take. Nothing "
        "is predicted: a blank view is scored a few times and a tile of the file is read, to measure both.",
    )
    parser.add_argument("path", metavar="PATH", type=path_of, help="an image, or its address")
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="a trained run")
    parser.add_argument("--save", default="labels", metavar="WHAT", help="as for predict (default: labels)")
    options.region(parser)
    options.engine(parser)
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="which weights")
    return parser


def run(args: argparse.Namespace) -> int:
    with loading():
        from saccade.api.prediction import plan

    options.require_order(args.run_folder, [args.path], "saccade plan IMAGE RUN")
    how = options.look_options(args)
    foreseen = plan(
        args.path, args.run_folder, save=args.save, checkpoint=args.checkpoint, device=args.device,
        region=args.region, engine=args.engine, **how,
    )  # fmt: skip
    print(json.dumps(foreseen.to_json(), indent=1) if args.json else foreseen)
    return 0
