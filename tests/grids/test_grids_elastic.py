"""The elastic grid: springs at rest, checked against a dense solve, its twin, and the laws it promises."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.errors import InvalidInput
from saccade.grids import elastic, relaxation
from saccade.grids.elastic import elastic_grid, elastic_grid_reference, rest_gradient, spring_stiffness
from saccade.grids.uniform import uniform_grid


def random_density(seed: int, shape=(1, 1, 12, 20), power: float = 3.0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) ** power


def set_rounds(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Rounds on the finest level."""
    monkeypatch.setattr(relaxation, "FEWEST", count)
    monkeypatch.setattr(relaxation, "MOST", count)


def test_a_detailed_density_gives_a_stable_grid():
    stiffness = random_density(11, (4, 1, 64, 96)).double() + 0.1
    noise = 1 + 1e-13 * torch.randn(stiffness.shape, generator=torch.Generator().manual_seed(0)).double()
    grid, moved = (elastic._solve(s, (32, 48)) for s in (stiffness, stiffness * noise))
    torch.testing.assert_close(grid, moved, atol=1e-11, rtol=0)


def corner_areas(grid: torch.Tensor) -> torch.Tensor:
    """Twice the signed area at two opposite corners of every cell; all positive where nothing folds."""
    right, down = grid[:, :, 1:] - grid[:, :, :-1], grid[:, 1:] - grid[:, :-1]
    first = right[:, :-1, :, 0] * down[:, :, :-1, 1] - right[:, :-1, :, 1] * down[:, :, :-1, 0]
    second = right[:, 1:, :, 0] * down[:, :, 1:, 1] - right[:, 1:, :, 1] * down[:, :, 1:, 0]
    return torch.stack([first, second])


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (2, 2), (16, 31)])
@pytest.mark.parametrize("value", [0.0, 1e-20, 3.0])
def test_a_constant_density_gives_the_uniform_grid(size, value):
    grid = elastic_grid(torch.full((2, 1, 8, 10), value), size)
    torch.testing.assert_close(grid, uniform_grid(size, 2), atol=1e-5, rtol=0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.5, 8), st.integers(2, 24), st.integers(2, 24), st.floats(0.02, 1))
def test_it_covers_the_image_and_never_folds(seed, power, rows, columns, floor):
    grid = elastic_grid(random_density(seed, power=power), (rows, columns), floor=floor)
    assert (grid[:, :, 0, 0] == -1).all() and (grid[:, :, -1, 0] == 1).all()
    assert (grid[:, 0, :, 1] == -1).all() and (grid[:, -1, :, 1] == 1).all()
    assert (corner_areas(grid) > 0).all()


def test_samples_gather_where_the_density_is_from_far_away():
    density = torch.zeros(1, 1, 40, 40)
    density[..., 4:8, 30:34] = 1
    grid = elastic_grid(density, (40, 40), floor=0.05)
    inside = (grid[..., 0] > 0.5) & (grid[..., 0] < 0.75) & (grid[..., 1] > -0.85) & (grid[..., 1] < -0.6)
    assert inside.float().mean() > 8 * (0.125 * 0.125)


def test_the_kernel_agrees_with_its_twin():
    stiffness = random_density(3, (2, 1, 9, 14)).double() + 0.1
    size = (13, 18)
    fast = elastic._solve(stiffness, size)
    torch.testing.assert_close(fast, elastic_grid_reference(stiffness, size), atol=1e-9, rtol=0)


@pytest.mark.parametrize("size", [(1, 7), (9, 1), (2, 2), (13, 18), (32, 47)])
def test_single_precision_ends_where_double_does(size):
    density = random_density(9, (2, 1, 16, 24))
    stiffness = density / density.amax((2, 3), keepdim=True) + 0.1
    expected = elastic_grid_reference(stiffness, size)
    torch.testing.assert_close(elastic_grid(density, size).double(), expected, atol=3e-4, rtol=0)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("size", [(1, 7), (9, 1), (2, 2), (6, 9), (13, 18)])
def test_the_adjoint_agrees_with_its_twin(size, axis, monkeypatch):
    monkeypatch.setattr(elastic, "GRADIENT_TOLERANCE", 1e-12)
    draw = torch.Generator().manual_seed(6)
    rows, columns = size
    shapes = [(2, rows, columns - 1), (2, rows - 1, columns), (2, rows, columns)]
    across, down, grad = (torch.rand(shape, generator=draw, dtype=torch.float64) + 0.1 for shape in shapes)
    ours = elastic._adjoint(across, down, grad, axis)
    expected = elastic.adjoint_reference(across, down, grad, axis)
    torch.testing.assert_close(ours, expected, atol=1e-9, rtol=1e-9)


