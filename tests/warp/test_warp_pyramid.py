"""The pyramid: exact means of exactly the pixels under each of its own."""

from __future__ import annotations

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import avg_pool2d

from saccade.errors import InvalidInput
from saccade.warp import Pyramid
from saccade.warp.pyramid import halvings_reference

SIDES = st.integers(1, 40)


def block_mean(image: torch.Tensor, level: int, row: int, column: int) -> torch.Tensor:
    side = 2**level
    block = image[:, :, row * side : (row + 1) * side, column * side : (column + 1) * side]
    return block.double().mean((2, 3))


@settings(max_examples=25, deadline=None)
@given(height=SIDES, width=SIDES, seed=st.integers(0, 99))
def test_a_level_pixel_is_the_mean_of_exactly_the_pixels_it_covers(height, width, seed):
    image = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed))
    pyramid = Pyramid.of(image)
    for number in range(pyramid.levels):
        level = pyramid.level(number)
        rows, columns = level.shape[2:]
        assert (rows, columns) == (-(-height // 2**number), -(-width // 2**number))
        for row, column in {(0, 0), (rows - 1, 0), (0, columns - 1), (rows - 1, columns - 1)}:
            expected = block_mean(image, number, row, column).float()
            torch.testing.assert_close(level[:, :, row, column], expected, rtol=1e-5, atol=1e-6)


def test_levels_of_floats_agree_with_pooling():
    image = torch.rand(1, 4, 61, 83, dtype=torch.float64)
    pyramid = Pyramid.of(image)
    assert pyramid.levels == 7
    for number in range(5):
        pooled = avg_pool2d(image, 2**number, ceil_mode=True)
        torch.testing.assert_close(pyramid.level(number), pooled, rtol=0, atol=1e-13)


def test_uint8_levels_stay_within_rounding_and_are_not_brightened():
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (1, 3, 512, 512), dtype=torch.uint8, generator=generator)
    pyramid = Pyramid.of(image)
    assert pyramid.rest.dtype == torch.uint8
    for number in range(1, 6):
        error = pyramid.level(number).double() - avg_pool2d(image.double(), 2**number)
        assert error.abs().max() <= 0.5 * number
        assert error.mean().abs() < 0.15


def test_a_flat_image_is_flat_on_every_level():
    for value in (0, 1, 127, 255):
        pyramid = Pyramid.of(torch.full((1, 1, 37, 53), value, dtype=torch.uint8))
        assert (pyramid.rest == value).all()


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 1, 9), (1, 2, 17, 1), (3, 1, 5, 6)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_the_kernel_agrees_with_the_twin(shape, dtype):
    image = (torch.rand(shape, dtype=torch.float64) * 255).to(dtype)
    pyramid = Pyramid.of(image)
    slack = 0 if dtype.is_floating_point else pyramid.levels
    torch.testing.assert_close(
        pyramid.rest.double(), halvings_reference(pyramid.base).double(), rtol=1e-5, atol=slack
    )


def test_layout_does_not_matter_and_level_zero_is_not_copied():
    planar = torch.randint(0, 256, (2, 3, 50, 70), dtype=torch.uint8)
    interleaved = planar.contiguous(memory_format=torch.channels_last)
    sliced = torch.randint(0, 256, (2, 6, 100, 140), dtype=torch.uint8)[:, ::2, ::2, ::2].copy_(planar)
    pyramids = [Pyramid.of(image) for image in (planar, interleaved, sliced)]
    assert all(torch.equal(pyramids[0].rest, other.rest) for other in pyramids)
    assert pyramids[0].level(0).data_ptr() == planar.data_ptr()


def test_says_its_size_and_weight():
    pyramid = Pyramid.of(torch.zeros(2, 3, 48, 64, dtype=torch.uint8))
    assert (pyramid.size, pyramid.channels, pyramid.batch, pyramid.dtype) == ((48, 64), 3, 2, torch.uint8)
    assert 48 * 64 * 6 < pyramid.nbytes < 1.4 * 48 * 64 * 6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int16, torch.int64, torch.bool])
def test_other_types_become_float32(dtype):
    image = torch.tensor([[[[0.0, 1.0], [1.0, 1.0]]]]).to(dtype)
    pyramid = Pyramid.of(image)
    assert pyramid.dtype == torch.float32
    assert pyramid.level(1).item() == 0.75


def test_is_differentiable():
    image = torch.rand(1, 2, 5, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda picture: Pyramid.of(picture).rest, (image,))


def test_survives_a_trip_to_another_process_and_device():
    pyramid = Pyramid.of(torch.rand(1, 3, 20, 30))
    again = pickle.loads(pickle.dumps(pyramid)).to("cpu")
    assert torch.equal(again.rest, pyramid.rest)


@pytest.mark.parametrize(
    "image",
    [torch.zeros(3, 4, 5), torch.zeros(1, 3, 0, 5), torch.zeros(1, 1, 2, 2, dtype=torch.complex64), "x"],
)
def test_refuses_what_is_no_image(image):
    with pytest.raises(InvalidInput, match="image"):
        Pyramid.of(image)


@pytest.mark.parametrize("number", [-1, 5])
def test_refuses_a_level_that_is_not_there(number):
    with pytest.raises(InvalidInput, match="from 0 to 4"):
        Pyramid.of(torch.zeros(1, 1, 16, 16)).level(number)
