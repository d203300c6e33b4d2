"""``saccade export RUN FILE``: the networks of a run for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from saccade.cli import options
from saccade.runtime.lazy import loading


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "export",
        parents=[options.common(), options.trust()],
        help="the networks of a run as ONNX or torch.export, for other programs",
        description="Writes the segmentation network into FILE, and the density net of a sampler that has "
        "one beside it (model.density.onnx). Sizes are free; classes and normalisation are in the metadata.",
    )
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="a trained run")
    parser.add_argument("file", metavar="FILE", type=Path, help="ends in .onnx, or .pt2 for torch.export")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="which weights")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there already")
    return parser


def run(args: argparse.Namespace) -> int:
    with loading():
        from saccade.api.export import export

    for path in export(args.run_folder, args.file, checkpoint=args.checkpoint, overwrite=args.overwrite):
        options.say(f"wrote {path}", args)
    return 0
