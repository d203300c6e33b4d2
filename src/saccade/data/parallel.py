"""Work on many files in a few threads, in order, that stops at once when it is interrupted."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")

MOST_WORKERS = 4


def workers() -> int:
    """As many threads as this process may use cores, but few: decoding also waits for the disk and memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_WORKERS, cores)


def in_order(function: Callable[[Given], Made], values: Iterable[Given]) -> Generator[Made, None, None]:
    """``function`` of each value, in order, computed in threads.

    When the function fails, the user presses Ctrl-C, or the generator is closed, nothing new is started; the
    ``with`` statement of an executor would first finish everything that was queued. Close it with
    ``contextlib.closing``, since the caller may fail too.
    """
    pool = ThreadPoolExecutor(workers())
    try:
        yield from pool.map(function, values)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
