"""imagecodecs, where it is installed: 80 MB that a runtime without torch can do without.

Without it what is written is deflated by zlib, and an image that needs another of its decoders is refused in
one line; PNG, JPEG and TIFF without compression or deflated need none.
"""

from __future__ import annotations

import importlib
import zlib
from typing import Any


class _Missing:
    """In the place of the library."""

    DeflateError = zlib.error

    def __getattr__(self, name: str) -> Any:
        raise ImportError(f"{name} is of imagecodecs")

    @staticmethod
    def deflate_encode(data: bytes, *, level: int) -> bytes:
        return zlib.compress(data, level)

    @staticmethod
    def deflate_decode(data: bytes, *, out: int) -> bytes:
        return zlib.decompress(data, bufsize=out)


def _library() -> Any:
    try:
        return importlib.import_module("imagecodecs")
    except ImportError:
        return _Missing()


imagecodecs: Any = _library()
MISSING = isinstance(imagecodecs, _Missing)
