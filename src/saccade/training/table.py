"""metrics.csv: one row an epoch, continued when a run is resumed."""

from __future__ import annotations

import csv
import math
import time
from pathlib import Path
from typing import Any

import lightning as L


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
        kept = [row for row in _rows(self.path) if int(row["epoch"]) < trainer.current_epoch]
        with self.path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(kept)

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._start = time.monotonic()

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._validated = True

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Validation is over by now, so its scores stand in the same row; where there was none, Lightning
        still has those of an earlier epoch."""
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        fresh = [name for name in self.columns if self._validated or not name.startswith("val_")]
        row = {name: f"{found[name]:.6g}" for name in fresh if math.isfinite(found.get(name, math.nan))}
        self._validated = False
        row["epoch"], row["step"] = str(trainer.current_epoch), str(trainer.global_step)
        row["lr"] = f"{trainer.optimizers[0].param_groups[0]['lr']:.6g}"
        row["seconds"] = f"{time.monotonic() - self._start:.2f}"
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(row)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Rows of metrics.csv, numbers as floats, empty cells as None; [] where there is no file yet."""
    return [{k: float(v) if v else None for k, v in row.items() if k} for row in _rows(path)]


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
