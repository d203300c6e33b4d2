"""What happens at the end of an epoch: weights are kept, a hopeless training stops, and somebody is told."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L

from saccade.training.run import BEST, LAST

OnEpoch = Callable[[int, int, dict[str, float]], None]


class Keep(L.Callback):
    """Keeps the weights of the last epoch, and the best ones by full-resolution validation mIoU.

    Attributes:
        best: highest mIoU so far; None before the first validation.
        since_best: validations since then.

    Args:
        folder: for the checkpoints.
    """

    state_key = "keep"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.best: float | None = None
        self.since_best = 0
        self._validated = False

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "since_best": self.since_best}

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


class StopEarly(L.Callback):
    """Ends the training after ``patience`` validations without a better mIoU."""

    def __init__(self, keep: Keep, patience: int) -> None:
        self.keep, self.patience = keep, patience

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.keep.since_best >= self.patience


class Tell(L.Callback):
    """Calls ``on_epoch`` with epochs done, epochs in all, and the scores, once the weights are kept."""

    def __init__(self, on_epoch: OnEpoch) -> None:
        self.on_epoch = on_epoch

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.on_epoch(trainer.current_epoch + 1, trainer.max_epochs or 0, found)
