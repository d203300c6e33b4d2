"""An output appears under its name only when it is complete, and never takes another's place unasked."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from saccade.errors import FileProblem

_SYSTEM = {
    errno.ENOSPC: ("a disk that is full", "free some space or write elsewhere"),
    errno.EDQUOT: ("a disk quota that is used up", "free some space or write elsewhere"),
    errno.EACCES: ("a folder that may not be written (permission denied)", "choose another folder"),
    errno.EROFS: ("a read-only disk", "choose another folder"),
    errno.ENOENT: ("a folder that does not exist", "make the folder first"),
    errno.ENOTDIR: ("a file where a folder should be", "choose another folder"),
    errno.ENAMETOOLONG: ("a name that is too long", "choose a shorter name"),
    errno.EFBIG: ("a file too large for this disk", "write elsewhere"),
}


def refuse_existing(path: Path, overwrite: bool) -> None:
    if path.is_dir() and not path.name.endswith(".zarr"):
        raise FileProblem(path, "the name of a file to write", "a folder")
    if path.exists() and not overwrite:
        raise FileProblem(
            path, "a new file", "one that exists", "choose another name, or allow it with --overwrite"
        )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusals (full disk, no permission) into one line about ``path``."""
    try:
        yield
    except OSError as error:
        got, fix = _SYSTEM.get(error.errno or 0, (f"a failing disk ({error.strerror or error})", ""))
        raise FileProblem(path, "a place to write", got, fix) from error


@contextmanager
def finished_file(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yields a temporary name in the same folder; renamed to ``path`` at the end, removed after an error.

    Raises:
        FileProblem: ``path`` exists (now, or at the end) and ``overwrite`` is not set, or writing failed.
    """
    refuse_existing(path, overwrite)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with writing(path):
            yield temporary
            publish(temporary, path, overwrite)
    finally:
        temporary.unlink(missing_ok=True)


def publish(temporary: Path, path: Path, overwrite: bool) -> None:
    """Rename the complete ``temporary``; without ``overwrite`` a file that came up meanwhile is kept."""
    if not overwrite:
        try:
            os.link(temporary, path)
        except FileExistsError:
            refuse_existing(path, overwrite)
        except OSError:
            refuse_existing(path, overwrite)
            os.replace(temporary, path)
        return
    os.replace(temporary, path)
