"""Intersection over union and pixel accuracy, from pooled counts."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.errors import InvalidInput


def iou(confusion: Tensor) -> Tensor:
    """Intersection over union of each class, TP / (TP + FP + FN) (Everingham et al. 2010).

    Args:
        confusion: (K, K) counts, rows true, columns predicted, pooled over the data set.

    Returns:
        (K,) float64 in [0, 1]; nan for a class that is in neither labels nor predictions.

    Raises:
        InvalidInput: when ``confusion`` is not square.
    """
    counts = _counts(confusion)
    hit = counts.diagonal()
    return hit / (counts.sum(0) + counts.sum(1) - hit)


def miou(confusion: Tensor) -> float:
    """Mean of :func:`iou` over the classes that occur; nan where none does."""
    return iou(confusion).nanmean().item()


def pixel_accuracy(confusion: Tensor) -> Tensor:
    """Share of a class's pixels that were given this class: TP / (TP + FN), its recall.

    Args:
        confusion: (K, K) counts, rows true, columns predicted, pooled over the data set.

    Returns:
        (K,) float64 in [0, 1]; nan for a class that is not in the labels, which has no pixel to be right on.

    Raises:
        InvalidInput: when ``confusion`` is not square.
    """
    counts = _counts(confusion)
    return counts.diagonal() / counts.sum(1)


def _counts(confusion: Tensor) -> Tensor:
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise InvalidInput("confusion", "of shape (K, K)", tuple(confusion.shape))
    return confusion.to(torch.float64)
