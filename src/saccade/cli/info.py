"""``saccade info PATH``: what an image or a data folder is."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from saccade.cli import options
from saccade.cli.console import Progress
from saccade.errors import DataFaults, FileProblem


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "info",
        parents=[options.common(), options.as_json()],
        help="what an image or a data folder is",
        description="Says what an image is (size, levels, type, pixel size, reference system) or what a data "
        "folder holds (splits, sizes, classes and their share of the pixels), and every fault in it.",
    )
    parser.add_argument("path", metavar="PATH", type=Path, help="an image, or a data folder")
    return parser


def run(args: argparse.Namespace) -> int:
    from saccade.data.recognise import PARTS, is_data_folder

    if is_data_folder(args.path):
        return _data(args)
    expected = f"an image, or a data folder ({', '.join(PARTS)})"
    if not args.path.exists():
        raise FileProblem(args.path, expected, "no such file or folder")
    if args.path.is_dir() and not any(args.path.iterdir()):
        raise FileProblem(args.path, expected, "an empty folder")
    return _image(args)


def _image(args: argparse.Namespace) -> int:
    from saccade.cli import info_image
    from saccade.rasters import open_raster

    with open_raster(args.path) as raster:
        facts = info_image.facts(raster.info)
    print(json.dumps(facts, indent=1) if args.json else "\n".join(info_image.lines(facts)))
    return 0


def _data(args: argparse.Namespace) -> int:
    from saccade.cli import info_data
    from saccade.data import open_data

    try:
        with Progress("checking", None, "images", quiet=args.quiet) as progress:
            folder = open_data(args.path, on_progress=progress.update)
    except DataFaults as faults:
        if not args.json:
            raise
        print(json.dumps(info_data.fault_facts(args.path, faults), indent=1))
        return faults.exit_code
    facts = info_data.facts(folder)
    print(json.dumps(facts, indent=1) if args.json else "\n".join(info_data.lines(facts)))
    return 0
