"""Pictures beside a prediction: where the samples lie, how dense, and the labels over the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saccade.data.classes import ClassTable
from saccade.errors import SaccadeError
from saccade.figures import density_picture, overlay, samples_on
from saccade.inference import Answer, Job
from saccade.runtime.files import finished_file


def draw(name: str, given: Answer, job: Job, classes: ClassTable, overwrite: bool) -> None:
    """:func:`save_picture`, as :class:`saccade.inference.PredictionConfig` calls it."""
    save_picture(name, given, job, classes, overwrite=overwrite)


def save_picture(name: str, given: Answer, job: Job, classes: ClassTable, *, overwrite: bool) -> None:
    """Writes STEM_NAME.png for one of "overlay", "samples", "density".

    Raises:
        SaccadeError: for the density of a sampler that predicts none.
        FileProblem: when the file exists and ``overwrite`` is not set, or it cannot be written.
    """
    with finished_file(job.extra(name), overwrite=overwrite) as temporary:
        Image.fromarray(_draw(name, given, classes)).save(temporary, format="PNG")


def _draw(name: str, given: Answer, classes: ClassTable) -> NDArray[np.uint8]:
    if name == "overlay":
        return overlay(given.image, given.labels, np.asarray(classes.colours, np.uint8))
    if name == "samples":
        return samples_on(given.image, given.found.views.grids[0].cpu().numpy())
    density = given.found.views.density
    if density is None:
        raise SaccadeError("this run's sampler predicts no density; leave density out of --save")
    return density_picture(density[0, 0].cpu().numpy(), given.labels.shape)
