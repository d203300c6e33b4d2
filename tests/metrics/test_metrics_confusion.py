"""Counts against a plain loop over pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.errors import InvalidInput
from saccade.metrics import confusion_matrix, iou, miou, pixel_accuracy
from saccade.metrics.confusion import _bincount


def by_hand(pred: np.ndarray, target: np.ndarray, classes: int, ignore: int) -> np.ndarray:
    counts = np.zeros((classes, classes), np.int64)
    for true, said in zip(target.ravel().tolist(), pred.ravel().tolist(), strict=True):
        if true != ignore:
            counts[true, said] += 1
    return counts


def label_maps(seed: int, classes: int, shape: tuple[int, ...], ignore: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    pred, target = rng.integers(0, classes, shape), rng.integers(0, classes, shape)
    target[rng.random(shape) < 0.2] = ignore
    return pred, target


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(1, 20),
    height=st.integers(0, 9),
    width=st.integers(1, 9),
    dtype=st.sampled_from([torch.uint8, torch.int16, torch.int64]),
)
def test_counts_equal_a_loop_over_pixels(seed, classes, height, width, dtype):
    pred, target = label_maps(seed, classes, (2, height, width), 255)
    counts = confusion_matrix(torch.tensor(pred, dtype=dtype), torch.tensor(target, dtype=dtype), classes)
    assert counts.dtype == torch.int64
    assert np.array_equal(counts.numpy(), by_hand(pred, target, classes, 255))


@pytest.mark.parametrize(("ignore", "dtype"), [(-1, torch.int64), (7, torch.uint8), (300, torch.int16)])
def test_any_value_outside_the_classes_can_be_the_ignored_one(ignore, dtype):
    pred, target = label_maps(3, 5, (40, 30), ignore)
    counts = confusion_matrix(torch.tensor(pred, dtype=dtype), torch.tensor(target, dtype=dtype), 5, ignore)
    assert np.array_equal(counts.numpy(), by_hand(pred, target, 5, ignore))


def test_a_prediction_on_an_ignored_pixel_may_be_anything():
    target = torch.tensor([[0, 255]], dtype=torch.uint8)
    pred = torch.tensor([[1, 200]], dtype=torch.uint8)
    assert confusion_matrix(pred, target, 2).tolist() == [[0, 1], [0, 0]]
    assert confusion_matrix(pred.long(), target.long(), 2).tolist() == [[0, 1], [0, 0]]


def test_a_tensor_that_is_not_contiguous_is_counted_right():
    pred, target = (torch.tensor(a, dtype=torch.uint8) for a in label_maps(5, 4, (6, 7), 255))
    assert torch.equal(confusion_matrix(pred.T, target.T, 4), confusion_matrix(pred, target, 4))


def test_the_path_of_accelerators_counts_the_same():
    pred, target = (torch.tensor(a) for a in label_maps(7, 6, (3, 20, 20), 255))
    on_device = _bincount(pred.flatten(), target.flatten(), 6, 255)
    assert torch.equal(on_device, confusion_matrix(pred, target, 6))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
@pytest.mark.parametrize("wrong", ["pred", "target"])
def test_a_class_out_of_range_is_refused_by_name(wrong, dtype):
    maps = {"pred": torch.zeros(3, 3, dtype=dtype), "target": torch.zeros(3, 3, dtype=dtype)}
    maps[wrong][1, 1] = 9
    with pytest.raises(InvalidInput, match=f"expected {wrong} .*the id 9"):
        confusion_matrix(**maps, num_classes=3)


def test_shapes_types_and_numbers_that_do_not_fit_are_refused():
    labels = torch.zeros(2, 4, 4, dtype=torch.uint8)
    with pytest.raises(InvalidInput, match="shape"):
        confusion_matrix(labels[0], labels, 3)
    with pytest.raises(InvalidInput, match="argmax"):
        confusion_matrix(labels.float(), labels, 3)
    with pytest.raises(InvalidInput, match="num_classes"):
        confusion_matrix(labels, labels, 0)
    with pytest.raises(InvalidInput, match="ignore_index"):
        confusion_matrix(labels, labels, 3, ignore_index=2)


def test_pooling_adds_counts_and_does_not_average_scores():
    pairs = [label_maps(seed, 3, (1, 8, 9 + seed), 255) for seed in range(3)]
    pooled = sum(confusion_matrix(torch.tensor(pred), torch.tensor(target), 3) for pred, target in pairs)
    expected = sum(by_hand(pred, target, 3, 255) for pred, target in pairs)
    assert np.array_equal(pooled.numpy(), expected)


def test_scores_are_the_set_formulas():
    pred, target = label_maps(11, 4, (30, 30), 255)
    pred[target == 255] = 254
    counts = confusion_matrix(torch.tensor(pred.clip(max=3)), torch.tensor(target), 4)
    for k in range(4):
        said, true = pred == k, target == k
        assert iou(counts)[k].item() == pytest.approx((said & true).sum() / (said | true).sum(), abs=0)
        assert pixel_accuracy(counts)[k].item() == pytest.approx((said & true).sum() / true.sum(), abs=0)
    assert miou(counts) == pytest.approx(iou(counts).mean().item(), abs=1e-15)


def test_an_absent_class_is_nan_and_left_out_of_the_mean():
    counts = torch.tensor([[8, 2, 0, 0], [0, 10, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    counts[0, 3] = 5
    assert iou(counts).isnan().tolist() == [False, False, True, False]
    assert miou(counts) == pytest.approx((8 / 15 + 10 / 12 + 0.0) / 3)
    assert pixel_accuracy(counts).isnan().tolist() == [False, False, True, True]
    assert np.isnan(miou(torch.zeros(2, 2, dtype=torch.int64)))


def test_a_matrix_that_is_not_square_is_refused():
    with pytest.raises(InvalidInput, match="K, K"):
        iou(torch.zeros(2, 3))
