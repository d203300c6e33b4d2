"""Dask clusters by their names; what is asked of them is in :mod:`saccade.runtime.cluster_tasks`."""

from __future__ import annotations

import logging
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from typing import Any

from saccade.errors import UsageError

SECONDS = 20
"""That a scheduler may take to answer, and to have a worker."""


def distributed() -> Any:
    """The library, or a :class:`UsageError` that names what to install."""
    try:
        import distributed as library
    except ImportError as error:
        fix = "pip install distributed (the extra 'cluster' of saccade)"
        raise UsageError(f"--cluster needs Dask, and there is none ({error}); {fix}") from None
    return library


def local_workers(where: str | None) -> int | None:
    """The N of ``local:N``; None for a cluster elsewhere, or none.

    Raises:
        UsageError: it names no cluster.
    """
    if where is None:
        return None
    match = re.fullmatch(r"local:(\d+)|(?:tcp|tls|ws|wss|ucx)://\S+", where)
    if match is None or match[1] == "0":
        known = "local:N (N from 1) or the address of a scheduler, tcp://..."
        raise UsageError(f"--cluster is {known}, not {where!r}")
    return int(match[1]) if match[1] else None


@contextmanager
def connected(where: str) -> Iterator[Any]:
    """A client of a cluster: ``local:N``, N new processes here, or the address of a scheduler.

    Raises:
        UsageError: no such cluster, Dask is not installed, or nobody answers.
    """
    local = local_workers(where)
    library = distributed()
    with ExitStack() as stack:
        if local is not None:
            quiet = {"dashboard_address": ":0", "silence_logs": logging.CRITICAL, "memory_limit": 0}
            count = {"n_workers": local, "threads_per_worker": 1}
            with _not_heard_by_workers():
                cluster = stack.enter_context(library.LocalCluster(**count, **quiet))
            # What the scheduler still had to say to workers that are gone is no fault of anybody's.
            cluster.loop.asyncio_loop.set_exception_handler(lambda *_: None)
            where = cluster
        try:
            client = stack.enter_context(library.Client(where, timeout=SECONDS, set_as_default=False))
            client.wait_for_workers(1, timeout=SECONDS if local is None else 10 * SECONDS)
        except (OSError, TimeoutError, ValueError) as error:
            fault = "no worker has come" if "workers" in str(error) else "no scheduler answers"
            raise UsageError(f"{where}: {fault} within {SECONDS} s") from None
        yield client


@contextmanager
def _not_heard_by_workers() -> Iterator[None]:
    """Ctrl-C and a terminal that closes go to all of its processes; workers are ended by the one that asked.

    A worker that heard them too would end amid its work, with a traceback. Signals that are blocked here stay
    blocked in the threads that are made meanwhile, and in the processes that those start, now and later: the
    workers, and who replaces them. Here they are heard when the cluster has begun.
    """
    signals = [getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        resource_tracker.ensure_running()  # which leaves SIGINT unblocked where it starts
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def worker_count(client: Any) -> int:
    """How many there are now, at least 1."""
    return max(1, len(client.nthreads()))
