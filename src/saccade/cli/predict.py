"""``saccade predict RUN IMAGE... OUT``: full-resolution labels."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from saccade.cli import options
from saccade.cli.console import Progress, say


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "predict",
        parents=[options.common(), options.device(), options.output(), options.look()],
        help="full-resolution labels of images",
        description="Writes the class of every pixel of each image into OUT, in the format of the image: "
        "GeoTIFF (COG) for maps, OME-TIFF for slides and large TIFF, OME-Zarr for Zarr, PNG for what is "
        "small. One bad image does not stop the others; it is named at the end.",
    )
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="a trained run")
    parser.add_argument(
        "images",
        metavar="IMAGE",
        type=Path,
        nargs="+",
        help="images, folders of images, or .txt lists of paths",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder for the labels")
    parser.add_argument(
        "--save",
        default="labels",
        metavar="WHAT",
        help="labels,scores,density,samples,overlay,polygons (default: labels)",
    )
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="which weights")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="images at a time, one process each")
    return parser


def run(args: argparse.Namespace) -> int:
    from saccade.errors import UsageError
    from saccade.inference.files import left_out, list_jobs, parse_extras, still_to_do
    from saccade.inference.jobs import require_predictor
    from saccade.runtime.devices import torch_device
    from saccade.training.run_folder import load_run

    extras = parse_extras(args.save)
    look = options.wanted(args)
    if args.jobs < 1:
        raise UsageError(f"--jobs is at least 1, not {args.jobs}")
    found = list_jobs(args.images, args.out, extras)
    jobs = still_to_do(found, resume=args.resume, overwrite=args.overwrite)
    device = torch_device(args.device)
    run = load_run(args.run_folder, args.checkpoint)
    require_predictor(run.segmenter, extras)
    if args.dry_run:
        print("\n".join(f"{job.image} -> {path}" for job in jobs for path in job.outputs))
        return 0
    for line in left_out(args.images):
        say(f"note: {line}", args)
    if len(jobs) < len(found):
        say(f"{len(found) - len(jobs)} of {len(found)} images were labelled before", args)
    args.hint = "what is finished is kept: go on with --resume"
    run.segmenter.to(device)
    return _predict(args, run, jobs, look)


def _predict(args: argparse.Namespace, run: Any, jobs: list[Any], look: Any) -> int:
    from saccade.inference.files import make_folder

    make_folder(args.out)
    notices: Counter[str] = Counter()
    failed = []
    with Progress("predicting", len(jobs), "images", quiet=args.quiet) as progress:
        for outcome in _outcomes(args, run, jobs, look, progress):
            progress.advance(note="")
            if outcome.fault is not None:
                failed.append(outcome)
            else:
                notices.update(outcome.done.notices)
    for notice, count in sorted(notices.items()):
        say(f"note: {notice}: {count} image{'s' if count > 1 else ''}", args)
    for outcome in failed:
        print(f"saccade: error: {outcome.fault}", file=sys.stderr)
    say(f"{len(jobs) - len(failed)} of {len(jobs)} images labelled in {args.out}", args)
    return 1 if failed else 0


def _outcomes(
    args: argparse.Namespace, run: Any, jobs: list[Any], look: Any, progress: Progress
) -> Iterator[Any]:
    import torch

    from saccade.inference.files import training_downsampling
    from saccade.inference.jobs import Worker, predict_all, predict_in_processes
    from saccade.inference.predict import PredictionConfig

    settings = PredictionConfig(
        run.classes,
        look,
        training_downsampling(run),
        options.parsed_value_range(args, run.config.data),
        resume=args.resume,
        overwrite=args.overwrite,
    )
    processes = min(args.jobs, len(jobs))
    if processes > 1:
        worker = Worker(
            args.run_folder, args.checkpoint, args.device, max(1, torch.get_num_threads() // processes)
        )
        return predict_in_processes(worker, jobs, settings, processes)

    def within(share: float) -> None:
        progress.update(progress.done, note=f"{share:.0%} of this one")

    return predict_all(run.segmenter, jobs, settings, on_progress=within)
