"""Train a run: from a data set and a configuration to a run folder."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from saccade.data import DataFolder, SampleCache
from saccade.errors import InvalidInput, SaccadeError
from saccade.samplers import rarity_weights
from saccade.training import run as folder
from saccade.training.build import build_segmenter
from saccade.training.config import Config
from saccade.training.configfile import save_config
from saccade.training.loading import Samples, quiet_lightning, training_batches, validation_batches
from saccade.training.table import MetricsTable
from saccade.training.task import SegmentationTask

OnEpoch = Callable[[int, int, dict[str, float]], None]


class Interrupted(SaccadeError):
    """Ctrl-C during training; the last checkpoint is there."""


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
        resume: go on from the last checkpoint at ``root``, with the options that the run was started with.
        overwrite: replace the run at ``root``.
        device: auto, cpu, cuda, cuda:1, ...
        on_epoch: called after each epoch with epochs done, epochs in all, and the scores.

    Returns:
        The run with its best weights.

    Raises:
        SaccadeError: when there is a run already, for a split without images, options that do not go
            together, or an interruption.
    """
    root = Path(root)
    goes_on = folder.require_new(root, resume, overwrite)
    config = _of_run(root, config) if goes_on else resolve(config, data)
    accelerator, devices = lightning_device(device)
    _prepare(root, config, goes_on, overwrite, accelerator)
    L.seed_everything(config.training.seed, verbose=False)
    samples = {name: Samples(data, data.split(name), cache or SampleCache()) for name in ("train", "val")}
    batches = training_batches(samples["train"], config.training.batch_size, config.training.seed)
    segmenter = build_segmenter(config, len(data.classes))
    task = SegmentationTask(segmenter, config, data.classes.names, len(batches))
    trainer = _trainer(root, config, data.classes.names, accelerator, devices, on_epoch)
    start = root / folder.CHECKPOINTS / folder.LAST if goes_on else None
    quiet_lightning()
    try:
        trainer.fit(task, batches, validation_batches(samples["val"]), ckpt_path=start, weights_only=True)
    except (KeyboardInterrupt, SystemExit):
        raise Interrupted(_how_to_resume(root)) from None
    if trainer.interrupted:
        raise Interrupted(_how_to_resume(root))
    return folder.load_run(root)


def resolve(config: Config, data: DataFolder) -> Config:
    """The configuration with what the data decides filled in: classes, and edge weights by rarity."""
    weights = config.sampler.edge_weights
    if weights == "rarity":
        weights = tuple(round(w, 6) for w in rarity_weights(data.class_counts("train").tolist()))
    for name, given in (("sampler.edge_weights", weights), ("loss.class_weights", config.loss.class_weights)):
        if isinstance(given, tuple) and len(given) != len(data.classes):
            raise InvalidInput(name, f"one number for each of the {len(data.classes)} classes", given)
    sampler = replace(config.sampler, edge_weights=weights)
    return replace(config, sampler=sampler, data=str(data.path.resolve()), classes=data.classes.as_dict())


def lightning_device(device: str) -> tuple[str, Any]:
    """Accelerator and devices for Lightning.

    Raises:
        InvalidInput: for a device that there is not.
    """
    kind, _, index = device.partition(":")
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "cpu" and not index:
        return "cpu", 1
    if kind == "cuda" and torch.cuda.is_available() and (index or "0").isdigit():
        return "cuda", [int(index or 0)]
    there = "auto, cpu" + ", cuda or cuda:0 ..." * torch.cuda.is_available()
    raise InvalidInput("device", f"one that this machine has ({there})", repr(device))


def torch_device(device: str) -> torch.device:
    """The same names for a torch device; raises InvalidInput for one that there is not."""
    kind, devices = lightning_device(device)
    return torch.device(kind, devices[0]) if isinstance(devices, list) else torch.device(kind)


def _of_run(root: Path, asked: Config) -> Config:
    """The options a run was started with; those asked for now must not differ from them where they matter."""
    return folder.open_config(root)[0]


def _prepare(root: Path, config: Config, goes_on: bool, overwrite: bool, accelerator: str) -> None:
    """Makes the folder; of a run that is replaced, only what a run holds is removed."""
    if overwrite and not goes_on:
        for name in (folder.CHECKPOINTS, "figures"):
            shutil.rmtree(root / name, ignore_errors=True)
        for name in (folder.METRICS, "report.html"):
            (root / name).unlink(missing_ok=True)
    (root / folder.CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    if not goes_on:
        save_config(config, root / folder.CONFIG)
    folder.save_environment(root / folder.ENVIRONMENT, accelerator)


def _trainer(
    root: Path,
    config: Config,
    names: tuple[str, ...],
    accelerator: str,
    devices: Any,
    on_epoch: OnEpoch | None,
) -> L.Trainer:
    for logger in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    options, checkpoints = config.training, root / folder.CHECKPOINTS
    keep: dict[str, Any] = {"dirpath": checkpoints, "save_top_k": 1, "enable_version_counter": False}
    callbacks: list[L.Callback] = [
        MetricsTable(root / folder.METRICS, names),
        ModelCheckpoint(filename="best", monitor="val_miou", mode="max", **keep),
        ModelCheckpoint(filename="last", save_on_train_epoch_end=True, every_n_epochs=1, **keep),
    ]
    if options.early_stopping is not None:
        callbacks.append(EarlyStopping("val_miou", mode="max", patience=options.early_stopping))
    if on_epoch is not None:
        callbacks.append(_Tell(on_epoch))
    return L.Trainer(
        accelerator=accelerator, devices=devices, precision=options.precision, max_epochs=options.epochs,
        check_val_every_n_epoch=options.validate_every, callbacks=callbacks, logger=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip


class _Tell(L.Callback):
    def __init__(self, on_epoch: OnEpoch) -> None:
        self.on_epoch = on_epoch

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.on_epoch(trainer.current_epoch + 1, trainer.max_epochs or 0, found)


def _how_to_resume(root: Path) -> str:
    if (root / folder.CHECKPOINTS / folder.LAST).is_file():
        return f"stopped; the last finished epoch is kept: go on with saccade train DATA {root} --resume"
    return f"stopped before the first epoch was over; start again with saccade train DATA {root} --overwrite"
