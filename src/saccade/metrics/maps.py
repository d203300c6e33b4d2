"""Pairs of label maps as arrays that kernels may index without fear."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from saccade.errors import InvalidInput
from saccade.metrics.confusion import confusion_matrix

Map = np.ndarray
"""(H, W) integer class ids."""


def label_pairs(
    pred: Tensor, target: Tensor, num_classes: int, ignore_index: int
) -> Iterator[tuple[Map, Map]]:
    """One (pred, target) pair an image: (H, W) contiguous, of one integer type, ids known to be in range.

    Where ``target`` is ignored, ``pred`` holds ``ignore_index`` too.

    Raises:
        InvalidInput: when the maps are not (B, H, W), differ in shape, or hold an id out of range.
    """
    if target.ndim != 3:
        raise InvalidInput("target", "of shape (B, H, W)", tuple(target.shape))
    confusion_matrix(pred, target, num_classes, ignore_index)
    for said, true in zip(pred.detach().cpu().numpy(), target.detach().cpu().numpy(), strict=True):
        shared = np.result_type(said, true)
        true = np.ascontiguousarray(true, shared)
        ignored = true == ignore_index
        if ignored.any():
            said = np.where(ignored, np.asarray(ignore_index).astype(shared), said)
        yield np.ascontiguousarray(said, shared), true
