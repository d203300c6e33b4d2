"""Measures whose state adds up over batches and processes: thin ``torchmetrics.Metric`` classes.

They live apart from the functions because importing torchmetrics costs seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from saccade.metrics.boundary import boundary_counts, boundary_iou
from saccade.metrics.confusion import confusion_matrix
from saccade.metrics.iou import iou
from saccade.metrics.objects import object_records, recall_by_size
from saccade.metrics.recovery import recovery_counts
from saccade.metrics.sampling import sampling_counts, sampling_ratio
from saccade.metrics.trimap import WIDTHS, checked_widths, trimap_accuracy, trimap_counts


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


class BoundaryIoU(_Counts):
    """Pooled :func:`saccade.metrics.boundary_iou`.

    Args:
        num_classes: K.
        distance: in pixels; default 2 % of each image's diagonal.
        ignore_index: target value that counts nowhere.
    """

    def __init__(self, num_classes: int, distance: float | None = None, ignore_index: int = 255) -> None:
        super().__init__(num_classes, ignore_index, (2, num_classes))
        self.distance = distance

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Add label maps (B, H, W)."""
        counts = boundary_counts(
            pred, target, self.num_classes, distance=self.distance, ignore_index=self.ignore_index
        )
        self.counts += counts.to(self.device)

    def compute(self) -> Tensor:
        """(K,) float64, nan for a class that never occurred."""
        return boundary_iou(self.counts)


class TrimapAccuracy(_Counts):
    """Pooled :func:`saccade.metrics.trimap_accuracy`.

    Args:
        num_classes: K.
        widths: of the bands, in pixels.
        ignore_index: target value that counts nowhere.
    """

    def __init__(self, num_classes: int, widths: Sequence[int] = WIDTHS, ignore_index: int = 255) -> None:
        self.widths = checked_widths(widths)
        super().__init__(num_classes, ignore_index, (2, len(self.widths)))

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Add label maps (B, H, W)."""
        counts = trimap_counts(
            pred, target, self.num_classes, widths=self.widths, ignore_index=self.ignore_index
        )
        self.counts += counts.to(self.device)

    def compute(self) -> Tensor:
        """(n,) float64, one a width."""
        return trimap_accuracy(self.counts)


class SamplingRatio(_Counts):
    """Pooled :func:`saccade.metrics.sampling_ratio`.

    Args:
        num_classes: K.
        ignore_index: label that counts nowhere.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        super().__init__(num_classes, ignore_index, (2, num_classes))

    def update(self, labels: Tensor, grid: Tensor) -> None:
        """Add labels (B, H, W) and the grids (V, h, w, 2) that sample them."""
        self.counts += sampling_counts(labels, grid, self.num_classes, self.ignore_index).to(self.device)

    def compute(self) -> Tensor:
        """(K,) float64, nan for a class without pixels."""
        return sampling_ratio(self.counts)


class LabelRecovery(_Counts):
    """Pooled IoU of labels and :func:`saccade.metrics.recovered_labels`.

    Args:
        num_classes: K.
        mode: how answers are unwarped, "linear" or "nearest".
        ignore_index: label that counts nowhere.
    """

    def __init__(self, num_classes: int, mode: str = "linear", ignore_index: int = 255) -> None:
        super().__init__(num_classes, ignore_index, (num_classes, num_classes))
        self.mode = mode

    def update(self, labels: Tensor, grid: Tensor) -> None:
        """Add labels (B, H, W) and the grids (B, h, w, 2) that sample them."""
        counts = recovery_counts(
            labels, grid, self.num_classes, mode=self.mode, ignore_index=self.ignore_index
        )
        self.counts += counts.to(self.device)

    def compute(self) -> Tensor:
        """(K,) float64, nan for a class that never occurred."""
        return iou(self.counts)


class ObjectRecall(Metric):
    """:func:`saccade.metrics.recall_by_size` over all objects of a data set.

    Args:
        num_classes: K.
        classes: whose objects count; default all.
        bins: 4 for quartiles.
        ignore_index: target value that belongs to no object.
    """

    full_state_update = False
    records: list[Tensor]

    def __init__(
        self,
        num_classes: int,
        classes: Sequence[int] | None = None,
        bins: int = 4,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        self.num_classes, self.classes, self.bins, self.ignore_index = (
            num_classes,
            classes,
            bins,
            ignore_index,
        )
        self.add_state("records", [], "cat")

    def update(self, pred: Tensor, target: Tensor, instances: Tensor | None = None) -> None:
        """Add label maps (B, H, W), and instance ids where there are any."""
        records = object_records(
            pred, target, self.num_classes, instances=instances, ignore_index=self.ignore_index
        )
        self.records.append(records.to(self.device))

    def compute(self) -> Tensor:
        """(bins,) float64 mean recall, the smallest objects first; nan for a bin without objects."""
        none = torch.zeros(0, 3, dtype=torch.int64)
        records = dim_zero_cat(self.records).cpu() if len(self.records) else none
        sizes = recall_by_size(records, classes=self.classes, bins=self.bins)
        return torch.tensor([size.recall for size in sizes], dtype=torch.float64)
