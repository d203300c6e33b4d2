"""Options that several commands share: ``subparsers.add_parser(..., parents=[common(), output()])``."""

from __future__ import annotations

import argparse


def common() -> argparse.ArgumentParser:
    """``-v`` and ``-q``: every command takes them."""
    parser = argparse.ArgumentParser(add_help=False)
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument(
        "-v", "--verbose", action="store_true", help="say more; show where an error came from"
    )
    loudness.add_argument("-q", "--quiet", action="store_true", help="say nothing but results and errors")
    return parser


def as_json() -> argparse.ArgumentParser:
    """``--json``: one JSON object on standard output, nothing else there."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser


def device() -> argparse.ArgumentParser:
    """``--device``: where networks run."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, ... (default: auto)"
    )
    return parser


def output() -> argparse.ArgumentParser:
    """``--overwrite`` or ``--resume`` for what is there already, and ``--dry-run``."""
    parser = argparse.ArgumentParser(add_help=False)
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace what is there already")
    existing.add_argument("--resume", action="store_true", help="go on from what is there already")
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything, say what would be done, stop"
    )
    return parser
