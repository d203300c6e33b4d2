"""Putting values back: linear on the grid's own triangles, or from the nearest node."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import cKDTree
from torch.nn.functional import interpolate
from warp_grids import GRIDS, in_pixels, pixel_places, shaken, smooth, uniform

from saccade.warp import sample, unwarp, unwarp_reference

SIZE = (61, 83)
COVERING = ["uniform", "smooth", "mirrored"]


def linear_fields(places: torch.Tensor) -> torch.Tensor:
    x, y = places.unbind(-1)
    return torch.stack([x, y, 2 * x - 3 * y + 1], -3)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_agrees_with_the_twin(any_grid, mode):
    values = torch.rand(len(any_grid), 2, *any_grid.shape[1:3], dtype=torch.float64)
    expected = unwarp_reference(values, any_grid, SIZE, mode=mode)
    torch.testing.assert_close(unwarp(values, any_grid, SIZE, mode=mode), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", COVERING)
def test_a_linear_field_comes_back_exactly(name):
    grid = GRIDS[name]()
    back = unwarp(linear_fields(in_pixels(grid, SIZE)), grid, SIZE)
    expected = linear_fields(pixel_places(SIZE)).expand_as(back)
    torch.testing.assert_close(back, expected, rtol=0, atol=1e-10)


def test_a_linear_field_comes_back_even_through_folds_wherever_a_triangle_holds_the_pixel():
    grid = shaken(9, 13, 1.5)
    grid[:, 0, :, 1], grid[:, -1, :, 1], grid[:, :, 0, 0], grid[:, :, -1, 0] = -1, 1, -1, 1
    back = unwarp(linear_fields(in_pixels(grid, SIZE)), grid, SIZE)
    torch.testing.assert_close(back, linear_fields(pixel_places(SIZE))[None], rtol=0, atol=1e-8)


def test_float32_values_come_back_to_their_own_precision():
    grid = smooth(40, 60)
    fields = linear_fields(in_pixels(grid, (500, 700))).float()
    expected = linear_fields(pixel_places((500, 700)))[None].float()
    torch.testing.assert_close(unwarp(fields, grid, (500, 700)), expected, rtol=1e-5, atol=2e-3)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), h=st.integers(2, 9), w=st.integers(2, 9), amount=st.floats(0, 3))
@example(seed=1, h=2, w=2, amount=2.0)
@example(seed=0, h=2, w=3, amount=2.0**-14)
def test_any_grid_gives_what_the_twin_gives(seed, h, w, amount):
    grid = shaken(h, w, amount, seed)
    values = torch.rand(1, 1, h, w, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    for mode in ("linear", "nearest"):
        expected = unwarp_reference(values, grid, (23, 31), mode=mode)
        torch.testing.assert_close(unwarp(values, grid, (23, 31), mode=mode), expected, rtol=0, atol=1e-9)


def test_agrees_with_a_triangulation_by_scipy_where_the_triangles_are_the_same():
    grid = shaken(7, 8, 0.2)
    nodes = in_pixels(grid, SIZE)[0].flatten(0, 1).numpy()
    values = np.random.default_rng(0).random(56)
    interpolator = LinearNDInterpolator(nodes, values)
    cells = np.arange(56).reshape(7, 8)
    a, b, c, d = (part.ravel() for part in (cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]))
    ours = {frozenset(three) for three in [*zip(a, b, c, strict=True), *zip(d, c, b, strict=True)]}
    simplices = interpolator.tri.simplices
    shared = np.array([frozenset(three) in ours for three in simplices.tolist()])
    assert shared.sum() > 20
    places = pixel_places(SIZE).flatten(0, 1).numpy()
    found = interpolator.tri.find_simplex(places)
    same = (found >= 0) & shared[found]
    back = unwarp(torch.from_numpy(values).view(1, 1, 7, 8), grid, SIZE).flatten().numpy()
    np.testing.assert_allclose(back[same], interpolator(places)[same], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["smooth", "shaken", "folded", "small", "dense"])
def test_nearest_is_the_node_that_a_k_d_tree_finds(name):
    grid = GRIDS[name]()[:1]
    nodes = in_pixels(grid, SIZE)[0].flatten(0, 1).numpy()
    numbers = torch.arange(len(nodes)).view(1, 1, *grid.shape[1:3])
    ours = unwarp(numbers, grid, SIZE, mode="nearest").flatten().numpy()
    places = pixel_places(SIZE).flatten(0, 1).numpy()
    distance, found = cKDTree(nodes).query(places, k=2)
    clear = distance[:, 1] - distance[:, 0] > 1e-9
    assert clear.mean() > 0.95
    assert (ours == found[:, 0])[clear].all()
    np.testing.assert_allclose(
        np.linalg.norm(nodes[ours] - places, axis=1), distance[:, 0], rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("place", ["random", "corner", "line", "point"])
def test_nearest_is_exact_for_nodes_crowded_in_one_place(place):
    generator = torch.Generator().manual_seed(3)
    grid = torch.rand(1, 30, 40, 2, generator=generator) * 2 - 1
    squeeze = {"random": (1, 1), "corner": (0.01, 0.01), "line": (1, 1e-4), "point": (0, 0)}[place]
    grid = ((grid + 1) * torch.tensor(squeeze) - 1).clamp(-1, 1)
    nodes = in_pixels(grid, SIZE)[0].flatten(0, 1)
    numbers = torch.arange(len(nodes)).view(1, 1, 30, 40)
    ours = unwarp(numbers, grid, SIZE, mode="nearest").flatten()
    places = pixel_places(SIZE).flatten(0, 1)
    distances = (places[:, None] - nodes).square().sum(-1)
    assert torch.equal(ours, distances.argmin(1))


def test_equally_near_nodes_go_to_the_lowest_number():
    grid = uniform(3, 3)
    numbers = torch.arange(9).view(1, 1, 3, 3)
    back = unwarp(numbers, grid, (5, 5), mode="nearest")[0, 0]
    assert back.tolist() == [
        [0, 0, 1, 1, 2],
        [0, 0, 1, 1, 2],
        [3, 3, 4, 4, 5],
        [3, 3, 4, 4, 5],
        [6, 6, 7, 7, 8],
    ]


def test_a_fold_goes_to_the_triangle_of_lowest_number():
    grid = uniform(2, 3)
    grid[0, :, 1, 0], grid[0, :, 2, 0] = 1.0, -1.0
    values = torch.tensor([[[[0.0, 1.0, 5.0], [0.0, 1.0, 5.0]]]])
    back = unwarp(values, grid, (9, 9))
    expected = torch.linspace(0, 1, 9).expand(1, 1, 9, 9)
    torch.testing.assert_close(back, expected, rtol=0, atol=1e-6)


def test_a_pixel_outside_the_mesh_takes_its_nearest_node():
    grid = shaken(6, 7, 0.2, scale=0.5)
    numbers = torch.arange(42.0).view(1, 1, 6, 7)
    linear = unwarp(numbers, grid, SIZE)
    nearest = unwarp(numbers, grid, SIZE, mode="nearest")
    for pixel in [(0, 0), (0, 82), (60, 0), (60, 82), (2, 40), (30, 1)]:
        assert linear[0, 0][pixel] == nearest[0, 0][pixel]


def test_every_pixel_gets_a_value_between_the_least_and_the_most(any_grid):
    values = torch.rand(len(any_grid), 1, *any_grid.shape[1:3]) + 1
    for mode in ("linear", "nearest"):
        back = unwarp(values, any_grid, SIZE, mode=mode)
        assert back.shape == (len(any_grid), 1, *SIZE)
        assert (back >= values.min() - 1e-5).all()
        assert (back <= values.max() + 1e-5).all()


@pytest.mark.parametrize("name", COVERING)
def test_the_identity_size_gives_the_values_at_the_nodes_back(name):
    grid = GRIDS[name]()
    values = linear_fields(in_pixels(grid, SIZE))
    again = sample(unwarp(values, grid, SIZE), grid)
    torch.testing.assert_close(again, values, rtol=0, atol=1e-9)


def test_one_row_is_linear_along_it_and_constant_across():
    grid = torch.stack([torch.tensor([-1.0, 0.2, 1.0]), torch.tensor([0.3, -0.5, 0.1])], -1)[None, None]
    back = unwarp(torch.tensor([[[[0.0, 3.0, 5.0]]]]), grid, (4, 11))
    expected = torch.tensor(np.interp(np.arange(11), [0, 6, 10], [0, 3, 5])).float()
    torch.testing.assert_close(back[0, 0], expected.expand(4, 11), rtol=0, atol=1e-5)
    turned = unwarp(torch.tensor([[[[0.0], [3.0], [5.0]]]]), grid.transpose(1, 2).flip(-1), (11, 4))
    torch.testing.assert_close(turned[0, 0], expected[:, None].expand(11, 4), rtol=0, atol=1e-5)


def test_a_regular_grid_is_the_bilinear_resize_along_its_lines():
    values = torch.rand(1, 2, 5, 7)
    resized = interpolate(values, (17, 25), mode="bilinear", align_corners=True)
    back = unwarp(values, uniform(5, 7), (17, 25))
    torch.testing.assert_close(back[..., ::4, :], resized[..., ::4, :], rtol=0, atol=1e-5)
    torch.testing.assert_close(back[..., :, ::4], resized[..., :, ::4], rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_tiny_images_work(any_grid, size):
    values = torch.rand(len(any_grid), 2, *any_grid.shape[1:3], dtype=torch.float64)
    for mode in ("linear", "nearest"):
        expected = unwarp_reference(values, any_grid, size, mode=mode)
        torch.testing.assert_close(unwarp(values, any_grid, size, mode=mode), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.bool, torch.int16, torch.int64, torch.float16, torch.bfloat16, torch.float64]
)
def test_nearest_keeps_the_type_and_linear_keeps_floats(dtype):
    values = (torch.rand(1, 2, 6, 7) * 50).to(dtype)
    grid = shaken(6, 7, 0.3)
    nearest = unwarp(values, grid, SIZE, mode="nearest")
    assert nearest.dtype == dtype
    assert set(nearest.double().unique().tolist()) <= set(values.double().unique().tolist())
    linear = unwarp(values, grid, SIZE)
    assert linear.dtype == (dtype if dtype.is_floating_point else torch.float32)
    expected = unwarp(values.double(), grid, SIZE)
    slack = {torch.float16: 0.04, torch.bfloat16: 0.3}.get(dtype, 1e-5)
    torch.testing.assert_close(linear.double(), expected, rtol=0, atol=slack)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_layout_does_not_matter(mode):
    values, grid = torch.rand(2, 3, 9, 13), shaken(9, 13, 0.3, batch=2)
    expected = unwarp(values, grid, SIZE, mode=mode)
    turned = grid.permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0)
    for same in (values.contiguous(memory_format=torch.channels_last), values.mT.contiguous().mT):
        assert torch.equal(unwarp(same, turned, SIZE, mode=mode), expected)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_gradients_by_the_values_agree_with_finite_differences(any_grid, mode):
    if any_grid.shape[1] > 20:
        pytest.skip("finite differences of thousands of values take minutes")
    values = torch.rand(len(any_grid), 2, *any_grid.shape[1:3], dtype=torch.float64, requires_grad=True)
    window = (3, 14, 2, 16)
    assert torch.autograd.gradcheck(
        lambda v: unwarp(v, any_grid, (19, 23), mode=mode, window=window), (values,), fast_mode=True
    )


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_gradients_agree_with_autograd_through_the_twin(any_grid, mode):
    values = torch.rand(len(any_grid), 2, *any_grid.shape[1:3], dtype=torch.float64, requires_grad=True)
    asked = torch.rand(len(any_grid), 2, 19, 23, dtype=torch.float64)
    ours = torch.autograd.grad((unwarp(values, any_grid, (19, 23), mode=mode) * asked).sum(), values)
    twin = torch.autograd.grad(
        (unwarp_reference(values, any_grid, (19, 23), mode=mode) * asked).sum(), values
    )
    torch.testing.assert_close(ours, twin, rtol=1e-9, atol=1e-9)


def test_gradients_are_the_same_bits_on_every_run():
    values = torch.rand(1, 3, 40, 50, requires_grad=True)
    grid = smooth(40, 50)
    runs = [torch.autograd.grad(unwarp(values, grid, (200, 300)).square().sum(), values)[0] for _ in range(3)]
    assert torch.equal(runs[0], runs[1])
    assert torch.equal(runs[0], runs[2])
