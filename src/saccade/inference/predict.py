"""Full-resolution labels of image files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from saccade.data.classes import ClassTable
from saccade.errors import SaccadeError, UsageError
from saccade.inference.files import Job
from saccade.rasters import read_rgb, write_label_png
from saccade.rasters.outputs import finished_file
from saccade.segmenter import Prediction, Segmenter
from saccade.training.devices import enough_memory
from saccade.warp import Pyramid, unwarp_labels


@dataclass(frozen=True)
class Answer:
    """What a segmenter says of one image.

    Attributes:
        image: (H, W, 3) uint8.
        labels: (H, W) uint8 class ids.
        found: scores and views.
        notices: what was done to the image when it was read.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    found: Prediction
    notices: tuple[str, ...]


def require_predictor(segmenter: Segmenter, extras: Iterable[str] = ()) -> None:
    """Refuses what a segmenter cannot give of any image.

    Raises:
        UsageError: for a sampler that sees the true labels, or the density of one that predicts none.
    """
    name = type(segmenter.sampler).__name__
    if segmenter.sampler.sees_labels:
        raise UsageError(f"{name} sees the true labels, so it predicts nothing; it can only be evaluated")
    if "density" in extras and segmenter.sampler.overview_size is None:
        raise UsageError(f"{name} predicts no density; leave density out of --save")


@torch.no_grad()
def answer(segmenter: Segmenter, job: Job) -> Answer:
    """Reads an image, looks at it, and labels all of it.

    Raises:
        FileProblem: when the image cannot be read.
        InvalidInput: when the sampler needs the true labels.
    """
    read = read_rgb(job.image)
    pyramid = Pyramid.of(torch.from_numpy(np.array(read.array)).permute(2, 0, 1)[None])
    found = segmenter(pyramid)
    labels = unwarp_labels(found.scores, found.views.grids, pyramid.size)[0]
    return Answer(read.array, labels.cpu().numpy(), found, tuple(read.notices))


def save_labels(given: Answer, job: Job, classes: ClassTable, *, overwrite: bool) -> None:
    """The labels as a PNG of the indices that masks of the data set hold, with its colours."""
    values = classes.decode(given.labels)
    palette = classes.palette.tolist() if max(classes.indices) <= 255 else None
    write_label_png(job.labels, values, palette, overwrite=overwrite)


def save_scores(given: Answer, job: Job, *, overwrite: bool) -> None:
    """Scores (K, h, w) float16 and their grid (h, w, 2) float32 as NPZ: with ``size`` all that
    :func:`saccade.unwarp` needs to give them at any resolution; a full-size array would be many gigabytes."""
    with (
        finished_file(job.extra("scores"), overwrite=overwrite) as temporary,
        temporary.open("wb") as file,
    ):
        scores = given.found.scores[0].cpu().numpy().astype(np.float16)
        grid = given.found.views.grids[0].cpu().numpy()
        np.savez_compressed(file, scores=scores, grid=grid, size=np.array(given.labels.shape))


def predict_all(
    segmenter: Segmenter,
    jobs: Iterable[Job],
    save: Callable[[Answer, Job], None],
    *,
    on_done: Callable[[Job, SaccadeError | None], None],
) -> list[tuple[Job, SaccadeError]]:
    """Predicts every job; a fault of one image does not stop the others.

    Args:
        segmenter: in evaluation mode.
        jobs: what to predict.
        save: writes what is wanted of an answer.
        on_done: called after each with its fault, if any.

    Returns:
        The jobs that failed, each with its fault.
    """
    failed: list[tuple[Job, SaccadeError]] = []
    segmenter.eval()
    for job in jobs:
        fault: SaccadeError | None = None
        try:
            with enough_memory(f"{job.image} is too large"):
                save(answer(segmenter, job), job)
        except SaccadeError as error:
            fault = error
        if fault is not None:
            failed.append((job, fault))
        on_done(job, fault)
    return failed
