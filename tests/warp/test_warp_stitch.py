"""A patch put back window by window is what ``unwarp`` and ``unwarp_labels`` give, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.errors import InvalidInput
from saccade.geometry import Window
from saccade.grids.uniform import uniform_grid
from saccade.warp.stitch import RasterisedPatch, one_patch
from saccade.warp.unwarping import unwarp, unwarp_labels

REGION = Window(40, 110, 25, 120)


def painter(kind: str, classes: int, view: tuple[int, int], seed: int) -> RasterisedPatch:
    """Random scores on a grid that covers its region, bends inwards, or folds."""
    random = torch.Generator().manual_seed(seed)
    grid = uniform_grid(view)[0]
    if kind == "inside":
        grid = grid * 0.8
    if kind == "folded":
        grid = (grid + 0.4 * torch.randn(grid.shape, generator=random)).clamp(-1, 1)
    scores = torch.randn((classes, *view), generator=random)
    return RasterisedPatch(one_patch(scores, grid, REGION))


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(["covering", "inside", "folded"]),
    classes=st.integers(1, 5),
    view=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 99),
    corner=st.tuples(st.integers(0, 69), st.integers(0, 94)),
)
def test_any_window_is_that_of_unwarp(kind, classes, view, seed, corner) -> None:
    made = painter(kind, classes, view, seed)
    patch, side = made.patch, (corner[0], REGION.height, corner[1], REGION.width)
    window = Window(*side).shifted(REGION.top, REGION.left)
    arguments = (patch.scores[None], patch.grid[None], REGION.size)
    labels, scores = unwarp_labels(*arguments, window=side)[0], unwarp(*arguments, window=side)[0]
    for _ in range(2):
        np.testing.assert_array_equal(made.labels(window), labels.numpy())
        np.testing.assert_array_equal(made.scores(window), scores.numpy())


def test_scores_that_are_no_numbers_are_refused() -> None:
    scores = torch.full((2, 4, 4), float("nan"))
    with pytest.raises(InvalidInput, match="NaN"):
        RasterisedPatch(one_patch(scores, uniform_grid((4, 4))[0], REGION)).labels(REGION)
