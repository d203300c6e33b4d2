"""The uniform grid and resizing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.errors import InvalidInput
from saccade.grids import resize_grid, uniform_grid

SIDES = st.integers(1, 12)


def test_corners_are_pixel_centres_of_the_corners():
    grid = uniform_grid((3, 5), batch=2)
    assert grid.shape == (2, 3, 5, 2) and grid.dtype == torch.float32
    assert grid[1, 0, 0].tolist() == [-1, -1]
    assert grid[1, 0, 4].tolist() == [1, -1]
    assert grid[1, 2, 1].tolist() == [-0.5, 1]


def test_one_row_or_column_lies_in_the_middle():
    assert uniform_grid((1, 1)).tolist() == [[[[0, 0]]]]
    assert uniform_grid((1, 3))[0, 0].tolist() == [[-1, 0], [0, 0], [1, 0]]


def test_a_uniform_grid_of_the_size_of_the_image_samples_the_image_itself():
    image = torch.rand(1, 2, 7, 11)
    sampled = torch.nn.functional.grid_sample(image, uniform_grid((7, 11)), align_corners=True)
    torch.testing.assert_close(sampled, image, atol=1e-5, rtol=0)


@settings(max_examples=40, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES)
def test_a_resized_uniform_grid_is_the_uniform_grid_of_that_size(h, w, rows, columns):
    if (h == 1 and rows > 1) or (w == 1 and columns > 1):
        return
    resized = resize_grid(uniform_grid((h, w)), (rows, columns))
    torch.testing.assert_close(resized, uniform_grid((rows, columns)), atol=1e-6, rtol=0)


def test_resizing_agrees_with_interpolation_by_torch():
    grid = torch.rand(2, 5, 8, 2) * 2 - 1
    expected = torch.nn.functional.interpolate(
        grid.permute(0, 3, 1, 2), (9, 13), mode="bilinear", align_corners=True
    )
    torch.testing.assert_close(resize_grid(grid, (9, 13)), expected.permute(0, 2, 3, 1), atol=1e-6, rtol=0)


def test_resizing_keeps_outer_nodes_and_a_single_row_is_the_middle_one():
    grid = torch.rand(1, 5, 4, 2)
    resized = resize_grid(grid, (3, 9))
    assert torch.equal(resized[:, [0, 0, -1, -1], [0, -1, 0, -1]], grid[:, [0, 0, -1, -1], [0, -1, 0, -1]])
    assert torch.equal(resize_grid(grid, (1, 4))[0, 0], grid[0, 2])


def test_resizing_is_differentiable():
    grid = torch.rand(1, 3, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda g: resize_grid(g, (5, 2)), grid)


@pytest.mark.parametrize("size", [(0, 3), (3,), (3, 4, 5), 4, (2.5, 3), "ab", (True, 2), None])
def test_a_wrong_size_is_refused_with_what_is_allowed(size):
    with pytest.raises(InvalidInput, match=r"expected size to be a pair \(rows, columns\)"):
        uniform_grid(size)


def test_a_batch_of_zero_is_refused():
    with pytest.raises(InvalidInput, match="expected batch to be a whole number of at least 1, but got 0"):
        uniform_grid((2, 2), batch=0)
