"""What files of others may do in this process: nothing but be read, unless the user says more.

Options of a run or a file may name code (``python:MODULE.NAME``), and an image may name other files. Neither
is followed on the word of the file alone. The code that the user named, in the command or in Python, is the
user's.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saccade.errors import FileProblem
from saccade.runtime.plugins import CODE_PREFIX


@dataclass(frozen=True)
class Trust:
    """What is allowed.

    Attributes:
        code: whether code that options in files name is run.
        outside: whether images (VRT, sets of OME-TIFF) may be made of files outside of their folder.
        named: code that the user named, each with :data:`saccade.runtime.plugins.CODE_PREFIX`.
    """

    code: bool = False
    outside: bool = False
    named: frozenset[str] = frozenset()


_now = Trust()
_CHANGING = threading.Lock()


def trust() -> Trust:
    """What is allowed now, to be handed to another process."""
    return _now


def take_over(allowed: Trust) -> None:
    """In another process: allows what was allowed where it was started."""
    global _now
    _now = allowed


@contextmanager
def trusting(*, code: bool = False, outside: bool = False) -> Iterator[None]:
    """Allows more inside of the ``with`` statement, to the whole process, its threads too.

    Args:
        code: run code that the options of runs and files name.
        outside: let images be made of files outside of their folder.

    Examples:
        >>> from saccade.runtime.trust import trust, trusting
        >>> with trusting(code=True):
        ...     trust().code
        True
        >>> trust().code
        False
    """
    before = _changed(code=_now.code or code, outside=_now.outside or outside)
    try:
        yield
    finally:
        _changed(code=before.code, outside=before.outside)


def name_code(words: Iterable[object]) -> None:
    """Allows the code that the user names, as a word of its own or as ``section.key=python:...``."""
    texts = [str(word) for word in words]
    names = {text[text.index(CODE_PREFIX) :] for text in texts if CODE_PREFIX in text}
    _changed(named=_now.named | names)


def _changed(**changes: Any) -> Trust:
    """What was allowed before."""
    global _now
    with _CHANGING:
        before = _now
        _now = Trust(**{**vars(before), **changes})
    return before


def require_allowed_code(path: Path | str, options: Any) -> None:
    """Refuses options of a file that name code, before any of it is imported.

    Args:
        path: of the file.
        options: what it holds: mappings, lists and plain values.

    Raises:
        FileProblem: with the option and the code, unless it is allowed or the user named it too.
    """
    if _now.code:
        return
    for key, value in _texts(options):
        if value.startswith(CODE_PREFIX) and value not in _now.named:
            fix = "if you trust whoever wrote it, allow it with --allow-code (in Python allow_code=True)"
            raise FileProblem(path, "options that run no code", f"{key}: {value}", fix)


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in options, with its key."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, key)
