"""Boundary IoU against its definition, written out with scipy for one class at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from saccade.errors import InvalidInput
from saccade.metrics import boundary_counts, boundary_iou


def near_contour(mask: np.ndarray, distance: float) -> np.ndarray:
    """The pixels of a mask within ``distance`` of a pixel outside it, beyond the border included."""
    return mask & (ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] <= distance)


def by_definition(pred, target, classes, distance):
    counted = target != 255
    rows = []
    for k in range(classes):
        true, said = (near_contour((labels == k) & counted, distance) for labels in (target, pred))
        rows.append([(true & said).sum(), (true | said).sum()])
    return np.array(rows).T


@pytest.mark.parametrize("distance", [1, 2.5, 6])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_counts_are_the_definition_written_out(make_blobs, distance, dtype):
    target = np.stack([make_blobs(seed, (60, 80), 4, 0.1) for seed in (1, 2)])
    pred = np.stack([make_blobs(seed, (60, 80), 4) for seed in (1, 3)])
    counts = boundary_counts(
        torch.tensor(pred).to(dtype), torch.tensor(target).to(dtype), 4, distance=distance
    )
    expected = sum(by_definition(p, t, 4, distance) for p, t in zip(pred, target, strict=True))
    assert np.array_equal(counts.numpy(), expected)


def test_a_square_moved_by_one_has_the_value_worked_out_by_hand():
    target = torch.zeros(1, 20, 20, dtype=torch.uint8)
    target[:, 5:15, 5:15] = 1
    score = boundary_iou(boundary_counts(target.roll(1, 2), target, 2, distance=1))
    # rims of 36 pixels share two stretches of 8 along the rows, their two corners included: 9 each
    assert score[1].item() == pytest.approx(18 / (36 + 36 - 18))


def test_the_default_distance_is_two_percent_of_the_diagonal(make_blobs):
    target = torch.tensor(make_blobs(4, (120, 160), 3))[None]
    pred = torch.tensor(make_blobs(4, (120, 160), 3, 0.05))[None]
    pred[pred == 255] = 0
    assert torch.equal(boundary_counts(pred, target, 3), boundary_counts(pred, target, 3, distance=4))


def test_a_wide_distance_makes_it_the_plain_iou(make_blobs):
    from saccade.metrics import confusion_matrix, iou

    target = torch.tensor(make_blobs(5, (40, 50), 3, 0.1))[None]
    pred = torch.tensor(make_blobs(6, (40, 50), 3))[None]
    everywhere = boundary_iou(boundary_counts(pred, target, 3, distance=60))
    assert torch.equal(everywhere, iou(confusion_matrix(pred, target, 3)))


def test_an_absent_class_is_nan_and_a_perfect_answer_is_one(make_blobs):
    target = torch.tensor(make_blobs(7, (40, 50), 3, 0.2))[None]
    score = boundary_iou(boundary_counts(target.where(target != 255, 1), target, 5))
    assert score[:3].tolist() == [1, 1, 1]
    assert score[3:].isnan().all()


def test_ignored_pixels_count_nowhere_whatever_is_predicted_there(make_blobs):
    target = torch.tensor(make_blobs(8, (40, 50), 3, 0.3))[None]
    pred = torch.tensor(make_blobs(9, (40, 50), 3))[None]
    other = pred.where(target != 255, (pred + 1) % 3)
    assert torch.equal(boundary_counts(pred, target, 3), boundary_counts(other, target, 3))


def test_what_does_not_fit_is_refused():
    labels = torch.zeros(1, 4, 4, dtype=torch.uint8)
    with pytest.raises(InvalidInput, match="B, H, W"):
        boundary_counts(labels[0], labels[0], 2)
    with pytest.raises(InvalidInput, match="id 3"):
        boundary_counts(labels + 3, labels, 2)
    with pytest.raises(InvalidInput, match="distance"):
        boundary_counts(labels, labels, 2, distance=0)
    with pytest.raises(InvalidInput, match="2, K"):
        boundary_iou(torch.zeros(3, 3))
