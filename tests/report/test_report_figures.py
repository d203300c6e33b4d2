"""Pictures are right where it can be said in numbers: colours, places, what must not vanish."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from saccade import figures
from saccade.figures import class_palette, hex_colour, ramp
from saccade.report.page import palette_of


def lightness(colours: np.ndarray) -> np.ndarray:
    """Relative luminance of sRGB colours."""
    linear = (colours / 255.0) ** 2.2
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def test_the_ramp_grows_lighter_all_along():
    assert (np.diff(lightness(ramp(np.linspace(0, 1, 40)))) > 0).all()


@pytest.mark.parametrize("count", range(2, 9))
def test_classes_differ_in_black_and_white_and_the_rarest_is_the_lightest(count):
    shares = np.random.default_rng(count).permutation(count) + 1.0
    grey = lightness(class_palette(shares))
    assert np.diff(np.sort(grey)).min() > 0.015
    assert grey.argmax() == shares.argmin()
    assert grey.argmin() == shares.argmax()


def test_classes_keep_their_own_colours():
    own = np.random.default_rng(0).integers(0, 256, (12, 3))
    assert np.array_equal(class_palette(np.ones(12), own), own)
    assert np.array_equal(class_palette(np.ones(3), own[:3]), own[:3])
    assert hex_colour((255, 0, 16)) == "#ff0010"


def test_colours_of_another_number_of_classes_are_not_taken():
    scores = SimpleNamespace(classes=("a", "b", "c", "d"), confusion=torch.eye(4, dtype=torch.int64))
    own = np.zeros((3, 3), np.uint8)
    assert np.array_equal(palette_of(scores, own), class_palette(np.ones(4)))


def test_an_overlay_leaves_ignored_pixels_and_edges_regions_in_white(segmented):
    one = segmented(1)
    palette = class_palette([100, 10, 1])
    drawn = figures.overlay(one.image, one.truth, palette)
    inside = (one.truth == 255) & ~figures.outlines(one.truth)
    assert np.array_equal(drawn[inside], one.image[inside])
    assert (drawn[figures.outlines(one.truth)] == 255).all()
    plain = (one.truth == 1) & ~figures.outlines(one.truth)
    grey = one.image[plain].mean(-1, keepdims=True)
    assert np.abs(drawn[plain] - (0.45 * grey + 0.55 * palette[1])).max() <= 0.51


def test_shrinking_labels_never_loses_a_rare_pixel():
    labels = np.zeros((1024, 2048), np.uint8)
    labels[301, 777] = 2
    labels[800:900, 3:90] = 1
    small = figures.shrink_labels(labels, 660, np.array([0, 1, 2]))
    assert small.shape == (256, 512)
    assert small[301 // 4, 777 // 4] == 2
    assert (small == 2).sum() == 1
    odd = figures.shrink_labels(np.full((7, 11), 255, np.uint8), 5, np.array([0, 1]))
    assert (odd == 255).all()


def test_labels_that_fit_stay_as_they_are(segmented):
    truth = segmented(2).truth
    assert figures.shrink_labels(truth, 500, np.arange(3)) is truth


def test_density_is_lightest_at_its_largest_and_constant_is_no_fault():
    density = np.zeros((4, 8))
    density[3, 7] = 2
    drawn = figures.density_picture(density, (40, 80))
    grey = lightness(drawn.astype(float))
    assert grey[-1, -1] == grey.max() > grey[0, 0] == grey.min()
    assert figures.density_picture(np.ones((4, 8)), (40, 80)).shape == (40, 80, 3)


def test_samples_are_drawn_where_the_grid_says():
    image = np.zeros((21, 41, 3), np.uint8)
    grid = np.array([[[-1, -1], [0, 0]], [[1, 1], [0.5, -0.5]]], np.float32)
    drawn = figures.samples_on(image, grid)
    marked = drawn[..., 0] == 255
    assert marked[0, 0] and marked[10, 20] and marked[20, 40] and marked[5, 30]
    assert marked.mean() < 0.1


def test_dense_samples_are_thinned():
    grid = np.random.default_rng(0).random((500, 500, 2)) * 2 - 1
    drawn = figures.samples_on(np.zeros((300, 300, 3), np.uint8), grid, most=1000)
    assert 300 < (drawn[..., 0] == 255).sum() <= 1000 * 16


def test_errors_tell_missed_from_invented(segmented):
    image = np.zeros((20, 20, 3), np.uint8)
    truth, pred = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)
    truth[2:6, 2:6] = 1
    pred[10:16, 10:16] = 1
    truth[18:] = 255
    pred[18:] = 1
    drawn = figures.error_picture(image, truth, pred, background=0)
    assert (drawn[2:6, 2:6] == figures.MISSED).all()
    invented = drawn[10:16, 10:16]
    assert (invented == figures.INVENTED).all(-1).any()
    assert not (invented == figures.INVENTED).all(-1).all(), "stripes tell it apart without colour"
    right = np.ones((20, 20), bool)
    right[2:6, 2:6] = right[10:16, 10:16] = False
    assert (drawn[right] == drawn[0, 0]).all()


def test_the_close_up_goes_to_the_heaviest_errors():
    truth, pred = np.zeros((200, 300), np.uint8), np.zeros((200, 300), np.uint8)
    pred[10:60, 10:60] = 1
    truth[150:154, 280:284] = 2
    top, bottom, left, right = figures.worst_window(truth, pred, (50, 50), np.array([1.0, 1.0, 1.0]))
    assert (top, left) == (pytest.approx(10, abs=1), pytest.approx(10, abs=1))
    top, bottom, left, right = figures.worst_window(truth, pred, (50, 50), np.array([0.001, 0.1, 1.0]))
    assert top <= 150 and bottom >= 154 and left <= 280 and right >= 284
    assert (bottom - top, right - left) == (50, 50)
    truth[100:104, 150:154] = 2
    truth[150:154, 280:284] = 0
    top, bottom, left, right = figures.worst_window(truth, pred, (50, 50), np.array([0.0, 0.0, 1.0]))
    assert (top + bottom) / 2 == pytest.approx(102, abs=1.5), "what is wrong lies in the middle"
    assert (left + right) / 2 == pytest.approx(152, abs=1.5)
    assert figures.worst_window(truth, pred, (999, 999), np.ones(3)) == (0, 200, 0, 300)


def test_outlines_are_seen_on_white_and_on_black():
    labels = np.zeros((20, 20), np.uint8)
    labels[5:15, 5:15] = 1
    for ground in (0, 255):
        drawn = figures.outlined(np.full((20, 20, 3), ground, np.uint8), labels, zoom=3)
        assert drawn.shape == (60, 60, 3)
        assert (drawn == 255 - ground).all(-1).sum() > 100


def test_pictures_of_many_pixels_are_drawn_a_few_rows_at_a_time(monkeypatch):
    rng = np.random.default_rng(0)
    image, labels = rng.integers(0, 256, (50, 40, 3), np.uint8), rng.integers(0, 4, (50, 40)).astype(np.uint8)
    grid = rng.uniform(-1, 1, (9, 9, 2))
    labels[labels == 3] = 255
    palette = rng.integers(0, 256, (3, 3), np.uint8)
    whole = figures.overlay(image, labels, palette), figures.samples_on(image, grid)
    monkeypatch.setattr(figures, "DRAWN_AT_ONCE", 280)
    assert np.array_equal(figures.overlay(image, labels, palette), whole[0])
    assert np.array_equal(figures.samples_on(image, grid), whole[1])


def test_a_picture_takes_little_memory_besides_itself():
    image, labels = np.zeros((2000, 2000, 3), np.uint8), np.zeros((2000, 2000), np.uint8)
    for draw in (
        lambda: figures.overlay(image, labels, np.zeros((3, 3), np.uint8)),
        lambda: figures.samples_on(image, np.zeros((8, 8, 2))),
    ):
        tracemalloc.start()
        drawn = draw()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < drawn.nbytes + 120 * figures.DRAWN_AT_ONCE
