"""One family of errors: what was given, what is allowed, and the way out.

Everything that a user can get wrong ends in a :class:`SaccadeError`. The command line prints its message as
one line and exits with its ``exit_code``; a library caller catches one class. Anything else that escapes is
a defect of ours.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


class SaccadeError(Exception):
    """Base of the family; ``exit_code`` is what the command line exits with.

    Examples:
        >>> import saccade
        >>> try:
        ...     saccade.uniform_grid((0, 4))
        ... except saccade.SaccadeError as error:
        ...     print(error.exit_code, type(error).__name__)
        1 InvalidInput
    """

    exit_code = 1

    @property
    def written(self) -> str:
        """The message as it was written, for another process to tell in its own way."""
        return super().__str__()

    def __str__(self) -> str:
        """The message, which names options as they are given where it is read: see :func:`told_to_shell`."""
        message = self.written
        return message if _in_shell or _COMMAND.search(message) else _FLAG.sub(r"\1=True", message)


_in_shell = False
_FLAG, _COMMAND = re.compile(r"--(resume|overwrite)\b"), re.compile(r"saccade [a-z]+ .*--")


@contextmanager
def told_to_shell() -> Iterator[None]:
    """Inside, messages name options as on a command line, ``--resume``; else as in Python, resume=True."""
    global _in_shell
    before, _in_shell = _in_shell, True
    try:
        yield
    finally:
        _in_shell = before


class InvalidInput(SaccadeError, ValueError):
    """An argument, tensor or option outside what is allowed.

    Args:
        what: name of the argument ("grid", "density").
        expected: what is allowed, with shape, range and units.
        got: what was given.
        fix: the way out, as an instruction; optional where ``expected`` already says it.

    Examples:
        >>> import saccade
        >>> print(saccade.InvalidInput("grid", "(B, h, w, 2)", "(4, 4)", "add a batch axis"))
        expected grid to be (B, h, w, 2), but got (4, 4); add a batch axis
    """

    def __init__(self, what: str, expected: str, got: object, fix: str = "") -> None:
        self.what, self.expected, self.got, self.fix = what, expected, got, fix
        super().__init__(f"expected {what} to be {expected}, but got {got}" + (f"; {fix}" if fix else ""))


class NetworkFault(InvalidInput, RuntimeError):
    """A network that refuses its input, or answers with something that is no scores.

    Args:
        expected: what was expected of it, its name first ("SmallUNet to take pixels of shape (1, 3, 8, 8)").
        got: what it did instead.
        fix: the way out.
    """

    def __init__(self, expected: str, got: object, fix: str = "") -> None:
        self.what, self.expected, self.got, self.fix = "network", expected, got, fix
        message = f"expected the network {expected}, but got {got}" + (f"; {fix}" if fix else "")
        SaccadeError.__init__(self, message)


class UsageError(SaccadeError):
    """A command called wrongly: unknown option, missing argument. Exits with 2.

    Examples:
        >>> import saccade
        >>> saccade.UsageError("unknown command 'trian'").exit_code
        2
    """

    exit_code = 2


class FileProblem(SaccadeError):
    """A file that is missing, unreadable, or not what it should be.

    Examples:
        >>> import saccade
        >>> print(saccade.FileProblem("leaf.jpg", "a JPEG image", "an empty file"))
        leaf.jpg: expected a JPEG image, but got an empty file
    """

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
    """All faults of a data set at once, found before any work starts.

    Examples:
        >>> import saccade
        >>> from pathlib import Path
        >>> from saccade.errors import Fault
        >>> print(saccade.DataFaults([Fault(Path("masks/a.png"), "class indices 0 to 2", "3")]))
        the data set has 1 fault:
          masks/a.png: expected class indices 0 to 2, found 3
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        count = f"{len(self.faults)} fault" + ("s" if len(self.faults) != 1 else "")
        lines = [f"the data set has {count}:", *(f"  {line}" for line in _fault_lines(self.faults))]
        super().__init__("\n".join(lines))


MOST_ALIKE = 5
"""Faults that differ in file and numbers alone and are told one by one; more become one line."""


def _fault_lines(faults: Sequence[Fault]) -> Iterator[str]:
    """A line a fault, or one for many of one folder that say the same."""
    alike: dict[tuple[str, ...], list[Fault]] = {}
    for fault in faults:
        alike.setdefault(_kind(fault), []).append(fault)
    for group in alike.values():
        if len(group) <= MOST_ALIKE:
            yield from map(str, group)
        else:
            others = f"{len(group) - 1} more files of {group[0].path.parent} have the like"
            yield f"{group[0]} ({others}; saccade info --json names all)"


def _kind(fault: Fault) -> tuple[str, ...]:
    """What two faults share that are one mistake: the folder, and the words without name and numbers."""
    words = (text.replace(fault.path.stem, "*") for text in (fault.expected, fault.found))
    return (str(fault.path.parent), fault.path.suffix, *(re.sub(r"[0-9]+", "#", text) for text in words))


def nearest_name(name: str, allowed: Iterable[str]) -> str:
    """``did you mean 'x'?``, or the whole list where nothing is near: the way out of a typo."""
    names = sorted(allowed)
    close = difflib.get_close_matches(str(name), names, n=1)  # keys of YAML may be numbers
    return f"did you mean {close[0]!r}?" if close else "choose one of " + ", ".join(names)


def one_of(what: str, value: object, allowed: tuple[str, ...]) -> None:
    """Refuses a value that is none of the names allowed."""
    if value not in allowed:
        fix = nearest_name(str(value), allowed)
        raise InvalidInput(what, "one of " + ", ".join(allowed), repr(value), fix)


def at_least(what: str, value: float | None, least: float) -> None:
    """Refuses a number that is too small or not finite; None passes."""
    if value is not None and not least <= value < math.inf:
        raise InvalidInput(what, f"a finite number of at least {least:g}", value)


def all_at_least(what: str, values: Sequence[float] | None, least: float) -> None:
    """Refuses a list that is empty or has a number that is too small; None passes."""
    if values is not None and len(values) == 0:
        raise InvalidInput(what, "a list of one number or more", "an empty list")
    for value in values or ():
        at_least(what, value, least)
