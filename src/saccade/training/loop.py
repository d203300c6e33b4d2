"""Train a run: from a data set and a configuration to a run folder, in one process or several."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from saccade.data import DataFolder, DataOptions, SampleCache
from saccade.data.open import require_something_to_learn
from saccade.errors import InvalidInput, SaccadeError
from saccade.losses import resolved_weights
from saccade.networks.adapters import Given
from saccade.runtime.devices import DistributedContext, enough_memory, lightning_device
from saccade.runtime.files import exclusively, writing
from saccade.runtime.progress import clock
from saccade.samplers.deformation import SHARES
from saccade.training import run_folder as folder
from saccade.training.budgets import write_budgets
from saccade.training.config import Config, ScheduleConfig
from saccade.training.launched import Followers, Meeting, launch, training_place
from saccade.training.loading import Samples, training_batches, validation_batches
from saccade.training.processes import follow, others, rendezvous
from saccade.training.run_folder import (
    assemble,
    build_segmenter,
    is_finished,
    require_same_images,
    require_same_options,
    training_images,
)
from saccade.training.scores_by_size import scores_by_size, some_of
from saccade.training.weights import encoders_of, load_weights

if TYPE_CHECKING:  # Lightning loads slowly, and whoever opens a run comes by here
    from torch.utils.data import DataLoader

    from saccade.training.task import SegmentationTask
    from saccade.training.trainer import OnEpoch


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
        network: that was handed over in Python and has no name.
    """

    data: DataFolder
    root: Path
    config: Config
    goes_on: bool
    network: Given | None = None


