"""``saccade report RUN``: one self-contained HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from saccade.cli import options
from saccade.runtime.lazy import loading


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "report",
        parents=[options.common(), options.trust(), options.device()],
        help="one HTML page of a run: scores, curves, examples",
        description="Writes RUN/report.html: training curves, scores by class, cost, and examples, the worst "
        "first. Evaluates the run on its own data where that has not been done.",
    )
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="a trained run")
    parser.add_argument("--data", metavar="DATA", type=Path, help="its data folder, where that has moved")
    parser.add_argument("--split", metavar="NAME", help=options.SPLIT)
    return parser


def run(args: argparse.Namespace) -> int:
    with loading():
        from saccade.api.reporting import report_run

    page = report_run(
        args.run_folder, args.data, split=args.split, device=args.device, progress=not args.quiet
    )
    print(page)
    return 0
