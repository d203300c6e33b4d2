"""Measures whose state adds up over batches and processes: thin ``torchmetrics.Metric`` classes.

They live apart from the functions because importing torchmetrics costs seconds.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from saccade.metrics.confusion import confusion_matrix


class _Counts(Metric):
    """A state of int64 counts that are added over batches and processes."""

    full_state_update = False
    counts: Tensor

    def __init__(self, num_classes: int, ignore_index: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.add_state("counts", torch.zeros(shape, dtype=torch.int64), "sum")


class ConfusionMatrix(_Counts):
    """Pooled :func:`saccade.metrics.confusion_matrix`.

    Args:
        num_classes: K.
        ignore_index: target value that counts nowhere.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        super().__init__(num_classes, ignore_index, (num_classes, num_classes))

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Add label maps of one shape, as :func:`saccade.metrics.confusion_matrix` takes them."""
        self.counts += confusion_matrix(pred, target, self.num_classes, self.ignore_index).to(self.device)

    def compute(self) -> Tensor:
        """(K, K) int64, rows true, columns predicted."""
        return self.counts
