"""Windows refuse what is no rectangle of pixels, and tiles cover an image once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.errors import InvalidInput
from saccade.geometry import Window, tile_windows


@pytest.mark.parametrize("sides", [(0, 0, 0, 5), (3, 2, 0, 5), (-1, 2, 0, 5), (0, 2, 5, 5), (0, 2, -3, 5)])
def test_an_empty_or_negative_window_is_refused(sides):
    with pytest.raises(InvalidInput, match="top < bottom"):
        Window(*sides)


@pytest.mark.parametrize("side", [1.0, "1", None])
def test_a_side_that_is_no_whole_number_is_refused(side):
    with pytest.raises(InvalidInput, match="whole number"):
        Window(0, side, 0, 5)


def test_numpy_integers_are_whole_numbers():
    assert Window(np.int64(0), np.uint8(3), 0, 5) == Window(0, 3, 0, 5)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50), st.integers(1, 50))
def test_tiles_cover_every_pixel_once(height, width, rows, columns):
    seen = np.zeros((height, width), int)
    for window in tile_windows((height, width), (rows, columns)):
        assert window.height <= rows and window.width <= columns
        seen[window.slices] += 1
    assert (seen == 1).all()


def test_the_intersection_is_what_both_hold():
    a, b = Window(0, 10, 0, 10), Window(5, 20, 8, 9)
    assert a.intersection(b) == Window(5, 10, 8, 9)
    assert a.intersection(Window(10, 12, 0, 3)) is None
    assert b.shifted(1, -2) == Window(6, 21, 6, 7)
