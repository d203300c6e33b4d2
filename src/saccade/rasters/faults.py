"""Turns what the decoders raise or log into our own one line, and collects what they only warn about."""

from __future__ import annotations

import errno
import logging
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from saccade.errors import FileProblem, SaccadeError

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
