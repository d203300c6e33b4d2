"""Measures of a segmentation, each a function of counts that add up over a data set."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from saccade.metrics.confusion import confusion_matrix
from saccade.metrics.iou import iou, miou, pixel_accuracy

if TYPE_CHECKING:
    from saccade.metrics.pooled import ConfusionMatrix

_POOLED = ("ConfusionMatrix",)

__all__ = ["ConfusionMatrix", "confusion_matrix", "iou", "miou", "pixel_accuracy"]


def __getattr__(name: str) -> Any:
    if name not in _POOLED:
        raise AttributeError(f"module 'saccade.metrics' has no attribute {name!r}")
    return getattr(importlib.import_module("saccade.metrics.pooled"), name)
