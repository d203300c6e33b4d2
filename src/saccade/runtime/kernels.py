"""Kernels compiled by numba, kept on disk under a name that changes with every text they may be made of.

Numba checks a kept kernel against the text of the kernel's own file alone. A kernel holds the code of the
kernels that it calls, so after an edit of theirs (an upgrade) numba would go on running the old code, in
silence. Here the name under which a kernel is kept begins with one digest of all kernel files of its
package; another digest is another kernel, which is compiled. What earlier texts left in the cache is removed.

A kernel file is named ``_kernels.py`` or ``_*_kernels.py`` and imports nothing of its package but other
kernel files and this one. A kernel of any other file is compiled in every process and never kept.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numba import njit
from numba.core import event

from saccade.runtime.progress import speaks

DIGITS = 12
"""Hexadecimal digits of a digest."""
SUFFIX = "_kernels.py"
"""How the name of a kernel file ends."""


PATIENCE = 2.0
"""Seconds of compiling in silence."""

COMPILING = "compiling kernels for this machine, once: about half a minute"


class CompilingTold(event.Listener):
    """Says once, on standard error, that kernels are compiled, where that takes long."""

    def __init__(self) -> None:
        self._seconds, self._began, self._depth, self.told = 0.0, 0.0, 0, False

    def on_start(self, event: Any) -> None:
        """A kernel, or one that it calls: both are compiled under one lock of numba."""
        now = time.monotonic()
        self._began = self._began if self._depth else now
        self._depth += 1
        if self._seconds + now - self._began >= PATIENCE and not self.told:
            self.told = True
            if speaks():
                print(COMPILING, file=sys.stderr, flush=True)

    def on_end(self, event: Any) -> None:
        self._depth -= 1
        if not self._depth:
            self._seconds += time.monotonic() - self._began


TOLD = CompilingTold()
event.register("numba:compile", TOLD)


def kernel(function: Callable[..., Any]) -> Any:
    """Compiles a function when it is first called; it lets go of the interpreter lock while it runs.

    A decorator for functions of modules.
    """
    return _compiled(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Like :func:`kernel`, for a small function whose body is to stand in the kernels that call it."""
    return _compiled(function, inline="always")


def vectorised(function: Callable[..., Any]) -> Any:
    """Like :func:`kernel`, for a plain loop over finite numbers that the compiler is to vectorise.

    A division by zero does not raise, sums are taken in the order that suits the machine, and a product and
    a sum may be rounded once.
    """
    return _compiled(function, error_model="numpy", fastmath=True)


def vectorised_alike(function: Callable[..., Any]) -> Any:
    """Like :func:`vectorised`, but each product and each sum is rounded by itself, sums in their order.

    For what must give the same bits whether it was compiled by this process or kept by another: what the
    compiler rounds at once depends on what it has put into the kernel that calls.
    """
    return _compiled(function, error_model="numpy", fastmath={"nnan", "ninf", "nsz"})


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    path, name = os.path.abspath(inspect.getfile(function)), function.__qualname__
    # Not an archive either: without the texts nothing tells an old kernel from a new one.
    if not path.endswith(SUFFIX) or not os.path.isfile(path):
        return njit(nogil=True, **options)(function)
    digest = digest_of(path)
    function.__qualname__ = f"{digest}.{name}"  # numba takes the name of the kept file from here
    made = njit(nogil=True, cache=True, **options)(function)
    made.__qualname__ = name
    if hasattr(made, "stats"):  # not where NUMBA_DISABLE_JIT leaves the plain function
        _keep_if_possible(made)
        _load_alone(made)
        _sweep(made.stats.cache_path, os.path.splitext(os.path.basename(path))[0], digest)
    return made


def _keep_if_possible(made: Any) -> None:
    """A disk that is full, or was made read-only meanwhile, costs a kernel its place there and no more."""
    keep = made._cache.save_overload

    def kept(*what: Any) -> None:
        with suppress(OSError):
            keep(*what)

    made._cache.save_overload = kept


def _load_alone(made: Any) -> None:
    """A kept kernel is loaded without numba's tables of all that it can compile, which take half a second
    to fill and bring scipy; they are filled when a kernel is compiled."""
    load = getattr(made._cache, "_load_overload", None)
    if load is None:  # another numba, which names it otherwise, or keeps nothing
        return

    def loaded(signature: Any, context: Any) -> Any:
        from numba.core.runtime.nrt import rtsys

        rtsys.initialize(context)  # what memory of kernels is taken from
        with made._cache._guard_against_spurious_io_errors():
            return load(signature, context)

    made._cache.load_overload = loaded


_LOADED: dict[str, bytes] = {}
"""Digests of the texts that modules of this process were made from."""


def digest_of(path: str) -> str:
    """Digest of all kernel files of the package of ``path``, a kernel file whose kernels are being made.

    A file that this process has loaded counts as it was then, whatever became of it: the kernels in memory
    are made of that text. Of the loaded ones ``path`` alone is read again, since it is being loaded now.
    """
    whole = hashlib.sha256(_text_digest(__file__))
    for file, module in kernel_files(_root(os.path.dirname(path))):
        text = None if file == path else _LOADED.get(file)
        if text is None:
            text = _text_digest(file)
            if file == path or module in sys.modules:
                _LOADED[file] = text
        whole.update(text)
    return whole.hexdigest()[:DIGITS]


@functools.cache
def kernel_files(root: str) -> tuple[tuple[str, str], ...]:
    """The kernel files below the folder of a package, each with the name of its module, in a fixed order."""
    files = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        package = os.path.relpath(folder, os.path.dirname(root)).replace(os.sep, ".")
        kernels = sorted(name for name in names if name.endswith(SUFFIX))
        files += [(os.path.join(folder, name), f"{package}.{name[:-3]}") for name in kernels]
    return tuple(files)


def _text_digest(path: str) -> bytes:
    state = os.stat(path)
    return _read(path, state.st_mtime_ns, state.st_size)


@functools.cache
def _read(path: str, changed: int, size: int) -> bytes:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).digest()


@functools.cache
def _root(folder: str) -> str:
    """The outermost package that holds a folder, itself maybe."""
    above = os.path.dirname(folder)
    return _root(above) if os.path.isfile(os.path.join(above, "__init__.py")) else folder


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
