"""Work spread over a small pool of threads, touching no global setting, stopped when interrupted."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, pairwise
from typing import Any, TypeVar

BANDS_PER_WORKER = 4
"""More bands than workers, so that a band with much to do does not leave the others waiting."""


class _Pool:
    """The threads of one process: made at first use, grown when asked, forgotten in a forked child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._threads = 0

    def executor(self, threads: int) -> ThreadPoolExecutor:
        with self._lock:
            if self._executor is None or self._threads < threads:
                self._executor = ThreadPoolExecutor(threads, thread_name_prefix="saccade-bands")
                self._threads = threads
            return self._executor

    def forget(self) -> None:
        self.__init__()  # type: ignore[misc]


_POOL = _Pool()


def _after_fork() -> None:
    """A forked child has none of its parent's threads, and would wait for those of OpenMP in vain."""
    _POOL.forget()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def threads() -> int:
    """How many threads compute: as many as torch uses, where that is loaded, else OMP_NUM_THREADS or a thread
    a core."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return max(1, torch.get_num_threads())
    variable = os.environ.get("OMP_NUM_THREADS", "")
    return int(variable) if variable.isdecimal() and int(variable) else cores()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_bands(kernel: Callable[..., Any], n_rows: int, *args: Any, smallest: int = 1) -> None:
    """Calls ``kernel(first_row, last_row, *args)`` until all of ``n_rows`` rows are done.

    Uses :func:`threads` workers, the calling thread among them. May be called from several
    threads at once and after a fork. A kernel must write only what belongs to its own rows, so that the
    result does not depend on how the rows were cut.

    Args:
        kernel: a compiled function that releases the interpreter lock.
        n_rows: how many rows there are; 0 does nothing.
        smallest: the fewest rows worth a band of their own.
    """
    workers = min(threads(), max(1, n_rows // max(1, smallest)))
    if n_rows <= 0:
        return
    if workers <= 1:
        kernel(0, n_rows, *args)
        return
    bands = min(workers * BANDS_PER_WORKER, max(workers, n_rows // max(1, smallest)))
    edges = [n_rows * band // bands for band in range(bands + 1)]
    waiting = iter(list(pairwise(edges)))
    taking = threading.Lock()

    def work() -> None:
        while True:
            with taking:
                band = next(waiting, None)
            if band is None:
                return
            kernel(*band, *args)

    # The caller works too: where another keeps the threads of the pool busy, it does all bands itself.
    helpers = [_POOL.executor(workers - 1).submit(work) for _ in range(workers - 1)]
    try:
        work()
    finally:
        for helper in helpers:
            helper.cancel() or helper.result()


Given = TypeVar("Given")
Made = TypeVar("Made")

MOST_WORKERS = 4


def workers() -> int:
    """As many threads as this process may use cores, but few: decoding also waits for the disk and memory."""
    return min(MOST_WORKERS, cores())


def in_order(
    function: Callable[[Given], Made],
    values: Iterable[Given],
    *,
    threads: int | None = None,
    ahead: int | None = None,
) -> Generator[Made, None, None]:
    """``function`` of each value, in order, computed in threads.

    When the function fails, the user presses Ctrl-C, or the generator is closed, nothing new is started; the
    ``with`` statement of an executor would first finish everything that was queued. Close it with
    ``contextlib.closing``, since the caller may fail too.

    Args:
        function: of a value.
        values: taken when there is room for them.
        threads: how many; default :func:`workers`.
        ahead: the most results that are being made or wait to be taken, beside the one just taken; default
            all of them.
    """
    waiting = iter(values)
    pool = ThreadPoolExecutor(threads or workers(), thread_name_prefix="saccade-order")
    try:
        running = deque(pool.submit(function, value) for value in islice(waiting, ahead))
        while running:
            made = running.popleft().result()
            running.extend(pool.submit(function, value) for value in islice(waiting, 1))
            yield made
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
