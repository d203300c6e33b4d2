"""``saccade train DATA RUN``: trains a sampler and a segmentation network together."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saccade.cli import options
from saccade.errors import UsageError
from saccade.runtime.plugins import CODE_PREFIX
from saccade.samplers import SAMPLERS

if TYPE_CHECKING:
    from saccade.training import Run


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "train",
        parents=[options.common(), options.trust(), options.device(), options.output()],
        help="train a sampler and a segmentation network together",
        description="Trains a sampler and a segmentation network together on a data folder, and keeps the "
        "best weights by mIoU at full resolution on its validation images. Any option of a configuration "
        "can be given as section.key=value, for example sampler.floor=0.05 or training.variant=staged; "
        "'saccade options' lists them all.",
    )
    parser.add_argument("data", metavar="DATA", type=Path, help="the folder of a data set")
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="the run folder to make")
    parser.add_argument(
        "overrides",
        metavar="KEY=VALUE",
        nargs="*",
        default=[],
        help="section.key=value, see below",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help="a YAML file of options, or a published one by its name, such as iclr2022/fig5_cityscapes_ours",
    )
    parser.add_argument(
        "--sampler",
        help=f"{', '.join(SAMPLERS)} (default: deformation); or {CODE_PREFIX}MODULE.CLASS, "
        "code of your own that is run",
    )
    parser.add_argument(
        "--size",
        metavar="ROWSxCOLUMNS",
        help="what the network sees of an image (default: 64x128); "
        "32x64..128x256 for one run that serves every size between",
    )
    parser.add_argument(
        "--network", metavar="NAME", help="small, or ARCHITECTURE:ENCODER (default: unet:resnet18); "
        "'saccade models' lists them",
    )  # fmt: skip
    parser.add_argument(
        "--epochs",
        metavar="N",
        help="passes over the training images (default: 30, more where that makes fewer than 300 steps)",
    )
    parser.add_argument("--batch-size", dest="batch_size", metavar="N", help="images a step (default: 8)")
    parser.add_argument("--seed", metavar="N", help="of everything random (default: 0)")
    options.data_short(parser)
    parser.set_defaults(more_help=_all_options)
    return parser


def _all_options() -> str:
    from saccade.cli.declared_options import declared_options
    from saccade.cli.list_options import lines_of

    head = "options as section.key=default, for KEY=VALUE and --config:"
    return "\n".join([head, "", *lines_of(declared_options())])


def run(args: argparse.Namespace) -> int:
    from saccade.api.training import describe_training, train
    from saccade.training.launched import FirstRefused, rank
    from saccade.training.loop import Interrupted

    if options.is_run(args.data) and (args.run_folder / "classes.json").is_file():
        raise UsageError(
            f"{args.data} is a run, and {args.run_folder} a data set: swap them (saccade train DATA RUN)"
        )
    how = {
        **options.training_options(args), "resume": args.resume, "overwrite": args.overwrite,
        "device": args.device, "progress": not args.quiet,
    }  # fmt: skip
    if args.dry_run:
        print(describe_training(args.data, args.run_folder, **how))
        return 0
    try:
        run = train(args.data, args.run_folder, **how)
    except Interrupted as stop:
        print(f"saccade: {stop}", file=sys.stderr)
        return 1
    except FirstRefused:  # which tells it
        return 1
    if rank():
        return 0
    for line in last_lines(run, args.data):
        options.say(line, args)
    return 0


def last_lines(run: Run, data: Path) -> Iterator[str]:
    """The best epoch with its scores, classes that are never found, and what to do next."""
    from saccade.training.run_folder import METRICS, read_metrics

    table = {int(row["epoch"]): row for row in read_metrics(run.path / METRICS)}
    row = table.get(run.epoch - 1, {})
    scores = {name: row.get(f"val_iou_{name}") for name in run.classes.names}
    known = ", ".join(f"{name} {score:.3f}" for name, score in scores.items() if score is not None)
    shown = "" if row.get("val_miou") is None else f": IoU on val {row['val_miou']:.3f} ({known})"
    yield f"{run.path}: best weights after epoch {run.epoch} of {run.config.all_epochs}{shown}"
    folder, of_data = shlex.quote(str(run.path)), shlex.quote(str(data))
    if never := [name for name, score in scores.items() if score == 0]:
        yield (
            f"note: {', '.join(never)}: not one pixel is found on val; try loss.class_weights=rarity, "
            f"more samples (--size), or more epochs (saccade train {of_data} {folder} --resume --epochs N)"
        )
    predict = f"saccade predict {folder} IMAGE... OUT"
    yield f"next: saccade evaluate {folder} {of_data}, {predict}, saccade report {folder}"
