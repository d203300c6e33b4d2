"""Files that appear whole or not at all, by one program at a time."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

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


UNENCODABLE = "backslashreplace"
"""What becomes of bytes of file names that are not UTF-8 in texts that are."""


def encodable(text: str) -> str:
    """A text without bytes of file names that are not UTF-8."""
    return text.encode(errors=UNENCODABLE).decode()


def refuse_existing(path: Path, overwrite: bool) -> None:
    if path.is_dir() and not path.name.endswith(".zarr"):
        raise FileProblem(path, "the name of a file to write", "a folder")
    if path.is_symlink() and not path.exists() and not overwrite:
        fix = "remove the link, or allow it to be replaced with --overwrite"
        raise FileProblem(path, "a new file", "a link to a file that does not exist", fix)
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
    temporary = _temporary(path)
    _remove_left(path)
    try:
        with writing(path):
            yield temporary
            publish(temporary, path, overwrite)
    finally:
        temporary.unlink(missing_ok=True)


def write_file(path: Path, content: bytes | str) -> None:
    """Writes a file that is there whole or, after a crash or on a full disk, as it was before.

    Raises:
        FileProblem: when it cannot be written, with its own path.
    """
    data = content.encode(errors=UNENCODABLE) if isinstance(content, str) else content
    with finished_file(path, overwrite=True) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        # Before the rename: some file systems keep a new name whose bytes never came to the disk.
        os.fsync(file.fileno())


def _remove_left(path: Path) -> None:
    """What programs that were killed left of a file; one that still runs is writing its own."""
    beginning = f".{path.name}."
    for name in _unfinished_in(path.parent):
        if name.startswith(beginning):
            number = name[len(beginning) :].partition(".part")[0]
            if number.isdecimal() and not _is_running(number):
                (path.parent / name).unlink(missing_ok=True)


_LISTED: dict[Path, tuple[float, float, list[str]]] = {}
"""By folder when it was listed, how long that took, and the names of unfinished files in it."""
LISTED_AT_ONCE = 1e-3
"""Seconds for which a folder is listed each time."""
LIST_SHARE = 100
"""A folder is listed again after so many times as long as that took: of many files in one folder each would
else take longer than the one before."""


def _unfinished_in(folder: Path) -> list[str]:
    """Names of temporary files; of a folder that takes long to list perhaps as they were a moment ago."""
    began = time.monotonic()
    listed, took, names = _LISTED.get(folder, (0.0, 0.0, []))
    if took > LISTED_AT_ONCE and began < listed + LIST_SHARE * took:
        return names
    names = []
    with suppress(OSError):  # a folder that cannot be listed, or that is none: writing into it tells
        names = [name for name in os.listdir(folder) if name.startswith(".") and ".part" in name]
    _LISTED.clear()  # one folder at a time is written into
    _LISTED[folder] = began, time.monotonic() - began, names
    return names


def _is_running(number: str) -> bool:
    """Whether there is a process of this number, as far as can be told."""
    if os.name == "nt":  # where signal 0 is Ctrl-C
        return True
    try:
        os.kill(int(number), 0)
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    except OSError:
        return True
    return True


def remove_unfinished(folder: Path) -> None:
    """Removes what programs that died left of files in ``folder``, which no other program may be writing."""
    for left in folder.glob(".*.part"):
        left.unlink(missing_ok=True)


_LONGEST_NAME = 255


def _temporary(path: Path) -> Path:
    """A hidden name beside ``path``, no longer than file systems take."""
    ending = f".{os.getpid()}.part"
    kept = os.fsencode(path.name)[: _LONGEST_NAME - 1 - len(ending)].decode(errors="ignore")
    return path.with_name(f".{kept}{ending}")


def publish(temporary: Path, path: Path, overwrite: bool) -> None:
    """Rename the complete ``temporary``; without ``overwrite`` a file that came up meanwhile is kept."""
    if not overwrite:
        try:
            # A link fails where the name is taken, in one step; a rename would replace what came up
            # meanwhile.
            os.link(temporary, path)
            return
        except OSError:
            # Some disks know no links: looked at again, then renamed.
            refuse_existing(path, overwrite)
    os.replace(temporary, path)


try:
    import fcntl
except ImportError:  # no such locks outside of POSIX
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"


def lock(file: IO[Any], path: Path, expected: str) -> None:
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
def exclusively(folder: Path, expected: str) -> Iterator[None]:
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


def claim_file(path: Path) -> Path:
    """The hidden file by which :func:`claimed` holds a name."""
    number = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]  # a name may be as long as names can be
    return path.with_name(f".{number}{LOCK}")


class Held(FileProblem):
    """Another program is at what was to be done."""


@contextmanager
def claimed(path: Path, what: Path) -> Iterator[None]:
    """Holds the name ``path``, which need not exist, against other programs, by a hidden file beside it.

    Args:
        path: what is about to be written.
        what: the user is told of it.

    Raises:
        FileProblem: another program holds it.
    """
    if fcntl is None:
        yield
        return
    held = claim_file(path)
    with writing(path):
        file = held.open("a")
    with file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            expected = "an image that no other program predicts into the same folder"
            raise Held(what, expected, "one that is being predicted", "wait, then use --resume") from None
        except OSError:  # a disk without locks
            pass
        try:
            yield
        finally:
            held.unlink(missing_ok=True)
