"""``saccade plan RUN IMAGE``: what a prediction would cost, and why."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from saccade.cli import options
from saccade.cli.console import clock


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "plan",
        parents=[options.common(), options.as_json(), options.device(), options.look()],
        help="what a prediction would cost: pixels, operations, memory, time",
        description="Foresees what 'saccade predict' would do with an image and what it would take. Nothing "
        "is predicted: a blank view is scored a few times and a tile of the file is read, to measure both.",
    )
    parser.add_argument("path", metavar="PATH", type=Path, help="an image")
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="a trained run")
    parser.add_argument("--save", default="labels", metavar="WHAT", help="as for predict (default: labels)")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="which weights")
    return parser


def run(args: argparse.Namespace) -> int:
    from saccade.inference.files import parse_extras, training_downsampling
    from saccade.inference.jobs import require_predictor
    from saccade.inference.plan import make_plan
    from saccade.rasters import as_rgb, open_raster
    from saccade.runtime.devices import torch_device
    from saccade.training.run_folder import load_run

    extras, look = parse_extras(args.save), options.wanted(args)
    device = torch_device(args.device)
    run = load_run(args.run_folder, args.checkpoint)
    limits = options.parsed_value_range(args, run.config.data)
    with as_rgb(open_raster(args.path), value_range=limits) as raster:
        require_predictor(run.segmenter, extras)
        segmenter = run.segmenter.to(device)
        shrink = training_downsampling(run)
        plan = make_plan(
            raster, segmenter, look, len(run.classes), training_downsampling=shrink, extras=extras
        )
        notices = raster.notices
    if args.json:
        print(json.dumps({"path": str(args.path)} | plan.to_json() | {"notices": list(notices)}, indent=1))
        return 0
    print("\n".join([f"{args.path}: {plan.size[1]} x {plan.size[0]} pixels (width x height)", *_lines(plan)]))
    print("".join(f"  notice   {notice}\n" for notice in notices), end="")
    return 0


def _lines(plan: Any) -> list[str]:
    views = f"{plan.views} view{'s' if plan.views > 1 else ''}"
    share = plan.pixels / (plan.size[0] * plan.size[1])
    gpu = f", and {plan.gpu_bytes / 1e6:,.0f} MB of the GPU's" if plan.gpu_bytes else ""
    return [
        f"  pixels   {plan.pixels:,} in {views}, {share:.3%} of the image",
        f"  work     {plan.gflops:,.1f} GFLOPs",
        f"  memory   {plan.memory_bytes / 1e6:,.0f} MB at the peak{gpu}",
        f"  time     about {clock(max(1, plan.seconds))}",
        f"  labels   {plan.format}",
        *(f"  why      {reason}" for reason in plan.reasons),
    ]
