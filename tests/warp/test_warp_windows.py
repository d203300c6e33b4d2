"""A window is the same part of the whole, bit for bit, wherever it is cut."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from warp_grids import GRIDS, shaken

from saccade.warp import unwarp, unwarp_labels

SIZE = (97, 131)


@st.composite
def windows(draw):
    top, left = draw(st.integers(0, SIZE[0] - 1)), draw(st.integers(0, SIZE[1] - 1))
    return top, draw(st.integers(top + 1, SIZE[0])), left, draw(st.integers(left + 1, SIZE[1]))


def cut(whole: torch.Tensor, window: tuple[int, int, int, int]) -> torch.Tensor:
    return whole[..., window[0] : window[1], window[2] : window[3]]


@settings(max_examples=40, deadline=None)
@given(window=windows(), name=st.sampled_from(sorted(GRIDS)), mode=st.sampled_from(["linear", "nearest"]))
def test_a_window_equals_the_part_of_the_whole(window, name, mode):
    grid = GRIDS[name]()
    generator = torch.Generator().manual_seed(7)
    scores = torch.randn(len(grid), 5, *grid.shape[1:3], generator=generator, dtype=torch.float64)
    for function in (unwarp, unwarp_labels):
        whole = function(scores, grid, SIZE, mode=mode)
        assert torch.equal(function(scores, grid, SIZE, mode=mode, window=window), cut(whole, window))


@pytest.mark.parametrize("tile", [(16, 16), (7, 50), (97, 1), (1, 131)])
def test_tiles_put_together_are_the_whole(tile):
    grid = shaken(14, 15, 0.9)
    scores = torch.randn(1, 6, 14, 15, dtype=torch.float64).round()
    for function in (unwarp, unwarp_labels):
        whole = function(scores, grid, SIZE)
        for top in range(0, SIZE[0], tile[0]):
            for left in range(0, SIZE[1], tile[1]):
                window = (top, min(top + tile[0], SIZE[0]), left, min(left + tile[1], SIZE[1]))
                assert torch.equal(function(scores, grid, SIZE, window=window), cut(whole, window))


def test_the_gradient_of_a_window_is_that_of_its_part():
    grid = shaken(9, 13, 0.3)
    values = torch.rand(1, 2, 9, 13, dtype=torch.float64, requires_grad=True)
    window = (10, 60, 20, 100)
    part = torch.autograd.grad(unwarp(values, grid, SIZE, window=window).square().sum(), values)[0]
    whole = torch.autograd.grad(cut(unwarp(values, grid, SIZE), window).square().sum(), values)[0]
    torch.testing.assert_close(part, whole, rtol=1e-12, atol=1e-12)