def fit(
    job: Job,
    place: DistributedContext,
    cache: SampleCache,
    together: AbstractContextManager[None],
    on_epoch: OnEpoch | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Trains in this process; the first of several alone touches the run folder.

    Everything that may be refused is made before anything on the disk is touched.

    Args:
        job: what is trained.
        place: where, and which of how many processes this is.
        cache: decoded images of this process.
        together: entered when everything is made, before the processes meet.
        on_epoch: called after each epoch, in the first process.
        say: called with lines for the user, in the first process.
    """
    from saccade.training.trainer import build_trainer, no_group_left, quiet

    config, names = job.config, job.data.classes.names
    trainer = build_trainer(job.root, config, names, place, on_epoch, folder.record_of(job.data))
    # After the trainer: what is drawn for the weights is then the same whoever made random numbers before.
    task, samples, batches, lines = _made(job, place, cache)
    share = {"rank": place.rank, "count": place.count}
    start = job.root / folder.CHECKPOINTS / folder.LAST if job.goes_on else None
    seconds = None
    # In one process alone, and before the folder is touched: what does not fit is refused at once and leaves
    # nothing.
    if place.rank == 0:
        with quiet(), enough_memory(WAY_OUT):
            _try_step(job, task, samples["train"], place)
            if say is not None and not job.goes_on:
                seconds = _seconds(task, samples, place)
    with (
        prepared(job, place), quiet(), interruptible(job), together, no_group_left(), enough_memory(WAY_OUT),
        divergence_told(task),
    ):  # fmt: skip
        if say is not None:
            for line in (*_first_lines(job, place, len(batches), seconds), *lines):
                say(line)
        trainer.fit(task, batches, validation_batches(samples["val"], **share), ckpt_path=start)


WAY_OUT = "lower training.batch_size or sampler.size"


def _made(
    job: Job, place: DistributedContext, cache: SampleCache
) -> tuple[SegmentationTask, dict[str, Samples], DataLoader[Any], list[str]]:
    """What is trained, the images of both splits, the batches, and lines about where weights are from."""
    from saccade.training.task import SegmentationTask, tolerate_single_values

    config, names, options = job.config, job.data.classes.names, job.config.training
    torch.manual_seed(options.seed)
    # Weights come from the checkpoint, or from the first process: nothing needs to be downloaded again.
    config_here = folder.without_pretrained(config) if job.goes_on or place.rank else config
    segmenter = build_segmenter(config_here, len(names), network=job.network)
    lines: list[str] = []
    if config.network.freeze_epochs:
        encoders_of(segmenter.network)
    if config_here.network.weights is not None:
        lines.append(load_weights(segmenter, config_here.network.weights).line())
    drawn = job.data.draws, options.seed
    samples = {
        "train": Samples(job.data, job.data.split("train"), cache, *drawn),
        "val": Samples(job.data, job.data.split("val"), cache),
    }
    batches = training_batches(
        samples["train"], options.batch_size, options.seed, rounds=config.recipe.visits,
        every_image=options.every_image, largest=_largest_sample(job.data), rank=place.rank,
        count=place.count,
    )  # fmt: skip
    task = SegmentationTask(segmenter, config, names, len(batches), training_images(job.data))
    tolerate_single_values(segmenter)
    return task, samples, batches, lines


def _seconds(task: SegmentationTask, samples: dict[str, Samples], place: DistributedContext) -> float:
    from saccade.training.duration import seconds_of_training

    device = torch.device(place.accelerator, *place.gpus[:1])
    return seconds_of_training(task, samples["train"], samples["val"], place.count, device)


def foreseen_seconds(
    data: DataFolder,
    config: Config,
    cache: SampleCache,
    device: str = "auto",
    *,
    network: Given | None = None,
) -> float:
    """About how long :func:`train` would take, from a step that is made here; nothing is written.

    Args:
        data: with the splits train and val.
        config: as it will be trained.
        cache: of decoded images.
        device, network: as for :func:`train`.

    Raises:
        SaccadeError: for a network that cannot be trained.
    """
    from saccade.training.trainer import quiet

    place = lightning_device(device)
    job = Job(data, Path(), folder.without_pretrained(resolve(config, data)), False, network)
    with quiet(), enough_memory(WAY_OUT):
        task, samples, _, _ = _made(job, place, cache)
        _try_step(job, task, samples["train"], place)
        return _seconds(task, samples, place)


def _largest_sample(data: DataFolder) -> int:
    """Bytes of the largest of train: pixels with the levels above them, and labels."""
    values = 3 if data.bands is None else 8 * len(data.bands.names)  # float32, each with its share
    return max(rows * columns * (values * 4 // 3 + 1) for rows, columns in data.sizes("train"))


FEW_STEPS = 200
"""With fewer in all, more epochs or smaller batches are likely better."""


def _first_lines(
    job: Job, place: DistributedContext, steps: int, seconds: float | None = None
) -> Iterator[str]:
    """What is about to be trained, how long it takes, and what is likely not meant."""
    config, images = job.config, job.data.training_items
    what = job.config.data.items_named
    (rows, columns), options = config.sampler.size, config.training
    processes = f" ({place.count} processes)" if place.count > 1 else ""
    network = f"{config.recipe.name} sampling with {config.network.name} on {place.accelerator}{processes}"
    length = f"{options.epochs} epochs of {steps} step{'s' if steps > 1 else ''}"
    batch = min(options.batch_size, images)
    about = "" if seconds is None else f", about {clock(seconds)}"
    yield (
        f"training {network}: {rows} x {columns} samples (rows x columns) of {images} {what}, "
        f"{length} of {batch} {'window' if config.data.window else 'image'}{'s' if batch > 1 else ''}{about}"
    )
    if (total := steps * options.epochs) < FEW_STEPS:
        yield f"note: {total} steps in all are few: more epochs or smaller batches (--batch-size) make more"


def _try_step(job: Job, task: SegmentationTask, train: Samples, place: DistributedContext) -> None:
    """One step on the side, with what the network will see: sizes of views, and how many at once."""
    from saccade.training.task import sanity_check

    sampler = task.segmenter.sampler
    crop = job.config.data.cropping
    seen = {crop.extent(size) for name in ("train", "val") for size in job.data.sizes(name)}
    sizes = {sampler.for_image(size).size for size in seen}
    if job.config.sampler.sizes is not None:
        sizes |= {job.config.sampler.sizes.smallest, job.config.sampler.sizes.largest}
    area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    largest = min(job.config.training.batch_size, len(train)) // place.count
    # Of a batch, views of one size go through the network together: where sizes differ, one may be alone.
    alone = largest == 1 or len(sizes) > 1
    counts = [min(2, largest), *([1] if alone and largest > 1 else [])]
    device = torch.device(place.accelerator, *place.gpus[:1])
    batch = [train[index] for index in range(min(2, largest))]
    sanity_check(task, batch, list(dict.fromkeys((area[0], area[-1]))), counts, device)


@contextmanager
def divergence_told(task: SegmentationTask) -> Iterator[None]:
    """Whatever is not finite first, weights, density or scores: told as what it is, where and how it came."""
    try:
        yield
    except InvalidInput as error:
        # Weights that broke in the step before show first as a density or scores that are not finite.
        weights = all(bool(torch.isfinite(parameter).all()) for parameter in task.parameters())
        if weights and error.what not in ("density", "scores", "grid"):
            raise
        rate = task.trainer.optimizers[0].param_groups[0]["lr"]
        step = min(task.global_step - task.current_epoch * task.steps_an_epoch + 1, task.steps_an_epoch)
        where = f"epoch {task.current_epoch + 1}, step {step}"
        what = error.what if weights else "weights"
        are = "are" if what in ("weights", "scores") else "is"
        line = f"the training diverged: the {what} {are} no longer finite in {where}"
        way_out = "lower optimizer.learning_rate"
        raise SaccadeError(f"{line}, at a learning rate of {rate:.3g}; {way_out}") from error


@contextmanager
def prepared(job: Job, place: DistributedContext) -> Iterator[None]:
    """The run folder, which the first process alone touches, and no other program meanwhile."""
    if place.rank != 0:
        yield
        return
    with exclusively(job.root, "a run that no other program trains"):
        folder.prepare(job.root, job.config, job.goes_on, str(place), launch())
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


def main() -> None:
    """What every process but the first runs."""
    follow(fit)


def train(
    data: DataFolder,
    root: Path | str,
    config: Config,
    *,
    cache: SampleCache | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    on_epoch: OnEpoch | None = None,
    say: Callable[[str], None] | None = None,
    followers: Followers | None = None,
    network: Given | None = None,
) -> folder.Run:
    """Trains sampler and network, keeping the best and the last weights by full-resolution validation mIoU.

    Args:
        data: with the splits train and val.
        root: the run folder; made here, or gone on with.
        config: every option.
        cache: decoded images; hand in the one that filled while the data was checked.
        resume: go on from the last checkpoint at ``root``; the options and the images must be those that the
            run was started with, but for more epochs. What comes out is, bit for bit, what an unbroken run
            gives.
        overwrite: replace the run at ``root``.
        device: auto, cpu, cuda, cuda:1, ...; cpu:2 for two processes, cuda:0,1 for two GPUs: each takes an
            equal share of every batch, and validates an equal share of the images.
        on_epoch: called after each epoch with epochs done, epochs in all, and the scores.
        say: called with lines for the user.
        followers: the other processes, in the first of those that torchrun or srun has started; None where
            this one is alone or starts the others.
        network: that was handed over in Python and has no name: a copy is trained, in one process.

    Returns:
        The run with its best weights.

    Raises:
        SaccadeError: when there is a run already, for a split without images, options that do not go
            together, an interruption, a loss that is not finite, a full disk, or memory that is used up.

    Examples:
        >>> from saccade.data import open_data
        >>> from saccade.testing import make_fake
        >>> from saccade.training import read_config, train
        >>> options = ["network.name=small:4", "sampler.size=8x12", "training.epochs=1"]
        >>> data = open_data(make_fake("folder", "leaves", size=(16, 24)))
        >>> run = train(data, "run", read_config(overrides=options), device="cpu")
        >>> run.epoch, run.classes.names
        (1, ('ground', 'tree', 'bird'))
    """
    root = Path(root)
    goes_on = folder.require_new(root, resume, overwrite)
    require_something_to_learn(data)
    config = resolve(config, data)
    if goes_on:
        require_same_options(root, config)
        saved = folder.read_checkpoint(root / folder.CHECKPOINTS / folder.LAST)
        require_same_images(root, data, saved)
        if is_finished(saved, config):
            return folder.load_run(root, network=network)
    if config.recipe.members:
        assemble(data, root, config)
        return folder.load_run(root)
    with disk_told(root):
        kept = cache_of(config) if cache is None else cache
        job = Job(data, root, config, goes_on, network)
        place = training_place(device)
        if followers is None or not place.launched:
            _fit(job, kept, device, on_epoch, say)
        else:
            followers.hand_over(job, kept.limit_bytes // place.count)
            fit_launched(job, place, kept, on_epoch, say)
        run = folder.load_run(root, network=network)
        if config.sampler.sizes is not None or config.recipe.draws_shares:
            _measure_budgets(run, Samples(data, data.split("val"), kept), lightning_device(device))
            run = folder.load_run(root, network=network)
    return run


def _measure_budgets(run: folder.Run, samples: Samples, place: DistributedContext) -> None:
    """What the best weights score at some sizes of their range, and how far samples should gather there: kept
    for plans and predictions."""
    options = run.config.sampler
    sizes = [options.size] if options.sizes is None else options.sizes.ladder()
    shares = SHARES if run.config.recipe.draws_shares else (1.0,)
    run.segmenter.to(torch.device(place.accelerator, *place.gpus[:1]))
    try:
        chosen = (samples[number] for number in some_of(len(samples)))
        found = scores_by_size(run.segmenter, chosen, sizes, len(run.classes), shares)
        write_budgets(run.path, found)
    except KeyboardInterrupt:
        raise Interrupted(
            "stopped; the run is finished, but plans will not know its scores by size"
            + ("" if len(shares) == 1 else ", and samples gather as the density says")
        ) from None
    finally:
        run.segmenter.to("cpu")


@contextmanager
def disk_told(root: Path) -> Iterator[None]:
    """Turns what the system refuses into one line about the file that it was refused for."""
    try:
        yield
    except OSError as error:
        with writing(Path(error.filename) if isinstance(error.filename, str | Path) else _fullest(root)):
            raise


def _fullest(root: Path) -> Path:
    """Of the folders that a training writes into, the one with the least room."""
    folders = [place for place in (root, Path(tempfile.gettempdir())) if place.is_dir()]
    return min(folders, key=lambda place: shutil.disk_usage(place).free, default=root)


def _fit(
    job: Job, cache: SampleCache, device: str, on_epoch: OnEpoch | None, say: Callable[[str], None] | None
) -> None:
    place = rendezvous(lightning_device(device))
    fit(job, place, cache, others(job, place, cache.limit_bytes // place.count), on_epoch, say)


def fit_launched(
    job: Job,
    place: DistributedContext,
    cache: SampleCache,
    on_epoch: OnEpoch | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """As :func:`fit`, in each of the processes that torchrun or srun has started."""
    meeting = Meeting(place)
    try:
        fit(job, place, cache, meeting, on_epoch, say)
    except BaseException as error:
        meeting.failed(error)
        raise


def resolve(config: Config, data: DataFolder) -> Config:
    """The configuration with what data and sampler decide filled in: classes, weights by rarity, stages."""
    edges = resolved_weights("sampler.edge_weights", config.sampler.edge_weights, data)
    classes = resolved_weights("loss.class_weights", config.loss.class_weights, data)
    stages, recipe = _stages(config), config.recipe
    member = folder.open_config(Path(recipe.members[0]))[0] if recipe.members else None
    bands = data.scaled_bands()
    options = recipe.resolve(data, None if member is None else member.sections.get(recipe.name))
    return replace(
        config.with_options(options),
        sampler=replace(config.sampler, edge_weights=edges),
        loss=replace(config.loss, class_weights=classes),
        training=stages,
        data=require_as_opened(data, config.data),
        classes=data.classes.as_dict(),
        bands=None if bands is None else bands.to_dict(),
    )


def _stages(config: Config) -> ScheduleConfig:
    """What the sampler decides about the stages, written down."""
    first = config.first_epochs or config.training.first_stage_epochs
    return replace(config.training, variant=config.variant, first_stage_epochs=first)


def require_as_opened(data: DataFolder, options: DataOptions) -> DataOptions:
    """How data was opened; raises InvalidInput where the options of the data are others."""
    opened = replace(data.options, path=str(data.path.resolve()))
    if replace(options, path=None) not in (DataOptions(), replace(opened, path=None)):
        fix = "open it with open_data(path, config.data)"
        raise InvalidInput("data", f"opened as the configuration asks, {options}", opened, fix)
    return opened


KEPT_OF_WINDOWS = 1 << 27
"""Bytes of decoded windows that are kept, of val alone: data in windows is more than memory holds."""


def cache_of(config: Config) -> SampleCache:
    """The cache of a training: as told, else half of the free memory, and a little of data in windows."""
    limit = config.training.cache_gigabytes
    if limit is None:
        return SampleCache(None if config.data.window is None else KEPT_OF_WINDOWS)
    return SampleCache(round(limit * 1e9))
