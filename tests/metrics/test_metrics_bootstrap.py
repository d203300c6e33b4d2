"""The bootstrap against scipy's, against closed forms, and against a loop."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats

from saccade.errors import InvalidInput
from saccade.metrics import iou, miou
from saccade.metrics.bootstrap import Interval, draw_images, interval, iou_parts, resample


def counts_of(seeds: int, images: int, seed: int = 0, classes: int = 3) -> np.ndarray:
    """(S, N, K, K) of images of different difficulty."""
    rng = np.random.default_rng(seed)
    right = rng.integers(50, 900, (1, images, classes)) + rng.integers(0, 60, (seeds, images, classes))
    return rng.integers(0, 120, (seeds, images, classes, classes)) + right[..., None] * np.eye(
        classes, dtype=int
    )


def test_values_are_the_pooled_scores_averaged_over_seeds():
    import torch

    counts = counts_of(3, 12)
    found = resample(iou_parts(counts), draw_images(12, 10)).values
    pooled = [torch.tensor(one.sum(0)) for one in counts]
    assert found[:-1] == pytest.approx(np.mean([iou(one).numpy() for one in pooled], 0))
    assert found[-1] == pytest.approx(np.mean([miou(one) for one in pooled]))


def test_one_seed_gives_the_interval_of_scipy():
    counts = counts_of(1, 40, seed=3)
    parts = iou_parts(counts)
    over, under = parts[0, :, 0, 0], parts[0, :, 1, 0]
    peer = stats.bootstrap(
        (over, under), lambda a, b, axis=-1: a.sum(axis) / b.sum(axis), paired=True, vectorized=True,
        n_resamples=20_000, method="percentile", rng=np.random.default_rng(1),
    )  # fmt: skip
    ours = resample(parts, draw_images(40, 20_000, seed=2))
    width = peer.confidence_interval.high - peer.confidence_interval.low
    found = ours.interval(0)
    assert found.low == pytest.approx(peer.confidence_interval.low, abs=0.04 * width)
    assert found.high == pytest.approx(peer.confidence_interval.high, abs=0.04 * width)
    assert ours.draws[:, 0].std() == pytest.approx(peer.standard_error, rel=0.03)


def test_a_paired_difference_is_that_of_scipy_on_pairs():
    first, second = iou_parts(counts_of(1, 40, seed=3)), iou_parts(counts_of(1, 40, seed=4))
    columns = (first[0, :, 0, 1], first[0, :, 1, 1], second[0, :, 0, 1], second[0, :, 1, 1])
    peer = stats.bootstrap(
        columns, lambda a, b, c, d, axis=-1: c.sum(axis) / d.sum(axis) - a.sum(axis) / b.sum(axis),
        paired=True, vectorized=True, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1),
    )  # fmt: skip
    images = draw_images(40, 20_000, seed=2)
    found = resample(second, images).gain(resample(first, images), 1)
    assert (found.high - found.low) == pytest.approx(
        peer.confidence_interval.high - peer.confidence_interval.low, rel=0.04
    )


def test_images_that_are_alike_in_both_cancel():
    """Hard and easy images make each score uncertain, and their difference not at all."""
    counts = counts_of(1, 30, seed=5)
    images = draw_images(30, 500)
    one, other = resample(iou_parts(counts), images), resample(iou_parts(2 * counts), images)
    assert one.interval().high - one.interval().low > 0.005
    assert other.gain(one) == Interval(0, pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12))


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_seeds_alone_vary_by_the_unbiased_variance_of_their_mean(seeds):
    """Images that are all alike leave the seeds: the variance of a mean is s^2 / S."""
    scores = np.random.default_rng(seeds).uniform(0.6, 0.8, seeds)
    parts = np.stack([np.full((20, 1), score) for score in scores])[:, :, None, :]
    parts = np.concatenate([parts, np.ones_like(parts)], 2)
    found = resample(parts, draw_images(20, 40_000))
    assert found.draws[:, 0].var() == pytest.approx(scores.var(ddof=1) / seeds, rel=0.03)
    assert found.values[0] == pytest.approx(scores.mean())


def test_draws_are_what_a_loop_over_drawn_images_gives():
    counts = counts_of(1, 8, seed=6)
    images = draw_images(8, 5)
    found = resample(iou_parts(counts), images)
    for row, often in zip(found.draws, images.astype(int), strict=True):
        pooled = sum(n * one for n, one in zip(often, counts[0], strict=True))
        both = np.diag(pooled)
        assert row[:-1] == pytest.approx(both / (pooled.sum(0) + pooled.sum(1) - both))


def test_a_class_that_a_draw_lacks_is_left_out_of_its_mean():
    counts = np.zeros((1, 2, 2, 2), int)
    counts[0, 0, 0, 0] = counts[0, 1, 1, 1] = 10
    found = resample(iou_parts(counts), np.array([[2.0, 0.0], [1.0, 1.0]]))
    assert found.draws[0].tolist()[0] == 1
    assert np.isnan(found.draws[0, 1])
    assert found.draws[:, -1].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.01, 0.2, "win"), (-0.2, -0.01, "loss"), (-0.01, 0.2, "unclear"), (0.0, 0.1, "unclear")],
)
def test_a_win_is_a_range_above_zero(low, high, verdict):
    assert Interval(0.1, low, high).verdict == verdict


def test_draws_that_are_infinite_end_the_range_at_infinity():
    found = interval(4.0, np.array([1.0] * 50 + [np.inf] * 50))
    assert (found.low, found.high) == (1.0, np.inf)
    assert np.isnan(interval(1.0, np.array([np.nan])).low)


def test_sixty_seven_images_and_three_seeds_take_a_fraction_of_a_second():
    parts = iou_parts(counts_of(3, 67))
    resample(parts, draw_images(67, 10))
    start = time.process_time()
    resample(parts, draw_images(67, 4000))
    assert time.process_time() - start < 0.5


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InvalidInput, match="shape"):
        resample(np.ones((1, 5, 2, 3)), draw_images(4, 10))
    with pytest.raises(InvalidInput, match="at least 1"):
        draw_images(0)
