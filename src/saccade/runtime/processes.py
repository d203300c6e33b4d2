"""Jobs shared among processes; one that is killed costs its own job alone, and none outlives the program."""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from saccade.errors import SaccadeError
from saccade.runtime.trust import Trust, take_over, trust

PATIENCE = 20.0
"""Seconds that processes have to end after Ctrl-C."""

News = Callable[..., None]
"""Sends its arguments to the ``on_news`` of the program that started the process."""
Work = Callable[[Any, News], Any]
"""Does a job, tells how it goes, and gives what came out."""


@dataclass(frozen=True)
class Killed:
    """Instead of a result: the process of a job ended before it was done.

    Attributes:
        how: "signal SIGKILL", "exit code 1".
    """

    how: str


def run_jobs(
    jobs: Sequence[Any],
    processes: int,
    begin: Callable[..., Work],
    *shared: Any,
    on_news: Callable[..., None] | None = None,
) -> Generator[tuple[int, Any], None, None]:
    """Does each job in one of several new processes (spawned); another takes the place of one that is killed.

    The executor of the standard library gives up all its processes when one is killed, and brings no news.
    Close the generator with ``contextlib.closing``: the processes end with it.

    Args:
        jobs: begun in this order. They, their results and the news are pickled.
        processes: at most so many side by side.
        begin: of a module; called in each process with its number, in [0, ``processes``), and ``shared``.
        shared: what all jobs need.
        on_news: hears what the work tells, after the number of its job.

    Yields:
        The number of a job and its result, or :class:`Killed`, in the order in which they end.

    Raises:
        SaccadeError: what ``begin`` or the work failed with.
        RuntimeError: any other error of theirs, with its traceback.
    """
    pool = _Pool(jobs, begin, shared, on_news)
    try:
        for number in range(min(processes, len(jobs))):
            pool.start(number)
        while pool.working:
            # A line that ends wakes this too, so that a killed process is noticed at once.
            for ready in wait(list(pool.working)):
                yield from pool.hear(pool.working[ready])  # type: ignore[index]
    finally:
        pool.end()


def die_with_parent() -> None:
    """Where the system can (Linux): a program that is killed leaves this process not behind."""
    with suppress(OSError, AttributeError, TypeError):  # the last is how Windows says that there is none
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


@dataclass
class _Child:
    number: int
    process: Any
    line: Connection
    job: int = -1


class _Pool:
    def __init__(
        self, jobs: Sequence[Any], begin: Callable[..., Work], shared: Sequence[Any], on_news: News | None
    ) -> None:
        self.jobs, self.begin, self.shared, self.on_news = jobs, begin, shared, on_news
        self.begun = 0
        self.working: dict[Connection, _Child] = {}
        self.children: list[_Child] = []

    def start(self, number: int) -> None:
        # Never forked: threads of PyTorch and numba that hold a lock at that moment would hold it for ever.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_serve, args=(theirs, trust(), number, self.begin, self.shared), daemon=True
        )
        process.start()
        theirs.close()  # or the death of the process would not end the line
        child = _Child(number, process, ours)
        self.children.append(child)
        self._hand_over(child)

    def _hand_over(self, child: _Child) -> None:
        """The next job, or the word that there is none."""
        more = self.begun < len(self.jobs)
        with suppress(OSError):  # it was killed, which is heard of soon
            child.line.send((self.jobs[self.begun],) if more else None)
        if more:
            child.job = self.begun
            self.begun += 1
            self.working[child.line] = child
        else:
            self.working.pop(child.line, None)

    def hear(self, child: _Child) -> Iterator[tuple[int, Any]]:
        try:
            kind, value = child.line.recv()
        except (EOFError, OSError):
            yield child.job, self._bury(child)
            return
        if kind == "news":
            if self.on_news is not None:
                self.on_news(child.job, *value)
        elif kind == "done":
            job = child.job
            # The next job first: the process works while the caller deals with the result.
            self._hand_over(child)
            yield job, value
        else:
            raise SaccadeError(value) if kind == "refused" else RuntimeError(value)

    def _bury(self, child: _Child) -> Killed:
        child.process.join()
        del self.working[child.line]
        if self.begun < len(self.jobs):
            self.start(child.number)
        code = child.process.exitcode or 0
        return Killed(f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}")

    def end(self) -> None:
        """Processes hear of Ctrl-C themselves, and else end after their present job or when it takes long."""
        for line in self.working:
            with suppress(OSError):
                line.send(None)
        deadline = time.monotonic() + PATIENCE
        for child in self.children:
            child.process.join(max(0.0, deadline - time.monotonic()))
            # No effect on one that has ended; the others had their time.
            child.process.terminate()
            child.process.join(PATIENCE)
            child.line.close()


def _serve(
    line: Connection, trust: Trust, number: int, begin: Callable[..., Work], shared: Sequence[Any]
) -> None:
    """What each process runs."""
    die_with_parent()
    take_over(trust)
    try:
        work = begin(number, *shared)
        while (message := line.recv()) is not None:
            line.send(("done", work(message[0], lambda *news: line.send(("news", news)))))
    except (KeyboardInterrupt, EOFError, ConnectionError):
        return
    except SaccadeError as error:
        line.send(("refused", str(error)))
    except Exception:
        line.send(("broken", traceback.format_exc()))
