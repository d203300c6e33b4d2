"""Anti-aliasing: each sample is the mean over its own footprint, so shrinking does not alias."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import adaptive_avg_pool2d
from warp_grids import in_pixels, shaken, uniform

from saccade.grids.diagnostics import footprints
from saccade.warp import Pyramid, sample


def centred(cells: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
    """A grid whose samples sit in the middle of equal blocks of the image."""
    (h, w), (height, width) = cells, size
    y = (torch.arange(h, dtype=torch.float64) + 0.5) * height / h - 0.5
    x = (torch.arange(w, dtype=torch.float64) + 0.5) * width / w - 0.5
    gy, gx = torch.meshgrid(y / (height - 1) * 2 - 1, x / (width - 1) * 2 - 1, indexing="ij")
    return torch.stack([gx, gy], -1)[None]


def zone_plate(side: int) -> torch.Tensor:
    """Rings whose frequency grows from the centre to half a cycle a pixel at the middle of each border."""
    at = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    radius2 = at[:, None] ** 2 + at[None] ** 2
    return (0.5 + 0.5 * torch.cos(torch.pi * radius2 / side))[None, None]


@pytest.mark.parametrize("shrink", [1, 2, 4, 8, 16, 32])
def test_equals_area_averaging_on_equal_blocks(shrink):
    image = torch.rand(1, 3, 256, 512, dtype=torch.float64)
    cells = (256 // shrink, 512 // shrink)
    ours = sample(image, centred(cells, (256, 512)), antialias=True)
    torch.testing.assert_close(ours, adaptive_avg_pool2d(image, cells), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("rows", "columns"), [(3, 3), (2, 7), (5, 3)])
def test_equals_area_averaging_on_blocks_that_cut_no_level(rows, columns):
    image = torch.rand(1, 2, 12 * rows, 12 * columns, dtype=torch.float64)
    ours = sample(image, centred((12, 12), (12 * rows, 12 * columns)), antialias=True)
    torch.testing.assert_close(ours, adaptive_avg_pool2d(image, (12, 12)), rtol=0, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), fill=st.floats(0.05, 0.999))
def test_a_footprint_of_one_pixel_gives_exactly_the_bilinear_value(seed, fill):
    image = torch.rand(1, 2, 23, 31, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    grid = uniform(9, 9).double() * torch.tensor([8 / 30, 8 / 22]).double() * fill
    grid = grid + (torch.rand(2, generator=torch.Generator().manual_seed(seed)) - 0.5)
    assert footprints(grid, (23, 31)).max() <= 1
    torch.testing.assert_close(sample(image, grid, antialias=True), sample(image, grid), rtol=0, atol=1e-9)


def test_at_the_border_a_footprint_of_one_pixel_is_still_bilinear():
    image = torch.rand(1, 1, 40, 40, dtype=torch.float64)
    grid = uniform(40, 40).double()
    torch.testing.assert_close(sample(image, grid, antialias=True), sample(image, grid), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_flat_image_stays_flat(any_grid, dtype):
    image = torch.full((1, 3, 77, 91), 201, dtype=dtype)
    out = sample(image, any_grid, antialias=True)
    torch.testing.assert_close(out, torch.full_like(out, 201), rtol=1e-6, atol=0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), amount=st.floats(0, 2))
def test_never_leaves_the_range_of_the_image(seed, amount):
    image = torch.rand(1, 1, 64, 96, generator=torch.Generator().manual_seed(seed))
    out = sample(image, shaken(5, 7, amount, seed), antialias=True)
    assert image.min() - 1e-6 <= out.min()
    assert out.max() <= image.max() + 1e-6


def box_mean(image: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """The mean of (H, W) over a box, from the summed-area table: no pyramid, no taps."""
    table = torch.zeros(image.shape[0] + 1, image.shape[1] + 1, dtype=torch.float64)
    table[1:, 1:] = image.cumsum(0).cumsum(1)

    def corner(x: float, y: float) -> torch.Tensor:
        i, j = min(int(y), image.shape[0] - 1), min(int(x), image.shape[1] - 1)
        fy, fx = y - i, x - j
        upper = table[i, j] * (1 - fx) + table[i, j + 1] * fx
        lower = table[i + 1, j] * (1 - fx) + table[i + 1, j + 1] * fx
        return upper * (1 - fy) + lower * fy

    (x0, y0), (x1, y1) = low.tolist(), high.tolist()
    total = corner(x1, y1) - corner(x0, y1) - corner(x1, y0) + corner(x0, y0)
    return total / ((x1 - x0) * (y1 - y0))


def test_boxes_below_four_pixels_are_integrated_exactly():
    size = (60, 80)
    image = torch.rand(*size, dtype=torch.float64)
    grid = shaken(24, 30, 0.25).double()
    boxes = footprints(grid, size).clamp(min=1)[0].flatten(0, 1)
    centres = in_pixels(grid, size)[0].flatten(0, 1) + 0.5
    ours = sample(image[None, None], grid, antialias=True).flatten()
    sides = torch.tensor([80.0, 60.0], dtype=torch.float64)
    low, high = (centres - boxes / 2).clamp(min=0), torch.minimum(centres + boxes / 2, sides)
    small = (boxes.amin(1) < 3.99).nonzero()[:, 0]
    assert len(small) > 500
    expected = torch.stack([box_mean(image, low[at], high[at]) for at in small])
    torch.testing.assert_close(ours[small], expected, rtol=0, atol=1e-9)


def test_large_boxes_err_by_less_than_the_level_pixels_they_cut_allow():
    """A cut level pixel of side P hides at most slope x P^2 / 8 on each edge of a box of at least 2 P."""
    size = (300, 400)
    y, x = torch.meshgrid(torch.arange(300.0), torch.arange(400.0), indexing="ij")
    image = (torch.sin(x / 25) * torch.cos(y / 31)).double()
    grid = shaken(12, 15, 0.3).double()
    boxes = footprints(grid, size)[0].flatten(0, 1)
    assert boxes.min() > 15
    centres = in_pixels(grid, size)[0].flatten(0, 1) + 0.5
    sides = torch.tensor([400.0, 300.0], dtype=torch.float64)
    low, high = (centres - boxes / 2).clamp(min=0), torch.minimum(centres + boxes / 2, sides)
    expected = torch.stack([box_mean(image, *ends) for ends in zip(low, high, strict=True)])
    ours = sample(image[None, None], grid, antialias=True).flatten()
    slope = 1 / 25
    assert ((ours - expected).abs() <= slope * boxes.amin(1) / 8).all()
    assert (ours - expected).abs().mean() < 0.01


def test_very_flat_boxes_cost_little_and_stay_means():
    image = torch.rand(1, 1, 64, 5000, dtype=torch.float64)
    grid = torch.zeros(1, 8, 2, 2)
    grid[..., 0], grid[..., 1] = torch.tensor([-1.0, 1.0]), torch.linspace(-1, 1, 8)[:, None]
    out = sample(image, grid, antialias=True)
    assert (out - 0.5).abs().max() < 0.05


def test_a_zone_plate_shrunk_sixteen_times_shows_no_false_rings():
    side, shrink = 1024, 16
    plate = zone_plate(side)
    grid = centred((side // shrink, side // shrink), (side, side)).float()
    plain = sample(plate, grid)
    smooth = sample(plate, grid, antialias=True)
    area = adaptive_avg_pool2d(plate, side // shrink)
    at = torch.arange(side // shrink) - (side // shrink - 1) / 2
    beyond = (at[:, None] ** 2 + at[None] ** 2).sqrt() > 8
    false_rings = (plain[0, 0][beyond] - 0.5).abs().mean()
    assert false_rings > 0.1
    assert (smooth[0, 0][beyond] - 0.5).abs().mean() < false_rings / 10
    torch.testing.assert_close(smooth, area, rtol=0, atol=1e-3)


def test_the_pyramid_of_bytes_adds_only_rounding():
    image = torch.randint(0, 256, (1, 3, 512, 700), dtype=torch.uint8)
    grid = shaken(12, 17, 0.3)
    exact = sample(image.double(), grid, antialias=True)
    ours = sample(Pyramid.of(image), grid, antialias=True).double()
    assert (ours - exact).abs().max() < 1.5
    assert (ours - exact).mean().abs() < 0.2
