"""Files that may come from strangers: only regular ones are opened, no more is read than makes sense, faults
in JSON are named, and names lead nowhere outside of a folder."""

from __future__ import annotations

import errno
import json
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any

from saccade.errors import Fault, FileProblem

MOST_TEXT = 1 << 30
"""Bytes of a table of results."""
MOST_OPTIONS = 1 << 24
"""Bytes of a file of options, of classes, or of a list."""

_SYSTEM = {
    errno.ENOENT: "no such file",
    errno.EACCES: "a file that may not be read (permission denied)",
    errno.EISDIR: "a folder",
    errno.ENOTDIR: "a file where a folder should be",
    errno.ELOOP: "a link that leads to itself",
    errno.ENAMETOOLONG: "a name that is too long for the file system",
    errno.EIO: "a disk that fails to read (input/output error)",
    errno.EMFILE: "too many files open at once",
}


def kind_of(mode: int) -> str:
    """What a file is that is no regular one, by its mode."""
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((kind for test, kind in kinds if test(mode)), "a device")


def open_regular(path: Path | str, expected: str) -> BufferedReader:
    """Opens a file for reading; a pipe or a device, which may never end, is refused at once.

    Raises:
        FileProblem: it is not there, may not be read, or is no regular file.
    """
    try:
        # Without O_NONBLOCK, opening a pipe waits for somebody to write into it.
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError) as error:
        raise FileProblem(path, expected, _words(error)) from error
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        os.close(number)
        raise FileProblem(path, expected, kind_of(mode))
    return os.fdopen(number, "rb")


def _words(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return _SYSTEM.get(error.errno or 0) or error.strerror or str(error)
    return "a name that no file has"


def read_bytes(path: Path | str, expected: str, most: int = MOST_TEXT) -> bytes:
    """The whole of a regular file.

    Raises:
        FileProblem: as :func:`open_regular`; more than ``most`` bytes.
    """
    with open_regular(path, expected) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise FileProblem(path, f"{expected}, at most {most >> 20} MiB", f"{size >> 20} MiB")
        try:
            return file.read(most)
        except OSError as error:
            raise FileProblem(path, expected, _words(error)) from error


def read_text(path: Path | str, expected: str, most: int = MOST_TEXT) -> str:
    """As :func:`read_bytes`, in UTF-8, with or without a mark.

    Raises:
        FileProblem: as :func:`read_bytes`; bytes that are no UTF-8.
    """
    try:
        return read_bytes(path, expected, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileProblem(path, expected, f"bytes that are not UTF-8 at byte {error.start}") from error


def read_json_value(path: Path | str, expected: str, fix: str = "") -> Any:
    """What a JSON file holds.

    Raises:
        FileProblem: as :func:`read_text`; no JSON, or JSON that is nested too deeply.
    """
    text = read_text(path, expected)
    try:
        return json.loads(text)
    except RecursionError as error:
        raise FileProblem(path, expected, "JSON that is nested too deeply", fix) from error
    except ValueError as error:
        raise FileProblem(path, expected, "broken JSON", fix) from error


class _RepeatedKey(ValueError):
    pass


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise _RepeatedKey(repeated)
    return result


def parse_json(path: Path, expected: str) -> tuple[Any, list[Fault]]:
    """What a JSON file holds, or None and the fault that says what is wrong and in which line."""
    try:
        value = json.loads(read_text(path, expected), object_pairs_hook=_refuse_repeats)
    except FileProblem as error:
        return None, [Fault(path, error.expected, str(error.got))]
    except json.JSONDecodeError as error:
        found = f"broken JSON in line {error.lineno}, column {error.colno} ({error.msg})"
        return None, [Fault(path, expected, found)]
    except _RepeatedKey as error:
        return None, [Fault(path, "each key once", f"{error.args[0]!r} more than once")]
    except RecursionError:
        return None, [Fault(path, expected, "JSON that is nested too deeply")]
    except ValueError as error:  # whole numbers of thousands of digits
        return None, [Fault(path, expected, f"broken JSON ({error})")]
    return value, []


def read_json(path: Path) -> tuple[dict[str, Any] | None, list[Fault]]:
    """The object in a JSON file, or None and the fault that says what is wrong and in which line."""
    expected = "a JSON object"
    value, faults = parse_json(path, expected)
    if faults:
        return None, faults
    if not isinstance(value, dict):
        return None, [Fault(path, expected, f"a JSON {type(value).__name__}")]
    return value, []


def inside(folder: Path, name: str, listed_in: Path) -> Path:
    """The file of a name in a folder of somebody else, which neither its name nor a link may lead out of.

    Args:
        folder: where it should lie.
        name: as a file says it.
        listed_in: that file, for the message.

    Raises:
        FileProblem: the name has other folders in it, or is that of a link to elsewhere.
    """
    if Path(name).name != name or name in ("", ".", "..") or "\0" in name:
        raise FileProblem(listed_in, f"names of files in {folder}", repr(name)[:80])
    return within(folder, folder / name)


def within(folder: Path, path: Path) -> Path:
    """``path``, which is below ``folder``, unless a link on the way to it leads out.

    Raises:
        FileProblem: a link does.
    """
    if not path.resolve().is_relative_to(folder.resolve()):
        raise FileProblem(path, f"a file in {folder}", "a link that leads out of it")
    return path
