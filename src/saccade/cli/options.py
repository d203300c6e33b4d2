"""Options that several commands share: ``subparsers.add_parser(..., parents=[common(), output()])``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

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
    from saccade.training.config import Config, read_config

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


def value_range(parser: Any) -> None:
    """``--value-range``, for :func:`parsed_value_range`."""
    parser.add_argument(
        "--value-range",
        metavar="LOW,HIGH",
        help="sample values of black and white; default as trained, else by the file",
    )


def parsed_value_range(args: argparse.Namespace, trained: DataOptions | None = None) -> Any:
    """What ``--value-range`` says, else what a run was trained with, else None."""
    from saccade.data.options import parse_value_range

    if args.value_range is not None:
        return parse_value_range(args.value_range)
    return None if trained is None else trained.value_range


MODES = ("auto", "whole", "tiles")


def look() -> argparse.ArgumentParser:
    """``--mode``, ``--size``, ``--pixels``, ``--mpp``, ``--gsd``, ``--tile``, ``--overlap``,
    ``--value-range``, ``--memory``, ``--no-skip``."""
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("how closely to look")
    group.add_argument(
        "--mode",
        choices=MODES,
        default="auto",
        help="the image in one view, or in overlapping tiles with a view each (default: auto)",
    )
    group.add_argument("--size", metavar="ROWSxCOLUMNS", help="samples of a view; default as trained")
    group.add_argument("--pixels", metavar="N", help="at most so many samples an image, in all views (2M)")
    scale = group.add_mutually_exclusive_group()
    scale.add_argument("--mpp", type=float, metavar="X", help="microns between samples, on average")
    scale.add_argument("--gsd", type=float, metavar="X", help="metres between samples, on average")
    group.add_argument("--tile", metavar="ROWSxCOLUMNS", help="pixels of a tile")
    group.add_argument(
        "--overlap",
        type=float,
        default=0.125,
        metavar="SHARE",
        help="of a tile with the next (default: 0.125)",
    )
    value_range(group)
    group.add_argument("--memory", metavar="BYTES", help="RAM that may be used in all, such as 2GB")
    group.add_argument(
        "--no-skip", action="store_true", help="look at empty glass and at pixels without measurement too"
    )
    return parser


def wanted(args: argparse.Namespace) -> Any:
    """The :class:`saccade.inference.Look` that the options describe."""
    from saccade.geometry import parse_size
    from saccade.inference.options import Look, Spacing, parse_memory, parse_pixels, parse_tile

    spacing = Spacing(args.mpp, "micron") if args.mpp is not None else None
    spacing = Spacing(args.gsd, "metre") if args.gsd is not None else spacing
    return Look(
        mode=args.mode,
        size=None if args.size is None else parse_size(args.size, "--size"),
        pixels=None if args.pixels is None else parse_pixels(args.pixels),
        spacing=spacing,
        tile=None if args.tile is None else parse_tile(args.tile),
        overlap=args.overlap,
        memory=None if args.memory is None else parse_memory(args.memory),
        skip=not args.no_skip,
    )
