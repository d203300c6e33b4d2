"""Images on a Dask cluster: a huge one in parts, rows of tiles each, a small one whole, in whatever order.

Workers read the image, score it and pack the tiles of labels; the program that asked writes them in their
order into the journal of the output, as it would its own. A part that a killed worker had is done by another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any
from uuid import uuid4

import torch

from saccade.errors import SaccadeError
from saccade.inference.files import Job, ListedJob
from saccade.inference.jobs import OnProgress, Outcome, Worker, predict_one
from saccade.inference.label_values import OUTPUT_TILE
from saccade.inference.predict import OpenedImage, PredictionConfig, opened_image
from saccade.inference.writers import PackedRows
from saccade.rasters.journal import Output, Packed
from saccade.runtime.cluster import worker_count
from saccade.runtime.cluster_tasks import AHEAD, answer, taken_back, task, told, worker_number
from saccade.runtime.devices import dealt_out
from saccade.segmenter import Segmenter

STRIDES = 4
"""Rows of tiles of the image in a part at least: where parts meet, a row of tiles is looked at by both."""
WHOLE_ROWS = 8192
"""Rows in a part of an image that is looked at in one view, which every part looks at anew."""
Rows = dict[str, list[list[Packed]]]


@dataclass(frozen=True)
class Work:
    """What a worker needs to know beside the job.

    Attributes:
        worker: where the weights are, and how many threads; 0: as many as the worker has.
        settings: of the run.
        part_rows: rows of a part; 0: by the size of the tiles that are looked at.
        number: of this prediction, for what a worker keeps open.
    """

    worker: Worker
    settings: PredictionConfig
    part_rows: int = 0
    number: str = field(default_factory=lambda: uuid4().hex)


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
    following, asked, futures = iter(jobs), deque[Job | ListedJob](), deque[Any]()
    with told(client, Work(worker, settings, part_rows)) as name, taken_back(client, futures):
        while True:
            while len(asked) < AHEAD * worker_count(client) and (job := next(following, None)) is not None:
                asked.append(job)
                futures.append(client.submit(_whole_or_parts, name, job, pure=False))
            if not asked:
                return
            job = asked.popleft()
            try:
                outcome = answer(futures[0], job.image)
            except SaccadeError as fault:
                outcome = Outcome(job, fault=fault)
            futures.popleft()
            if outcome is None:  # large enough for parts
                parts = Parts(client, name, job, part_rows)
                outcome = predict_one(segmenter, job, settings, on_progress, parts)
            yield outcome


class Parts:
    """The rows of one image from a cluster, in their order; few parts are under way at a time.

    Args:
        client: of Dask.
        work: the name of what the workers were told.
        job: the image.
        part_rows: as of :func:`predict_on_cluster`.
        do: what a worker does for a part.
    """

    def __init__(
        self,
        client: Any,
        work: str,
        job: Job | ListedJob,
        part_rows: int = 0,
        do: Callable[..., Any] | None = None,
    ) -> None:
        self.client, self.work, self.job, self.part_rows, self.do = client, work, job, part_rows, do or _part

    def __call__(self, image: OpenedImage, start: int, outputs: Mapping[str, Output]) -> Iterator[Rows]:
        height = image.raster.size[0]
        step = rows_of_part(image, self.part_rows)
        tops = [start, *range((start // step + 1) * step, height, step)] if start < height else []
        spans = zip(tops, [*tops[1:], height], strict=False)  # a resumed run may begin inside of a part
        futures = deque[Any]()
        with taken_back(self.client, futures):
            while True:
                while len(futures) < AHEAD * worker_count(self.client) and (span := next(spans, None)):
                    arguments = self.work, self.job, image.mark, span, dict(outputs)
                    futures.append(self.client.submit(self.do, *arguments, pure=False))
                if not futures:
                    return
                rows = answer(futures[0], self.job.image)
                futures.popleft()
                yield rows


def rows_of_part(image: OpenedImage, wished: int = 0) -> int:
    """Rows of a part: whole rows of tiles of every output."""
    tops = image.execution.layout.tiling.starts(0)
    rows = STRIDES * (tops[1] - tops[0]) if len(tops) > 1 else WHOLE_ROWS
    return ceil((wished or rows) / OUTPUT_TILE) * OUTPUT_TILE


_models: dict[Worker, Segmenter] = {}
_open: dict[tuple[Any, ...], tuple[ExitStack, OpenedImage]] = {}


@task
def _whole_or_parts(work: Work, job: Job | ListedJob) -> Outcome | None:
    """On a worker: labels an image; None where it is large enough to be done in parts."""
    segmenter = _segmenter(work)
    with opened_image(segmenter, job, work.settings) as image:
        if not image.execution.png and rows_of_part(image, work.part_rows) < image.raster.size[0]:
            return None
    outcome = predict_one(segmenter, job, work.settings)
    return outcome if outcome.fault is None else replace(outcome, fault=SaccadeError(outcome.fault.written))


@task
@torch.no_grad()
def _part(
    work: Work, job: Job | ListedJob, mark: str, rows: tuple[int, int], outputs: Mapping[str, Output]
) -> Rows:
    """On a worker: rows of tiles of every output."""
    image = _opened(work, job)
    if image.mark != mark:
        expected = "the same image, run and kind of device on the worker as here"
        raise SaccadeError(f"{job.image}: expected {expected}, but got others; see --device")
    packed = PackedRows(outputs, image.values)
    wants_scores = bool({"scores", "uncertainty"} & set(outputs))
    for strip in image.strips(image.execution.rows, rows[0], scores=wants_scores):
        bottom = strip.top + len(strip.labels)
        packed.put(strip, last=bottom == image.raster.size[0])
        if bottom >= rows[1]:
            break
    return packed.rows


def _segmenter(work: Work) -> Segmenter:
    from saccade.training.run_folder import load_run

    worker = work.worker
    if worker not in _models:
        _forget()
        if worker.threads:
            torch.set_num_threads(worker.threads)
        run = load_run(worker.run_folder, worker.checkpoint)
        model = run.segmenter.to(dealt_out(worker.device, worker_number()))
        _models[worker] = model if worker.networks is None else worker.networks.segmenter(model)
    return _models[worker]


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
