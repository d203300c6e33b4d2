"""Lightning, kept quiet and kept from changing the program around it."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning as L

from saccade.errors import InvalidInput
from saccade.training.callbacks import Keep, OnEpoch, StopEarly, Tell
from saccade.training.cluster import LookTogether, strategy
from saccade.training.config import Config
from saccade.training.devices import Place
from saccade.training.foveation_maps import KeepMaps
from saccade.training.run import CHECKPOINTS, METRICS
from saccade.training.table import MetricsTable

_MOOT = (
    ".*does not have many workers.*",
    ".*The number of training batches.*",
    ".*LeafSpec.*is deprecated.*",
    ".*exists and is not empty.*",
    ".*in eval mode at the start of training.*",
)
"""Advice of Lightning that does not apply (loading only looks samples up), and its use of old calls."""


def build_trainer(
    root: Path,
    config: Config,
    names: tuple[str, ...],
    place: Place,
    on_epoch: OnEpoch | None,
) -> L.Trainer:
    """A trainer that writes metrics and checkpoints into ``root`` and nothing else anywhere.

    Of several processes only the first writes and tells; all keep count of the best score.

    Raises:
        InvalidInput: for a precision that the device does not have.
    """
    options = config.training
    if options.precision == "16-mixed" and place.accelerator == "cpu":
        raise InvalidInput("training.precision", "32-true or bf16-mixed on a CPU", "'16-mixed'")
    keep = Keep(root / CHECKPOINTS)
    table = [MetricsTable(root / METRICS, names)] if place.rank == 0 else []
    callbacks: list[L.Callback] = [LookTogether(), *table, keep]
    if config.sampler.name == "foveation" and place.rank == 0:
        callbacks.append(KeepMaps(root))
    if options.early_stopping is not None:
        callbacks.append(StopEarly(keep, options.early_stopping))
    if on_epoch is not None and place.rank == 0:
        callbacks.append(Tell(on_epoch))
    with quiet():
        return L.Trainer(
            accelerator=place.accelerator, devices=list(place.gpus) or place.count, callbacks=callbacks,
            strategy=strategy(place, config), use_distributed_sampler=False,
            sync_batchnorm=place.count > 1 and place.accelerator == "cuda",
            precision=options.precision,  # type: ignore[arg-type]
            max_epochs=config.all_epochs, check_val_every_n_epoch=options.validate_every, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            num_sanity_val_steps=0,
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
