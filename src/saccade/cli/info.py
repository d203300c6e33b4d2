"""``saccade info PATH``: what an image or a data folder is."""

from __future__ import annotations

import argparse
import json
from typing import Any

from saccade.cli import options
from saccade.errors import DataFaults
from saccade.runtime.addresses import path_of


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "info",
        parents=[options.common(), options.trust(), options.as_json()],
        help="what an image or a data set is",
        description="Says what an image is (size, levels, type, pixel size, reference system) or what a data "
        "set holds (splits, sizes, classes and their share of the pixels), and every fault in it.",
    )
    what = "an image or its address, or the folder of a data set"
    parser.add_argument("path", metavar="PATH", type=path_of, help=what)
    options.data(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    from saccade.api.info import fault_facts, info

    try:
        known = info(args.path, options=options.data_words(args), progress=not args.quiet)
    except DataFaults as faults:
        if not args.json:
            raise
        print(json.dumps(fault_facts(args.path, faults), indent=1))
        return faults.exit_code
    print(json.dumps(known.facts, indent=1) if args.json else known)
    return 0
