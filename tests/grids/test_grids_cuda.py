"""On a GPU the grids are those of the CPU, and stay on the device."""

import pytest
import torch

from saccade.grids import (
    attraction_grid,
    boundary_grid,
    boundary_targets,
    covers,
    edge_density,
    folds,
    footprints,
    patch_grids,
    resize_grid,
    samples_per_region,
    unfold_grid,
    uniform_grid,
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.parametrize("cover", [True, False])
def test_attraction_forward_and_backward(make_density, cover):
    grids, gradients = [], []
    for device in ("cpu", "cuda"):
        density = make_density((2, 40, 60)).to(device).requires_grad_()
        grid = attraction_grid(density, (30, 50), radius=(9, 12), cover=cover)
        grid.square().sum().backward()
        assert grid.device.type == density.grad.device.type == device
        grids.append(grid.detach().cpu())
        gradients.append(density.grad.cpu())
    torch.testing.assert_close(*grids, atol=1e-5, rtol=0)
    torch.testing.assert_close(*gradients, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_attraction_under_autocast(make_density, dtype):
    density = make_density((1, 40, 60)).cuda()
    with torch.autocast("cuda", dtype=dtype):
        grid = attraction_grid(density)
    assert torch.equal(grid, attraction_grid(density)) and grid.dtype == torch.float32


def test_attraction_with_tensor_cores_allowed_stays_near(make_density):
    density = make_density((1, 64, 128)).cuda()
    expected = attraction_grid(density.cpu())
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        grid = attraction_grid(density).cpu()
        constant = attraction_grid(torch.ones_like(density)).cpu()
    finally:
        torch.set_float32_matmul_precision(before)
    torch.testing.assert_close(grid, expected, atol=5e-4, rtol=0)
    torch.testing.assert_close(constant, uniform_grid((64, 128)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("weights", [None, [1.0, 2, 3, 4, 5, 6]])
def test_edge_density(make_labels, weights):
    labels = make_labels(2, 90, 70)
    density = edge_density(labels.cuda(), (12, 11), weights=weights)
    assert density.device.type == "cuda"
    torch.testing.assert_close(
        density.cpu(), edge_density(labels, (12, 11), weights=weights), atol=1e-6, rtol=1e-4
    )


@pytest.mark.parametrize("classes", [None, [1, 3]])
def test_boundary(make_labels, classes):
    labels = make_labels(2, 90, 70)
    targets = boundary_targets(labels.cuda(), (12, 11), classes=classes)
    nodes, sides = uniform_grid((12, 11), 2).double(), torch.tensor([69, 89])
    expected = boundary_targets(labels, (12, 11), classes=classes)
    distances = [((near.cpu() - nodes) * sides).norm(dim=-1) for near in (targets, expected)]
    torch.testing.assert_close(*distances, atol=1e-5, rtol=0)
    grid = boundary_grid(labels.cuda(), (12, 11), classes=classes)
    assert grid.device.type == "cuda" and covers(grid, tolerance=1e-6)


def test_checks_patches_and_changes_of_grids(make_density, make_labels):
    grid = attraction_grid(make_density((2, 12, 16))).cuda()
    for change in (
        lambda g: footprints(g, (90, 70)),
        lambda g: resize_grid(g, (7, 30)),
        lambda g: unfold_grid(g.flip(2)),
        lambda g: folds(g).cells,
        lambda g: samples_per_region(g, make_labels(2, 90, 70).to(g.device)),
        lambda g: patch_grids(g[0, 0], [8, 20], (4, 4), (90, 70), border="zero")[0],
    ):
        assert change(grid).device.type == "cuda"
        torch.testing.assert_close(change(grid).cpu(), change(grid.cpu()), atol=1e-5, rtol=0)
