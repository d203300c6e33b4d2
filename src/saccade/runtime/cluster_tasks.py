"""Work on a Dask cluster: workers are told once what all of it needs; a fault there is one line here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from importlib.metadata import version
from typing import Any
from uuid import uuid4

from distributed import Future, WorkerPlugin, get_worker
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from saccade import __version__
from saccade.errors import SaccadeError
from saccade.runtime.trust import take_over, trust

AHEAD = 2
"""Tasks that each worker has waiting: results are held until it is their turn."""


def programs() -> tuple[str, ...]:
    """Versions of what decides the bytes of labels and weights."""
    return (
        f"saccade {__version__}",
        *(f"{name} {version(name)}" for name in ("torch", "numpy", "imagecodecs")),
    )


class Told(WorkerPlugin):  # type: ignore[misc, unused-ignore]
    """What every worker has while a piece of work goes on, those too that come later.

    What came with each task instead would go through the scheduler with each: networks, classes.

    Args:
        value: what the work needs.
    """

    def __init__(self, value: Any) -> None:
        self.name = f"saccade-{uuid4().hex}"
        self.value, self.trust, self.programs = value, trust(), programs()

    def setup(self, worker: Any) -> None:
        _told[self.name] = self

    def teardown(self, worker: Any) -> None:
        _told.pop(self.name, None)


_told: dict[str, Told] = {}


@contextmanager
def told(client: Any, value: Any) -> Iterator[str]:
    """Every worker has the value inside of the ``with`` statement; gives its name, for the tasks.

    Raises:
        SaccadeError: for a worker without this package.
    """
    about = Told(value)
    try:
        client.register_plugin(about)
    except (ImportError, AttributeError, TypeError) as error:
        line = " ".join(str(error).split())[:200]
        raise SaccadeError(f"a worker of the cluster cannot run saccade ({line}); install it there") from None
    try:
        yield about.name
    finally:
        with suppress(Exception):  # the cluster may be gone, and what it was told with it
            client.unregister_worker_plugin(about.name)


@dataclass(frozen=True)
class Refused:
    """Instead of a result: a fault, as its line, for errors of several arguments cannot be sent."""

    line: str


_BUSY = threading.Lock()
"""A worker does one thing at a time, however many threads it has: each takes the memory that is foreseen, and
numbers are drawn in an order."""


def task(do: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a module as a worker runs it: called with what was told in the place of its name."""

    @wraps(do)
    def done(name: str, *arguments: Any) -> Any:
        with _BUSY:
            try:
                about = _told[name]
                if about.programs != programs():
                    ours, theirs = set(about.programs), set(programs())
                    differing = ", ".join(sorted(ours - theirs)), ", ".join(sorted(theirs - ours))
                    expected = "expected the same programs on every worker: {}, but one has {}"
                    return Refused(expected.format(*differing))
                take_over(about.trust)
                return do(about.value, *arguments)
            except SaccadeError as fault:
                return Refused(fault.written)

    return done


def wanted() -> bool:
    """On a worker, in a task: whether anybody still waits for it."""
    worker = get_worker()
    state = worker.state.tasks.get(worker.get_current_task())
    return state is not None and state.state == "executing"


def worker_number() -> int:
    """On a worker: its number among those of a local cluster; 0 where it has another name."""
    name = str(get_worker().name)
    return int(name) if name.isdigit() else 0


def answer(future: Future[Any], what: object) -> Any:
    """What a worker gave.

    Args:
        future: of a :func:`task`.
        what: that it is about, for messages.

    Raises:
        SaccadeError: its workers were killed, the cluster is gone, or the fault that the worker met.
    """
    try:
        result = future.result()
    except KilledWorker:
        fix = "memory may have run out: give them more, and --resume"
        raise SaccadeError(f"{what}: the workers that were at it were killed; {fix}") from None
    except (CancelledError, OSError, CommClosedError):
        raise SaccadeError(f"{what}: the cluster is gone; go on with --resume") from None
    if isinstance(result, Refused):
        raise SaccadeError(result.line)
    return result


@contextmanager
def taken_back(client: Any, futures: Collection[Future[Any]]) -> Iterator[None]:
    """What is still wanted of the cluster when nobody waits for it any more is taken back."""
    try:
        yield
    finally:
        left = list(futures)
        if left and client.status == "running":
            client.cancel(left, force=True)
