"""Sampling ratios against positions rounded by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from saccade.errors import InvalidInput
from saccade.grids.uniform import uniform_grid
from saccade.metrics import sampling_counts, sampling_ratio


def test_counts_are_the_labels_of_the_nearest_pixels(make_blobs):
    labels = make_blobs(1, (40, 60), 3, 0.1)
    grid = torch.rand(1, 7, 9, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x, y = ((grid[0].double().numpy() + 1) / 2 * np.array([59, 39])).transpose(2, 0, 1)
    fallen = labels[np.rint(y).astype(int), np.rint(x).astype(int)]
    counts = sampling_counts(torch.tensor(labels)[None], grid, 3)
    assert counts.tolist() == [[(m == k).sum() for k in range(3)] for m in (fallen, labels)]


def test_a_grid_on_every_pixel_has_ratio_one(make_blobs):
    labels = torch.tensor(make_blobs(2, (30, 50), 4, 0.2))[None]
    assert sampling_ratio(sampling_counts(labels, uniform_grid((30, 50)), 4)).tolist() == [1.0] * 4


def test_all_samples_in_a_quarter_give_it_four_times_its_share():
    labels = torch.zeros(1, 10, 40, dtype=torch.uint8)
    labels[:, :, 30:] = 1
    inside = uniform_grid((6, 6)) * torch.tensor([0.2, 1.0]) + torch.tensor([0.75, 0.0])
    assert sampling_ratio(sampling_counts(labels, inside, 3)).tolist()[:2] == [0, 4]
    assert sampling_ratio(sampling_counts(labels, inside, 3))[2].isnan()


def test_several_views_of_one_image_count_together(make_blobs):
    labels = torch.tensor(make_blobs(3, (30, 50), 3))[None]
    grids = torch.cat([uniform_grid((5, 5)), uniform_grid((5, 5)) * 0.3])
    both = sampling_counts(labels, grids, 3)
    one, other = (sampling_counts(labels, grid[None], 3) for grid in grids)
    assert torch.equal(both[0], one[0] + other[0])
    assert torch.equal(both[1], one[1])


def test_what_does_not_fit_is_refused():
    with pytest.raises(InvalidInput, match="id 7"):
        sampling_counts(torch.full((1, 4, 4), 7), uniform_grid((2, 2)), 3)
    with pytest.raises(InvalidInput, match="2, K"):
        sampling_ratio(torch.zeros(3, 3))
