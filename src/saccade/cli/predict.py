"""``saccade predict RUN IMAGE... OUT``: full-resolution labels."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
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
    from saccade.inference.files import list_jobs, parse_extras, still_to_do
    from saccade.inference.predict import require_predictor
    from saccade.training.devices import torch_device
    from saccade.training.run import load_run
    from saccade.training.sizes import parse_size

    extras = parse_extras(args.save)
    size = None if args.size is None else parse_size(args.size, "--size")
    found = list_jobs(args.images, args.out, extras)
    jobs = still_to_do(found, resume=args.resume, overwrite=args.overwrite)
    device = torch_device(args.device)
    run = load_run(args.run_folder, args.checkpoint)
    require_predictor(run.segmenter, extras)
    if args.dry_run:
        print("\n".join(f"{job.image} -> {path}" for job in jobs for path in job.outputs))
        return 0
    if len(jobs) < len(found):
        say(f"{len(found) - len(jobs)} of {len(found)} images were labelled before", args)
    args.hint = "what is finished is kept: go on with --resume"
    run.segmenter.to(device)
    run.segmenter.sampler.size = run.segmenter.sampler.size if size is None else size
    return _predict(args, run, jobs)


def _predict(args: argparse.Namespace, run: Any, jobs: list[Any]) -> int:
    from saccade.inference import make_folder, predict_all

    make_folder(args.out)
    notices: Counter[str] = Counter()

    def save(answer: Any, job: Any) -> None:
        _save(answer, job, run.classes, overwrite=args.overwrite or args.resume)
        notices.update(answer.notices)

    with Progress("predicting", len(jobs), "images", quiet=args.quiet) as progress:
        failed = predict_all(run.segmenter, jobs, save, on_done=lambda job, fault: progress.advance())
    for notice, count in sorted(notices.items()):
        say(f"note: {notice}: {count} image{'s' if count > 1 else ''}", args)
    for _, fault in failed:
        print(f"saccade: error: {fault}", file=sys.stderr)
    say(f"{len(jobs) - len(failed)} of {len(jobs)} images labelled in {args.out}", args)
    return 1 if failed else 0


def _save(answer: Any, job: Any, classes: Any, *, overwrite: bool) -> None:
    """Everything that is wanted of an image, the labels last: where they are, all is."""
    from saccade.inference import save_labels, save_scores
    from saccade.report.pictures import save_picture

    for name in job.extras:
        if name == "scores":
            save_scores(answer, job, overwrite=overwrite)
        else:
            save_picture(name, answer, job, classes, overwrite=overwrite)
    save_labels(answer, job, classes, overwrite=overwrite)
