"""Gradients of sampling, by finite differences and against autograd through the twin."""

from __future__ import annotations

import pytest
import torch
from warp_grids import shaken

from saccade.warp import Pyramid, sample, sample_reference

SHAPES = [(3, 4), (2, 2), (12, 15), (1, 3), (3, 1), (1, 1)]


def image_and_grid(shape: tuple[int, int], batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    image = torch.rand(batch, 2, 13, 17, dtype=torch.float64, generator=generator)
    grid = shaken(*shape, 0.3, seed=3, scale=0.9, batch=batch).double() * 0.97 + 0.01
    return image.requires_grad_(), grid.requires_grad_()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("antialias", [False, True])
def test_gradients_by_image_and_grid_agree_with_finite_differences(shape, antialias):
    image, grid = image_and_grid(shape)
    assert torch.autograd.gradcheck(lambda i, g: sample(i, g, antialias=antialias), (image, grid))


@pytest.mark.parametrize("antialias", [False, True])
def test_gradients_agree_with_autograd_through_the_twin(antialias):
    image, grid = image_and_grid((9, 11), batch=2)
    asked = torch.rand(2, 2, 9, 11, dtype=torch.float64)
    ours = torch.autograd.grad((sample(image, grid, antialias=antialias) * asked).sum(), (image, grid))
    twin = torch.autograd.grad(
        (sample_reference(image, grid, antialias=antialias) * asked).sum(), (image, grid)
    )
    for one, other in zip(ours, twin, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("antialias", [False, True])
def test_large_footprints_on_high_levels_have_right_gradients(antialias):
    image = torch.rand(1, 2, 90, 110, dtype=torch.float64, requires_grad=True)
    grid = (shaken(4, 5, 0.3, scale=0.9).double() * 0.97).requires_grad_()
    asked = torch.rand(1, 2, 4, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda g: sample(image.detach(), g, antialias=antialias), (grid,), eps=1e-7
    )
    ours = torch.autograd.grad((sample(image, grid, antialias=antialias) * asked).sum(), image)[0]
    twin = torch.autograd.grad((sample_reference(image, grid, antialias=antialias) * asked).sum(), image)[0]
    torch.testing.assert_close(ours, twin, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("antialias", [False, True])
def test_one_image_for_many_grids_sums_their_gradients(antialias):
    image, _ = image_and_grid((5, 6))
    grids = shaken(5, 6, 0.3, batch=3).double()
    together = torch.autograd.grad(sample(image, grids, antialias=antialias).square().sum(), image)[0]
    apart = sum(
        torch.autograd.grad(sample(image, grid[None], antialias=antialias).square().sum(), image)[0]
        for grid in grids
    )
    torch.testing.assert_close(together, apart, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("antialias", [False, True])
def test_a_grid_gets_its_gradient_from_a_pyramid_of_bytes(antialias):
    image = torch.randint(0, 256, (1, 3, 60, 80), dtype=torch.uint8)
    grid = shaken(24, 30, 0.2, scale=0.95).mul_(0.99).requires_grad_()
    sample(Pyramid.of(image), grid, antialias=antialias).square().sum().backward()
    twin = grid.detach().clone().requires_grad_()
    sample_reference(image.double(), twin, antialias=antialias).square().sum().backward()
    assert grid.grad.dtype == torch.float32
    torch.testing.assert_close(grid.grad, twin.grad, rtol=1e-3, atol=1e-3 * twin.grad.abs().max().item())


def test_only_what_is_asked_for_is_computed():
    image = torch.rand(1, 3, 40, 50)
    grid = shaken(5, 6, 0.3).requires_grad_()
    out = sample(Pyramid.of(image), grid, antialias=True)
    out.sum().backward()
    assert grid.grad.abs().sum() > 0
    assert not sample(image, grid, mode="nearest").requires_grad


def test_nearest_hands_each_gradient_to_its_pixel():
    image = torch.rand(1, 1, 6, 7, dtype=torch.float64, requires_grad=True)
    grid = shaken(4, 5, 0.3).double()
    assert torch.autograd.gradcheck(lambda i: sample(i, grid, mode="nearest"), (image,))


def test_half_precision_images_and_grids_get_gradients_of_their_own_type():
    image = torch.rand(1, 3, 40, 50).half().requires_grad_()
    grid = shaken(5, 6, 0.3).half().requires_grad_()
    sample(image, grid, antialias=True).float().sum().backward()
    assert (image.grad.dtype, grid.grad.dtype) == (torch.float16, torch.float16)