def dense_rest(across: torch.Tensor, down: torch.Tensor, axis: int) -> torch.Tensor:
    """Nodes at rest on one axis by a dense linear solve: the oracle, without images in the batch."""
    rows, columns = down.shape[0] + 1, across.shape[1] + 1
    index = torch.arange(rows * columns).view(rows, columns)
    laplacian = torch.zeros(rows * columns, rows * columns, dtype=across.dtype)
    pairs = [(index[:, :-1], index[:, 1:], across), (index[:-1], index[1:], down)]
    for first, second, stiffness in pairs:
        a, b, s = first.flatten(), second.flatten(), stiffness.flatten()
        for i, j, sign in ((a, a, 1), (b, b, 1), (a, b, -1), (b, a, -1)):
            laplacian = laplacian.index_put((i, j), sign * s, accumulate=True)
    start = uniform_grid((rows, columns))[0, ..., axis].double().flatten()
    held = start.abs() == 1
    inner = torch.linalg.solve(laplacian[~held][:, ~held], -laplacian[~held][:, held] @ start[held])
    return start.index_put((torch.nonzero(~held)[:, 0],), inner).view(rows, columns)


def test_many_rounds_end_at_rest(monkeypatch):
    set_rounds(monkeypatch, 400)
    stiffness = random_density(5, (1, 1, 6, 8), power=1).double() + 0.3
    grid = elastic._solve(stiffness, (7, 9))
    across, down = spring_stiffness(stiffness, grid)
    for axis in (0, 1):
        rest = dense_rest(across[0], down[0], axis)
        torch.testing.assert_close(grid[0, ..., axis], rest, atol=1e-8, rtol=0)


def test_images_of_a_batch_do_not_meet():
    density = random_density(8, (3, 1, 10, 12))
    together = elastic_grid(density, (9, 11))
    alone = torch.cat([elastic_grid(one[None], (9, 11)) for one in density])
    assert torch.equal(together, alone)


