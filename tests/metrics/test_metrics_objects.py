"""Objects against scipy's components, quartiles against lists small enough to sort by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from saccade.errors import InvalidInput
from saccade.metrics import object_records, recall_by_size


def by_scipy(pred, target, classes):
    rows = []
    for k in range(classes):
        components, count = ndimage.label(target == k, np.ones((3, 3)))
        for i in range(1, count + 1):
            rows.append((k, (components == i).sum(), ((components == i) & (pred == k)).sum()))
    return sorted(rows)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**9),
    st.integers(1, 25),
    st.integers(1, 25),
    st.integers(1, 4),
    st.sampled_from([0, 0.3]),
)
def test_components_are_scipys_with_sides_and_corners(seed, height, width, classes, ignored):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, (height, width)).astype(np.uint8)
    target[rng.random(target.shape) < ignored] = 255
    pred = rng.integers(0, classes, (height, width)).astype(np.uint8)
    records = object_records(torch.tensor(pred)[None], torch.tensor(target)[None], classes)
    assert sorted(map(tuple, records.tolist())) == by_scipy(pred, target, classes)


def test_many_runs_and_winding_shapes_hold_together(make_blobs):
    target, pred = make_blobs(1, (300, 300), 3, 0.1), make_blobs(2, (300, 300), 3)
    spiral = np.zeros((300, 300), np.uint8)
    for i in range(0, 140, 4):
        spiral[i : 300 - i, i : 300 - i] = 1
        spiral[i + 2 : 298 - i, i + 2 : 298 - i] = 0
        spiral[i + 2 : i + 4, i + 2] = 1
    maps = np.stack([target, spiral])
    said = np.stack([pred, target.clip(max=1)])
    records = object_records(torch.tensor(said), torch.tensor(maps), 3)
    expected = by_scipy(said[0], maps[0], 3) + by_scipy(said[1], maps[1], 3)
    assert sorted(map(tuple, records.tolist())) == sorted(expected)


def test_an_instance_is_an_object_even_in_two_parts():
    target = torch.tensor([[[0, 1, 0, 1, 2, 255]]])
    instances = torch.tensor([[[0, 5, 0, 5, 5, 5]]])
    pred = torch.tensor([[[0, 1, 0, 0, 2, 2]]])
    assert object_records(pred, target, 3, instances=instances).tolist() == [[1, 2, 1], [2, 1, 1]]


def test_quartiles_are_of_equal_count_and_ordered_by_size():
    sizes = [40, 10, 80, 20, 70, 30, 60, 50, 90]
    records = torch.tensor([[1, size, size // 2 if size > 30 else 0] for size in sizes])
    bins = recall_by_size(records)
    assert [b.objects for b in bins] == [3, 2, 2, 2]
    assert [(b.smallest, b.largest) for b in bins] == [(10, 30), (40, 50), (60, 70), (80, 90)]
    assert [b.recall for b in bins] == [0, 0.5, 0.5, 0.5]


def test_objects_of_one_size_share_their_recall_whatever_the_order():
    records = torch.tensor([[0, 4, 4], [0, 4, 0], [0, 4, 4], [0, 4, 0]])
    assert [b.recall for b in recall_by_size(records)] == [0.5] * 4
    assert recall_by_size(records.flip(0)) == recall_by_size(records)


def test_only_the_chosen_classes_count_and_too_few_objects_leave_bins_empty():
    records = torch.tensor([[0, 9, 9], [1, 5, 0], [1, 7, 7]])
    bins = recall_by_size(records, classes=[1])
    assert [b.objects for b in bins] == [1, 1, 0, 0]
    assert [b.recall for b in bins[:2]] == [0, 1]
    assert all(np.isnan(b.recall) for b in bins[2:])
    assert all(b.objects == 0 for b in recall_by_size(torch.zeros(0, 3, dtype=torch.int64)))


def test_what_does_not_fit_is_refused():
    labels = torch.zeros(1, 4, 4, dtype=torch.uint8)
    with pytest.raises(InvalidInput, match="instances"):
        object_records(labels, labels, 2, instances=torch.zeros(1, 4, 5, dtype=torch.int64))
    with pytest.raises(InvalidInput, match="N, 3"):
        recall_by_size(torch.zeros(4, 2))
    with pytest.raises(InvalidInput, match="bins"):
        recall_by_size(torch.zeros(4, 3), bins=0)
