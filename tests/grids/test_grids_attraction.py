"""The attraction grid: against the published program, its dense twin, a sum written out, and laws."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.errors import InvalidInput
from saccade.grids import (
    attraction_grid,
    attraction_grid_reference,
    covers,
    edge_density,
    folds,
    uniform_grid,
)
from saccade.grids.attraction import FLOOR, attract

SIDES = st.integers(1, 20)


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("deform_grid_1_city64x128_random", 5e-3),
        ("deform_grid_3_city64x128_edges", 5e-3),
        ("deform_grid_4_city64x128_uniform", 2e-5),
        ("deform_grid_6_deepglobe300x300", 2e-4),
    ],
)
def test_without_cover_it_agrees_with_the_published_program(golden, name, tolerance):
    arrays = golden(name)
    density = torch.from_numpy(arrays["saliency"])[None, None]
    radius = arrays["meta"]["pad_rows"], arrays["meta"]["pad_cols"]
    grid = attraction_grid(density, radius=radius, cover=False)
    torch.testing.assert_close(grid[0], torch.from_numpy(arrays["grid"]), atol=tolerance, rtol=0)


@pytest.mark.parametrize("cover", [True, False])
@pytest.mark.parametrize(
    ("shape", "radius"), [((2, 24, 40), (6, 6)), ((1, 9, 30), (4, 11)), ((1, 5, 7), (12, 9))]
)
def test_it_agrees_with_the_dense_convolution(make_density, shape, radius, cover):
    density = make_density(shape)
    expected = attraction_grid_reference(density.double(), radius=radius, cover=cover)
    grid = attraction_grid(density, radius=radius, cover=cover)
    torch.testing.assert_close(grid.double(), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("cover", [True, False])
@pytest.mark.parametrize("size", [(7, 19), (31, 23), (1, 5), (4, 1)])
def test_at_another_size_it_is_the_sum_of_equation_2_at_each_node(make_density, size, cover):
    density = make_density((1, 12, 16))
    expected = equation_2(density[0, 0].double().numpy(), size, 5, cover)
    expected -= equation_2(np.ones((12, 16)), size, 5, cover) - uniform_grid(size)[0].double().numpy()
    grid = attraction_grid(density, size, radius=5, cover=cover)
    torch.testing.assert_close(grid[0].double(), torch.from_numpy(expected.clip(-1, 1)), atol=2e-5, rtol=0)


def equation_2(density: np.ndarray, size: tuple[int, int], radius: int, cover: bool) -> np.ndarray:
    """Node by node over a padded map; the Gaussian falls to 0 from r to r + 1."""
    mode = "reflect" if cover else "edge"
    padded = np.pad(density, radius + 1, mode=mode)
    rows, columns = (np.arange(-radius - 1, side + radius + 1) for side in density.shape)
    grid = np.empty((*size, 2))
    for i, j in np.ndindex(size):
        y, x = (
            node * (side - 1) / (count - 1) if count > 1 else (side - 1) / 2
            for node, side, count in zip((i, j), density.shape, size, strict=True)
        )
        fall = [
            np.exp(-4 * math.log(2) * (line - at) ** 2 / radius**2)
            * np.clip(radius + 1 - abs(line - at), 0, 1)
            for line, at in ((rows, y), (columns, x))
        ]
        weights = padded * np.outer(*fall)
        mean_y, mean_x = (
            weights.sum(axis=1 - axis) @ (rows, columns)[axis] / weights.sum() for axis in (0, 1)
        )
        grid[i, j] = mean_x / (density.shape[1] - 1) * 2 - 1, mean_y / (density.shape[0] - 1) * 2 - 1
    return grid


@settings(max_examples=40, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.integers(1, 25), st.booleans(), st.floats(1e-35, 1e35))
def test_a_constant_density_gives_the_uniform_grid(h, w, rows, columns, radius, cover, level):
    if radius > 16 * max(h, w):
        return
    grid = attraction_grid(torch.full((1, 1, h, w), level), (rows, columns), radius=radius, cover=cover)
    torch.testing.assert_close(grid, uniform_grid((rows, columns)), atol=1e-5, rtol=0)


def test_a_density_of_zeros_counts_as_constant():
    torch.testing.assert_close(attraction_grid(torch.zeros(1, 1, 8, 9)), uniform_grid((8, 9)))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 20),
    st.integers(2, 20),
    st.integers(2, 20),
    st.integers(2, 20),
    st.integers(1, 30),
    st.integers(0, 99),
)
def test_with_cover_the_outermost_nodes_lie_on_the_border(h, w, rows, columns, radius, seed):
    density = torch.rand(1, 1, h, w, generator=torch.Generator().manual_seed(seed)) ** 8
    grid = attraction_grid(density, (rows, columns), radius=radius)
    assert covers(grid, tolerance=1e-6)
    corners = grid[0, [0, 0, -1, -1], [0, -1, 0, -1]]
    expected = torch.tensor([[-1.0, -1], [1, -1], [-1, 1], [1, 1]])
    torch.testing.assert_close(corners, expected, atol=1e-6, rtol=0)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 24), st.integers(2, 24), st.integers(1, 12), st.integers(0, 99), st.booleans())
def test_rows_and_columns_never_run_backwards(h, w, radius, seed, cover):
    density = torch.rand(1, 1, h, w, generator=torch.Generator().manual_seed(seed)) ** 6
    grid = attraction_grid(density, radius=radius, cover=cover)
    assert grid[..., 0].diff(dim=2).min() > -1e-6
    assert grid[..., 1].diff(dim=1).min() > -1e-6


def test_cover_changes_nothing_further_than_the_radius_from_the_border(make_density):
    density = make_density((1, 30, 40))
    with_cover, without = (attraction_grid(density, radius=6, cover=cover) for cover in (True, False))
    inside = (slice(None), slice(6, -6), slice(6, -6))
    torch.testing.assert_close(with_cover[inside], without[inside], atol=1e-6, rtol=0)
    assert (with_cover - without).abs().max() > 1e-3


@pytest.mark.parametrize("contrast", [0.5, 1.0, 3.0])
def test_with_cover_random_densities_do_not_fold(make_density, contrast):
    for seed in range(3):
        assert not folds(attraction_grid(make_density((2, 32, 48), contrast, seed), radius=8))


def test_with_cover_the_edges_of_real_masks_do_not_fold(leaf_masks):
    density = edge_density(leaf_masks, (64, 128), radius=3)
    for radius in (8, 16, 32):
        found = folds(attraction_grid(density, radius=radius))
        assert not found, str(found)


def test_samples_gather_where_the_density_is():
    density = torch.full((1, 1, 32, 32), 0.02)
    density[..., 20:24, 8:12] = 1
    grid = attraction_grid(density)
    pixels = (grid + 1) / 2 * 31
    near = ((pixels - torch.tensor([9.5, 21.5])).abs() <= 2).all(dim=-1).sum()
    assert near > 4 * 16


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.floats(1e-30, 1e30))
def test_the_scale_of_the_density_does_not_matter(seed, scale):
    density = torch.rand(1, 1, 10, 14, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(attraction_grid(density * scale), attraction_grid(density), atol=1e-5, rtol=0)


@pytest.mark.parametrize("cover", [True, False])
def test_a_mirrored_density_gives_the_mirrored_grid(make_density, cover):
    density = make_density((1, 11, 16))
    mirrored = attraction_grid(density.flip(3), radius=4, cover=cover).flip(2) * torch.tensor([-1, 1])
    torch.testing.assert_close(mirrored, attraction_grid(density, radius=4, cover=cover), atol=1e-5, rtol=0)


def test_a_transposed_density_gives_the_transposed_grid(make_density):
    density = make_density((1, 11, 16))
    transposed = attraction_grid(density.mT, radius=(5, 3)).transpose(1, 2).flip(-1)
    torch.testing.assert_close(transposed, attraction_grid(density, radius=(3, 5)), atol=1e-5, rtol=0)


def test_each_image_of_a_batch_is_on_its_own(make_density):
    density = make_density((3, 10, 12))
    together = attraction_grid(density, radius=4)
    alone = torch.cat([attraction_grid(one[None], radius=4) for one in density])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


def test_far_from_all_mass_nodes_stay_where_they_are():
    density = torch.zeros(1, 1, 40, 40)
    density[..., 5, 5] = 1
    grid = attraction_grid(density, radius=6)
    assert grid.isfinite().all()
    torch.testing.assert_close(grid[:, 14:, 14:], uniform_grid((40, 40))[:, 14:, 14:], atol=1e-5, rtol=0)


def test_a_density_that_spans_the_whole_range_of_floats_gives_a_finite_grid_and_gradient(make_density):
    density = torch.logspace(-44, 38, 20 * 20).view(1, 1, 20, 20).requires_grad_()
    grid = attraction_grid(density)
    grid.sum().backward()
    assert grid.isfinite().all() and density.grad.isfinite().all()


@pytest.mark.parametrize("cover", [True, False])
@pytest.mark.parametrize("size", [(5, 6), (4, 9), (1, 3)])
def test_the_gradient_is_right(make_density, size, cover):
    density = (make_density((2, 5, 6), 1.0).double() * 30).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: attract(d, size, (3, 2), cover), density)


def test_the_gradient_agrees_with_that_of_the_dense_convolution(make_density):
    """The twin has no floor: it is given the density with the floor, so that both see the same mass."""
    density, weights = make_density((1, 14, 18)).double(), torch.randn(1, 14, 18, 2).double()
    gradients = []
    for grid_of in (
        lambda d: attract(d, (14, 18), (4, 4), True),
        lambda d: attraction_grid_reference(d + FLOOR * d.mean(), radius=(4, 4)),
    ):
        leaf = density.clone().requires_grad_()
        (grid_of(leaf) * weights).sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, atol=1e-9, rtol=1e-9)


def test_it_learns_to_look_where_it_is_told():
    """Gradient descent on the density moves the samples: the mean distance to a target shrinks."""
    logits, target = torch.zeros(1, 1, 16, 16, requires_grad=True), torch.tensor([0.4, -0.3])
    optimiser, distances = torch.optim.Adam([logits], lr=0.3), []
    for _ in range(30):
        density = torch.softmax(logits.flatten(1), dim=1).view_as(logits)
        distance = (attraction_grid(density) - target).square().sum(dim=-1).mean()
        optimiser.zero_grad()
        distance.backward()
        optimiser.step()
        distances.append(distance.item())
    assert distances[-1] < 0.7 * distances[0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_lower_the_precision(make_density, dtype):
    density = make_density((1, 20, 24)).requires_grad_()
    expected = attraction_grid(density)
    with torch.autocast("cpu", dtype=dtype):
        grid = attraction_grid(density)
    assert grid.dtype == torch.float32
    torch.testing.assert_close(grid, expected)
    grid.sum().backward()
    assert density.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_types_give_the_grid_of_the_same_numbers_in_float32(make_density, dtype):
    density = (make_density((1, 12, 12), 1.0) * 100).to(dtype)
    grid = attraction_grid(density)
    assert grid.dtype == torch.float32
    assert torch.equal(grid, attraction_grid(density.float()))


def test_a_density_that_is_not_contiguous_gives_the_same(make_density):
    density = make_density((2, 12, 20))
    strided = torch.empty(20, 12, 1, 2).permute(3, 2, 1, 0).copy_(density)
    assert not strided.is_contiguous()
    torch.testing.assert_close(attraction_grid(strided), attraction_grid(density), atol=1e-6, rtol=0)


def test_matrices_made_in_inference_mode_serve_training_later():
    density = torch.rand(1, 1, 13, 17)
    with torch.inference_mode():
        first = attraction_grid(density, radius=7)
    density.requires_grad_()
    attraction_grid(density, radius=7).square().sum().backward()
    assert density.grad.abs().sum() > 0 and first.shape == (1, 13, 17, 2)


def test_the_default_radius_is_a_quarter_of_the_short_axis(make_density):
    density = make_density((1, 22, 40))
    assert torch.equal(attraction_grid(density), attraction_grid(density, radius=(6, 6)))


@pytest.mark.parametrize("radius", [0, -3, 2.5, (3,), (0, 4), "12", True, 10**6])
def test_a_wrong_radius_is_refused(radius):
    with pytest.raises(InvalidInput, match="expected radius to be"):
        attraction_grid(torch.ones(1, 1, 8, 8), radius=radius)


def test_a_wrong_density_or_size_is_refused():
    with pytest.raises(InvalidInput, match="softmax or a softplus"):
        attraction_grid(-torch.ones(1, 1, 8, 8))
    with pytest.raises(InvalidInput, match="expected size to be"):
        attraction_grid(torch.ones(1, 1, 8, 8), (0, 8))
