"""One process of a training: everything is made, then Lightning runs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from saccade.data import DataFolder, SampleCache
from saccade.errors import SaccadeError
from saccade.rasters.alone import working_alone
from saccade.training import run as folder
from saccade.training.build import build_segmenter
from saccade.training.callbacks import OnEpoch
from saccade.training.cluster import no_group_left
from saccade.training.config import Config
from saccade.training.devices import Place, enough_memory
from saccade.training.loading import Samples, training_batches, validation_batches
from saccade.training.resume import training_images
from saccade.training.task import SegmentationTask
from saccade.training.trainer import build_trainer, quiet


class Interrupted(SaccadeError):
    """Ctrl-C during training; the message says how to go on."""


@dataclass(frozen=True)
class Job:
    """What every process of a training is told.

    Attributes:
        data: with the splits train and val.
        root: the run folder.
        config: every option, resolved.
        goes_on: whether from the last checkpoint.
    """

    data: DataFolder
    root: Path
    config: Config
    goes_on: bool


def fit(
    job: Job,
    place: Place,
    cache: SampleCache,
    together: AbstractContextManager[None],
    on_epoch: OnEpoch | None = None,
) -> None:
    """Trains in this process; the first of several alone touches the run folder.

    Everything that may be refused is made before anything on the disk is touched.

    Args:
        job: what is trained.
        place: where, and which of how many processes this is.
        cache: decoded images of this process.
        together: entered when everything is made, before the processes meet.
        on_epoch: called after each epoch, in the first process.
    """
    config, names = job.config, job.data.classes.names
    trainer = build_trainer(job.root, config, names, place, on_epoch)
    torch.manual_seed(config.training.seed)
    wanted = folder.without_pretrained(config) if job.goes_on or place.rank else config
    segmenter = build_segmenter(wanted, len(names))
    samples = {name: Samples(job.data, job.data.split(name), cache) for name in ("train", "val")}
    share = {"rank": place.rank, "count": place.count}
    batches = training_batches(
        samples["train"], config.training.batch_size, config.training.seed, rounds=config.visits, **share
    )
    task = SegmentationTask(segmenter, config, names, len(batches), training_images(job.data))
    start = job.root / folder.CHECKPOINTS / folder.LAST if job.goes_on else None
    way_out = "lower training.batch_size or sampler.size"
    with prepared(job, place), quiet(), interruptible(job), together, no_group_left(), enough_memory(way_out):
        trainer.fit(task, batches, validation_batches(samples["val"], **share), ckpt_path=start)


@contextmanager
def prepared(job: Job, place: Place) -> Iterator[None]:
    """The run folder, which the first process alone touches, and no other program meanwhile."""
    if place.rank != 0:
        yield
        return
    with working_alone(job.root, "a run that no other program trains"):
        folder.prepare(job.root, job.config, job.goes_on, str(place))
        yield


@contextmanager
def interruptible(job: Job) -> Iterator[None]:
    """Lightning ends the program on Ctrl-C and SIGTERM; here both become a line that says how to go on."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        command = shlex.join(["saccade", "train", str(job.config.data.path), str(job.root)])
        if (job.root / folder.CHECKPOINTS / folder.LAST).is_file():
            line = f"stopped; the last finished epoch is kept: go on with {command} --resume"
        else:
            line = f"stopped before the first epoch was over; start again with {command} --overwrite"
        raise Interrupted(line) from None
