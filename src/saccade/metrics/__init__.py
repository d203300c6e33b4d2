"""Measures of a segmentation, each a function of counts that add up over a data set."""

from __future__ import annotations

from saccade.metrics.boundary import boundary_counts, boundary_iou, trimap_accuracy, trimap_counts
from saccade.metrics.confusion import class_counts, confusion_matrix, iou, miou, pixel_accuracy
from saccade.metrics.objects import SizeBin, object_records, recall_by_size
from saccade.metrics.recovery import recovered_labels, recovery_counts, sampling_counts, sampling_ratio

__all__ = [
    "SizeBin",
    "boundary_counts",
    "boundary_iou",
    "class_counts",
    "confusion_matrix",
    "iou",
    "miou",
    "object_records",
    "pixel_accuracy",
    "recall_by_size",
    "recovered_labels",
    "recovery_counts",
    "sampling_counts",
    "sampling_ratio",
    "trimap_accuracy",
    "trimap_counts",
]
