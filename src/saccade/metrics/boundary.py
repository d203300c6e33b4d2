"""Boundary IoU and trimap accuracy, from exact distances to the contours of all classes in one pass.

The distances are whole numbers, exact at any reach; those of the package edt are float32, exact up to 4096
pixels only, though three to five times as fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from saccade.errors import InvalidInput
from saccade.metrics._kernels import (
    along_rows,
    along_runs,
    count_bands,
    count_near,
    down_marks,
    down_runs,
    mark_boundary,
)
from saccade.metrics.confusion import label_pairs
from saccade.runtime.threads import run_bands

SMALLEST_BAND = 1 << 15
"""Pixels worth a thread of their own."""


def squared_distance_to_other(labels: np.ndarray, reach: float) -> np.ndarray:
    """Squared distance from each pixel to the nearest pixel of another label, beyond the border included.

    Args:
        labels: (H, W) integers, contiguous.
        reach: pixels > 0; what is further is not measured.

    Returns:
        (H, W) int32 in squared pixels, at least 1; beyond ``reach`` some value greater than its square.

    Raises:
        InvalidInput: when ``reach`` is not above 0.
    """
    limit = _limit(reach)
    column, out = np.empty(labels.shape, np.int32), np.empty(labels.shape, np.int32)
    rows, columns = labels.shape
    run_bands(down_runs, columns, labels, limit, column, smallest=_smallest(rows))
    run_bands(along_runs, rows, labels, column, limit, out, smallest=_smallest(columns))
    return out


def squared_distance_to_marked(marked: np.ndarray, reach: float) -> np.ndarray:
    """Squared distance from each pixel to the nearest marked one: 0 on marked pixels; the border is nothing.

    Args:
        marked: (H, W) bool, contiguous.
        reach: pixels > 0; what is further is not measured.

    Returns:
        (H, W) int32 in squared pixels; beyond ``reach`` some value greater than its square.

    Raises:
        InvalidInput: when ``reach`` is not above 0.
    """
    limit = _limit(reach)
    column, out = np.empty(marked.shape, np.int32), np.empty(marked.shape, np.int32)
    rows, columns = marked.shape
    run_bands(down_marks, columns, marked, limit, column, smallest=_smallest(rows))
    run_bands(along_rows, rows, column, limit, out, smallest=_smallest(columns))
    return out


def _limit(reach: float) -> int:
    """The first whole distance beyond reach; its square stands for everything further."""
    if not 0 < reach < 30000:
        raise InvalidInput("distance", "above 0 and below 30000 pixels", reach)
    return math.floor(reach) + 1


def _smallest(other_side: int) -> int:
    return max(1, SMALLEST_BAND // max(1, other_side))


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

    Examples:
        >>> import torch
        >>> from saccade import metrics
        >>> target = torch.zeros(1, 8, 8, dtype=torch.uint8)
        >>> target[:, 2:6, 2:6] = 1
        >>> metrics.boundary_counts(target, target, 2, distance=1).tolist()
        [[44, 12], [44, 12]]
    """
    reach = _default_distance(target) if distance is None else distance
    counts = np.zeros((2, num_classes), np.int64)
    for labels, true in label_pairs(pred, target, num_classes, ignore_index):
        near_true = squared_distance_to_other(true, reach)
        near_pred = squared_distance_to_other(labels, reach)
        count_near(true, labels, near_true, near_pred, reach * reach, ignore_index, counts)
    return torch.from_numpy(counts)


def boundary_iou(counts: Tensor) -> Tensor:
    """(K,) float64 in [0, 1] from pooled :func:`boundary_counts`; nan for a class that never occurred.

    Raises:
        InvalidInput: when ``counts`` is not (2, K).

    Examples:
        >>> import torch
        >>> from saccade import metrics
        >>> metrics.boundary_iou(torch.tensor([[3, 1], [4, 4]])).tolist()
        [0.75, 0.25]
    """
    if counts.ndim != 2 or counts.shape[0] != 2:
        raise InvalidInput("counts", "of shape (2, K)", tuple(counts.shape))
    both, either = counts.to(torch.float64)
    return both / either


def _default_distance(target: Tensor) -> int:
    return max(1, round(DIAGONAL_SHARE * math.hypot(*target.shape[-2:])))


WIDTHS = (1, 2, 4, 8, 16, 32)
"""Band widths in pixels, as the paper's plots space them."""


def trimap_counts(
    pred: Tensor,
    target: Tensor,
    num_classes: int,
    *,
    widths: Sequence[int] = WIDTHS,
    ignore_index: int = 255,
) -> Tensor:
    """Right and counted pixels in bands around the true boundaries, for :func:`trimap_accuracy`.

    A boundary pixel has a 4-neighbour of another class, neither of them ignored. The band of width w holds
    the pixels closer than w to a boundary pixel (Euclidean, between pixel centres): w = 1 is the boundary
    pixels themselves, and the band reaches w pixels deep into either side. Bands contain each other. After
    Kohli et al. 2009 and Kraehenbuehl and Koltun 2011, as used in Marin et al., ICCV 2019, Sec. 5.3.

    Args:
        pred: (B, H, W) integer class ids in [0, num_classes); anything where ``target`` is ignored.
        target: (B, H, W) integer class ids in [0, num_classes) or ``ignore_index``.
        num_classes: K >= 1.
        widths: n widths in pixels, whole, ascending, >= 1.
        ignore_index: pixels with this target count nowhere.

    Returns:
        (2, n) int64: pixels that are right, pixels in all. They add up over images.

    Raises:
        InvalidInput: when the maps do not fit each other or hold a class out of range, or ``widths`` do not
            ascend.

    Examples:
        >>> import torch
        >>> from saccade import metrics
        >>> target = torch.zeros(1, 4, 8, dtype=torch.uint8)
        >>> target[:, :, 4:] = 1
        >>> metrics.trimap_counts(torch.zeros_like(target), target, 2, widths=(1, 2)).tolist()
        [[4, 8], [8, 16]]
    """
    checked_widths(widths)
    band_of = np.searchsorted(np.array(widths) ** 2, np.arange(widths[-1] ** 2), side="right")
    bands = np.zeros((2, len(widths)), np.int64)
    for labels, true in label_pairs(pred, target, num_classes, ignore_index):
        marked = np.zeros(true.shape, np.bool_)
        mark_boundary(true, ignore_index, marked)
        if marked.any():
            count_bands(
                true, labels, squared_distance_to_marked(marked, widths[-1]), band_of, ignore_index, bands
            )
    return torch.from_numpy(bands.cumsum(1))


def trimap_accuracy(counts: Tensor) -> Tensor:
    """(n,) float64 in [0, 1] from pooled :func:`trimap_counts`; nan for a band without pixels.

    Raises:
        InvalidInput: when ``counts`` is not (2, n).

    Examples:
        >>> import torch
        >>> from saccade import metrics
        >>> metrics.trimap_accuracy(torch.tensor([[6, 12], [8, 16]])).tolist()
        [0.75, 0.75]
    """
    if counts.ndim != 2 or counts.shape[0] != 2:
        raise InvalidInput("counts", "of shape (2, n)", tuple(counts.shape))
    right, everything = counts.to(torch.float64)
    return right / everything


def checked_widths(widths: Sequence[int]) -> tuple[int, ...]:
    """The widths, or InvalidInput when they are not whole pixels >= 1 that ascend."""
    steps = all(a < b for a, b in pairwise(widths))
    if not widths or not steps or any(w != int(w) or w < 1 for w in widths):
        raise InvalidInput("widths", "whole numbers of pixels, at least 1, ascending", tuple(widths))
    return tuple(widths)
