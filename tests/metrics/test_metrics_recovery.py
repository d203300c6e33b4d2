"""Label recovery where the answer is known: a grid on every pixel, nearest cells, ignored holes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator

from saccade.errors import InvalidInput
from saccade.grids.uniform import uniform_grid
from saccade.metrics import recovered_labels, recovery_counts


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_a_grid_on_every_pixel_recovers_every_label(make_blobs, mode):
    labels = torch.tensor(make_blobs(1, (31, 47), 4))[None]
    assert torch.equal(recovered_labels(labels, uniform_grid((31, 47)), 4, mode=mode), labels)


def test_two_classes_cross_where_the_nearest_samples_do(make_blobs):
    labels = make_blobs(2, (41, 81), 2)
    y, x = np.meshgrid(np.arange(41), np.arange(81), indexing="ij")
    sampled = labels[::10, ::10]
    nearest = RegularGridInterpolator((np.arange(0, 41, 10), np.arange(0, 81, 10)), sampled, method="nearest")
    tie = (y % 10 == 5) | (x % 10 == 5)
    recovered = recovered_labels(torch.tensor(labels)[None], uniform_grid((5, 9)), 2, mode="nearest")[0]
    assert np.array_equal(recovered.numpy()[~tie], nearest((y, x)).astype(np.uint8)[~tie])


def test_linear_recovery_puts_a_straight_border_half_way_between_samples():
    labels = torch.zeros(1, 21, 41, dtype=torch.uint8)
    labels[:, :, 17:] = 1
    recovered = recovered_labels(labels, uniform_grid((3, 5)), 2)[0]
    # samples at 0, 10, 20, ...: the classes change between 10 and 20, so the border is put at 15
    assert (recovered[:, :15] == 0).all()
    assert (recovered[:, 16:] == 1).all()


def test_a_sample_without_a_label_takes_its_neighbours():
    labels = torch.full((1, 9, 9), 2, dtype=torch.uint8)
    labels[:, 3:6, 3:6] = 255
    assert (recovered_labels(labels, uniform_grid((3, 3)), 3) == 2).all()
    nothing = torch.full_like(labels, 255)
    assert recovery_counts(nothing, uniform_grid((3, 3)), 3).sum() == 0


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(InvalidInput, match="B, H, W"):
        recovered_labels(torch.zeros(4, 4, dtype=torch.uint8), uniform_grid((2, 2)), 3)
    with pytest.raises(InvalidInput, match="id 9"):
        recovered_labels(torch.full((1, 4, 4), 9), uniform_grid((2, 2)), 3)
