"""How a training went: the columns of its metrics.csv."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from saccade.errors import FileProblem
from saccade.report.chart import Line

SCORE = "val_iou_"
LOSSES = {
    "train_loss": "loss",
    "train_segmentation_loss": "segmentation",
    "train_sampler_loss": "sampler",
}


@dataclass(frozen=True)
class History:
    """Columns of numbers of one length, one row an epoch; None where a cell is empty.

    Attributes:
        columns: "epoch", "train_loss", "val_miou", "val_iou_<class>", ...
    """

    columns: dict[str, tuple[float | None, ...]]

    @property
    def epochs(self) -> Sequence[float]:
        """Epochs, counted from 1 as people do."""
        return [epoch + 1 for epoch in self.columns.get("epoch", ()) if epoch is not None]

    def losses(self) -> list[Line]:
        """The losses that were written."""
        return [line for column, name in LOSSES.items() if (line := self._line(column, name)).points]

    def scores(self) -> list[Line]:
        """Validation mIoU, then the IoU of each class."""
        classes = [column for column in self.columns if column.startswith(SCORE)]
        return [self._line("val_miou", "mIoU"), *(self._line(c, c.removeprefix(SCORE)) for c in classes)]

    def best(self) -> tuple[int, float] | None:
        """(epoch, mIoU) of the best validation; None where there was none."""
        return max(
            ((int(x), y) for x, y in self._line("val_miou", "").points),
            key=lambda pair: pair[1],
            default=None,
        )

    def _line(self, column: str, name: str) -> Line:
        return Line(name, self.epochs, self.columns.get(column, (None,) * len(self.epochs)))


def read_history(path: Path) -> History:
    """The metrics.csv of a run; no columns where there is no file yet.

    Raises:
        FileProblem: when a cell is not a number, or the epochs are missing.
    """
    if not path.is_file():
        return History({})
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in (rows[0] if rows else {}) if name]
    try:
        columns = {name: tuple(_number(row[name]) for row in rows) for name in names}
    except ValueError as error:
        raise FileProblem(path, "numbers", str(error).rpartition(": ")[2]) from error
    if rows and (None in columns.get("epoch", (None,))):
        raise FileProblem(path, "an epoch in every row", "none")
    return History(columns)


def _number(cell: str | None) -> float | None:
    value = float(cell) if cell else math.nan
    return value if math.isfinite(value) else None
