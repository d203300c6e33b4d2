"""Distances against scipy's exact transform, class by class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from saccade.errors import InvalidInput
from saccade.metrics.boundary import squared_distance_to_marked, squared_distance_to_other

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def capped(squared: np.ndarray, reach: float) -> np.ndarray:
    return np.where(squared <= reach * reach, np.rint(squared), np.inf)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), SHAPES, st.integers(1, 6), st.sampled_from([1, 1.5, 2, 4.25, 9, 100]))
def test_distance_to_another_label_is_scipys_for_every_class(seed, shape, classes, reach):
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, classes, (-(-shape[0] // 5), -(-shape[1] // 5))), np.ones((5, 5), int))
    labels = np.ascontiguousarray(labels[: shape[0], : shape[1]]).astype(np.uint8)
    found = capped(squared_distance_to_other(labels, reach), reach)
    for k in np.unique(labels):
        inside = labels == k
        exact = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1] ** 2
        assert np.array_equal(found[inside], capped(exact, reach)[inside])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), SHAPES, st.sampled_from([0.005, 0.05, 0.5]), st.sampled_from([1, 3, 7.5, 100]))
def test_distance_to_a_mark_is_scipys(seed, shape, share, reach):
    marked = np.random.default_rng(seed).random(shape) < share
    found = capped(squared_distance_to_marked(marked, reach), reach)
    exact = ndimage.distance_transform_edt(~marked) ** 2 if marked.any() else np.full(shape, np.inf)
    assert np.array_equal(found, capped(exact, reach))


def test_distances_do_not_depend_on_the_number_of_threads(make_blobs):
    labels = make_blobs(1, (600, 700), 4)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = squared_distance_to_other(labels, 20)
        torch.set_num_threads(3)
        three = squared_distance_to_other(labels, 20)
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(one, three)


@pytest.mark.parametrize("reach", [0, -1, float("nan"), 1e6])
def test_a_reach_that_is_none_is_refused(reach):
    with pytest.raises(InvalidInput, match="distance"):
        squared_distance_to_other(np.zeros((3, 3), np.uint8), reach)
