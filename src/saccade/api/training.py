"""``load``, and ``train``: the function behind ``saccade train``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import torch

from saccade.api.opening import DataSource, opened_data
from saccade.data import DataFolder, SampleCache
from saccade.errors import UsageError, one_of
from saccade.metrics.cost import pipeline_flops
from saccade.networks import require_network
from saccade.networks.adapters import Given
from saccade.networks.evaluation_mode import evaluating
from saccade.runtime.devices import DistributedContext, lightning_device, torch_device
from saccade.runtime.plugins import name_of_code
from saccade.runtime.progress import Voice, clock
from saccade.runtime.trust import name_code, trusting
from saccade.segmenter import Segmenter
from saccade.training.config import Config, read_config
from saccade.training.launched import Followers, group, how_to_begin, told_by_first, training_place
from saccade.training.length import fitted_length
from saccade.training.loading import batches_of
from saccade.training.loop import cache_of, fit_launched, foreseen_seconds, resolve
from saccade.training.loop import train as train_run
from saccade.training.options import TrainingOptions, config_file, given_network, overrides_of
from saccade.training.run_folder import (
    Run,
    build_segmenter,
    knows_data,
    load_run,
    open_config,
    require_new,
    without_pretrained,
)
from saccade.training.weights import file_of, read_state
from saccade.warp import Pyramid


def load(
    run: Path | str,
    *,
    checkpoint: str = "best",
    network: str | Given | None = None,
    device: str = "auto",
    allow_code: bool = False,
) -> Segmenter:
    """Opens a trained run.

    Args:
        run: the folder that ``saccade train`` or :func:`train` made.
        checkpoint: "best" (by mIoU on its validation images) or "last".
        network: of a run whose network was handed over to :func:`train` and has no name: one of
            the same make, whose weights do not count.
        device: auto, cpu, cuda, cuda:1, ...
        allow_code: run the code that the run's options name (``python:...``): only of people you trust.

    Returns:
        The segmenter, in evaluation mode; ``classes`` is its table of classes, ``run`` the
        :class:`saccade.training.Run` it is from.

    Raises:
        FileProblem: when it is no run folder, has no checkpoint yet, or one that does not fit; when its
            options name code and ``allow_code`` is not set; when its network has no name, and is not given.
        InvalidInput: for another checkpoint or device than there is.

    Examples:
        >>> import saccade
        >>> from saccade.data.scenes import make_scenes
        >>> data = make_scenes("sea", count=(4, 2, 2), size=(32, 48))
        >>> _ = saccade.train(data, "run", size=(8, 12), network="small:4", epochs=1, device="cpu")
        >>> model = saccade.load("run", device="cpu")
        >>> model.classes.names, model.run.config.sampler.size
        (('water', 'land', 'forest', 'boat'), (8, 12))
        >>> tuple(model.segment(next((data / "images").iterdir())).labels.shape)
        (32, 48)
    """
    place = torch_device(device)
    if network is not None:
        name_code([network if isinstance(network, str) else name_of_code(network)])
    one_of("checkpoint", checkpoint, ("best", "last"))
    with trusting(code=allow_code):
        return load_run(run, checkpoint, network=network).segmenter.to(place)


@dataclass(frozen=True)
class _Training:
    """A training whose options and data are checked."""

    data: DataFolder
    config: Config
    cache: SampleCache


def _training(
    data: DataSource, root: Path, resume: bool, overwrite: bool, device: str, options: Mapping[str, Any],
    voice: Voice, *, keep: bool,
) -> _Training:  # fmt: skip
    name_code(overrides_of(options))  # also for the options of a run that goes on
    goes_on = require_new(root, resume, overwrite)
    base = open_config(root)[0] if goes_on else None
    config = read_config(config_file(options.get("config")), overrides_of(options), base=base)
    training_place(device)
    given = given_network(options)
    if given is not None and training_place(device).count > 1:
        line = "several processes cannot be handed a network without a name"
        raise UsageError(f"{line}: put what makes it into a module, or leave device={device!r} out")
    for name in filter(None, (None if given else config.network.name, config.sampler.net)):
        require_network(name)
    if config.network.weights is not None and not goes_on:
        read_state(file_of(config.network.weights))
    cache = cache_of(config)
    # Windows that are trained on are others in each epoch: keeping those of the check would only cost memory.
    keep = keep and config.data.window is None
    opened = opened_data(data, config.data, ("train", "val"), cache if keep else None, voice)
    if goes_on and not knows_data(root):
        line = "kept no record of its images and masks; whether these are the same is not known"
        voice.say(f"note: {root} {line}")
    if not goes_on and options.get("config") is None:  # a file of options leaves nothing open
        names = [word.partition("=")[0] for word in overrides_of(options)]
        config = fitted_length(config, len(opened.split("train")), names)
    return _Training(opened, config, cache)


def train(
    data: DataSource,
    run: Path | str,
    *,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    progress: bool | None = None,
    allow_code: bool = False,
    **options: Unpack[TrainingOptions],
) -> Run:
    """Trains a sampler and a segmentation network together, as ``saccade train`` does.

    Args:
        data: a folder, or opened data with the splits train and val.
        run: the run folder to make, or to go on with.
        resume: go on from the last checkpoint of ``run``, with its own options; ``epochs`` may be more.
        overwrite: replace the run at ``run``.
        device: auto, cpu, cuda, cuda:1, ...; cpu:2 for two processes, cuda:0,1 for two GPUs; auto, cpu or
            cuda where torchrun or srun has started the processes.
        progress: whether to say what goes on; default on a terminal or in a notebook.
        allow_code: run the code that a file of options, or the run to go on with, names (``python:...``);
            what is named here is run without.
        **options: see :class:`TrainingOptions`.

    Returns:
        The run with its best weights by mIoU on the validation images at full resolution; a notebook shows
        its curves and scores.

    Raises:
        UsageError: for an option that there is not, or one out of range, with the nearest or what is allowed.
        FileProblem: for files of options or data that cannot be read.
        DataFaults: for data with faults, all of them.
        SaccadeError: when there is a run already; an interruption; a loss that is not finite; a full disk.

    Examples:
        >>> import saccade
        >>> from saccade.data.scenes import make_scenes
        >>> data = make_scenes("sea", count=(4, 2, 2), size=(32, 48))
        >>> how = {"loss.class_weights": "rarity", "augment": {"brightness": 0.1}}
        >>> run = saccade.train(
        ...     data, "run", size=(8, 12), network="small:4", epochs=1, options=how, device="cpu"
        ... )
        >>> run.epoch, run.config.augment.brightness
        (1, 0.1)
    """
    root, place = Path(run), training_place(device)
    with trusting(code=allow_code), group(place):
        if place.rank:
            return _following(root, place)
        with Followers(place) as followers:
            begin = how_to_begin(root, resume, overwrite)
            return _first(data, root, *begin, device, Voice(progress), options, followers)


def _following(root: Path, place: DistributedContext) -> Run:
    """In every process but the first of those that were started."""
    told = told_by_first()
    if told is not None:
        fit_launched(told[0], place, SampleCache(told[1]))
    return load_run(root)


def _first(
    data: DataSource, root: Path, resume: bool, overwrite: bool, device: str, voice: Voice,
    options: Mapping[str, Any], followers: Followers,
) -> Run:  # fmt: skip
    ready = _training(data, root, resume, overwrite, device, options, voice, keep=True)
    epochs = ready.config.all_epochs
    with voice.progress("training", epochs, "epochs") as shown:

        def tell(done: int, _: int, scores: dict[str, float]) -> None:
            shown.update(done, note=f"val mIoU {scores['val_miou']:.4f}" if "val_miou" in scores else None)

        return train_run(
            ready.data, root, ready.config, cache=ready.cache, resume=resume, overwrite=overwrite,
            device=device, on_epoch=tell, say=voice.say if voice.shown else None, followers=followers,
            network=given_network(options),
        )  # fmt: skip


def describe_training(
    data: DataSource,
    run: Path | str,
    *,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    progress: bool | None = None,
    **options: Unpack[TrainingOptions],
) -> str:
    """One line about what :func:`train` would do with the same arguments, which are checked; nothing is done.

    Raises:
        SaccadeError: as :func:`train`.
    """
    voice, root = Voice(progress), Path(run)
    ready = _training(data, root, resume, overwrite, device, options, voice, keep=False)
    config = without_pretrained(resolve(ready.config, ready.data))
    given = given_network(options)
    segmenter = build_segmenter(config, len(ready.data.classes), network=given)
    parameters = sum(p.numel() for p in segmenter.parameters())
    samples = config.sampler.budget.replace("x", " x ").replace("..", " to ")
    images, schedule = ready.data.training_items, config.training
    each = batches_of(images, schedule.batch_size, schedule.every_image) * config.recipe.visits
    steps = each * schedule.epochs
    seconds = (
        None
        if config.recipe.members
        else foreseen_seconds(ready.data, config, ready.cache, device, network=given)
    )
    gflops = _gflops(segmenter, ready.data)
    about = "" if seconds is None else f", about {clock(seconds)} on {lightning_device(device).accelerator}"
    return (
        f"would train {config.recipe.name} sampling with {config.network.name} ({parameters:,} parameters, "
        f"{gflops:.3g} GFLOPs an image) "
        f"on {samples} samples of {images} {config.data.items_named}, {schedule.epochs} epochs, "
        f"{steps} steps{about}, into {root}"
    )


LONGEST = 2048
"""Pixels along a side of the blank image that operations are counted with: more cost memory alone."""


def _gflops(segmenter: Segmenter, data: DataFolder) -> float:
    """10^9 operations of a prediction, counted on a blank image of a size of train."""
    rows, columns = (min(side, LONGEST) for side in next(iter(data.sizes("train"))))
    reading = segmenter.reading
    dtype = torch.float32 if reading.own else torch.uint8
    blank = Pyramid.of(torch.zeros(1, reading.channels, rows, columns, dtype=dtype))
    labels = torch.zeros(1, rows, columns, dtype=torch.uint8)
    with evaluating(segmenter) as twin:
        return pipeline_flops(twin, [blank], labels)[0].total / 1e9
