"""``saccade options [SECTION]``: every option with its default and its meaning."""

from __future__ import annotations

import argparse
import json
import shutil
import textwrap
from dataclasses import asdict
from typing import Any

from saccade.cli import options


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "options",
        parents=[options.common(), options.as_json()],
        help="every option of a training, with its default and meaning",
        description="Lists what 'saccade train' and 'saccade compare' take as section.key=value, and what "
        "the file of --config may say.",
    )
    parser.add_argument("section", metavar="SECTION", nargs="?", help="one section, such as sampler or loss")
    return parser


def run(args: argparse.Namespace) -> int:
    from saccade.training.option_list import list_options

    found = list_options(args.section)
    if args.json:
        print(json.dumps([asdict(option) for option in found], indent=1))
        return 0
    width = min(110, shutil.get_terminal_size((110, 24)).columns)
    for option in found:
        print(f"{option.name}={option.default}" if option.default else option.name)
        print(textwrap.fill(option.meaning, width, initial_indent="    ", subsequent_indent="    "))
    return 0
