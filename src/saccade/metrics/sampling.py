"""Sampling-frequency ratio: which classes a sampler looks at more than their share of the pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.errors import InvalidInput
from saccade.metrics.confusion import class_counts
from saccade.warp import sample


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
    """
    if counts.ndim != 2 or counts.shape[0] != 2:
        raise InvalidInput("counts", "of shape (2, K)", tuple(counts.shape))
    samples, pixels = counts.to(torch.float64)
    return (samples / samples.sum()) / (pixels / pixels.sum())
