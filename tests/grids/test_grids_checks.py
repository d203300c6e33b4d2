"""Footprints, cover, folds, samples in regions, and grids made free of folds."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.errors import InvalidInput
from saccade.grids import covers, folds, footprints, samples_per_region, unfold_grid, uniform_grid


@pytest.mark.parametrize("size", [(31, 101), (1, 1), (500, 3)])
def test_footprints_of_the_uniform_grid_are_its_steps(size):
    cells = footprints(uniform_grid((4, 5)), size)
    expected = torch.tensor([(size[1] - 1) / 4, (size[0] - 1) / 3]).expand(1, 4, 5, 2)
    torch.testing.assert_close(cells, expected)


def test_footprints_span_half_the_way_to_both_neighbours():
    x = torch.tensor([-1, -0.8, 0, 1]).expand(3, 4)
    grid = torch.stack([x, torch.tensor([-1, 0, 1])[:, None].expand(3, 4)], dim=-1)[None]
    widths = footprints(grid, (11, 101))[0, :, :, 0]
    torch.testing.assert_close(widths, torch.tensor([10, 25, 45, 50.0]).expand(3, 4))


def test_footprints_of_a_rotated_grid_are_bounding_boxes():
    turn = torch.tensor([[0.6, 0.8], [-0.8, 0.6]])
    grid = uniform_grid((5, 5)) / 2 @ turn
    expected = torch.full((1, 5, 5, 2), (0.6 + 0.8) * 0.25 * 50)
    torch.testing.assert_close(footprints(grid, (101, 101)), expected)


def test_a_single_row_or_column_stands_for_the_whole_side():
    assert footprints(uniform_grid((1, 1)), (20, 30)).tolist() == [[[[30, 20]]]]
    assert footprints(uniform_grid((1, 4)), (20, 31))[0, 0, 0].tolist() == [10, 20]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_footprints_keep_float64_and_raise_half_precision(dtype):
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    assert footprints(uniform_grid((3, 3)).to(dtype), (9, 9)).dtype == expected


def test_the_uniform_grid_covers_and_does_not_fold():
    grid = uniform_grid((5, 7), 2)
    assert covers(grid) and not folds(grid)
    assert str(covers(grid)) == "covers the whole image"
    assert str(folds(grid)) == "no cell folds"


def test_a_gap_is_named_with_its_image_side_and_share():
    grid = uniform_grid((5, 7), 2)
    grid[1, 2, 0, 0] = -0.9
    cover = covers(grid)
    assert not cover
    assert str(cover) == "image 1: leaves up to 5.00% at the left"
    assert covers(grid, tolerance=0.06)


def test_a_fold_is_counted_and_found():
    grid = uniform_grid((5, 7), 2)
    grid[1, 2, 3] += torch.tensor([0.5, 0.0])
    found = folds(grid)
    assert found and found.counts.tolist() == [0, 2]
    assert found.where.tolist() == [[1, 1, 3], [1, 2, 3]]
    assert str(found) == "image 1: 2 of 24 cells fold, the first at row 1, column 3"


def test_a_mirrored_grid_folds_everywhere_and_a_collapsed_one_nowhere():
    assert folds(uniform_grid((4, 4)).flip(2)).cells.all()
    assert not folds(torch.full((1, 4, 4, 2), 1 / 3))
    assert not folds(uniform_grid((1, 5)))


def test_samples_are_counted_in_the_region_of_their_nearest_pixel():
    regions = torch.tensor([[[0, 0, 3, 3], [0, 0, 255, 3]]])
    counts = samples_per_region(uniform_grid((2, 4)), regions)
    assert counts.tolist() == [[4, 0, 0, 3]]
    assert samples_per_region(uniform_grid((2, 4)), regions, 5).tolist() == [[4, 0, 0, 3, 0]]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99))
def test_every_sample_is_counted_once(seed):
    generator = torch.Generator().manual_seed(seed)
    grid = torch.rand(2, 6, 5, 2, generator=generator) * 2 - 1
    regions = torch.randint(0, 4, (2, 9, 8), generator=generator)
    counts = samples_per_region(grid, regions, ignore_index=None)
    sampled = torch.nn.functional.grid_sample(
        regions[:, None].float(), grid, mode="nearest", align_corners=True
    )
    assert counts.sum(dim=1).tolist() == [30, 30]
    assert [int((sampled[1] == region).sum()) for region in range(counts.shape[1])] == counts[1].tolist()


def test_a_region_beyond_the_count_is_refused():
    regions = torch.full((1, 4, 4), 6)
    with pytest.raises(InvalidInput, match="raise count"):
        samples_per_region(uniform_grid((2, 2)), regions, 6)
    with pytest.raises(InvalidInput, match="B=1"):
        samples_per_region(uniform_grid((2, 2), 3), regions)
    with pytest.raises(InvalidInput, match="count"):
        samples_per_region(uniform_grid((2, 2)), regions, 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.floats(0.01, 2), st.integers(2, 7), st.integers(2, 7))
def test_an_unfolded_grid_has_no_fold_and_is_no_further_from_the_grid_than_needed(
    seed, strength, rows, columns
):
    noise = torch.randn(2, rows, columns, 2, generator=torch.Generator().manual_seed(seed))
    grid = (uniform_grid((rows, columns), 2) + strength * noise).clamp(-1, 1)
    unfolded = unfold_grid(grid.double())
    assert not folds(unfolded)
    if folds(grid):
        nearer = unfolded + 0.01 * (grid - unfolded)
        even = uniform_grid((rows, columns), 2)
        moved = (unfolded - even).abs().amax(dim=(1, 2, 3)) > 1e-3
        assert bool(folds(nearer).counts[moved & (folds(grid).counts > 0)].all())


def test_a_grid_without_folds_comes_back_as_it_is():
    grid = uniform_grid((6, 6)) ** 3
    assert torch.equal(unfold_grid(grid), grid)
    assert torch.equal(unfold_grid(grid[:, :1]), grid[:, :1])
