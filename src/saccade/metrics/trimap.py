"""Trimap accuracy: how often pixels close to a true boundary are right, by how close they are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from saccade.compiled import kernel
from saccade.errors import InvalidInput
from saccade.metrics.distances import squared_distance_to_marked
from saccade.metrics.maps import label_pairs

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
    """
    checked_widths(widths)
    band_of = np.searchsorted(np.array(widths) ** 2, np.arange(widths[-1] ** 2), side="right")
    bands = np.zeros((2, len(widths)), np.int64)
    for said, true in label_pairs(pred, target, num_classes, ignore_index):
        marked = np.zeros(true.shape, np.bool_)
        _mark_boundary(true, ignore_index, marked)
        if marked.any():
            _count(true, said, squared_distance_to_marked(marked, widths[-1]), band_of, ignore_index, bands)
    return torch.from_numpy(bands.cumsum(1))


def trimap_accuracy(counts: Tensor) -> Tensor:
    """(n,) float64 in [0, 1] from pooled :func:`trimap_counts`; nan for a band without pixels.

    Raises:
        InvalidInput: when ``counts`` is not (2, n).
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


@kernel
def _mark_boundary(labels, ignore_index, marked):
    rows, columns = labels.shape
    for y in range(rows):
        for x in range(columns):
            here = labels[y, x]
            if here == ignore_index:
                continue
            if x + 1 < columns and labels[y, x + 1] != here and labels[y, x + 1] != ignore_index:
                marked[y, x] = marked[y, x + 1] = True
            if y + 1 < rows and labels[y + 1, x] != here and labels[y + 1, x] != ignore_index:
                marked[y, x] = marked[y + 1, x] = True


@kernel
def _count(true, said, squared, band_of, ignore_index, bands):
    """bands[0 or 1, b]: right or all pixels of the narrowest band b that they lie in."""
    for y in range(true.shape[0]):
        for x in range(true.shape[1]):
            if squared[y, x] < len(band_of) and true[y, x] != ignore_index:
                band = band_of[squared[y, x]]
                bands[0, band] += true[y, x] == said[y, x]
                bands[1, band] += 1
