"""Kernels compiled by numba, kept on disk under a name that changes with everything they were made of.

Numba checks a kept kernel against the text of the kernel's own file alone. A kernel holds the code of the
kernels that it calls, so after an edit of theirs (an upgrade) numba would go on running the old code, in
silence. Here the name under which a kernel is kept begins with a digest of its file and of every file of the
package that this one imports, and so on; another digest is another kernel, which is compiled. What earlier
texts of a file left in the cache is removed.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from numba import njit

DIGITS = 12
"""Hexadecimal digits of a digest."""

_IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+)?import[ \t]+(\([^)]*\)|[^\n;#]+)", re.MULTILINE)
_NAME = re.compile(r"([\w.]+)(?:\s+as\s+\w+)?")


def kernel(function: Callable[..., Any]) -> Any:
    """Compiles a function when it is first called; it lets go of the interpreter lock while it runs.

    A decorator for functions of modules.
    """
    return _compiled(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Like :func:`kernel`, for a small function whose body is to stand in the kernels that call it."""
    return _compiled(function, inline="always")


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    path, name = inspect.getfile(function), function.__qualname__
    try:
        digest = digest_of(path)
    except OSError:  # an archive: without the texts nothing tells an old kernel from a new one
        return njit(nogil=True, **options)(function)
    function.__qualname__ = f"{digest}.{name}"  # numba takes the name of the kept file from here
    made = njit(nogil=True, cache=True, **options)(function)
    made.__qualname__ = name
    if hasattr(made, "stats"):  # not where NUMBA_DISABLE_JIT leaves the plain function
        _sweep(made.stats.cache_path, os.path.splitext(os.path.basename(path))[0], digest)
    return made


def digest_of(path: str) -> str:
    """Digest of a file of a package and of all files of the package that it imports, directly or not.

    A file that is known by now stays as it was when first read, as do the kernels that were made from it;
    only ``path`` itself is read again if it has changed since, because its kernels are being made now.
    """
    path = os.path.abspath(path)
    state = os.stat(path)
    _KNOWN[path] = _read(path, state.st_mtime_ns, state.st_size)
    whole = hashlib.sha256()
    for other in sorted(files_of(path)):
        whole.update(_known(other)[0])
    return whole.hexdigest()[:DIGITS]


def files_of(path: str) -> set[str]:
    """A file of a package and all files of the package that it imports, directly or not."""
    found: set[str] = set()
    waiting = [path]
    while waiting:
        other = waiting.pop()
        if other not in found:
            found.add(other)
            waiting += _known(other)[1]
    return found


_KNOWN: dict[str, tuple[bytes, tuple[str, ...]]] = {}


def _known(path: str) -> tuple[bytes, tuple[str, ...]]:
    if path not in _KNOWN:
        state = os.stat(path)
        _KNOWN[path] = _read(path, state.st_mtime_ns, state.st_size)
    return _KNOWN[path]


@functools.cache
def _read(path: str, changed: int, size: int) -> tuple[bytes, tuple[str, ...]]:
    """The digest of a file's own text, and the files of its package that it imports itself."""
    with open(path, "rb") as file:
        text = file.read()
    imported = dict.fromkeys(_imported(path, text.decode("utf-8", "replace")))
    return hashlib.sha256(text).digest(), tuple(imported)


def _imported(path: str, text: str) -> Iterator[str]:
    """The files that import statements name.

    Found by their look: it takes a thirtieth of the time of a parser, which would be felt at each start. Of
    ``from package import name`` both the package and a module of that name count.
    """
    root = _root(os.path.dirname(path))
    for base, listed in _IMPORT.findall(text):
        names = _NAME.findall(listed)
        within = base if base.endswith(".") else f"{base}."
        for module in [base, *(within + name for name in names)] if base else names:
            found = _file(path, root, module)
            if found is not None:
                yield found


@functools.cache
def _root(folder: str) -> str:
    """The outermost package that holds a folder, itself maybe."""
    above = os.path.dirname(folder)
    return _root(above) if os.path.isfile(os.path.join(above, "__init__.py")) else folder


def _file(path: str, root: str, module: str) -> str | None:
    """The file of a module that ``path`` names, None where it is none of the package."""
    name = module.lstrip(".")
    dots = len(module) - len(name)
    parts = name.split(".") if name else []
    if dots:
        folder = os.path.dirname(path)
        for _ in range(dots - 1):
            folder = os.path.dirname(folder)
    elif parts[0] == os.path.basename(root):
        folder = os.path.dirname(root)
    else:
        return None
    return _existing(os.path.join(folder, *parts))


@functools.cache
def _existing(stem: str) -> str | None:
    for candidate in (f"{stem}.py", os.path.join(stem, "__init__.py")):
        if os.path.isfile(candidate):
            return candidate
    return None


@functools.cache
def _sweep(folder: str, module: str, digest: str) -> None:
    """Removes from numba's cache what was kept of a file under other digests."""
    old = re.compile(rf"{re.escape(module)}\.(?!{digest})[0-9a-f]{{{DIGITS}}}\..+\.nb[ic]")
    for name in filter(old.fullmatch, _names(folder)):
        with suppress(OSError):
            os.unlink(os.path.join(folder, name))


@functools.cache
def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
