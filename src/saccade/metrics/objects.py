"""Recall of single objects, by their size: what happens to the small ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from saccade.errors import InvalidInput
from saccade.metrics._kernels import gather, runs
from saccade.metrics.confusion import label_pairs


def connected_objects(true: np.ndarray, pred: np.ndarray, ignore_index: int) -> np.ndarray:
    """(N, 3) int64 (class, pixels, pixels where ``pred`` agrees) of each 8-connected component of ``true``.

    Counted while the runs are joined: connected-components-3d labels a 2048 x 1024 map in half of the time,
    but counting its labels makes it three times as long.

    Args:
        true, pred: (H, W) integers of one type.
        ignore_index: pixels of this class form no component.
    """
    kinds, areas, right, parents, count = runs(true, pred, ignore_index)
    return gather(kinds[:count], areas[:count], right[:count], parents[:count])


def object_records(
    pred: Tensor,
    target: Tensor,
    num_classes: int,
    *,
    instances: Tensor | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """Class, size and rightly classified pixels of each true object, for :func:`recall_by_size`.

    Without ``instances``, an object is a set of pixels of one class connected over sides and corners
    (8-neighbours). With them, it is all pixels of one class and one instance id, connected or not.

    Args:
        pred: (B, H, W) integer class ids in [0, num_classes); anything where ``target`` is ignored.
        target: (B, H, W) integer class ids in [0, num_classes) or ``ignore_index``.
        num_classes: K >= 1.
        instances: (B, H, W) integer ids >= 0, 0 where there is no object.
        ignore_index: pixels with this target belong to no object.

    Returns:
        (N, 3) int64: class id, pixels, pixels predicted as this class. Records of images are concatenated.

    Raises:
        InvalidInput: when the maps do not fit each other or hold a class out of range.

    Examples:
        >>> import torch
        >>> from saccade import metrics
        >>> target = torch.zeros(1, 4, 6, dtype=torch.uint8)
        >>> target[:, 1:3, 1:3] = 1
        >>> metrics.object_records(0 * target, target, 2).tolist()  # class, pixels, of them right
        [[0, 20, 20], [1, 4, 0]]
    """
    if instances is not None and (instances.shape != target.shape or instances.is_floating_point()):
        got = (tuple(instances.shape), instances.dtype)
        raise InvalidInput("instances", f"integer ids of shape {tuple(target.shape)}", got)
    records = [np.zeros((0, 3), np.int64)]
    for i, (labels, true) in enumerate(label_pairs(pred, target, num_classes, ignore_index)):
        if instances is None:
            records.append(connected_objects(true, labels, ignore_index))
        else:
            records.append(_by_instance(true, labels, instances[i].cpu().numpy(), num_classes, ignore_index))
    return torch.from_numpy(np.concatenate(records))


def _by_instance(
    true: np.ndarray, pred: np.ndarray, instances: np.ndarray, num_classes: int, ignore_index: int
) -> np.ndarray:
    counted = (true != ignore_index) & (instances > 0)
    keys = instances[counted].astype(np.int64) * num_classes + true[counted]
    unique, inverse, areas = np.unique(keys, return_inverse=True, return_counts=True)
    right = np.bincount(inverse, (pred == true)[counted], len(unique)).astype(np.int64)
    return np.stack([unique % num_classes, areas, right], 1)


@dataclass(frozen=True)
class SizeBin:
    """One bin of objects of similar size.

    Attributes:
        recall: mean over the objects of the share of their pixels that were given their class, in [0, 1]; nan
            without objects.
        objects: how many there are.
        smallest, largest: their range of sizes in pixels; 0 without objects.

    Examples:
        >>> import torch
        >>> from saccade import metrics
        >>> metrics.recall_by_size(torch.tensor([[1, 4, 2], [1, 9, 9]]), bins=1)
        [SizeBin(recall=0.75, objects=2, smallest=4, largest=9)]
    """

    recall: float
    objects: int
    smallest: int
    largest: int


def recall_by_size(records: Tensor, *, classes: Sequence[int] | None = None, bins: int = 4) -> list[SizeBin]:
    """Mean recall of the objects in bins of equal count, ordered by size (Marin et al., ICCV 2019, Fig. 14).

    Objects of one size may fall on both sides of a cut; each then counts with the mean recall of its size, so
    that the order of the images does not matter.

    Args:
        records: (N, 3) from :func:`object_records`, of the whole data set.
        classes: the classes whose objects count; default all.
        bins: how many, 4 for quartiles; when N is not a multiple, the first bins hold one object more.

    Raises:
        InvalidInput: when ``records`` is not (N, 3) or ``bins`` is below 1.

    Examples:
        >>> import torch
        >>> from saccade import metrics
        >>> small, large = metrics.recall_by_size(torch.tensor([[1, 4, 2], [1, 90, 90]]), bins=2)
        >>> small.recall, large.recall
        (0.5, 1.0)
    """
    if records.ndim != 2 or records.shape[1] != 3:
        raise InvalidInput("records", "of shape (N, 3)", tuple(records.shape))
    if bins < 1:
        raise InvalidInput("bins", "at least 1", bins)
    kind, area, right = records.numpy().T
    if classes is not None:
        kept = np.isin(kind, list(classes))
        area, right = area[kept], right[kept]
    order = np.argsort(area, kind="stable")
    recall = _mean_of_equals(area[order], (right / np.maximum(area, 1))[order])
    parts = zip(np.array_split(area[order], bins), np.array_split(recall, bins), strict=True)
    return [_bin(areas, recalls) for areas, recalls in parts]


def _mean_of_equals(keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return (np.bincount(inverse, values, len(counts)) / np.maximum(counts, 1))[inverse]


def _bin(areas: np.ndarray, recalls: np.ndarray) -> SizeBin:
    if not len(areas):
        return SizeBin(float("nan"), 0, 0, 0)
    return SizeBin(float(recalls.mean()), len(areas), int(areas[0]), int(areas[-1]))
