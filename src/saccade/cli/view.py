"""``saccade view PATH``: an image, a run or a comparison as one page for a browser."""

from __future__ import annotations

import argparse
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

from saccade.cli import options
from saccade.errors import FileProblem, UsageError


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "view",
        parents=[options.common(), options.trust()],
        help="an image, a run or a comparison as a page for the browser",
        description="Prints the path of one self-contained HTML page: of an image or a slide its thumbnail, "
        "with labels on top; of a run its report; of a comparison its page.",
    )
    parser.add_argument("path", metavar="PATH", type=Path, help="an image, a run, or a comparison")
    parser.add_argument("--labels", metavar="FILE", type=Path, help="class indices to lay over an image")
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="of an image's page (default: a temporary file)"
    )
    options.value_range(parser)
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    return parser


def run(args: argparse.Namespace) -> int:
    from saccade.rasters.decoders import is_zarr

    is_folder = args.path.is_dir() and not is_zarr(args.path)
    if is_folder and (args.labels or args.out):
        raise UsageError("--labels and --out are for images; a run and a comparison have pages of their own")
    page = _folder_page(args.path) if is_folder else _image_page(args)
    print(page)
    if args.open:
        webbrowser.open(page.resolve().as_uri())
    return 0


def _folder_page(folder: Path) -> Path:
    comparison = folder / "comparison.html"
    if comparison.is_file():
        return comparison
    studies = sorted(folder.glob("study_*.html"))
    if studies:
        return studies[0]
    if (folder / "config.yaml").is_file():
        from saccade.report import write_report

        report = folder / "report.html"
        return report if report.is_file() else write_report(folder)
    expected = "an image, a run (config.yaml), or a comparison (comparison.html)"
    raise FileProblem(folder, expected, "another folder", "see what it is with saccade info")


def _image_page(args: argparse.Namespace) -> Path:
    from saccade.cli.info import image_facts
    from saccade.data.options import parse_value_range
    from saccade.rasters import open_raster
    from saccade.report.view import image_page
    from saccade.runtime.files import finished_file

    with open_raster(args.path) as raster:
        known = {key: value for key, value in image_facts(raster.info).items() if value not in (None, [])}
    limits = None if args.value_range is None else parse_value_range(args.value_range)
    html = image_page(args.path, args.labels, known, limits)
    out: Path = args.out or Path(tempfile.gettempdir()) / f"saccade_{args.path.stem}.html"
    with finished_file(out, overwrite=args.out is None) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return out
