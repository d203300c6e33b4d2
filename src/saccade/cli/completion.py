"""``saccade completion SHELL``: a script with which the shell completes commands and options."""

from __future__ import annotations

import argparse
from typing import Any

from saccade.cli import options
from saccade.errors import SaccadeError

SHELLS = ("bash", "zsh", "tcsh")


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "completion",
        parents=[options.common()],
        help="a script with which the shell completes commands and options",
        description='Prints a script for the shell. bash: eval "$(saccade completion bash)" in ~/.bashrc. '
        "zsh: saccade completion zsh > a file _saccade in a folder of $fpath.",
    )
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))
    return parser


def run(args: argparse.Namespace) -> int:
    from saccade.cli.main import whole_parser

    try:
        import shtab
    except ImportError as error:
        raise SaccadeError("completion needs the package shtab: pip install shtab") from error
    print(shtab.complete(whole_parser(), args.shell))
    return 0
