"""``saccade models [WORD]``: the names that ``--network`` takes."""

from __future__ import annotations

import argparse
import json
from typing import Any

from saccade.cli import options


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "models",
        parents=[options.common(), options.as_json()],
        help="the networks and encoders that --network takes",
        description="Lists architectures and encoders: a network is named ARCHITECTURE:ENCODER, such as "
        "unet:resnet18 (the default), or small, for processors without a GPU. With a WORD, the encoders of "
        "timm (prefix tu-) that have it in their name too.",
    )
    parser.add_argument("word", metavar="WORD", nargs="?", help="only names with this in them")
    return parser


def run(args: argparse.Namespace) -> int:
    from saccade.networks.build import network_names

    names = network_names(args.word)
    if args.json:
        print(json.dumps(names, indent=1))
        return 0
    for kind, some in names.items():
        if some:
            print(f"{kind}:")
            print("\n".join(f"  {name}" for name in some))
    if not any(names.values()):
        print(f"nothing with {args.word!r} in its name")
    elif args.word is None:
        print("and about a thousand of timm as tu-NAME: saccade models WORD looks among them too")
    return 0
