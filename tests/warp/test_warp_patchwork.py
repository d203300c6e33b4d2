"""Patches on a lattice, added up where they overlap."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from saccade.errors import InvalidInput
from saccade.warp.stitch import stitch_lattice, stitch_lattice_reference


def lattice(pixels: int, field: float, step: float) -> np.ndarray:
    """Middles from the first pixel to the last, no further apart than ``step``."""
    count = max(2, int(np.ceil((pixels - 1) / min(step, field))) + 1) if pixels > 1 else 1
    return np.linspace(0, pixels - 1, count) if pixels > 1 else np.zeros(1)


def some_patches(rows: np.ndarray, columns: np.ndarray, cells: int, classes: int, seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.randn(len(rows), len(columns), cells, cells, classes).softmax(-1)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 70), st.integers(1, 60), st.floats(4, 40), st.floats(2, 40), st.integers(1, 7),
    st.sampled_from(["smooth", "uniform"]), st.integers(0, 9),
)  # fmt: skip
def test_it_is_its_twin(
    height: int, width: int, field: float, step: float, cells: int, window: str, seed: int
) -> None:
    rows, columns = lattice(height, field, step), lattice(width, field, step)
    patches = some_patches(rows, columns, cells, 3, seed)
    labels, probabilities = stitch_lattice(
        patches, rows, columns, (field, field), (0, height), width, window=window, probabilities=True
    )
    mean = stitch_lattice_reference(patches, rows, columns, (field, field), (height, width), window=window)
    assert probabilities is not None
    assert np.abs(probabilities.transpose(2, 0, 1) / 255 - mean.numpy()).max() < 0.5 / 255 + 1e-4
    best, chosen = mean.max(0).values, mean.gather(0, torch.from_numpy(labels).long()[None])[0]
    assert float((best - chosen).max()) < 1e-5


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 64), st.sampled_from(["smooth", "uniform"]), st.integers(0, 9))
def test_any_band_height_gives_the_same_bits(band: int, window: str, seed: int) -> None:
    height, width, field = 61, 37, 14.0
    rows, columns = lattice(height, field, 6.5), lattice(width, field, 6.5)
    patches = some_patches(rows, columns, 4, 3, seed)
    whole = stitch_lattice(
        patches, rows, columns, (field, field), (0, height), width, window=window, probabilities=True
    )
    parts = []
    for top in range(0, height, band):
        bottom = min(top + band, height)
        here = np.flatnonzero((rows - field / 2 < bottom) & (rows + field / 2 > top - 1))
        parts.append(
            stitch_lattice(
                patches[here], rows[here], columns, (field, field), (top, bottom), width,
                window=window, probabilities=True,
            )
        )  # fmt: skip
    for number in (0, 1):
        assert np.array_equal(np.concatenate([part[number] for part in parts]), whole[number])


def test_one_patch_is_a_linear_enlargement() -> None:
    """Against scipy: cells of 4 pixels, their centres 4 pixels apart."""
    patch = torch.rand(1, 1, 6, 6, 2).softmax(-1)
    _, probabilities = stitch_lattice(
        patch,
        np.array([11.5]),
        np.array([11.5]),
        (24.0, 24.0),
        (0, 24),
        24,
        window="uniform",
        probabilities=True,
    )
    y, x = np.mgrid[0:24, 0:24]
    places = ((np.stack([y, x]) + 0.5) / 4 - 0.5).clip(0, 5)
    wanted = ndimage.map_coordinates(patch[0, 0, :, :, 1].numpy(), places, order=1)
    assert probabilities is not None
    assert np.abs(probabilities[..., 1] / 255 - wanted).max() < 0.5 / 255 + 1e-5


def test_constant_patches_that_agree_give_their_class_everywhere() -> None:
    rows, columns = lattice(50, 16, 8), lattice(40, 16, 8)
    patches = torch.zeros(len(rows), len(columns), 4, 4, 3)
    patches[..., 2] = 1
    labels, _ = stitch_lattice(patches, rows, columns, (16.0, 16.0), (0, 50), 40)
    assert (labels == 2).all()


def test_what_no_patch_covers_is_nothing() -> None:
    patches = torch.ones(1, 1, 2, 2, 2)
    labels, _ = stitch_lattice(patches, np.array([2.0]), np.array([2.0]), (4.0, 4.0), (0, 12), 12)
    assert (labels[:5, :5] == 0).all() and (labels[5:] == 255).all() and (labels[:, 5:] == 255).all()


def test_an_unknown_window_is_refused() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'smooth'"):
        stitch_lattice(
            torch.ones(1, 1, 2, 2, 2), np.zeros(1), np.zeros(1), (4.0, 4.0), (0, 1), 1, window="smoth"
        )
