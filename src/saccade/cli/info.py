"""``saccade info PATH``: what an image or a data folder is."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from saccade.cli import options
from saccade.cli.console import Progress
from saccade.errors import DataFaults, FileProblem, UsageError


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "info",
        parents=[options.common(), options.as_json()],
        help="what an image or a data set is",
        description="Says what an image is (size, levels, type, pixel size, reference system) or what a data "
        "set holds (splits, sizes, classes and their share of the pixels), and every fault in it.",
    )
    parser.add_argument("path", metavar="PATH", type=Path, help="an image, or the folder of a data set")
    options.data(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    if not args.path.exists():
        raise FileProblem(args.path, "an image, or the folder of a data set", "no such file or folder")
    if args.path.is_dir() and not _is_zarr(args.path):
        return _data(args)
    if args.overrides or args.data_format or args.crop:
        raise UsageError(f"{args.path} is an image, which has no options of a data set")
    return _image(args)


def _is_zarr(path: Path) -> bool:
    """Whether a folder is an image in the Zarr format."""
    return any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zarray", ".zattrs"))


def _image(args: argparse.Namespace) -> int:
    from saccade.cli.info_image import image_facts, image_lines
    from saccade.rasters import open_raster

    with open_raster(args.path) as raster:
        facts = image_facts(raster.info)
    print(json.dumps(facts, indent=1) if args.json else "\n".join(image_lines(facts)))
    return 0


def _data(args: argparse.Namespace) -> int:
    from saccade.cli.info_data import data_facts, data_lines, fault_facts
    from saccade.data import open_data

    try:
        with Progress("checking", None, "images", quiet=args.quiet) as progress:
            folder = open_data(args.path, options.data_options(args), on_progress=progress.update)
    except DataFaults as faults:
        if not args.json:
            raise
        print(json.dumps(fault_facts(args.path, faults), indent=1))
        return faults.exit_code
    facts = data_facts(folder)
    print(json.dumps(facts, indent=1) if args.json else "\n".join(data_lines(facts)))
    return 0
