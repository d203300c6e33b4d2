"""Train a run: from a data set and a configuration to a run folder."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from saccade.data import DataFolder, SampleCache
from saccade.errors import InvalidInput, SaccadeError
from saccade.rasters.outputs import writing
from saccade.samplers import rarity_weights
from saccade.training import run as folder
from saccade.training.build import build_segmenter
from saccade.training.callbacks import OnEpoch
from saccade.training.config import Config
from saccade.training.devices import enough_memory, lightning_device, torch_device
from saccade.training.loading import Samples, training_batches, validation_batches
from saccade.training.resume import is_finished, require_same_images, require_same_options, training_images
from saccade.training.task import SegmentationTask
from saccade.training.trainer import build_trainer, quiet

__all__ = ["Interrupted", "lightning_device", "resolve", "torch_device", "train"]


class Interrupted(SaccadeError):
    """Ctrl-C during training; the message says how to go on."""


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
) -> folder.Run:
    """Trains sampler and network, keeping the best and the last weights by full-resolution validation mIoU.

    Args:
        data: with the splits train and val.
        root: the run folder; made here, or gone on with.
        config: every option.
        cache: decoded images; hand in the one that filled while the data was checked.
        resume: go on from the last checkpoint at ``root``; the options and the images must be those that the
            run was started with. What comes out is, bit for bit, what an unbroken run gives.
        overwrite: replace the run at ``root``.
        device: auto, cpu, cuda, cuda:1, ...
        on_epoch: called after each epoch with epochs done, epochs in all, and the scores.

    Returns:
        The run with its best weights.

    Raises:
        SaccadeError: when there is a run already, for a split without images, options that do not go
            together, an interruption, a loss that is not finite, a full disk, or memory that is used up.
    """
    root = Path(root)
    goes_on = folder.require_new(root, resume, overwrite)
    config = resolve(config, data)
    if goes_on:
        require_same_options(root, config)
        saved = folder.read_checkpoint(root / folder.CHECKPOINTS / folder.LAST)
        require_same_images(root, data, saved)
        if is_finished(saved, config):
            return folder.load_run(root)
    with writing(root):
        _fit(data, root, config, _cache_for(config, cache), goes_on, device, on_epoch)
    return folder.load_run(root)


def _fit(
    data: DataFolder,
    root: Path,
    config: Config,
    cache: SampleCache,
    goes_on: bool,
    device: str,
    on_epoch: OnEpoch | None,
) -> None:
    """Everything that may be refused is made before anything on the disk is touched."""
    accelerator, devices = lightning_device(device)
    trainer = build_trainer(root, config, data.classes.names, accelerator, devices, on_epoch)
    torch.manual_seed(config.training.seed)
    wanted = folder.without_pretrained(config) if goes_on else config
    segmenter = build_segmenter(wanted, len(data.classes))
    samples = {name: Samples(data, data.split(name), cache) for name in ("train", "val")}
    batches = training_batches(samples["train"], config.training.batch_size, config.training.seed)
    task = SegmentationTask(segmenter, config, data.classes.names, len(batches), training_images(data))
    folder.prepare(root, config, goes_on, accelerator)
    start = root / folder.CHECKPOINTS / folder.LAST if goes_on else None
    with quiet(), _interruptible(root, config), enough_memory("lower training.batch_size or sampler.size"):
        trainer.fit(task, batches, validation_batches(samples["val"]), ckpt_path=start)


def resolve(config: Config, data: DataFolder) -> Config:
    """The configuration with what the data decides filled in: classes, and weights by rarity."""
    edges = _weights("sampler.edge_weights", config.sampler.edge_weights, data)
    classes = _weights("loss.class_weights", config.loss.class_weights, data)
    sampler, loss = replace(config.sampler, edge_weights=edges), replace(config.loss, class_weights=classes)
    path, table = str(data.path.resolve()), data.classes.as_dict()
    return replace(config, sampler=sampler, loss=loss, data=path, classes=table)


def _weights(name: str, given: Any, data: DataFolder) -> Any:
    """Weights of the classes as numbers, where they are asked for by rarity."""
    if given == "rarity":
        return tuple(round(w, 6) for w in rarity_weights(data.class_counts("train").tolist()))
    if isinstance(given, tuple) and len(given) != len(data.classes):
        raise InvalidInput(name, f"one number for each of the {len(data.classes)} classes", given)
    return given


def _cache_for(config: Config, given: SampleCache | None) -> SampleCache:
    if given is not None:
        return given
    limit = config.training.cache_gigabytes
    return SampleCache(None if limit is None else round(limit * 1e9))


@contextmanager
def _interruptible(root: Path, config: Config) -> Iterator[None]:
    """Lightning ends the program on Ctrl-C and SIGTERM; here both become a line that says how to go on."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        command = shlex.join(["saccade", "train", str(config.data), str(root)])
        if (root / folder.CHECKPOINTS / folder.LAST).is_file():
            line = f"stopped; the last finished epoch is kept: go on with {command} --resume"
        else:
            line = f"stopped before the first epoch was over; start again with {command} --overwrite"
        raise Interrupted(line) from None
