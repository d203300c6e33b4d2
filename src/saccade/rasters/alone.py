"""One program at a time: what is being written is refused to a second program, and freed when the first ends.

The system frees its locks when a program dies, however it dies. Where there are none (Windows, some network
disks) nothing is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from saccade.errors import FileProblem
from saccade.rasters.outputs import writing

try:
    import fcntl
except ImportError:  # no such locks outside of POSIX
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"


def lock(file: IO, path: Path, expected: str) -> None:
    """Holds an open file until it is closed.

    Args:
        file: to be held.
        path: told to the user.
        expected: what ``path`` should be, for the error.

    Raises:
        FileProblem: another program holds it.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FileProblem(path, expected, "one being written now", "wait until it is done") from None
    except OSError:  # a disk without locks
        return


@contextmanager
def working_alone(folder: Path, expected: str) -> Iterator[None]:
    """Holds a folder, made where it is missing, by a hidden file that is gone afterwards.

    Raises:
        FileProblem: another program holds it, or it cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    held = folder / LOCK
    with writing(folder):
        file = held.open("a")
    with file:
        lock(file, folder, expected)
        try:
            yield
        finally:
            held.unlink(missing_ok=True)
