"""Options that several commands share: ``subparsers.add_parser(..., parents=[common(), output()])``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from saccade.errors import UsageError


def common() -> argparse.ArgumentParser:
    """``-v`` and ``-q``: every command takes them."""
    parser = argparse.ArgumentParser(add_help=False)
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument(
        "-v", "--verbose", action="store_true", help="say more; show where an error came from"
    )
    loudness.add_argument("-q", "--quiet", action="store_true", help="say nothing but results and errors")
    return parser


def trust() -> argparse.ArgumentParser:
    """``--allow-code`` and ``--allow-outside``: what files of others may do."""
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("files of others")
    group.add_argument(
        "--allow-code",
        action="store_true",
        help="run the code that options in files name (python:...): only of people you trust",
    )
    group.add_argument(
        "--allow-outside",
        action="store_true",
        help="let images (VRT, sets of OME-TIFF) be made of files outside of their folder",
    )
    return parser


def require_order(run_folder: Path, others: Sequence[Path], right: str) -> None:
    """Refuses arguments in the wrong order: a run where something else was expected, and the reverse.

    Args:
        run_folder: what stands in the place of the run.
        others: what stands in the places of images or data.
        right: the command in its right order.

    Raises:
        UsageError: when the run is among the others.
    """
    swapped = [path for path in others if is_run(path)]
    if swapped and not is_run(run_folder):
        raise UsageError(f"{swapped[0]} is a run, and {run_folder} is none: swap them ({right})")


def is_run(path: Path) -> bool:
    """Whether a folder looks like a run's."""
    return (path / "config.yaml").is_file()


def as_json() -> argparse.ArgumentParser:
    """``--json``: one JSON object on standard output, nothing else there."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def device() -> argparse.ArgumentParser:
    """``--device``: where networks run."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--device",
        default="auto",
        metavar="NAME",
        help="auto, cpu, cuda, cuda:1, ... (default: auto); train and predict share the work among cuda:0,1",
    )
    return parser


def engine(parser: argparse.ArgumentParser) -> None:
    """``--engine``: what runs the networks."""
    parser.add_argument(
        "--engine",
        choices=("torch", "onnx"),
        default="torch",
        help="what runs the networks: PyTorch, or onnxruntime on the CPU (default: torch)",
    )


SPLIT = (
    "train, val, test, or any other list of stems in splits.json (default: test; val of data sets whose test "
    "has no public labels, such as Cityscapes)"
)
"""What ``--split`` means."""


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


def data_words(args: argparse.Namespace) -> list[str]:
    """What a command with :func:`data` was told of the data, as ``section.key=value`` each."""
    short = {"data.format": args.data_format, "data.crop": args.crop}
    return [*(f"{key}={value}" for key, value in short.items() if value is not None), *args.overrides]


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
    """``--value-range``."""
    parser.add_argument(
        "--value-range",
        metavar="LOW,HIGH",
        help="sample values of black and white; default as trained, else by the file",
    )


MODES = ("auto", "whole", "tiles")


def sampling() -> argparse.ArgumentParser:
    """``--mode``, ``--size``, ``--pixels``, ``--gflops``, ``--seconds``, ``--mpp``, ``--gsd``, ``--tile``,
    ``--overlap``, ``--value-range``, ``--memory``, ``--no-skip``."""
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
    group.add_argument("--gflops", type=float, metavar="X", help="at most so many 10^9 operations an image")
    group.add_argument("--seconds", metavar="S", help="for an image, measured on this machine (2, 2s, 1min)")
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


def region(parser: argparse.ArgumentParser) -> None:
    """``--region``."""
    parser.add_argument(
        "--region",
        metavar="WHERE",
        help="only there: XMIN,YMIN,XMAX,YMAX in map coordinates (in pixels of an image without any; "
        "--region=-1,... below 0), or polygons (GeoPackage, Shapefile, GeoJSON)",
    )


def region_words(args: argparse.Namespace) -> list[str]:
    """``--region`` as an option of the data."""
    return [] if args.region is None else [f"data.region={args.region}"]


def look_options(args: argparse.Namespace) -> dict[str, Any]:
    """What a command with :func:`sampling` was told, as the functions of :mod:`saccade.api` take it."""
    names = (
        "mode",
        "size",
        "pixels",
        "gflops",
        "seconds",
        "mpp",
        "gsd",
        "tile",
        "overlap",
        "memory",
        "value_range",
    )
    return {**{name: getattr(args, name) for name in names}, "skip": not args.no_skip}


TRAINING = ("sampler", "size", "network", "epochs", "batch_size", "seed", "data_format", "crop", "config")
"""Options of a training with names of their own."""


def training_options(args: argparse.Namespace) -> dict[str, Any]:
    """What a command was told of a training, as the functions of :mod:`saccade.api` take it."""
    values = {name: getattr(args, name) for name in TRAINING if getattr(args, name, None) is not None}
    return {**values, "options": args.overrides}


def say(line: str, args: argparse.Namespace) -> None:
    """A line for the user on standard error, unless ``-q``."""
    if not args.quiet:
        print(line, file=sys.stderr, flush=True)
