"""Boundary IoU: intersection over union of the pixels of a class that lie near its contour."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from saccade.compiled import kernel
from saccade.errors import InvalidInput
from saccade.metrics.distances import squared_distance_to_other
from saccade.metrics.maps import label_pairs

DIAGONAL_SHARE = 0.02


def boundary_counts(
    pred: Tensor,
    target: Tensor,
    num_classes: int,
    *,
    distance: float | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """Intersections and unions near the contours, for :func:`boundary_iou` (Cheng et al., CVPR 2021, Eq. 1).

    G and P are the true and the predicted pixels of a class; G_d and P_d those of them that lie within
    ``distance`` of a pixel outside their own set, measured exactly (Euclidean, between pixel centres). The
    authors' program erodes with 3x3 squares instead, which measures along the longer axis only. As in their
    program, what lies beyond the border of the image is outside every set, and so is an ignored pixel.

    Args:
        pred: (B, H, W) integer class ids in [0, num_classes); anything where ``target`` is ignored.
        target: (B, H, W) integer class ids in [0, num_classes) or ``ignore_index``.
        num_classes: K >= 1.
        distance: d in pixels, > 0; default 2 % of the image's diagonal, rounded, at least 1.
        ignore_index: pixels with this target count nowhere.

    Returns:
        (2, K) int64: pixels in both G_d and P_d, pixels in either. They add up over images.

    Raises:
        InvalidInput: when the maps do not fit each other, hold a class out of range, or ``distance`` <= 0.
    """
    reach = _default_distance(target) if distance is None else distance
    counts = np.zeros((2, num_classes), np.int64)
    for said, true in label_pairs(pred, target, num_classes, ignore_index):
        near_true, near_said = squared_distance_to_other(true, reach), squared_distance_to_other(said, reach)
        _count(true, said, near_true, near_said, reach * reach, ignore_index, counts)
    return torch.from_numpy(counts)


def boundary_iou(counts: Tensor) -> Tensor:
    """(K,) float64 in [0, 1] from pooled :func:`boundary_counts`; nan for a class that never occurred.

    Raises:
        InvalidInput: when ``counts`` is not (2, K).
    """
    if counts.ndim != 2 or counts.shape[0] != 2:
        raise InvalidInput("counts", "of shape (2, K)", tuple(counts.shape))
    both, either = counts.to(torch.float64)
    return both / either


def _default_distance(target: Tensor) -> int:
    return max(1, round(DIAGONAL_SHARE * math.hypot(*target.shape[-2:])))


@kernel
def _count(true, said, near_true, near_said, reach, ignore_index, counts):
    for y in range(true.shape[0]):
        for x in range(true.shape[1]):
            if true[y, x] == ignore_index:
                continue
            in_true, in_said = near_true[y, x] <= reach, near_said[y, x] <= reach
            if in_true and in_said and true[y, x] == said[y, x]:
                counts[0, true[y, x]] += 1
                counts[1, true[y, x]] += 1
                continue
            if in_true:
                counts[1, true[y, x]] += 1
            if in_said:
                counts[1, said[y, x]] += 1
