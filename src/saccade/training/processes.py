"""The other processes of a training on one machine: started by the first, which tells them what to do."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import IO, Any

import torch

from saccade.data import SampleCache
from saccade.errors import SaccadeError
from saccade.runtime.devices import DistributedContext
from saccade.runtime.processes import die_with_parent
from saccade.runtime.trust import take_over, trust

_MAIN = "from saccade.training.loop import main; main()"
_REFUSED = 3
"""Exit code of a process that ended with an error of ours, its message on the last line."""
_PATIENCE = 30.0
"""Seconds in which a process that failed has ended, once another noticed."""
_READY = b"ready\n"


@dataclass(frozen=True)
class WorkerRank:
    """A process that was started, and the file with what it said."""

    rank: int
    process: subprocess.Popen[bytes]
    output: IO[bytes]

    def await_ready(self) -> None:
        """Returns when the process has made everything and is about to meet the others.

        Raises:
            ChildProcessError: when it ended before.
        """
        assert self.process.stdout is not None
        # An empty line is the end of the file: the process is gone.
        if not self.process.stdout.readline():
            raise ChildProcessError

    def last_line(self) -> str:
        self.output.seek(0)
        lines = self.output.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self.process.returncode}"


@contextmanager
def others(job: Any, place: DistributedContext, cache_bytes: int) -> Iterator[None]:
    """The other processes of a training live as long as this block; does nothing where there are none.

    They are waited for until they have made everything: whoever fails before would be waited for in vain.

    Args:
        job: what they are told: all that they need to train, pickled.
        place: of this process, the first.
        cache_bytes: memory for decoded images of each.

    Raises:
        SaccadeError: what another process failed with, where that ended the training.
    """
    if place.count == 1:
        yield
        return
    started: list[WorkerRank] = []
    with _fewer_threads(place) as threads:
        try:
            for rank in range(1, place.count):
                message = (threads, job, replace(place, rank=rank), cache_bytes)
                started.append(_start(rank, message))
            for other in started:
                other.await_ready()
            yield
            _await(started)
        except Exception as error:
            failed = None if isinstance(error, SaccadeError) else _first_failure(started)
            if failed is None:
                raise
            line = failed.last_line()
            if failed.process.returncode == _REFUSED:
                raise SaccadeError(line) from error
            raise SaccadeError(f"process {failed.rank} of the training failed ({line})") from error
        finally:
            _end(started)


def rendezvous(place: DistributedContext) -> DistributedContext:
    """The same, with a port that nobody listens on where there are several processes."""
    if place.count == 1:
        return place
    with socket.socket() as free:
        # Port 0 asks the system for a free one; local, so that no other machine can join.
        free.bind(("127.0.0.1", 0))
        return replace(place, port=free.getsockname()[1])


@contextmanager
def _fewer_threads(place: DistributedContext) -> Iterator[int]:
    """On the CPU all processes together have as many threads as this one had."""
    before = torch.get_num_threads()
    each = max(1, before // place.count) if place.accelerator == "cpu" else before
    torch.set_num_threads(each)
    try:
        yield each
    finally:
        torch.set_num_threads(before)


def _start(rank: int, message: Any) -> WorkerRank:
    """A process of its own session, which Ctrl-C on the terminal does not reach.

    Not by torch.multiprocessing or Lightning's launchers: the ones import the caller's script again, which
    fails without a ``__main__`` guard, the others run its command line again, which a notebook has not.
    """
    output = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", _MAIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output,
        env=environment, start_new_session=True,
    )  # fmt: skip
    other = WorkerRank(rank, process, output)
    with suppress(BrokenPipeError):  # it ended at once; its last line will say why
        assert process.stdin is not None
        process.stdin.write(pickle.dumps((trust(), pickle.dumps(message))))
        process.stdin.close()
    return other


def _await(started: list[WorkerRank]) -> None:
    """Waits until all have ended well; they have nothing left to do."""
    for other in started:
        if other.process.wait() != 0:
            raise SaccadeError(f"process {other.rank} of the training failed ({other.last_line()})")


def _first_failure(started: list[WorkerRank]) -> WorkerRank | None:
    """The process whose end made this one fail: one that says why, before one that lost the others."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        ended = [other for other in started if other.process.poll() not in (None, 0)]
        if ended:
            return min(ended, key=lambda other: other.process.returncode != _REFUSED)
        time.sleep(0.05)
    return None


def _end(started: list[WorkerRank]) -> None:
    for other in started:
        if other.process.poll() is None:
            other.process.kill()
        other.process.wait()
        for file in (other.process.stdout, other.output):
            assert file is not None
            file.close()


def follow(fit: Callable[[Any, DistributedContext, SampleCache, AbstractContextManager[None]], None]) -> None:
    """What every process but the first runs: waits for what it is told, and trains."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not be taken for the word that this process is ready
    trusted, message = pickle.load(sys.stdin.buffer)
    take_over(trusted)  # before the job is made, whose options may name code
    threads, job, place, cache_bytes = pickle.loads(message)
    torch.set_num_threads(threads)
    try:
        fit(job, place, SampleCache(cache_bytes), _tell_ready(answers))
    except SaccadeError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(_REFUSED)


@contextmanager
def _tell_ready(answers: int) -> Iterator[None]:
    """Tells the first process, through the file ``answers``, that this one is about to meet the others."""
    os.write(answers, _READY)
    yield
