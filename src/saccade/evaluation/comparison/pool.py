"""Cases one after the other, or several side by side in processes of their own."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from saccade.data import SampleCache
from saccade.errors import SaccadeError
from saccade.evaluation.comparison.arms import Case, Setting
from saccade.evaluation.comparison.state import write_failure
from saccade.evaluation.comparison.work import do_case

OnProgress = Callable[[Case, float, str], None]
PATIENCE = 20.0
"""Seconds that processes have to end after Ctrl-C."""


@dataclass(frozen=True)
class Errand:
    """A case to be done.

    Attributes:
        case: what.
        root: its run folder.
        anew: whether to throw away what is there.
    """

    case: Case
    root: Path
    anew: bool = False


def run_all(setting: Setting, errands: Sequence[Errand], on_progress: OnProgress, *, jobs: int = 1) -> None:
    """Does all errands; one that fails leaves its reason in its folder, and the others go on.

    Args:
        setting: what they share. With ``jobs`` > 1 each process has a cache of its own, of its part of the
            memory, and its part of the threads; GPUs are dealt out in turn.
        errands: in the order in which they are begun.
        on_progress: hears of each: the share done, and a line.
        jobs: processes side by side.

    Raises:
        Interrupted, KeyboardInterrupt: after Ctrl-C; what was done is kept.
    """
    jobs = min(jobs, len(errands))
    if jobs <= 1:
        for errand in errands:
            _do(setting, errand, on_progress)
        return
    _Pool(setting, list(errands), on_progress, jobs).run()


def _do(setting: Setting, errand: Errand, on_progress: OnProgress) -> None:
    def tell(share: float, line: str) -> None:
        on_progress(errand.case, share, line)

    do_case(setting, errand.case, errand.root, tell, anew=errand.anew)


@dataclass
class _Pool:
    """Processes that each do one errand at a time."""

    setting: Setting
    waiting: list[Errand]
    on_progress: OnProgress
    jobs: int
    workers: dict[Connection, _Worker] = field(default_factory=dict)

    def run(self) -> None:
        try:
            for number in range(self.jobs):
                self._start(number)
            while self.workers:
                for ready in wait(list(self.workers)):
                    self._hear(self.workers[ready])  # type: ignore[index]
        finally:
            self._end()

    def _start(self, number: int) -> None:
        ours, theirs = multiprocessing.Pipe()
        told = (theirs, *_share(self.setting, number, self.jobs))
        process = multiprocessing.get_context("spawn").Process(target=_work, args=told, daemon=True)
        process.start()
        theirs.close()
        worker = _Worker(number, process, ours)
        self.workers[ours] = worker
        self._next(worker)

    def _next(self, worker: _Worker) -> None:
        worker.errand = self.waiting.pop(0) if self.waiting else None
        worker.line.send(worker.errand)
        if worker.errand is None:
            del self.workers[worker.line]

    def _hear(self, worker: _Worker) -> None:
        assert worker.errand is not None
        try:
            said = worker.line.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        if said is None:
            self._next(worker)
        else:
            self.on_progress(worker.errand.case, *said)

    def _bury(self, worker: _Worker) -> None:
        """A process that was killed, often for its memory, costs one run; another takes its place."""
        worker.process.join()
        del self.workers[worker.line]
        code = worker.process.exitcode or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        assert worker.errand is not None
        write_failure(
            worker.errand.root, f"its process ended early ({how}); if memory is short, lower --jobs"
        )
        if self.waiting:
            self._start(worker.number)

    def _end(self) -> None:
        for worker in self.workers.values():
            worker.process.join(PATIENCE)
            worker.process.terminate()


@dataclass
class _Worker:
    number: int
    process: Any
    line: Connection
    errand: Errand | None = None


def _share(setting: Setting, number: int, jobs: int) -> tuple[dict[str, Any], int, int]:
    """The setting of one process without its cache, the bytes of its cache, and its threads."""
    plain = {part.name: getattr(setting, part.name) for part in fields(setting) if part.name != "cache"}
    if setting.device in ("auto", "cuda") and torch.cuda.is_available():
        plain["device"] = f"cuda:{number % torch.cuda.device_count()}"
    return plain, setting.cache.limit_bytes // jobs, max(1, torch.get_num_threads() // jobs)


def _work(line: Connection, plain: dict[str, Any], cache_bytes: int, threads: int) -> None:
    torch.set_num_threads(threads)
    setting = Setting(**plain, cache=SampleCache(cache_bytes))
    try:
        while (errand := line.recv()) is not None:
            _do(setting, errand, lambda _, share, note: line.send((share, note)))
            line.send(None)
    except (SaccadeError, KeyboardInterrupt, EOFError, BrokenPipeError):
        return
