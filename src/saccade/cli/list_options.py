"""``saccade options [SECTION]``: every option with its default and its meaning."""

from __future__ import annotations

import argparse
import json
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from saccade.cli import options

if TYPE_CHECKING:
    from saccade.cli.declared_options import Option


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
    from saccade.cli.declared_options import declared_options

    options = declared_options(args.section)
    if args.json:
        print(json.dumps([asdict(option) for option in options], indent=1))
        return 0
    print("\n".join(lines_of(options)))
    return 0


def lines_of(options: Sequence[Option]) -> Iterator[str]:
    """Each option with its default, and its meaning below, as wide as the terminal."""
    width = min(110, shutil.get_terminal_size((110, 24)).columns)
    for option in options:
        yield f"{option.name}={option.default}" if option.default else option.name
        yield textwrap.fill(option.meaning, width, initial_indent="    ", subsequent_indent="    ")
