"""Lightning kept quiet: optimisers, schedules, checkpoints, early stopping, progress, processes."""

from __future__ import annotations

import csv
import io
import logging
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from saccade.data.record import DataRecord
from saccade.errors import InvalidInput
from saccade.networks.build import ADAPTED
from saccade.runtime.devices import DistributedContext
from saccade.runtime.files import write_file
from saccade.training.config import Config, OptimizerConfig, ScheduleConfig
from saccade.training.launched import PATIENCE, launcher, machines
from saccade.training.run_folder import BEST, CHECKPOINTS, DATA, LAST, METRICS, metrics_rows, save_checkpoint


class Cluster(ClusterEnvironment):
    """Processes on one machine that somebody else has started.

    Args:
        place: of this one.
    """

    def __init__(self, place: DistributedContext) -> None:
        super().__init__()
        self.place = place

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        return self.place.port

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self.place.count

    def set_world_size(self, size: int) -> None:
        """It is known."""

    def global_rank(self) -> int:
        return self.place.rank

    def set_global_rank(self, rank: int) -> None:
        """It is known."""

    def local_rank(self) -> int:
        return self.place.rank

    def node_rank(self) -> int:
        return 0


def strategy(place: DistributedContext, config: Config) -> Any:
    """Lightning's strategy: "auto" for one process, else gradients averaged over all (DDP).

    The running statistics of batch norm are those of the first process; on GPUs its means are taken over all.
    """
    if place.count == 1:
        return "auto"
    backend = "gloo" if place.accelerator == "cpu" else "nccl"
    started = launcher() if place.launched else Cluster(place)
    return DDPStrategy(
        cluster_environment=started, process_group_backend=backend, timeout=PATIENCE,
        find_unused_parameters=_may_idle(config),
    )  # fmt: skip


class SyncCallback(L.Callback):
    """What is logged is averaged over the processes when it is first looked at: all must look at once."""

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        _ = trainer.callback_metrics


def _may_idle(config: Config) -> bool:
    """Whether a step may leave parameters without a gradient, which costs a search for them in every step."""
    foreign = config.network.name.partition(":")[0] in ADAPTED
    return foreign or config.staged or config.recipe.may_idle


@contextmanager
def no_group_left() -> Iterator[None]:
    """Ends the group of processes, which Lightning keeps until the program ends: the next training needs
    another."""
    try:
        yield
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def build_optimizer(parameters: Iterable[nn.Parameter], options: OptimizerConfig) -> torch.optim.Optimizer:
    """Adam or AdamW."""
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
    return kinds[options.name](parameters, lr=options.learning_rate, weight_decay=options.weight_decay)


