"""``saccade predict RUN IMAGE... OUT``: full-resolution labels."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from saccade.cli import options
from saccade.cli.console import Progress, say


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "predict",
        parents=[options.common(), options.device(), options.output()],
        help="full-resolution labels of images",
        description="Writes OUT/NAME.png for each image: the class index of every pixel, in the colours "
        "of the classes. One bad image does not stop the others; it is named at the end.",
    )
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="a trained run")
    parser.add_argument("images", metavar="IMAGE", type=Path, nargs="+", help="images, or folders of images")
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder for the labels")
    parser.add_argument(
        "--save",
        default="labels",
        metavar="WHAT",
        help="labels,scores,density,samples,overlay (default: labels)",
    )
    parser.add_argument("--size", metavar="ROWSxCOLUMNS", help="samples an image; default as trained")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="which weights")
    return parser


def run(args: argparse.Namespace) -> int:
    from saccade.inference.files import list_jobs, parse_extras
    from saccade.training.run import load_run

    extras = parse_extras(args.save)
    jobs = list_jobs(args.images, args.out)
    run = load_run(args.run_folder, args.checkpoint)
    if args.resume:
        jobs = [job for job in jobs if not job.labels.exists()]
    if args.dry_run:
        print("\n".join(f"{job.image} -> {job.labels}" for job in jobs))
        return 0
    args.hint = "what is finished is kept: go on with --resume"
    return _predict(args, run, jobs, extras)


def _predict(args: argparse.Namespace, run: Any, jobs: list, extras: tuple[str, ...]) -> int:
    from saccade.grids.validate import require_size
    from saccade.inference import predict_all, save_labels, save_scores
    from saccade.report.pictures import save_picture
    from saccade.training.loop import torch_device

    segmenter = run.segmenter.to(torch_device(args.device))
    if args.size is not None:
        segmenter.sampler.size = require_size([int(n) for n in args.size.split("x") if n.isdigit()], "--size")
    args.out.mkdir(parents=True, exist_ok=True)
    overwrite, notices = args.overwrite or args.resume, set()

    def save(answer: Any, job: Any) -> None:
        notices.update(answer.notices)
        for name in extras:
            if name == "scores":
                save_scores(answer, job, overwrite=overwrite)
            else:
                save_picture(name, answer, job, run.classes, overwrite=overwrite)
        save_labels(answer, job, run.classes, overwrite=overwrite)

    with Progress("predicting", len(jobs), "images", quiet=args.quiet) as progress:
        failed = predict_all(segmenter, jobs, save, on_done=lambda job, fault: progress.advance())
    for notice in sorted(notices):
        say(f"note: {notice}", args)
    for _, fault in failed:
        print(f"saccade: error: {fault}", file=__import__("sys").stderr)
    say(f"{len(jobs) - len(failed)} of {len(jobs)} images labelled in {args.out}", args)
    return 1 if failed else 0
