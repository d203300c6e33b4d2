"""Sampling: bilinear and nearest, against torch's grid_sample, the twin and closed forms."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import grid_sample
from warp_grids import in_pixels, shaken, smooth, uniform

from saccade.warp import Pyramid, sample, sample_reference

IMAGE = torch.rand(2, 3, 37, 53, generator=torch.Generator().manual_seed(1))
DTYPES = [torch.uint8, torch.int16, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64]


def as_type(image: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return image.to(dtype) if dtype.is_floating_point else (image * 255).to(dtype)


@pytest.mark.parametrize("antialias", [False, True])
def test_agrees_with_the_twin(any_grid, antialias):
    image = IMAGE[: len(any_grid)].double()
    expected = sample_reference(image, any_grid, antialias=antialias)
    torch.testing.assert_close(sample(image, any_grid, antialias=antialias), expected, rtol=0, atol=1e-12)


def test_bilinear_agrees_with_grid_sample(any_grid):
    image = IMAGE[: len(any_grid)].double()
    expected = grid_sample(image, any_grid.double(), align_corners=True, padding_mode="border")
    torch.testing.assert_close(sample(image, any_grid), expected, rtol=0, atol=1e-12)


def test_nearest_agrees_with_grid_sample(any_grid):
    image = IMAGE[: len(any_grid)].double()
    expected = grid_sample(
        image, any_grid.double(), mode="nearest", align_corners=True, padding_mode="border"
    )
    assert torch.equal(sample(image, any_grid, mode="nearest"), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_types_are_kept_or_become_float32(dtype):
    image = as_type(IMAGE, dtype)
    kept = dtype if dtype.is_floating_point else torch.float32
    grid = shaken(8, 9, 0.3, batch=2)
    assert sample(image, grid).dtype == kept
    assert sample(image, grid, antialias=True).dtype == kept
    assert sample(image, grid, mode="nearest").dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("antialias", [False, True])
def test_every_type_gives_the_values_of_its_float64(dtype, antialias):
    image = as_type(IMAGE, dtype)
    grid = shaken(8, 9, 0.3, batch=2)
    expected = sample(image.double(), grid, antialias=antialias)
    steps = {torch.float16: 1e-3, torch.bfloat16: 8e-3}.get(dtype, 1e-5)
    slack = steps * image.double().abs().max().item()
    if dtype == torch.uint8 and antialias:
        slack += 1.0
    torch.testing.assert_close(
        sample(image, grid, antialias=antialias).double(), expected, rtol=0, atol=slack
    )


@pytest.mark.parametrize("antialias", [False, True])
def test_a_pyramid_gives_what_the_image_gives(antialias):
    for image in (IMAGE, as_type(IMAGE, torch.uint8)):
        grid = shaken(6, 5, 0.3, batch=2)
        given_pyramid = sample(Pyramid.of(image), grid, antialias=antialias)
        assert torch.equal(given_pyramid, sample(image, grid, antialias=antialias))
        assert torch.equal(
            sample(Pyramid.of(image), grid, mode="nearest"), sample(image, grid, mode="nearest")
        )


def test_the_identity_grid_gives_the_image_back():
    grid = uniform(37, 53, 2)
    torch.testing.assert_close(sample(IMAGE, grid), IMAGE, rtol=0, atol=2e-6)
    assert torch.equal(sample(IMAGE, grid, mode="nearest"), IMAGE)


def test_a_linear_image_is_read_exactly(any_grid):
    size = (37, 53)
    places = in_pixels(any_grid, size)
    y, x = torch.meshgrid(torch.arange(37.0), torch.arange(53.0), indexing="ij")
    image = (2 * x - 3 * y + 1)[None, None].double().expand(len(any_grid), -1, -1, -1)
    expected = (2 * places[..., 0] - 3 * places[..., 1] + 1)[:, None]
    torch.testing.assert_close(sample(image, any_grid), expected, rtol=0, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), ids=st.sets(st.integers(-(2**40), 2**40), min_size=1, max_size=5))
def test_nearest_never_invents_a_class(seed, ids):
    generator = torch.Generator().manual_seed(seed)
    classes = torch.tensor(sorted(ids))
    labels = classes[torch.randint(0, len(classes), (1, 11, 17), generator=generator)]
    found = sample(labels, shaken(5, 7, 1.0, seed), mode="nearest")
    assert found.shape == (1, 5, 7)
    assert found.dtype == torch.int64
    assert set(found.unique().tolist()) <= ids


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.bool, torch.float16])
def test_nearest_labels_without_a_channel_axis_keep_their_type(dtype):
    labels = torch.randint(0, 2, (2, 30, 40)).to(dtype)
    found = sample(labels, shaken(5, 7, 0.4, batch=2), mode="nearest")
    assert found.dtype == dtype
    assert found.shape == (2, 5, 7)


@pytest.mark.parametrize("antialias", [False, True])
def test_one_image_serves_a_batch_of_grids(antialias):
    grids = shaken(6, 7, 0.3, batch=4)
    together = sample(IMAGE[:1], grids, antialias=antialias)
    one_by_one = torch.cat([sample(IMAGE[:1], grid[None], antialias=antialias) for grid in grids])
    assert torch.equal(together, one_by_one)


@pytest.mark.parametrize("antialias", [False, True])
def test_layout_does_not_matter(antialias):
    grid = shaken(6, 7, 0.3, batch=2)
    expected = sample(IMAGE, grid, antialias=antialias)
    strided = torch.rand(2, 3, 74, 106)[:, :, ::2, ::2].copy_(IMAGE)
    turned = grid.permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1)
    for image in (IMAGE.contiguous(memory_format=torch.channels_last), strided, IMAGE.mT.contiguous().mT):
        assert torch.equal(sample(image, turned, antialias=antialias), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
@pytest.mark.parametrize("antialias", [False, True])
def test_grids_of_other_types_work(dtype, antialias):
    grid = uniform(5, 9, 2).to(dtype)
    expected = sample(IMAGE.double(), grid.double(), antialias=antialias)
    torch.testing.assert_close(
        sample(IMAGE.double(), grid, antialias=antialias), expected, rtol=0, atol=1e-12
    )


def test_works_under_autocast_and_with_gradients_asked_for():
    image = IMAGE.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = sample(image, smooth(4, 5).expand(2, -1, -1, -1), antialias=True)
    assert out.dtype == torch.float32
    out.sum().backward()
    assert image.grad.sum().item() == pytest.approx(2 * 3 * 20, rel=1e-5)