def test_the_gradient_is_that_of_a_dense_solve(monkeypatch):
    monkeypatch.setattr(elastic, "GRADIENT_TOLERANCE", 1e-12)
    stiffness = random_density(7, (1, 1, 6, 8), power=1).double() + 0.3
    weight = torch.randn(1, 7, 9, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    oracle = stiffness.clone().requires_grad_()
    set_rounds(monkeypatch, 400)
    middles = elastic._solve(stiffness, (7, 9))
    across, down = spring_stiffness(oracle, middles)
    rest = torch.stack([dense_rest(across[0], down[0], axis) for axis in (0, 1)], dim=-1)[None]
    (rest * weight).sum().backward()
    ours = rest_gradient(stiffness, middles, weight)
    torch.testing.assert_close(ours, oracle.grad, atol=1e-6, rtol=1e-5)


def test_a_step_along_the_gradient_lowers_the_loss():
    density = random_density(2).requires_grad_()
    target = torch.tensor([0.3, -0.2])
    before = ((elastic_grid(density, (12, 20)) - target) ** 2).mean()
    before.backward()
    with torch.no_grad():
        moved = (density - 0.2 * density.grad / density.grad.abs().max()).clamp_min(0)
        after = ((elastic_grid(moved, (12, 20)) - target) ** 2).mean()
    assert after < before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_floating_type_and_layout_is_taken(dtype):
    density = random_density(4).to(dtype)
    grid = elastic_grid(density.transpose(2, 3).contiguous().transpose(2, 3), (6, 9))
    assert grid.dtype == torch.float32
    torch.testing.assert_close(grid, elastic_grid(density.float(), (6, 9)), atol=2e-2, rtol=0)


@pytest.mark.parametrize("floor", [0, -1, 1.5, float("nan"), "0.1"])
def test_a_floor_outside_its_range_is_refused(floor):
    with pytest.raises(InvalidInput, match="floor"):
        elastic_grid(torch.ones(1, 1, 4, 4), floor=floor)


@pytest.mark.parametrize(
    "bad", [torch.ones(4, 4), -torch.ones(1, 1, 4, 4), torch.full((1, 1, 4, 4), torch.nan)]
)
def test_a_bad_density_is_refused(bad):
    with pytest.raises(InvalidInput, match="density"):
        elastic_grid(bad)


def smooth_density(seed: int, shape=(2, 1, 33, 48)) -> torch.Tensor:
    """Steep and smooth, as a density net gives it."""
    noise = 2 * torch.randn(shape[0], 1, 5, 7, generator=torch.Generator().manual_seed(seed))
    scores = torch.nn.functional.interpolate(noise, shape[2:], mode="bicubic", align_corners=True)
    return scores.flatten(1).softmax(1).view_as(scores)


def at_rest(density: torch.Tensor, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """Where springs come to rest whose stiffness is read at their own middles, in double precision."""
    stiffness = density.double() / density.amax((2, 3), keepdim=True) + 0.1
    with monkeypatch.context() as patched:
        set_rounds(patched, 300)
        grid = elastic._solve(stiffness, size)
    across, down = spring_stiffness(stiffness, grid)
    for axis in (0, 1):
        rest = torch.stack([dense_rest(a, d, axis) for a, d in zip(across, down, strict=True)])
        torch.testing.assert_close(grid[..., axis], rest, atol=1e-6, rtol=0)
    return grid


@pytest.mark.parametrize("size", [(33, 48), (24, 40), (16, 24), (8, 12)])
def test_a_grid_is_near_rest_and_nearer_than_in_0_1(size, monkeypatch):
    density = elastic.averaged(smooth_density(2), size)
    rest = at_rest(density, size, monkeypatch)
    distance, of_0_1 = (
        (elastic_grid(density, size, as_of_0_1=then).double() - rest).norm(dim=-1) for then in (False, True)
    )
    assert distance.median() < 1e-3
    assert distance.mean() < of_0_1.mean() and distance.max() < of_0_1.max()


@pytest.mark.parametrize("size", [(16, 24), (17, 23), (5, 40), (64, 66)])
@pytest.mark.parametrize("axis", [2, 3])
def test_a_mirrored_density_gives_the_mirrored_grid(size, axis):
    density = random_density(6, (1, 1, 20, 30))
    mirrored = elastic_grid(density.flip(axis), size).flip(axis - 1)
    mirrored[..., 3 - axis] *= -1
    torch.testing.assert_close(mirrored, elastic_grid(density, size), atol=1e-4, rtol=0)


def test_a_net_that_is_folded_after_its_rounds_is_relaxed_until_it_is_not(monkeypatch):
    density = torch.stack([random_density(seed, (1, 12, 20), power=8) for seed in range(24)])
    set_rounds(monkeypatch, 1)
    stiffness = density / density.amax((2, 3), keepdim=True) + 0.02
    assert (corner_areas(elastic_grid_reference(stiffness, (12, 20))) <= 0).any()
    assert (corner_areas(elastic_grid(density, (12, 20), floor=0.02)) > 0).all()


def test_a_density_of_more_pixels_than_nodes_is_averaged_about_its_places():
    ramp, expected = (
        torch.linspace(0, 1, columns).expand(1, 1, rows, columns) for rows, columns in ((31, 41), (9, 13))
    )
    inner = (..., slice(1, -1))  # the outermost are means of one side
    torch.testing.assert_close(elastic.averaged(ramp, (9, 13))[inner], expected[inner], atol=1e-3, rtol=0)
    density = random_density(1, (1, 1, 40, 60))
    of_arrays = relaxation.elastic_nodes(density[0, 0].numpy(), (16, 24))
    torch.testing.assert_close(
        torch.from_numpy(of_arrays)[None], elastic_grid(density, (16, 24)), atol=1e-5, rtol=0
    )


def test_the_gradient_of_grids_of_0_1_is_that_of_their_springs():
    density = random_density(2).requires_grad_()
    elastic_grid(density, (12, 20), as_of_0_1=True).square().sum().backward()
    assert density.grad.abs().sum() > 0


BITS = """
import hashlib, torch
from saccade.grids import elastic_grid
told = hashlib.sha256()
for size in ((8, 12), (9, 12), (32, 64)):
    density = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(1)) ** 3
    grid = elastic_grid(density.requires_grad_())
    gradient = torch.autograd.grad(grid.square().sum(), density)[0]
    told.update(grid.detach().numpy().tobytes() + gradient.numpy().tobytes())
print(told.hexdigest())
"""


@pytest.mark.slow
def test_kernels_that_are_compiled_and_those_that_were_kept_give_the_same_bits(tmp_path: Path) -> None:
    """So that a training that goes on in another process ends as an unbroken one."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", BITS]
    compiled, kept = (
        subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout for _ in range(2)
    )
    assert compiled == kept
