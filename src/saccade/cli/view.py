"""``saccade view PATH...``: images, a data set or an evaluated run in the browser; or one page to share."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import webbrowser
from pathlib import Path
from typing import Any

from saccade.cli import options
from saccade.cli.options import say
from saccade.errors import FileProblem, UsageError


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "view",
        parents=[options.common(), options.trust(), options.device()],
        help="images of any size, with what lies over them, in the browser",
        description="Serves a page, to this machine alone, that zooms images of any size with labels, truth, "
        "errors, uncertainty, density and samples over them, and prints its address; Ctrl-C ends it. With "
        "--static or --open, and of an image with --out, it writes one self-contained HTML page instead and "
        "prints its path: of an image its thumbnail with labels on top, of a run its report. Of a comparison "
        "and of a run that was not evaluated there is only the page.",
    )
    parser.add_argument(
        "path",
        metavar="PATH",
        type=Path,
        nargs="+",
        help="images, folders of images, or one data set, run or comparison",
    )
    over = parser.add_argument_group("what lies over the images")
    over.add_argument(
        "--labels",
        metavar="PATH",
        type=Path,
        help="class indices of the image; or the folder that predict wrote, with all that it holds of each",
    )
    over.add_argument(
        "--truth", metavar="PATH", type=Path, help="true class indices: a file, or a folder of the same names"
    )
    over.add_argument(
        "--uncertainty", metavar="FILE", type=Path, help="as predict --save uncertainty writes it"
    )
    over.add_argument("--density", metavar="FILE", type=Path, help="as predict --save density writes it")
    over.add_argument(
        "--samples",
        metavar="FILE",
        type=Path,
        help="a picture of them, or scores as NPZ, which hold their places",
    )
    over.add_argument(
        "--classes",
        metavar="PATH",
        type=Path,
        help="names and colours: classes.json, a data folder, or a run",
    )
    options.value_range(parser)
    evaluated = parser.add_argument_group("of an evaluated run")
    evaluated.add_argument("--data", metavar="DATA", type=Path, help="its data folder, where that has moved")
    evaluated.add_argument(
        "--split",
        metavar="NAME",
        help="whose images (default: the first that was evaluated of test, val, train)",
    )
    server = parser.add_argument_group("the page that is served")
    server.add_argument(
        "--port", metavar="N", type=int, default=0, help="its port (default: any that is free)"
    )
    server.add_argument("--no-browser", action="store_true", help="only print the address")
    page = parser.add_argument_group("one page to share")
    page.add_argument("--static", action="store_true", help="write one HTML file, and print its path")
    page.add_argument(
        "--out", metavar="FILE", type=Path, help="of an image's page (default: a temporary file)"
    )
    page.add_argument("--open", action="store_true", help="write one HTML file, and open it in the browser")
    return parser


def run(args: argparse.Namespace) -> int:
    if args.static or args.out or args.open or _has_only_a_page(args.path):
        return _static(args)
    from saccade.viewer.open import Overlays, open_gallery

    over = Overlays(args.labels, args.truth, args.uncertainty, args.density, args.samples)
    gallery = open_gallery(
        args.path,
        over,
        classes=args.classes,
        value_range=_limits(args),
        data=args.data,
        split=args.split,
        device=args.device,
    )
    if args.labels is not None and args.classes is None and not _has_own_classes(args.path):
        say("note: label files hold numbers; --classes RUN (or a data set, classes.json) names them", args)
    return _serve(gallery, args)


def _has_own_classes(paths: list[Path]) -> bool:
    """Whether it is a run or a data set."""
    from saccade.data.open import recognised

    return paths[0].is_dir() and (options.is_run(paths[0]) or bool(recognised(paths[0])))


def _serve(gallery: Any, args: argparse.Namespace) -> int:
    from saccade.runtime.memory import give_large_blocks_back
    from saccade.viewer.server import Viewer

    give_large_blocks_back()
    viewer = Viewer(gallery, args.port)
    threading.Thread(target=viewer.warm, daemon=True).start()
    try:
        print(viewer.address, flush=True)  # who reads it may press Ctrl-C at once
        say("Ctrl-C ends it", args)
        if not args.no_browser and _has_screen():
            threading.Thread(target=webbrowser.open, args=(viewer.address,), daemon=True).start()
        viewer.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        pass
    finally:
        viewer.close()
    return 0


def _has_screen() -> bool:
    """Whether a browser with windows can open: one in the terminal would take it away."""
    return sys.platform in ("win32", "darwin") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def _limits(args: argparse.Namespace) -> tuple[float, float] | None:
    from saccade.data.options import parse_value_range

    return None if args.value_range is None else parse_value_range(args.value_range)


def _has_only_a_page(paths: list[Path]) -> bool:
    """Whether it is a comparison, or a run that was not evaluated."""
    first = paths[0]
    if len(paths) > 1 or not first.is_dir():
        return False
    if (first / "comparison.html").is_file() or any(first.glob("study_*.html")):
        return True
    return options.is_run(first) and not any(first.glob("evaluation_*.json"))


def _static(args: argparse.Namespace) -> int:
    from saccade.rasters.decoders import is_zarr

    if len(args.path) > 1:
        raise UsageError(
            f"a page to share is of one image, run or comparison, and {len(args.path)} are given"
        )
    args.path = args.path[0]
    is_folder = args.path.is_dir() and not is_zarr(args.path)
    if is_folder and (args.labels or args.out):
        raise UsageError(
            f"a page with --labels or --out is of one image, and {args.path} is a folder: name an image "
            "of it; a run and a comparison have pages of their own, with --static"
        )
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
    from saccade.api.info import image_facts
    from saccade.rasters import open_raster
    from saccade.report.view import image_page
    from saccade.runtime.files import UNENCODABLE, finished_file

    with open_raster(args.path) as raster:
        known = {key: value for key, value in image_facts(raster.info).items() if value not in (None, [])}
    html = image_page(args.path, args.labels, known, _limits(args))
    out: Path = args.out or Path(tempfile.gettempdir()) / f"saccade_{args.path.stem}.html"
    with finished_file(out, overwrite=args.out is None) as temporary:
        temporary.write_text(html, encoding="utf-8", errors=UNENCODABLE)
    return out
