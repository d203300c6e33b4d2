"""The tensor code that a GPU runs gives the bits of the compiled kernels, in bounded memory."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from warp_grids import scores_of, shaken, smooth

from saccade.warp import Pyramid, device_sampling, device_unwarping, sample, unwarp, unwarp_labels
from saccade.warp.device_halvings import halvings_on_device
from saccade.warp.device_sampling import averaged_on_device, bilinear_on_device, nearest_on_device
from saccade.warp.device_unwarping import unwarp_labels_on_device, unwarp_on_device
from saccade.warp.mesh import require_window

SIZE = (61, 83)


def assert_same_bits(values, grid, size, mode="linear", window=None):
    place = require_window(window, size)
    linear = mode == "linear"
    expected = unwarp(values, grid, size, mode=mode, window=window)
    ours = unwarp_on_device(values, grid, size, place, linear=linear)
    assert ours.dtype == expected.dtype
    torch.testing.assert_close(ours, expected, rtol=0, atol=0, equal_nan=True)
    labels = unwarp_labels(values, grid, size, mode=mode, window=window)
    found = unwarp_labels_on_device(values, grid, size, place, linear=linear)
    assert found.dtype == labels.dtype
    assert torch.equal(found, labels)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize(("kind", "classes"), [("noise", 1), ("noise", 6), ("ties", 3), ("waves", 6)])
def test_every_kind_of_grid(any_grid, kind, classes, mode):
    assert_same_bits(scores_of(kind, classes, any_grid), any_grid, SIZE, mode)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    cells=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    amount=st.floats(0, 3),
    classes=st.integers(1, 6),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    kind=st.sampled_from(["noise", "waves", "ties"]),
    pinned=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]),
    mode=st.sampled_from(["linear", "nearest"]),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
)
@example(0, (9, 9), 0.3, 5, (40, 40), "ties", True, torch.float32, "linear", (0.0, 1.0, 0.0, 1.0))
@example(1, (2, 2), 2.0, 3, (33, 17), "noise", True, torch.float16, "linear", (0.2, 0.9, 0.1, 0.7))
def test_any_grid_any_scores_any_window(
    seed, cells, amount, classes, size, kind, pinned, dtype, mode, corners
):
    grid = shaken(*cells, amount, seed)
    if pinned and min(cells) > 1:
        grid[:, 0, :, 1], grid[:, -1, :, 1], grid[:, :, 0, 0], grid[:, :, -1, 0] = -1, 1, -1, 1
    (top, bottom), (left, right) = (
        sorted((int(a * (side - 1)), int(b * (side - 1))))
        for a, b, side in zip(corners[::2], corners[1::2], size, strict=True)
    )
    values = scores_of(kind, classes, grid, seed).to(dtype)
    assert_same_bits(values, grid, size, mode, (top, bottom + 1, left, right + 1))


def test_strips_and_pieces_leave_no_trace(any_grid, monkeypatch):
    monkeypatch.setattr(device_unwarping, "PIECE", 1500)
    for mode in ("linear", "nearest"):
        assert_same_bits(scores_of("noise", 5, any_grid), any_grid, SIZE, mode)
    assert_same_bits(scores_of("waves", 5, any_grid), any_grid, SIZE)


def test_infinite_scores_and_many_classes():
    grid = smooth(9, 13)
    scores = scores_of("noise", 300, grid)
    scores[:, 2] = -torch.inf
    scores[:, 3, :, 6:] = torch.inf
    labels = unwarp_labels_on_device(scores, grid, SIZE, (0, 61, 0, 83), linear=True)
    assert torch.equal(labels, unwarp_labels(scores, grid, SIZE))


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_gradients_of_unwarp(any_grid, mode):
    generator = torch.Generator().manual_seed(5)
    values = torch.rand(len(any_grid), 2, *any_grid.shape[1:3], generator=generator).requires_grad_()
    asked = torch.rand(len(any_grid), 2, 40, 61, generator=generator)
    window = (7, 47, 11, 72)
    expected = torch.autograd.grad(
        (unwarp(values, any_grid, SIZE, mode=mode, window=window) * asked).sum(), values
    )
    ours = unwarp_on_device(values, any_grid, SIZE, window, linear=mode == "linear")
    found = torch.autograd.grad((ours * asked).sum(), values)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def images(kind: str, size: tuple[int, int], seed: int, batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(batch, 3, *size, generator=generator, dtype=torch.float64)
    return (image * 255).to(torch.uint8) if kind == "uint8" else image.to(getattr(torch, kind))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    cells=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    amount=st.floats(0, 3),
    scale=st.floats(0.01, 1),
    size=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    kind=st.sampled_from(["uint8", "float32", "float64"]),
    batch=st.sampled_from([1, 2]),
)
@example(0, (2, 9), 0.0, 1.0, (200, 7), "uint8", 1)
@example(0, (1, 9), 0.3, 1.0, (200, 200), "float32", 2)
def test_samples_are_those_of_the_kernels(seed, cells, amount, scale, size, kind, batch):
    grid = shaken(*cells, amount, seed, scale=scale, batch=2)
    pyramid = Pyramid.of(images(kind, size, seed, batch))
    assert torch.equal(halvings_on_device(pyramid.base), pyramid.rest)
    ours = averaged_on_device(pyramid.base, pyramid.rest, grid)
    torch.testing.assert_close(ours, sample(pyramid, grid, antialias=True), rtol=0, atol=0)
    torch.testing.assert_close(bilinear_on_device(pyramid.base, grid), sample(pyramid, grid), rtol=0, atol=0)
    nearest = nearest_on_device(pyramid.level(0), grid)
    assert torch.equal(nearest, sample(pyramid, grid, mode="nearest"))


def test_few_samples_at_a_time_give_the_same(any_grid, monkeypatch):
    pyramid = Pyramid.of(images("float32", SIZE, 3))
    monkeypatch.setattr(device_sampling, "PIECE", 200)
    ours = averaged_on_device(pyramid.base, pyramid.rest, any_grid)
    torch.testing.assert_close(ours, sample(pyramid, any_grid, antialias=True), rtol=0, atol=0)


@pytest.mark.parametrize("antialias", [False, True])
def test_gradients_of_sample(any_grid, antialias):
    grid = any_grid.double().requires_grad_()
    image = images("float64", SIZE, 4).requires_grad_()
    asked = torch.rand(len(grid), 3, *grid.shape[1:3], dtype=torch.float64)
    expected = torch.autograd.grad((sample(image, grid, antialias=antialias) * asked).sum(), (image, grid))
    base = image.permute(0, 2, 3, 1)
    if antialias:
        ours = averaged_on_device(base, halvings_on_device(base), grid)
    else:
        ours = bilinear_on_device(base, grid)
    found = torch.autograd.grad((ours * asked).sum(), (image, grid))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
