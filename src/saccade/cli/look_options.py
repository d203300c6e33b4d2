"""The options by which a user says how closely to look: shared by ``predict`` and ``plan``."""

from __future__ import annotations

import argparse
from typing import Any

MODES = ("auto", "whole", "tiles")


def look() -> argparse.ArgumentParser:
    """``--mode``, ``--size``, ``--pixels``, ``--mpp``, ``--gsd``, ``--tile``, ``--overlap``, ``--memory``,
    ``--no-skip``."""
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("how closely to look")
    group.add_argument(
        "--mode",
        choices=MODES,
        default="auto",
        help="the image in one view, or in overlapping tiles with a view each (default: auto)",
    )
    group.add_argument("--size", metavar="ROWSxCOLUMNS", help="samples of a view; default as trained")
    group.add_argument("--pixels", metavar="N", help="at most so many samples an image, in all views (2M)")
    scale = group.add_mutually_exclusive_group()
    scale.add_argument("--mpp", type=float, metavar="X", help="microns between samples, on average")
    scale.add_argument("--gsd", type=float, metavar="X", help="metres between samples, on average")
    group.add_argument("--tile", metavar="ROWSxCOLUMNS", help="pixels of a tile")
    group.add_argument(
        "--overlap",
        type=float,
        default=0.125,
        metavar="SHARE",
        help="of a tile with the next (default: 0.125)",
    )
    group.add_argument("--memory", metavar="BYTES", help="RAM that may be used in all, such as 2GB")
    group.add_argument(
        "--no-skip", action="store_true", help="look at empty glass and at pixels without measurement too"
    )
    return parser


def wanted(args: argparse.Namespace) -> Any:
    """The :class:`saccade.inference.Look` that the options describe."""
    from saccade.inference.options import Look, Spacing, parse_memory, parse_pixels, parse_tile
    from saccade.training.sizes import parse_size

    spacing = Spacing(args.mpp, "micron") if args.mpp is not None else None
    spacing = Spacing(args.gsd, "metre") if args.gsd is not None else spacing
    return Look(
        mode=args.mode,
        size=None if args.size is None else parse_size(args.size, "--size"),
        pixels=None if args.pixels is None else parse_pixels(args.pixels),
        spacing=spacing,
        tile=None if args.tile is None else parse_tile(args.tile),
        overlap=args.overlap,
        memory=None if args.memory is None else parse_memory(args.memory),
        skip=not args.no_skip,
    )
