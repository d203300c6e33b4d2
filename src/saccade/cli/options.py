"""Options that several commands share: ``subparsers.add_parser(..., parents=[common(), output()])``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from saccade.errors import UsageError

if TYPE_CHECKING:
    from saccade.data import DataOptions


def common() -> argparse.ArgumentParser:
    """``-v`` and ``-q``: every command takes them."""
    parser = argparse.ArgumentParser(add_help=False)
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument(
        "-v", "--verbose", action="store_true", help="say more; show where an error came from"
    )
    loudness.add_argument("-q", "--quiet", action="store_true", help="say nothing but results and errors")
    return parser


def as_json() -> argparse.ArgumentParser:
    """``--json``: one JSON object on standard output, nothing else there."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def device() -> argparse.ArgumentParser:
    """``--device``: where networks run."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, ... (default: auto)"
    )
    return parser


def data(parser: argparse.ArgumentParser) -> None:
    """How DATA is read, for :func:`data_options`: by name, or any option as data.KEY=VALUE."""
    data_short(parser)
    parser.set_defaults(overrides=[])
    parser.epilog = "Any option of the data can be given as data.KEY=VALUE: see docs/data.md."


def data_short(parser: argparse.ArgumentParser) -> None:
    """The options of data that have names of their own."""
    parser.add_argument("--data-format", metavar="NAME", help="the data set; default: as its files look")
    parser.add_argument(
        "--crop", metavar="PART", help="none, square, random_square or ROWSxCOLUMNS: the part that is used"
    )


def data_options(args: argparse.Namespace, base: DataOptions | None = None) -> DataOptions:
    """What a command with :func:`data` was told, over ``base``.

    Raises:
        UsageError: for another key, or a value that is not allowed.
    """
    from saccade.data import DataOptions
    from saccade.training.config import Config
    from saccade.training.configfile import read_config

    for override in args.overrides:
        if not override.startswith("data."):
            raise UsageError(f"expected an option of the data, as data.crop=square, but got {override!r}")
    short = {"data.format": args.data_format, "data.crop": args.crop}
    given = [f"{key}={value}" for key, value in short.items() if value is not None]
    return read_config(None, [*given, *args.overrides], base=Config(data=base or DataOptions())).data


def output() -> argparse.ArgumentParser:
    """``--overwrite`` or ``--resume`` for what is there already, and ``--dry-run``."""
    parser = argparse.ArgumentParser(add_help=False)
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace what is there already")
    existing.add_argument("--resume", action="store_true", help="go on from what is there already")
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything, say what would be done, stop"
    )
    return parser
