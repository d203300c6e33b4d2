"""``saccade train DATA RUN``: trains a sampler and a segmentation network together."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from saccade.cli import options
from saccade.cli.console import Progress, say
from saccade.runtime.plugins import PREFIX
from saccade.samplers import SAMPLERS

SHORT = {
    "sampler": "sampler.name",
    "size": "sampler.size",
    "network": "network.name",
    "epochs": "training.epochs",
    "batch_size": "training.batch_size",
    "seed": "training.seed",
    "data_format": "data.format",
    "crop": "data.crop",
}


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "train",
        parents=[options.common(), options.device(), options.output()],
        help="train a sampler and a segmentation network together",
        description="Trains a sampler and a segmentation network together on a data folder, and keeps the "
        "best weights by mIoU at full resolution on its validation images. Any option of a configuration "
        "can be given as section.key=value, for example sampler.floor=0.05 or training.variant=staged.",
    )
    parser.add_argument("data", metavar="DATA", type=Path, help="the folder of a data set")
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="the run folder to make")
    parser.add_argument("overrides", metavar="KEY=VALUE", nargs="*", help="options, as section.key=value")
    parser.add_argument("--config", metavar="FILE", type=Path, help="a YAML file of options")
    parser.add_argument(
        "--sampler", help=f"{', '.join(SAMPLERS)}; or {PREFIX}MODULE.CLASS, code of your own that is run"
    )
    parser.add_argument("--size", metavar="ROWSxCOLUMNS", help="what the network sees of an image")
    parser.add_argument("--network", metavar="NAME", help="small, or ARCHITECTURE:ENCODER")
    parser.add_argument("--epochs", help="passes over the training images")
    parser.add_argument("--batch-size", dest="batch_size", help="images a step")
    parser.add_argument("--seed", help="of everything random")
    options.data_short(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    from saccade.networks import require_network
    from saccade.runtime.devices import lightning_device
    from saccade.training.run_folder import knows_data, require_new

    goes_on = require_new(args.run_folder, args.resume, args.overwrite)
    config = _config(args, goes_on)
    lightning_device(args.device)
    for name in filter(None, (config.network.name, config.sampler.net)):
        require_network(name)
    from saccade.data import SampleCache, open_data

    limit = config.training.cache_gigabytes
    cache = SampleCache(None if limit is None else round(limit * 1e9))
    keep = None if args.dry_run else cache.keep
    with Progress("checking", None, "images", quiet=args.quiet) as progress:
        data = open_data(
            args.data, config.data, splits=("train", "val"), on_decoded=keep, on_progress=progress.update
        )
    for notice in data.notices:
        say(f"note: {notice}", args)
    if goes_on and not knows_data(args.run_folder):
        line = "kept no record of its images and masks; whether these are the same is not known"
        say(f"note: {args.run_folder} {line}", args)
    return _describe(args, config, data) if args.dry_run else _train(args, config, data, cache)


def _config(args: argparse.Namespace, goes_on: bool) -> Any:
    """What was asked for, over the defaults, or over the options of the run that goes on."""
    from saccade.training.config import read_config
    from saccade.training.run_folder import open_config

    given = [f"{key}={getattr(args, name)}" for name, key in SHORT.items() if getattr(args, name) is not None]
    base = open_config(args.run_folder)[0] if goes_on else None
    return read_config(args.config, [*given, *args.overrides], base=base)


def _train(args: argparse.Namespace, config: Any, data: Any, cache: Any) -> int:
    from saccade.training.loop import Interrupted, train

    epochs = config.all_epochs
    with Progress("training", epochs, "epochs", quiet=args.quiet) as progress:

        def tell(done: int, _: int, scores: dict[str, float]) -> None:
            progress.update(done, note=f"val mIoU {scores['val_miou']:.4f}" if "val_miou" in scores else None)

        try:
            trained = train(
                data, args.run_folder, config, cache=cache, resume=args.resume, overwrite=args.overwrite,
                device=args.device, on_epoch=tell,
            )  # fmt: skip
        except Interrupted as stop:
            print(f"saccade: {stop}", file=sys.stderr)
            return 1
    say(f"{trained.path}: best weights after epoch {trained.epoch} of {epochs}", args)
    return 0


def _describe(args: argparse.Namespace, config: Any, data: Any) -> int:
    from saccade.training.loop import resolve
    from saccade.training.run_folder import build_segmenter, without_pretrained

    config = without_pretrained(resolve(config, data))
    segmenter = build_segmenter(config, len(data.classes))
    parameters = sum(p.numel() for p in segmenter.parameters())
    rows, columns = config.sampler.size
    images, options = len(data.split("train")), config.training
    steps = max(1, images // options.batch_size) * options.epochs
    print(
        f"would train {config.recipe.name} sampling with {config.network.name} ({parameters:,} parameters) "
        f"on {rows} x {columns} samples of {images} images, {options.epochs} epochs, "
        f"{steps} steps, into {args.run_folder}"
    )
    return 0
