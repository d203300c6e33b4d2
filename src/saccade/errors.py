"""One family of errors: what was given, what is allowed, and the way out.

Everything that a user can get wrong ends in a :class:`SaccadeError`. The command line prints its message as
one line and exits with its ``exit_code``; a library caller catches one class. Anything else that escapes is
a defect of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


class SaccadeError(Exception):
    """Base of the family; ``exit_code`` is what the command line exits with."""

    exit_code = 1


class InvalidInput(SaccadeError, ValueError):
    """An argument, tensor or option outside what is allowed.

    Args:
        what: name of the argument ("grid", "density").
        expected: what is allowed, with shape, range and units.
        got: what was given.
        fix: the way out, as an instruction; optional where ``expected`` already says it.
    """

    def __init__(self, what: str, expected: str, got: object, fix: str = "") -> None:
        self.what, self.expected, self.got, self.fix = what, expected, got, fix
        super().__init__(f"expected {what} to be {expected}, but got {got}" + (f"; {fix}" if fix else ""))


class UsageError(SaccadeError):
    """A command called wrongly: unknown option, missing argument. Exits with 2."""

    exit_code = 2


class FileProblem(SaccadeError):
    """A file that is missing, unreadable, or not what it should be."""

    def __init__(self, path: Path | str, expected: str, got: object, fix: str = "") -> None:
        self.path, self.expected, self.got, self.fix = Path(path), expected, got, fix
        super().__init__(f"{path}: expected {expected}, but got {got}" + (f"; {fix}" if fix else ""))


class FinalProblem(FileProblem):
    """A fault that lies in the file for certain, or a refusal: no other reader would help."""


@dataclass(frozen=True)
class Fault:
    """One fault of a data set: the file, what was expected of it, what was found."""

    path: Path
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, found {self.found}"


class DataFaults(SaccadeError):
    """All faults of a data set at once, found before any work starts."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        count = f"{len(self.faults)} fault" + ("s" if len(self.faults) != 1 else "")
        super().__init__("\n".join([f"the data set has {count}:", *(f"  {fault}" for fault in self.faults)]))


def nearest_name(name: str, allowed: Iterable[str]) -> str:
    """``did you mean 'x'?``, or the whole list where nothing is near: the way out of a typo."""
    names = sorted(allowed)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else "choose one of " + ", ".join(names)
