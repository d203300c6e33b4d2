"""What a file is by its first bytes, the optional library that reads it, and what its decoder says."""

from __future__ import annotations

import errno
import importlib
import logging
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np

from saccade.errors import FileProblem, SaccadeError


def load(module: str, extra: str, path: Path, kind: str) -> ModuleType:
    """``module``, or FileProblem that names the extra to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise FileProblem(
            path,
            f"the libraries that read and write {kind}",
            f"none ({error})",
            f"pip install 'saccade[{extra}]'",
        ) from None


_CAUGHT = threading.local()
_DAMAGE = "a damaged or truncated file"


class _Listener(logging.Filter):
    """Keeps the records of a decoder's log from the user while this thread is reading for us."""

    def filter(self, record: logging.LogRecord) -> bool:
        messages = getattr(_CAUGHT, "messages", None)
        if messages is None:
            return True
        messages.append(record.getMessage())
        return False


_LISTENER = _Listener()


@contextmanager
def reading(path: Path, expected: str) -> Iterator[list[str]]:
    """Run decoders: their errors become ``FileProblem(path, expected, ...)``, their log stays silent.

    Yields the list that what they logged is put into.
    """
    outer = getattr(_CAUGHT, "messages", None)
    messages: list[str] = []
    _CAUGHT.messages = messages
    try:
        with np.errstate(all="ignore"):
            yield messages
    except SaccadeError:
        raise
    except MemoryError:
        raise FileProblem(path, expected, "an image too large for the memory left") from None
    except OSError as error:
        raise FileProblem(path, expected, _words(error)) from error
    except (*_DECODER_ERRORS,) as error:
        raise FileProblem(path, expected, _DAMAGE) from error
    finally:
        _CAUGHT.messages = outer


def listen(logger: str) -> None:
    """Make ``reading`` hear this logger."""
    named = logging.getLogger(logger)
    if _LISTENER not in named.filters:
        named.addFilter(_LISTENER)


_DECODER_ERRORS = (
    ValueError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError, RuntimeError, SyntaxError,
    AssertionError, struct.error, zlib.error,
)  # fmt: skip

_SYSTEM = {
    errno.ENOENT: "no such file",
    errno.EACCES: "a file that may not be read (permission denied)",
    errno.EISDIR: "a folder",
    errno.EIO: "a disk that fails to read (input/output error)",
    errno.EMFILE: "too many files open at once",
}


def _words(error: OSError) -> str:
    return _SYSTEM.get(error.errno or 0, _DAMAGE)


Kind = Literal["png", "jpeg", "webp", "tiff", "zarr", "other"]

_SUFFIXES: dict[str, tuple[str, ...]] = {
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff", ".btf", ".svs", ".ndpi", ".scn", ".bif", ".tf8", ".svslide", ".vmu"),
}


def sniff(path: Path) -> Kind:
    """The kind of the file's content.

    Raises:
        FileProblem: missing, not readable, a plain folder, or empty.
    """
    if not path.exists():
        raise FileProblem(path, "an image", "no such file")
    if path.is_dir():
        if any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zarray", ".zattrs")):
            return "zarr"
        raise FileProblem(path, "an image", "a folder without Zarr metadata", "name the images inside it")
    with reading(path, "an image"), path.open("rb") as file:
        start = file.read(16)
    if not start:
        raise FileProblem(path, "an image", "an empty file (0 bytes)")
    return _by_magic(start)


def _by_magic(start: bytes) -> Kind:
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if start.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "webp"
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    return "other"


def misnamed(path: Path, kind: str) -> tuple[str, ...]:
    """A notice where the extension promises another of the known formats than the content is."""
    suffix = path.suffix.lower()
    owner = next((name for name, suffixes in _SUFFIXES.items() if suffix in suffixes), kind)
    if owner == kind:
        return ()
    return (
        f"{path.name} is named as {owner.upper()} but holds {kind.upper()}; it is read as {kind.upper()}",
    )
