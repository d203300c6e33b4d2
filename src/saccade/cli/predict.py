"""``saccade predict RUN IMAGE... OUT``: full-resolution labels."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from saccade.cli import options
from saccade.errors import FileProblem, SaccadeError, UsageError
from saccade.runtime.addresses import path_of
from saccade.runtime.lazy import loading


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "predict",
        parents=[options.common(), options.trust(), options.device(), options.output(), options.sampling()],
        help="full-resolution labels of images",
        description="Writes the class of every pixel of each image into OUT, in the format of the image: "
        "GeoTIFF (COG) for maps, OME-TIFF for slides and large TIFF, OME-Zarr for Zarr, PNG for what is "
        "small. One bad image does not stop the others; it is named at the end.",
    )
    parser.add_argument(
        "run_folder", metavar="RUN", type=Path, help="a trained run, or a model.onnx that was exported"
    )
    parser.add_argument(
        "images",
        metavar="IMAGE",
        type=path_of,
        nargs="+",
        help="images, folders of images, .txt lists of paths, or addresses (https:// s3:// gs:// zip://) of "
        "TIFF and Zarr images",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder for the labels")
    parser.add_argument(
        "--save",
        default="labels",
        metavar="WHAT",
        help="labels,scores,density,samples,overlay,polygons,uncertainty,table (default: labels); "
        "polygons.gpkg, polygons.fgb and table.parquet name another format than GeoJSON and CSV",
    )
    parser.add_argument(
        "--classes",
        metavar="NAMES",
        help="whose objects are polygons and rows of the table, such as boat,land (default: all but a class "
        "named background)",
    )
    parser.add_argument(
        "--min-area",
        metavar="AREA",
        help="leave smaller objects out: 50 (pixels), 50um2, 2.5m2",
    )
    options.region(parser)
    parser.add_argument(
        "--fill-holes", metavar="AREA", help="fill holes of polygons that are smaller, or all"
    )
    parser.add_argument(
        "--simplify",
        metavar="LENGTH",
        help="how far outlines of polygons may move: 2 (pixels), 1.5um, 3m; borders stay shared",
    )
    parser.add_argument(
        "--zones",
        metavar="FILE",
        type=Path,
        help="polygons in each of which areas by class are counted: a table",
    )
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="which weights")
    parser.add_argument(
        "--total-seconds", metavar="S", help="for all images together, in about equal shares (60, 60s, 5min)"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="images at a time, one process each")
    parser.add_argument(
        "--cluster",
        metavar="WHERE",
        help="share the work out with Dask, parts of huge images too: local:N, N processes here, or "
        "tcp://HOST:8786, a scheduler",
    )
    options.engine(parser)
    return parser


NOT_LITE = (
    "save", "classes", "min_area", "fill_holes", "simplify", "zones", "region", "resume", "dry_run",
    "value_range", "memory", "gflops", "seconds", "total_seconds", "cluster",
)  # fmt: skip
"""Options that need the run itself; ``--jobs`` and ``--device`` too."""


def _of_exported(args: argparse.Namespace) -> int:
    """Prediction from an exported model, for which torch need not be installed."""
    from saccade.lite import Model

    refused = [name for name in NOT_LITE if getattr(args, name) not in (None, False, "labels")]
    refused += [
        name for name, usual in (("jobs", 1), ("device", "auto")) if getattr(args, name) not in (usual, "cpu")
    ]
    if refused:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in refused)
        raise UsageError(f"{named} cannot be had of an exported model; give the run")
    how = {name: value for name, value in options.look_options(args).items() if name not in NOT_LITE}
    done = failed = 0
    model = Model(args.run_folder)
    for outcome in model.predict_files(args.images, args.out, overwrite=args.overwrite, **how):
        if isinstance(outcome, SaccadeError):
            print(f"saccade: error: {outcome}", file=sys.stderr)
            failed += 1
        done += 1
    options.say(f"{done - failed} of {done} images labelled in {args.out}", args)
    return 1 if failed else 0


def run(args: argparse.Namespace) -> int:
    if args.run_folder.suffix == ".onnx":
        return _of_exported(args)
    with loading():
        from saccade.api.prediction import describe_prediction, predict

    options.require_order(args.run_folder, [*args.images, args.out], "saccade predict RUN IMAGE... OUT")
    how = {
        **options.look_options(args), "save": args.save, "classes": args.classes,
        "min_area": args.min_area, "fill_holes": args.fill_holes, "simplify": args.simplify,
        "zones": args.zones, "region": args.region, "checkpoint": args.checkpoint, "jobs": args.jobs,
        "total_seconds": args.total_seconds,
        "cluster": args.cluster,
        "resume": args.resume, "overwrite": args.overwrite, "device": args.device,
        "engine": args.engine,
    }  # fmt: skip
    if args.dry_run:
        print("\n".join(describe_prediction(args.run_folder, args.images, args.out, **how)))
        return 0
    args.hint = "what is finished is kept: go on with --resume"
    outcomes = predict(args.run_folder, args.images, args.out, progress=not args.quiet, **how)
    faults = [outcome.fault for outcome in outcomes if outcome.fault is not None]
    for line in fault_lines(faults):
        print(f"saccade: error: {line}", file=sys.stderr)
    options.say(f"{len(outcomes) - len(faults)} of {len(outcomes)} images labelled in {args.out}", args)
    return 1 if faults else 0


MOST_ALIKE = 3
"""Images with one and the same fault that are named one by one."""


def fault_lines(faults: Sequence[SaccadeError]) -> Iterator[str]:
    """A line each; where more than three images have the same fault, one line with their number."""
    alike: dict[object, list[SaccadeError]] = {}
    for fault in faults:
        same = (fault.expected, str(fault.got), fault.fix) if isinstance(fault, FileProblem) else str(fault)
        alike.setdefault(same, []).append(fault)
    for some in alike.values():
        first = some[0]
        if len(some) <= MOST_ALIKE:
            yield from map(str, some)
        elif isinstance(first, FileProblem):
            rest = str(first).removeprefix(f"{first.path}: ")
            yield f"{first.path} and {len(some) - 1} more: {rest}"
        else:
            yield f"{first} ({len(some)} images)"
