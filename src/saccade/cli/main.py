"""The program: its commands, its parser, and how every ending becomes an exit code and one line."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading
import traceback
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

from saccade import __version__
from saccade.errors import SaccadeError, UsageError, nearest_name, told_to_shell
from saccade.runtime.progress import Voice
from saccade.runtime.trust import trusting


class Command(NamedTuple):
    """A command's name, its module, and its line in the help."""

    name: str
    module: str
    help: str


COMMANDS = (
    Command("demo", "saccade.cli.demo", "draw scenes, train both ways, predict, report: about two minutes"),
    Command("info", "saccade.cli.info", "what an image or a data folder is, and every fault in it"),
    Command("init", "saccade.cli.init", "classes.json and splits.json for a folder of images and masks"),
    Command("train", "saccade.cli.train", "train a sampler and a segmentation network together"),
    Command("plan", "saccade.cli.plan", "what a prediction would cost: pixels, operations, memory, time"),
    Command("predict", "saccade.cli.predict", "full-resolution labels of images"),
    Command("export", "saccade.cli.export", "the networks of a run as ONNX or torch.export"),
    Command("evaluate", "saccade.cli.evaluate", "scores of a trained run at full resolution"),
    Command("compare", "saccade.cli.compare", "samplers beside each other: what does a pixel buy?"),
    Command(
        "options", "saccade.cli.list_options", "every option of a training, with its default and meaning"
    ),
    Command("report", "saccade.cli.report", "one HTML page of a run: scores, curves, examples"),
    Command("view", "saccade.cli.view", "an image, a run or a comparison as a page for the browser"),
    Command("models", "saccade.cli.models", "the networks and encoders that --network takes"),
    Command("completion", "saccade.cli.completion", "a script with which the shell completes commands"),
)


def load(command: Command) -> ModuleType:
    """The module of a command."""
    return importlib.import_module(command.module)


class Parser(argparse.ArgumentParser):
    """Raises :class:`UsageError` where argparse would print its usage and exit.

    What a command sets as the default ``more_help``, a function, is called for the end of its help.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see '{self.prog} --help')")

    def format_help(self) -> str:
        more = self.get_default("more_help")
        return super().format_help() + (f"\n{more()}\n" if more else "")

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
    named = next((word for word in argv if not word.startswith("-")), None)
    names = [command.name for command in COMMANDS]
    if named is not None and named not in names:
        raise UsageError(f"unknown command {named!r}; {nearest_name(named, names)}")
    parser, subparsers = _program()
    chosen = _add_commands(subparsers, named)
    args, unknown = parser.parse_known_args(argv)
    if "overrides" in args:  # argparse takes no KEY=VALUE that stands behind an option
        args.overrides += [word for word in unknown if _is_override(word)]
        unknown = [word for word in unknown if not _is_override(word)]
    if unknown:
        raise _unknown_argument(unknown[0], chosen or parser)
    return args


def _program() -> tuple[Parser, Any]:
    """The parser without commands, and where they are added."""
    parser = Parser(prog="saccade", description=_DESCRIPTION, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--version", action="version", version=f"saccade {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    return parser, commands


def whole_parser() -> Parser:
    """The parser with all options of all commands, as shells complete them."""
    parser, subparsers = _program()
    for command in COMMANDS:
        load(command).add_parser(subparsers)
    return parser


def _is_override(word: str) -> bool:
    return "=" in word and not word.startswith("-")


_DESCRIPTION = """Segment images of any size within a compute budget:
learn where to look, and put the answer back exactly.

Sizes are rows x columns everywhere."""


def _add_commands(subparsers: Any, named: str | None) -> Parser | None:
    """Every command with its line of help; only the wanted one with its options, so no other loads."""
    chosen = None
    for command in COMMANDS:
        if command.name != named:
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


DONE, FAILED, WRONG_USAGE = 0, 1, 2


@told_to_shell()
def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns 0 done, 1 failed or 2 wrong usage.

    A command may set ``args.hint``: what a user can do after Ctrl-C, such as how to resume.

    Examples:
        >>> from saccade.cli import main
        >>> main(["info", "nowhere"])  # what went wrong is told on stderr
        1
    """
    args: Namespace | None = None
    words = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        # Names of files may be anything, and a terminal may know few letters.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        args = parse(words or ["--help"])
        allowed = {
            "code": getattr(args, "allow_code", False),
            "outside": getattr(args, "allow_outside", False),
        }
        Voice(not getattr(args, "quiet", False))
        with stopped_alike(), trusting(**allowed):
            code: int = args.run(args)
        sys.stdout.flush()
        return code
    except SystemExit as ending:
        if not words:
            return WRONG_USAGE
        return ending.code if isinstance(ending.code, int) else DONE
    except BrokenPipeError:
        return _leave_quietly()
    except KeyboardInterrupt:
        return _fail("stopped" + _hint(args))
    except SaccadeError as error:
        return _fail(f"error: {error}", error.exit_code, error if _is_verbose(args) else None)
    except (OSError, MemoryError) as error:
        return _fail(f"error: {_system_words(error)}", FAILED, error if _is_verbose(args) else None)
    except Exception as error:
        return _fail(_defect_words(error), FAILED, error if _is_verbose(args) else None)


@contextmanager
def stopped_alike() -> Iterator[None]:
    """SIGTERM (of a batch system) and SIGHUP (of a terminal that closes) end a command as Ctrl-C does.

    A signal that is ignored (``nohup``) or has a handler already is left as it is.
    """

    def stop(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    changed = []
    if threading.current_thread() is threading.main_thread():
        for number in filter(None, (getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP"))):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, stop)
                changed.append(number)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def _fail(line: str, code: int = FAILED, error: BaseException | None = None) -> int:
    if error is not None:
        traceback.print_exception(error)
    print(f"saccade: {line}", file=sys.stderr, flush=True)
    return code


def _leave_quietly() -> int:
    """For a reader such as ``head`` that has left: nothing more is written, not even by the interpreter."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


def _is_verbose(args: Namespace | None) -> bool:
    return bool(getattr(args, "verbose", False))


def _hint(args: Namespace | None) -> str:
    hint = getattr(args, "hint", "")
    return f"; {hint}" if hint else ""


def _system_words(error: OSError | MemoryError) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory"
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _defect_words(error: Exception) -> str:
    first = next(iter(str(error).splitlines()), "")
    return f"error: {type(error).__name__}: {first} (this is a defect of saccade; -v shows where)"
