"""The confusion matrix, pooled over a data set, and the scores that follow from it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from saccade.errors import InvalidInput
from saccade.metrics._kernels import count_pairs

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
    for predicted, true in zip(pred.detach().cpu().numpy(), target.detach().cpu().numpy(), strict=True):
        shared = np.result_type(predicted, true)
        true = np.ascontiguousarray(true, shared)
        ignored = true == ignore_index
        if ignored.any():
            predicted = np.where(ignored, np.asarray(ignore_index).astype(shared), predicted)
        yield np.ascontiguousarray(predicted, shared), true


def confusion_matrix(pred: Tensor, target: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Count pixels by true and predicted class.

    Args:
        pred: integer class ids in [0, num_classes), any shape (usually (B, H, W)), on any device. What it
            says where ``target`` is ignored does not matter.
        target: integer class ids in [0, num_classes) or ``ignore_index``, of the same shape.
        num_classes: K >= 1.
        ignore_index: pixels whose ``target`` has this value count nowhere.

    Returns:
        (K, K) int64 on the CPU; entry (i, j) is the number of pixels of true class i predicted as class j.

    Raises:
        InvalidInput: when the shapes differ, the type is not an integer one, or a class is out of range.

    Examples:
        >>> import torch
        >>> from saccade import metrics
        >>> pred, target = torch.tensor([[0, 1, 1]]), torch.tensor([[0, 0, 1]])
        >>> metrics.confusion_matrix(pred, target, num_classes=2).tolist()
        [[1, 1], [0, 1]]
    """
    _check(pred, target, num_classes, ignore_index)
    if pred.device.type == target.device.type == "cpu":
        counts, bad_target, bad_pred = count_pairs(_flat(target), _flat(pred), num_classes, ignore_index)
        _refuse_out_of_range(int(bad_target), "target", num_classes, ignore_index)
        _refuse_out_of_range(int(bad_pred), "pred", num_classes, ignore_index)
        return torch.from_numpy(counts)
    return _bincount(pred.reshape(-1).long(), target.reshape(-1).long(), num_classes, ignore_index)


def class_counts(labels: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """(K,) int64: pixels of each class of ``labels``, of any shape; those of ``ignore_index`` count nowhere.

    Raises:
        InvalidInput: when the type is not an integer one, or an id is neither a class nor the ignored one.

    Examples:
        >>> import torch
        >>> from saccade import metrics
        >>> metrics.class_counts(torch.tensor([[0, 1, 1, 255]]), num_classes=3).tolist()
        [1, 2, 0]
    """
    return confusion_matrix(labels, labels, num_classes, ignore_index).diagonal().clone()


def _check(pred: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> None:
    if num_classes < 1:
        raise InvalidInput("num_classes", "at least 1", num_classes)
    if 0 <= ignore_index < num_classes:
        raise InvalidInput("ignore_index", f"outside the {num_classes} classes", ignore_index)
    if pred.shape != target.shape:
        raise InvalidInput("pred", f"of the shape of target {tuple(target.shape)}", tuple(pred.shape))
    for name, labels in (("pred", pred), ("target", target)):
        if labels.is_floating_point() or labels.is_complex():
            raise InvalidInput(name, "integer class ids", labels.dtype, "take the argmax of scores first")


def _flat(labels: Tensor) -> np.ndarray:
    return labels.detach().reshape(-1).numpy()


def _bincount(pred: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    counted = target != ignore_index
    pred, target = pred[counted], target[counted]
    for ids, name in ((target, "target"), (pred, "pred")):
        outside = ids[(ids < 0) | (ids >= num_classes)]
        _refuse_out_of_range(int(outside[0]) if len(outside) else 0, name, num_classes, ignore_index)
    pairs = torch.bincount(target * num_classes + pred, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes).cpu()


def _refuse_out_of_range(index: int, name: str, num_classes: int, ignore_index: int) -> None:
    if 0 <= index < num_classes:
        return
    ignored = f" or {ignore_index} (ignored)" if name == "target" else ""
    raise InvalidInput(name, f"class ids in [0, {num_classes}){ignored}", f"the id {index}")


def iou(confusion: Tensor) -> Tensor:
    """Intersection over union of each class, TP / (TP + FP + FN) (Everingham et al. 2010).

    Args:
        confusion: (K, K) counts, rows true, columns predicted, pooled over the data set.

    Returns:
        (K,) float64 in [0, 1]; nan for a class that is in neither labels nor predictions.

    Raises:
        InvalidInput: when ``confusion`` is not square.

    Examples:
        >>> import torch
        >>> from saccade import metrics
        >>> metrics.iou(torch.tensor([[2, 2], [0, 4]])).tolist()
        [0.5, 0.6666666666666666]
    """
    counts = _counts(confusion)
    hit = counts.diagonal()
    return hit / (counts.sum(0) + counts.sum(1) - hit)


def miou(confusion: Tensor) -> float:
    """Mean of :func:`iou` over the classes that occur; nan where none does.

    Examples:
        >>> import torch
        >>> from saccade import metrics
        >>> metrics.miou(torch.tensor([[3, 1], [0, 0]]))
        0.375
    """
    return iou(confusion).nanmean().item()


def pixel_accuracy(confusion: Tensor) -> Tensor:
    """Share of a class's pixels that were given this class: TP / (TP + FN), its recall.

    Args:
        confusion: (K, K) counts, rows true, columns predicted, pooled over the data set.

    Returns:
        (K,) float64 in [0, 1]; nan for a class that is not in the labels, which has no pixel to be right on.

    Raises:
        InvalidInput: when ``confusion`` is not square.

    Examples:
        >>> import torch
        >>> from saccade import metrics
        >>> metrics.pixel_accuracy(torch.tensor([[3, 1], [0, 4]])).tolist()
        [0.75, 1.0]
    """
    counts = _counts(confusion)
    return counts.diagonal() / counts.sum(1)


def _counts(confusion: Tensor) -> Tensor:
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise InvalidInput("confusion", "of shape (K, K)", tuple(confusion.shape))
    return confusion.to(torch.float64)