def rate_factor(step: int, steps: int, steps_an_epoch: int, options: OptimizerConfig) -> float:
    """What the highest learning rate is multiplied with at ``step`` of ``steps``.

    A linear warm-up, then cosine to 0; poly (1 - t)^0.9; step, times ``step_factor`` after every
    ``step_epochs`` epochs; or constant.
    """
    warmup = options.warmup * steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    passed = min(1.0, (step - warmup) / max(1.0, steps - warmup))
    if options.schedule == "cosine":
        return (1 + math.cos(math.pi * passed)) / 2
    if options.schedule == "poly":
        return (1 - passed) ** 0.9
    if options.schedule == "step":
        return options.step_factor ** (step // (steps_an_epoch * options.step_epochs))
    return 1.0


OnEpoch = Callable[[int, int, dict[str, float]], None]


class CheckpointCallback(L.Callback):
    """Keeps the weights of the last epoch, and the best ones by full-resolution validation mIoU.

    Attributes:
        best: highest mIoU so far; None before the first validation.
        since_best: validations since then.

    Args:
        folder: for the checkpoints.
        record: of the data, which they keep, so that a run goes on with the same.
    """

    state_key = "keep"

    def __init__(self, folder: Path, record: DataRecord | None = None) -> None:
        self.folder, self.record = folder, record
        self.best: float | None = None
        self.since_best = 0
        self._validated = False

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "since_best": self.since_best}

    def on_save_checkpoint(
        self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self.record is not None:
            checkpoint[DATA] = self.record.to_json()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.since_best = state_dict["best"], state_dict["since_best"]

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._validated = True

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        validated, self._validated = self._validated, False
        if validated and self._is_better(float(trainer.callback_metrics["val_miou"])):
            trainer.save_checkpoint(self.folder / BEST)
        trainer.save_checkpoint(self.folder / LAST)

    def _is_better(self, score: float) -> bool:
        if self.best is None or math.isnan(self.best) or score > self.best:
            self.best, self.since_best = score, 0
            return True
        self.since_best += 1
        return False


class MetricsTable(L.Callback):
    """Writes losses, validation scores, learning rate and seconds after each epoch.

    Args:
        path: of metrics.csv.
        class_names: K names, for the columns val_iou_NAME.
    """

    def __init__(self, path: Path, class_names: tuple[str, ...]) -> None:
        self.path = path
        self.columns = [
            "epoch",
            "step",
            "train_loss",
            "train_segmentation_loss",
            "train_sampler_loss",
            "val_miou",
        ]
        self.columns += [*(f"val_iou_{name}" for name in class_names), "lr", "seconds"]
        self._start = time.monotonic()
        self._validated = False

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Keeps the rows of the epochs that are done, where a run goes on."""
        self._write([row for row in metrics_rows(self.path) if int(row["epoch"]) < trainer.current_epoch])

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._start = time.monotonic()

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._validated = True

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Validation is over by now, so its scores stand in the same row; where there was none, Lightning
        still has those of an earlier epoch."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        fresh = [name for name in self.columns if self._validated or not name.startswith("val_")]
        row = {name: f"{metrics[name]:.6g}" for name in fresh if math.isfinite(metrics.get(name, math.nan))}
        self._validated = False
        row["epoch"], row["step"] = str(trainer.current_epoch), str(trainer.global_step)
        row["lr"] = f"{trainer.optimizers[0].param_groups[0]['lr']:.6g}"
        row["seconds"] = f"{time.monotonic() - self._start:.2f}"
        self._write([*metrics_rows(self.path), row])

    def _write(self, rows: list[dict[str, str]]) -> None:
        """The whole table anew: a row that is half written would be read as an epoch."""
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, self.columns)
        writer.writeheader()
        writer.writerows(rows)
        write_file(self.path, table.getvalue())


class StopEarly(L.Callback):
    """Ends the training after ``patience`` validations without a better mIoU."""

    def __init__(self, keep: CheckpointCallback, patience: int) -> None:
        self.keep, self.patience = keep, patience

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.keep.since_best >= self.patience


class ProgressCallback(L.Callback):
    """Calls ``on_epoch`` with epochs done, epochs in all, and the scores, once the weights are kept."""

    def __init__(self, on_epoch: OnEpoch) -> None:
        self.on_epoch = on_epoch

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.on_epoch(trainer.current_epoch + 1, trainer.max_epochs or 0, metrics)


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are there whole or not at all, on the run folder's own disk.

    Lightning's own writes through the folder for temporary files and copies where that is another disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        save_checkpoint(checkpoint, Path(path))


_MOOT = (
    ".*does not have many workers.*",
    ".*The number of training batches.*",
    ".*LeafSpec.*is deprecated.*",
    ".*exists and is not empty.*",
    ".*in eval mode at the start of training.*",
)
"""Advice of Lightning that does not apply (loading only looks samples up), and its use of old calls."""


def build_loggers(root: Path, options: ScheduleConfig) -> list[Logger]:
    """Loggers by their names, whose files lie in the run folder; nothing is written before the training.

    Raises:
        InvalidInput: for one whose library is not installed.
    """
    made: list[Logger] = []
    for name in options.loggers:
        try:
            if name == "tensorboard":
                made.append(TensorBoardLogger(root, name="", version=name))
            elif name == "wandb":
                made.append(WandbLogger(name=root.name, save_dir=root, project="saccade"))
            else:
                made.append(MLFlowLogger("saccade", root.name, save_dir=str(root / name)))
        except ModuleNotFoundError as error:
            expected = "of loggers whose libraries are installed"
            raise InvalidInput("training.logger", expected, name, f"pip install {name}") from error
    return made


def build_trainer(
    root: Path,
    config: Config,
    names: tuple[str, ...],
    place: DistributedContext,
    on_epoch: OnEpoch | None,
    record: DataRecord | None = None,
) -> L.Trainer:
    """A trainer that writes metrics and checkpoints into ``root`` and nothing else anywhere.

    Of several processes only the first writes and tells; all keep count of the best score.

    Raises:
        InvalidInput: for a precision that the device does not have.
    """
    options, nodes = config.training, machines(place)
    alone = [] if place.count > 1 else [LightningEnvironment()]  # whatever SLURM's variables say
    if options.precision == "16-mixed" and place.accelerator == "cpu":
        raise InvalidInput("training.precision", "32-true or bf16-mixed on a CPU", "'16-mixed'")
    keep = CheckpointCallback(root / CHECKPOINTS, record)
    table = [MetricsTable(root / METRICS, names)] if place.rank == 0 else []
    callbacks: list[L.Callback] = [SyncCallback(), *table, keep]
    if place.rank == 0:
        callbacks += config.recipe.callbacks(root)
    if options.early_stopping is not None:
        callbacks.append(StopEarly(keep, options.early_stopping))
    if on_epoch is not None and place.rank == 0:
        callbacks.append(ProgressCallback(on_epoch))
    with quiet():
        return L.Trainer(
            accelerator=place.accelerator, devices=list(place.gpus) or place.count // nodes, num_nodes=nodes,
            callbacks=callbacks,
            strategy=strategy(place, config), use_distributed_sampler=False,
            sync_batchnorm=place.count > 1 and place.accelerator == "cuda",
            precision=options.precision,  # type: ignore[arg-type]
            max_epochs=config.all_epochs, check_val_every_n_epoch=options.validate_every,
            logger=build_loggers(root, options) or False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            num_sanity_val_steps=0, plugins=[WholeCheckpoints(), *alone],
        )  # fmt: skip


@contextmanager
def quiet() -> Iterator[None]:
    """Silences Lightning's advice; warnings, log levels and Ctrl-C are afterwards as they were before.

    Lightning ignores Ctrl-C for good once it was pressed, even after it has returned.
    """
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    handler = signal.getsignal(signal.SIGINT)
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            for message in _MOOT:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
