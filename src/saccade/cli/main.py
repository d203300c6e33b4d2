"""The program: parses, runs one command, and turns every ending into an exit code and one line."""

from __future__ import annotations

import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Sequence

from saccade.cli.parser import parse
from saccade.errors import SaccadeError

DONE, FAILED, WRONG_USAGE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program and returns 0 done, 1 failed or 2 wrong usage.

    A command may set ``args.hint``: what a user can do after Ctrl-C, such as how to resume.
    """
    args: Namespace | None = None
    try:
        args = parse(list(sys.argv[1:] if argv is None else argv))
        code = args.run(args)
        sys.stdout.flush()
        return code
    except SystemExit as ending:
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
