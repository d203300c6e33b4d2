"""Tiles cover the image, lie evenly, and fade into each other."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.errors import InvalidInput
from saccade.geometry import Tiling

SIDE = st.integers(1, 500)
SIZE = st.tuples(SIDE, SIDE)


@given(SIZE, st.tuples(st.integers(1, 200), st.integers(1, 200)), st.floats(0, 0.5))
@settings(max_examples=60, deadline=None)
def test_tiles_cover_the_image_with_the_overlap_that_was_asked(
    size: tuple[int, int], tile: tuple[int, int], overlap: float
) -> None:
    tiling = Tiling(size, tile, overlap)
    if np.prod(tiling.count) > 2000:
        return
    covered = np.zeros(size, bool)
    for window in tiling.windows:
        assert window.size == tiling.tile and window.inside(size)
        covered[window.slices] = True
    assert covered.all()
    for axis in (0, 1):
        starts, side = tiling.starts(axis), tiling.tile[axis]
        assert all(a + side - b >= int(side * overlap) for a, b in pairwise(starts))


@given(st.integers(60, 400), st.integers(40, 60), st.floats(0, 0.3))
@settings(max_examples=40, deadline=None)
def test_weights_of_neighbours_add_up_to_one_and_are_never_zero(
    length: int, side: int, overlap: float
) -> None:
    tiling = Tiling((length, 8), (side, 8), overlap)
    total = np.zeros(length)
    for start in tiling.starts(0):
        weights = tiling.weights(start, 0)
        assert (weights > 0).all()
        total[start : start + side] += weights
    starts = tiling.starts(0)
    if all(c >= a + side for a, c in zip(starts, starts[2:], strict=False)):
        np.testing.assert_allclose(total, 1, atol=1e-6)


def test_an_overlap_beyond_half_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"overlap to be a share from 0 to 0\.5"):
        Tiling((10, 10), (5, 5), 0.6)
