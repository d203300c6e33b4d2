"""Images on a Dask cluster: a huge one in parts, rows of tiles each, a small one whole, in whatever order.

Workers read the image, score it and pack the tiles of labels; the program that asked writes them in their
order into the journal of the output, as it would its own. A part that a killed worker had is done by another.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from math import ceil
from typing import Any
from uuid import uuid4

import torch

from saccade import __version__
from saccade.errors import SaccadeError, UsageError
from saccade.inference.files import Job, ListedJob
from saccade.inference.jobs import OnProgress, Outcome, Worker, predict_one
from saccade.inference.label_values import OUTPUT_TILE
from saccade.inference.predict import OpenedImage, PredictionConfig, opened_image
from saccade.inference.writers import PackedRows
from saccade.rasters.journal import Output, Packed
from saccade.runtime.trust import Trust, take_over, trust
from saccade.segmenter import Segmenter

AHEAD = 2
"""Parts, or images, that each worker has waiting: results are held until it is their turn."""
STRIDES = 4
"""Rows of tiles of the image in a part at least: where parts meet, a row of tiles is looked at by both."""
WHOLE_ROWS = 8192
"""Rows in a part of an image that is looked at in one view, which every part looks at anew."""
SECONDS = 20
"""That a scheduler may take to answer, and to have a worker."""

Rows = dict[str, list[list[Packed]]]


@dataclass(frozen=True)
class Work:
    """What a worker needs to know beside the job.

    Attributes:
        worker: where the weights are, and how many threads; 0: as many as the worker has.
        settings: of the run.
        trust: what is allowed.
        programs: versions that must be the same everywhere.
        number: of this prediction, for what a worker keeps.
        part_rows: rows of a part; 0: by the size of the tiles that are looked at.
    """

    worker: Worker
    settings: PredictionConfig
    trust: Trust
    programs: tuple[str, ...]
    number: str
    part_rows: int = 0


def programs() -> tuple[str, ...]:
    """Versions of what decides the bytes of labels."""
    libraries = [f"{name} {version(name)}" for name in ("numpy", "imagecodecs")]
    return (f"saccade {__version__}", f"torch {torch.__version__}", *libraries)


def distributed() -> Any:
    """The library, or a :class:`UsageError` that names what to install."""
    try:
        import distributed as library
    except ImportError as error:
        fix = "pip install distributed (the extra 'cluster' of saccade)"
        raise UsageError(f"--cluster needs Dask, and there is none ({error}); {fix}") from None
    return library


@contextmanager
def connected(where: str) -> Iterator[Any]:
    """A client of a cluster: ``local:N``, N new processes here, or the address of a scheduler.

    Raises:
        UsageError: no such cluster, Dask is not installed, or nobody answers.
    """
    match = re.fullmatch(r"local:(\d+)|(?:tcp|tls|ws|wss|ucx)://\S+", where)
    if match is None or match[1] == "0":
        known = "local:N (N from 1) or the address of a scheduler, tcp://..."
        raise UsageError(f"--cluster is {known}, not {where!r}")
    library = distributed()
    with ExitStack() as stack:
        if match[1]:
            quiet = {"dashboard_address": ":0", "silence_logs": logging.CRITICAL, "memory_limit": 0}
            count = {"n_workers": int(match[1]), "threads_per_worker": 1}
            where = stack.enter_context(library.LocalCluster(**count, **quiet))
        try:
            client = stack.enter_context(library.Client(where, timeout=SECONDS, set_as_default=False))
            client.wait_for_workers(1, timeout=SECONDS if not match[1] else 10 * SECONDS)
        except (OSError, TimeoutError, ValueError) as error:
            fault = "no worker has come" if "workers" in str(error) else "no scheduler answers"
            raise UsageError(f"{where}: {fault} within {SECONDS} s") from None
        yield client


def predict_on_cluster(
    client: Any,
    worker: Worker,
    segmenter: Segmenter,
    jobs: Sequence[Job | ListedJob],
    settings: PredictionConfig,
    *,
    on_progress: OnProgress | None = None,
    part_rows: int = 0,
) -> Iterator[Outcome]:
    """Predicts the jobs on a cluster; outcomes come in the order of the jobs.

    Args:
        client: of Dask.
        worker: what each worker makes the segmenter of; run, images and (for images that a worker does whole)
            outputs have the same paths there as here.
        segmenter: the same, here.
        jobs, settings: as for :func:`saccade.inference.jobs.predict_all`.
        on_progress: called with the share of the present image that is done.
        part_rows: rows of a part of a huge image, a multiple of 512; 0: by the tiles that are looked at.
    """
    work = Work(worker, settings, trust(), programs(), uuid4().hex, part_rows)
    waiting: deque[tuple[Job | ListedJob, Any]] = deque()
    following = iter(jobs)
    with _cancelled_at_end(client, waiting):
        while True:
            while len(waiting) < AHEAD * _workers(client) and (job := next(following, None)) is not None:
                waiting.append((job, client.submit(_whole_or_parts, work, job, pure=False)))
            if not waiting:
                return
            job, future = waiting[0]
            answer = _answer(future, job)
            waiting.popleft()
            if answer is not None:
                yield answer
                continue
            parts = _Parts(client, work, job)
            yield predict_one(segmenter, job, settings, on_progress, parts)


def _workers(client: Any) -> int:
    return max(1, len(client.nthreads()))


@contextmanager
def _cancelled_at_end(client: Any, waiting: deque[Any]) -> Iterator[None]:
    """What is still wanted of the cluster when nobody waits for it any more is taken back."""
    try:
        yield
    finally:
        left = [entry[-1] for entry in waiting]
        waiting.clear()
        if left and client.status == "running":
            client.cancel(left, force=True)


def _answer(future: Any, job: Job | ListedJob) -> Outcome | None:
    """None where the image is done in parts."""
    try:
        return _result(future, job)
    except SaccadeError as fault:
        return Outcome(job, fault=fault)


def _result(future: Any, job: Job | ListedJob) -> Any:
    """What a worker gave.

    Raises:
        SaccadeError: its workers were killed, the cluster is gone, or the fault that the worker met.
    """
    library = distributed()
    from concurrent.futures import CancelledError

    try:
        result = future.result()
    except library.scheduler.KilledWorker:
        fix = "memory may have run out: give them more, and --resume"
        raise SaccadeError(f"{job.image}: the workers that had a part of it were killed; {fix}") from None
    except (CancelledError, OSError, library.comm.CommClosedError):
        raise SaccadeError(f"{job.image}: the cluster is gone; go on with --resume") from None
    if isinstance(result, _Refused):
        raise SaccadeError(result.line)
    return result


class _Parts:
    """The rows of one image from a cluster, in their order; few parts are under way at a time."""

    def __init__(self, client: Any, work: Work, job: Job | ListedJob) -> None:
        self.client, self.work, self.job = client, work, job

    def __call__(self, image: OpenedImage, start: int, outputs: Mapping[str, Output]) -> Iterator[Rows]:
        height = image.raster.size[0]
        step = rows_of_part(image, self.work.part_rows)
        tops = [start, *range((start // step + 1) * step, height, step)] if start < height else []
        spans = zip(tops, [*tops[1:], height], strict=False)  # a resumed run may begin inside of a part
        waiting: deque[tuple[Any]] = deque()
        with _cancelled_at_end(self.client, waiting):
            while True:
                while len(waiting) < AHEAD * _workers(self.client) and (span := next(spans, None)):
                    arguments = self.work, self.job, image.mark, span, dict(outputs)
                    waiting.append((self.client.submit(_part, *arguments, pure=False),))
                if not waiting:
                    return
                rows = _result(waiting[0][0], self.job)
                waiting.popleft()
                yield rows


def rows_of_part(image: OpenedImage, wished: int = 0) -> int:
    """Rows of a part: whole rows of tiles of every output."""
    tiling = image.execution.layout.tiling
    tops = sorted({window.top for window in tiling.windows})
    rows = STRIDES * (tops[1] - tops[0]) if len(tops) > 1 else WHOLE_ROWS
    return ceil((wished or rows) / OUTPUT_TILE) * OUTPUT_TILE


@dataclass(frozen=True)
class _Refused:
    """Instead of a result: a fault, as its line, for errors of several arguments cannot be sent."""

    line: str


_BUSY = threading.Lock()
"""A worker does one thing at a time, however many threads it has: each takes the memory that is foreseen."""
_models: dict[Worker, Segmenter] = {}
_open: dict[tuple[Any, ...], tuple[ExitStack, OpenedImage]] = {}


def _whole_or_parts(work: Work, job: Job | ListedJob) -> Outcome | _Refused | None:
    """On a worker: labels an image; None where it is large enough to be done in parts."""
    with _BUSY:
        try:
            segmenter = _segmenter(work)
            with opened_image(segmenter, job, work.settings) as image:
                if not image.execution.png and rows_of_part(image, work.part_rows) < image.raster.size[0]:
                    return None
            outcome = predict_one(segmenter, job, work.settings)
        except SaccadeError as fault:
            return _Refused(str(fault))
        return outcome if outcome.fault is None else replace(outcome, fault=SaccadeError(str(outcome.fault)))


@torch.no_grad()
def _part(
    work: Work, job: Job | ListedJob, mark: str, rows: tuple[int, int], outputs: Mapping[str, Output]
) -> Rows | _Refused:
    """On a worker: rows of tiles of every output."""
    with _BUSY:
        try:
            image = _opened(work, job)
            if image.mark != mark:
                expected = "the same image, run and kind of device on the worker as here"
                return _Refused(f"{job.image}: expected {expected}, but got others; see --device")
            packed = PackedRows(outputs, image.values)
            wants_scores = bool({"scores", "uncertainty"} & set(outputs))
            for band in image.bands(image.execution.rows, rows[0], scores=wants_scores):
                bottom = band.top + len(band.labels)
                packed.put(band, last=bottom == image.raster.size[0])
                if bottom >= rows[1]:
                    break
            return packed.rows
        except SaccadeError as fault:
            return _Refused(str(fault))


def _segmenter(work: Work) -> Segmenter:
    from saccade.runtime.devices import torch_device
    from saccade.training.run_folder import load_run

    if work.programs != programs():
        ours, theirs = (", ".join(sorted(a - b)) for a, b in _differences(work.programs, programs()))
        raise SaccadeError(f"expected the same programs on every worker: {ours}, but one has {theirs}")
    take_over(work.trust)
    worker = work.worker
    if worker not in _models:
        _forget()
        if worker.threads:
            torch.set_num_threads(worker.threads)
        run = load_run(worker.run_folder, worker.checkpoint)
        model = run.segmenter.to(torch_device(worker.device))
        _models[worker] = model if worker.networks is None else worker.networks.segmenter(model)
    return _models[worker]


def _differences(one: Sequence[str], other: Sequence[str]) -> list[tuple[set[str], set[str]]]:
    return [(set(one), set(other)), (set(other), set(one))]


def _opened(work: Work, job: Job | ListedJob) -> OpenedImage:
    """The image of the last part is kept open: the next part is most often of the same."""
    key = (work.number, job.image)
    if key not in _open:
        segmenter = _segmenter(work)
        for stack, _ in _open.values():
            stack.close()
        _open.clear()
        with ExitStack() as stack:
            image = stack.enter_context(opened_image(segmenter, job, work.settings))
            _open[key] = stack.pop_all(), image
    return _open[key][1]


def _forget() -> None:
    """Lets go of what an earlier prediction left."""
    for stack, _ in _open.values():
        stack.close()
    _open.clear()
    _models.clear()
