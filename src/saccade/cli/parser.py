"""The argument parser: wrong usage is an error of ours that names the nearest right word."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from saccade import __version__
from saccade.cli.commands import COMMANDS, load
from saccade.errors import UsageError, nearest_name


class Parser(argparse.ArgumentParser):
    """Raises :class:`UsageError` where argparse would print its usage and exit."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see '{self.prog} --help')")

    def print_help(self, file: Any = None) -> None:
        super().print_help(file)
        sys.stdout.flush()

    @property
    def options(self) -> list[str]:
        """The options that this parser knows."""
        return list(self._option_string_actions)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command, with ``args.run`` the function to call.

    Raises:
        UsageError: for an unknown command or option, or a missing or bad argument.
    """
    wanted = next((word for word in argv if not word.startswith("-")), None)
    names = [command.name for command in COMMANDS]
    if wanted is not None and wanted not in names:
        raise UsageError(f"unknown command {wanted!r}; {nearest_name(wanted, names)}")
    parser = Parser(prog="saccade", description=_DESCRIPTION, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--version", action="version", version=f"saccade {__version__}")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    chosen = _add_commands(subparsers, wanted)
    args, unknown = parser.parse_known_args(argv)
    if "overrides" in args:  # argparse takes no KEY=VALUE that stands behind an option
        args.overrides += [word for word in unknown if _is_override(word)]
        unknown = [word for word in unknown if not _is_override(word)]
    if unknown:
        raise _unknown_argument(unknown[0], chosen or parser)
    return args


def _is_override(word: str) -> bool:
    return "=" in word and not word.startswith("-")


_DESCRIPTION = """Segment images of any size within a compute budget:
learn where to look, and put the answer back exactly."""


def _add_commands(subparsers: Any, wanted: str | None) -> Parser | None:
    """Every command with its line of help; only the wanted one with its options, so no other loads."""
    chosen = None
    for command in COMMANDS:
        if command.name != wanted:
            subparsers.add_parser(command.name, help=command.help)
            continue
        module = load(command)
        chosen = module.add_parser(subparsers)
        chosen.set_defaults(run=module.run)
    return chosen


def _unknown_argument(word: str, parser: Parser) -> UsageError:
    see = f" (see '{parser.prog} --help')"
    if not word.startswith("-"):
        return UsageError(f"unexpected argument {word!r}{see}")
    name = word.partition("=")[0]
    return UsageError(f"unknown option {name!r} of '{parser.prog}'; {nearest_name(name, parser.options)}")
