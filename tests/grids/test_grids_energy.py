"""The boundary energy: its minimum against the golden solves, scipy's sparse solver, and the energy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import spsolve

from saccade.errors import InvalidInput
from saccade.grids import boundary_energy_minimiser, boundary_energy_minimiser_reference, uniform_grid

SIDES = st.integers(1, 14)


def random_targets(batch, rows, columns, seed=0):
    return torch.rand(batch, rows, columns, 2, generator=torch.Generator().manual_seed(seed)).double() * 2 - 1


def sparse_minimiser(target: np.ndarray, smoothness: float) -> np.ndarray:
    """(n, m) the coordinate fixed at -1 and 1 on the first and last of n, by a sparse direct solve."""
    n, m = target.shape
    chain = [sparse.diags([-np.ones(k - 1), np.ones(k - 1)], [0, 1], shape=(k - 1, k)) for k in (n, m)]
    steps = sparse.vstack([sparse.kron(chain[0], sparse.eye(m)), sparse.kron(sparse.eye(n), chain[1])])
    system = (sparse.eye(n * m) + smoothness * steps.T @ steps).tocsr()
    solution = np.zeros((n, m))
    solution[0], solution[-1] = -1, 1
    inner = np.arange(n * m).reshape(n, m)[1:-1].ravel()
    right = target.ravel() - system @ solution.ravel()
    solution[1:-1] = spsolve(system[inner][:, inner].tocsc(), right[inner]).reshape(n - 2, m)
    return solution


@pytest.mark.parametrize(
    "name", ["marin_1_rects_8x8_a0.5", "marin_2_blobs_8x8_a0.5", "marin_3_blobs_32x32_a0.5"]
)
@pytest.mark.parametrize("solve", [boundary_energy_minimiser, boundary_energy_minimiser_reference])
def test_it_agrees_with_the_golden_solves(golden, name, solve):
    arrays = golden(name)
    targets = as_grid(arrays["target"])
    program = arrays["meta"]["pairwise_coef"] / arrays["meta"]["unary_coef"]
    for smoothness, key in ((1.0, "phi_exact_lambda1"), (program, "phi_exact")):
        torch.testing.assert_close(solve(targets, smoothness), as_grid(arrays[key]), atol=1e-8, rtol=0)


def as_grid(rows_columns: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(rows_columns).flip(-1)[None] * 2 - 1


@pytest.mark.parametrize("size", [(8, 8), (5, 17), (18, 4), (3, 3), (30, 50)])
@pytest.mark.parametrize("smoothness", [0.0, 0.3, 1.0, 50.0])
def test_it_agrees_with_a_sparse_direct_solve_on_any_aspect(size, smoothness):
    targets = random_targets(1, *size)
    y = sparse_minimiser(targets[0, ..., 1].numpy(), smoothness)
    x = sparse_minimiser(targets[0, ..., 0].numpy().T, smoothness).T
    expected = torch.from_numpy(np.stack([x, y], axis=-1))[None]
    torch.testing.assert_close(boundary_energy_minimiser(targets, smoothness), expected, atol=1e-10, rtol=0)


@settings(max_examples=40, deadline=None)
@given(SIDES, SIDES, st.floats(0, 100), st.integers(0, 99))
def test_it_agrees_with_its_twin(rows, columns, smoothness, seed):
    targets = random_targets(2, rows, columns, seed)
    expected = boundary_energy_minimiser_reference(targets, smoothness)
    torch.testing.assert_close(boundary_energy_minimiser(targets, smoothness), expected, atol=1e-11, rtol=0)


def energy(grid, targets, smoothness):
    pairs = grid.diff(dim=1).square().sum() + grid.diff(dim=2).square().sum()
    return (grid - targets).square().sum() + smoothness * pairs


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.floats(0.01, 10))
def test_no_allowed_change_lowers_the_energy(seed, smoothness):
    targets = random_targets(1, 6, 9, seed)
    grid = boundary_energy_minimiser(targets, smoothness)
    lowest = energy(grid, targets, smoothness)
    change = random_targets(1, 6, 9, seed + 1000)
    change[:, [0, -1], :, 1] = 0
    change[:, :, [0, -1], 0] = 0
    for step in (1e-3, -1e-3, 0.5):
        assert energy(grid + step * change, targets, smoothness) > lowest


def test_uniform_targets_give_the_uniform_grid():
    uniform = uniform_grid((7, 12)).double()
    torch.testing.assert_close(boundary_energy_minimiser(uniform, 3.0), uniform, atol=1e-7, rtol=0)


def test_outermost_nodes_are_fixed_and_without_smoothness_the_rest_are_the_targets():
    targets = random_targets(1, 5, 6)
    grid = boundary_energy_minimiser(targets, 0.0)
    assert (grid[:, 0, :, 1] == -1).all() and (grid[:, -1, :, 1] == 1).all()
    assert (grid[:, :, 0, 0] == -1).all() and (grid[:, :, -1, 0] == 1).all()
    torch.testing.assert_close(grid[:, 1:-1, 1:-1], targets[:, 1:-1, 1:-1])


def test_it_is_differentiable():
    targets = random_targets(1, 5, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: boundary_energy_minimiser(t, 0.7), targets)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_lower_precisions_come_out_as_float32(dtype):
    targets = random_targets(1, 9, 14)
    grid = boundary_energy_minimiser(targets.to(dtype))
    assert grid.dtype == torch.float32
    expected = boundary_energy_minimiser(targets.to(dtype).double())
    torch.testing.assert_close(grid.double(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("targets", "smoothness"),
    [
        (torch.zeros(4, 4, 2), 1.0),
        (torch.zeros(1, 4, 4, 3), 1.0),
        (torch.zeros(1, 4, 4, 2).long(), 1.0),
        (torch.zeros(1, 0, 4, 2), 1.0),
        (torch.full((1, 4, 4, 2), float("nan")), 1.0),
        (torch.full((1, 4, 4, 2), float("inf")), 1.0),
        (torch.zeros(1, 4, 4, 2), -1.0),
        (torch.zeros(1, 4, 4, 2), float("inf")),
        (torch.zeros(1, 4, 4, 2), "1"),
    ],
)
def test_bad_arguments_are_refused(targets, smoothness):
    with pytest.raises(InvalidInput, match=r"targets|smoothness"):
        boundary_energy_minimiser(targets, smoothness)
