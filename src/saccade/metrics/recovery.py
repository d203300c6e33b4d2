"""What the sampler alone does: labels that survive sampling, and which classes get how many samples."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.errors import InvalidInput
from saccade.metrics.confusion import class_counts, confusion_matrix
from saccade.warp import sample, unwarp_labels


def recovered_labels(
    labels: Tensor, grid: Tensor, num_classes: int, *, mode: str = "linear", ignore_index: int = 255
) -> Tensor:
    """Labels pushed through a sampler's grid and back: Y' = Int(G^-1(G(Y))) (Jin et al., ICLR 2022).

    Each sample takes the label of its nearest pixel; these answers, as scores of 0 and 1, are unwarped to the
    full size. It is no upper bound: soft scores say where between two samples an edge lies, labels do not.

    Args:
        labels: (B, H, W) integer class ids in [0, num_classes) or ``ignore_index``.
        grid: (B, h, w, 2) sample positions (x, y) in [-1, 1].
        num_classes: K >= 1.
        mode: how answers are unwarped: "linear" as in prediction, or "nearest" sample.
        ignore_index: pixels without a label. A sample on one of them takes the label of the nearest sample
            (in rows and columns of the grid) that has one.

    Returns:
        (B, H, W) integer class ids in [0, num_classes), on the CPU.

    Raises:
        InvalidInput: when labels and grid do not fit each other, or an id is out of range.

    Examples:
        >>> import saccade, torch
        >>> from saccade import metrics
        >>> labels = torch.zeros(1, 4, 4, dtype=torch.uint8)
        >>> labels[:, 2:] = 1
        >>> bool((metrics.recovered_labels(labels, saccade.uniform_grid((4, 4)), 2) == labels).all())
        True
    """
    if labels.ndim != 3:
        raise InvalidInput("labels", "of shape (B, H, W)", tuple(labels.shape))
    class_counts(labels, num_classes, ignore_index)
    labels, grid = labels.cpu(), grid.detach().cpu()
    sampled = _filled(sample(labels, grid, mode="nearest"), ignore_index)
    scores = torch.nn.functional.one_hot(sampled.long(), num_classes).permute(0, 3, 1, 2).float()
    return unwarp_labels(scores.contiguous(), grid, (labels.shape[1], labels.shape[2]), mode=mode)


def recovery_counts(
    labels: Tensor, grid: Tensor, num_classes: int, *, mode: str = "linear", ignore_index: int = 255
) -> Tensor:
    """(K, K) int64 confusion of labels and :func:`recovered_labels`, whose arguments and errors these are.

    Pooled over the data set, :func:`saccade.metrics.confusion` of it is the paper's IoU (label recovery).

    Examples:
        >>> import saccade, torch
        >>> from saccade import metrics
        >>> labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
        >>> labels[:, 3, 3] = 1  # too small for a grid of 2 x 2
        >>> metrics.recovery_counts(labels, saccade.uniform_grid((2, 2)), 2).tolist()
        [[63, 0], [1, 0]]
    """
    recovered = recovered_labels(labels, grid, num_classes, mode=mode, ignore_index=ignore_index)
    return confusion_matrix(recovered, labels.cpu(), num_classes, ignore_index)


def _filled(sampled: Tensor, ignore_index: int) -> Tensor:
    ignored = sampled == ignore_index
    if not ignored.any():
        return sampled
    from scipy import ndimage  # loads slowly, and most samples have no ignored pixel

    filled = sampled.clone()
    for labels, holes in zip(filled, ignored, strict=True):
        if holes.all():
            labels[:] = 0
        elif holes.any():
            rows, columns = ndimage.distance_transform_edt(holes, return_distances=False, return_indices=True)
            labels[:] = labels[torch.from_numpy(rows).long(), torch.from_numpy(columns).long()]
    return filled


def sampling_counts(labels: Tensor, grid: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Samples and pixels of each class, for :func:`sampling_ratio`.

    Args:
        labels: (B, H, W) integer class ids in [0, num_classes) or ``ignore_index``.
        grid: (V, h, w, 2) sample positions (x, y) in [-1, 1]; V = B, or any number of views of one image. A
            sample falls in the class of the pixel nearest to it.
        num_classes: K >= 1.
        ignore_index: pixels of this value, and samples that fall on them, count nowhere.

    Returns:
        (2, K) int64: samples that fall in each class, pixels of each class. They add up over images.

    Raises:
        InvalidInput: when labels and grid do not fit each other, or an id is out of range.

    Examples:
        >>> import saccade, torch
        >>> from saccade import metrics
        >>> labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
        >>> labels[:, :, 6:] = 1
        >>> metrics.sampling_counts(labels, saccade.uniform_grid((4, 4)), 2).tolist()
        [[12, 4], [48, 16]]
    """
    sampled = sample(labels, grid, mode="nearest")
    return torch.stack([class_counts(part, num_classes, ignore_index) for part in (sampled, labels)])


def sampling_ratio(counts: Tensor) -> Tensor:
    """Share of the samples that fall in a class over its share of the pixels (Jin et al. 2022, Fig. 13).

    Uniform sampling has about 1 for every class; 2 means that a class is sampled twice as densely as if it
    were sampled uniformly. (The paper plots it from its zero, 1, upwards and downwards.)

    Args:
        counts: (2, K) from :func:`sampling_counts`, pooled over the data set.

    Returns:
        (K,) float64 >= 0; nan for a class without pixels.

    Raises:
        InvalidInput: when ``counts`` is not (2, K).

    Examples:
        >>> import torch
        >>> from saccade import metrics
        >>> metrics.sampling_ratio(torch.tensor([[8, 8], [90, 10]])).tolist()
        [0.5555555555555556, 5.0]
    """
    if counts.ndim != 2 or counts.shape[0] != 2:
        raise InvalidInput("counts", "of shape (2, K)", tuple(counts.shape))
    samples, pixels = counts.to(torch.float64)
    return (samples / samples.sum()) / (pixels / pixels.sum())
