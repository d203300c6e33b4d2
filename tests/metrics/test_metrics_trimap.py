"""Trimap bands against scipy's distances and against lines whose bands can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from saccade.errors import InvalidInput
from saccade.metrics import trimap_accuracy, trimap_counts


def by_definition(pred, target, widths):
    edge = np.zeros(target.shape, bool)
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        beside = np.roll(target, (-dy, -dx), (0, 1))
        pair = (beside != target) & (beside != 255) & (target != 255)
        pair[-1 if dy > 0 else 0] &= dy == 0
        pair[:, -1 if dx > 0 else 0] &= dx == 0
        edge |= pair
    distance = ndimage.distance_transform_edt(~edge) if edge.any() else np.full(target.shape, np.inf)
    bands = [(distance < w) & (target != 255) for w in widths]
    return np.array([[(band & (pred == target)).sum() for band in bands], [band.sum() for band in bands]])


def test_counts_are_the_definition_written_out(make_blobs):
    widths = (1, 2, 3, 7, 20)
    pairs = [(make_blobs(s + 50, (50, 70), 4), make_blobs(s, (50, 70), 4, 0.15)) for s in range(3)]
    pred, target = (torch.tensor(np.stack(maps)) for maps in zip(*pairs, strict=True))
    expected = sum(by_definition(p, t, widths) for p, t in pairs)
    assert np.array_equal(trimap_counts(pred, target, 4, widths=widths).numpy(), expected)


def test_the_band_of_a_straight_boundary_is_w_pixels_deep_on_either_side():
    target = torch.zeros(1, 10, 40, dtype=torch.uint8)
    target[:, :, 20:] = 1
    pred = target.roll(1, 2)
    pred[:, :, 0] = 0
    counts = trimap_counts(pred, target, 2, widths=(1, 2, 5, 100))
    assert counts[1].tolist() == [20, 40, 100, 400]
    assert trimap_accuracy(counts).tolist() == pytest.approx([1 / 2, 3 / 4, 9 / 10, 39 / 40])


def test_without_a_boundary_no_band_has_a_value():
    flat = torch.full((1, 8, 8), 2, dtype=torch.uint8)
    assert trimap_accuracy(trimap_counts(flat, flat, 3)).isnan().all()
    hole = flat.clone()
    hole[:, 3:5] = 255
    assert trimap_counts(flat, hole, 3).sum() == 0


@pytest.mark.parametrize("widths", [(), (0, 1), (2, 2), (4, 2), (1.5,)])
def test_widths_that_are_none_are_refused(widths):
    labels = torch.zeros(1, 4, 4, dtype=torch.uint8)
    with pytest.raises(InvalidInput, match="widths"):
        trimap_counts(labels, labels, 2, widths=widths)
