"""Label maps with regions, specks, ignored holes and shapes that touch the border."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage


def blobs(seed: int, shape: tuple[int, int], classes: int, ignored: float = 0.0) -> np.ndarray:
    """(H, W) uint8: smooth regions of each class with specks; a share of the pixels 255 in patches."""
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.normal(size=(classes, *shape)), (0, 3, 3), mode="wrap")
    labels = fields.argmax(0)
    specks = rng.random(shape) < 0.01
    labels[specks] = rng.integers(0, classes, specks.sum())
    if ignored:
        field = ndimage.gaussian_filter(rng.normal(size=shape), 2)
        labels[field > np.quantile(field, 1 - ignored)] = 255
    return labels.astype(np.uint8)


@pytest.fixture
def make_blobs():
    return blobs
