"""Train a run: from a data set and a configuration to a run folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from saccade.data import DataFolder, DataOptions, SampleCache
from saccade.errors import InvalidInput
from saccade.rasters.outputs import writing
from saccade.samplers import rarity_weights
from saccade.training import run as folder
from saccade.training.callbacks import OnEpoch
from saccade.training.config import Config, ScheduleConfig
from saccade.training.devices import lightning_device, torch_device
from saccade.training.fitting import Interrupted, Job, fit
from saccade.training.foveation_setup import assemble, resolve_foveation
from saccade.training.lessons_boundary import target_classes
from saccade.training.processes import meeting_place, others
from saccade.training.resume import is_finished, require_same_images, require_same_options

__all__ = ["Interrupted", "lightning_device", "resolve", "torch_device", "train"]


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
        device: auto, cpu, cuda, cuda:1, ...; cpu:2 for two processes, cuda:0,1 for two GPUs: each takes an
            equal share of every batch, and validates an equal share of the images.
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
    if config.sampler.name == "foveation" and config.foveation.estimator == "ensemble":
        assemble(data, root, config)
        return folder.load_run(root)
    with writing(root):
        _fit(Job(data, root, config, goes_on), _cache_for(config, cache), device, on_epoch)
    return folder.load_run(root)


def _fit(job: Job, cache: SampleCache, device: str, on_epoch: OnEpoch | None) -> None:
    place = meeting_place(lightning_device(device))
    fit(job, place, cache, others(job, place, cache.limit_bytes // place.count), on_epoch)


def resolve(config: Config, data: DataFolder) -> Config:
    """The configuration with what data and sampler decide filled in: classes, weights by rarity, stages."""
    edges = _weights("sampler.edge_weights", config.sampler.edge_weights, data)
    classes = _weights("loss.class_weights", config.loss.class_weights, data)
    sampler, loss = replace(config.sampler, edge_weights=edges), replace(config.loss, class_weights=classes)
    target_classes(config.boundary, data.classes.names)
    stages = _stages(config)
    foveation = resolve_foveation(config, data, _weights("foveation.draw", config.foveation.draw, data))
    table = data.classes.as_dict()
    return replace(
        config,
        sampler=sampler,
        foveation=foveation,
        loss=loss,
        training=stages,
        data=_data(config.data, data),
        classes=table,
    )


def _stages(config: Config) -> ScheduleConfig:
    """What the sampler decides about the stages, written down."""
    first = config.first_epochs or config.training.first_stage_epochs
    return replace(config.training, variant=config.variant, first_stage_epochs=first)


def _data(asked: DataOptions, data: DataFolder) -> DataOptions:
    """How the data was opened; refuses a configuration that asks for something else."""
    opened = replace(data.options, path=str(data.path.resolve()))
    if replace(asked, path=None) not in (DataOptions(), replace(opened, path=None)):
        fix = "open it with open_data(path, config.data)"
        raise InvalidInput("data", f"opened as the configuration asks, {asked}", opened, fix)
    return opened


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
