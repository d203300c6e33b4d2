"""Shared checks: what passes comes back, what does not says why."""

import numpy as np
import pytest
import torch

from saccade.errors import InvalidInput
from saccade.geometry import require_size
from saccade.grids.validate import require_density, require_grid, require_labels


def test_a_size_of_numpy_integers_becomes_plain_integers():
    assert require_size((np.int64(3), np.uint8(4))) == (3, 4)
    assert require_size(torch.Size([5, 6])) == (5, 6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_grid_of_any_floating_type_and_of_rounding_beyond_the_border_passes(dtype):
    grid = torch.full((2, 3, 4, 2), 1.0, dtype=dtype) * (1 + 5e-5)
    assert require_grid(grid, 2) is grid


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (torch.zeros(3, 4, 2), r"\(3, 4, 2\)"),
        (torch.zeros(1, 3, 4, 3), r"\(1, 3, 4, 3\)"),
        (torch.zeros(2, 3, 4, 2), r"B=1"),
        (torch.zeros(1, 0, 4, 2), "no side of zero"),
        (torch.zeros(1, 3, 4, 2, dtype=torch.int64), "floating point, but got torch.int64"),
        (torch.full((1, 3, 4, 2), 1.001), r"within \[-1, 1\], but got values from 1.001"),
        (torch.full((1, 3, 4, 2), float("nan")), "finite"),
        (torch.full((1, 3, 4, 2), float("-inf")), "-inf"),
        (np.zeros((1, 3, 4, 2)), "convert it with torch.from_numpy"),
    ],
)
def test_a_wrong_grid_is_refused_with_what_was_given(grid, message):
    with pytest.raises(InvalidInput, match=message):
        require_grid(grid, 1)


@pytest.mark.parametrize(
    ("density", "message"),
    [
        (torch.ones(4, 4), r"\(4, 4\)"),
        (torch.ones(1, 2, 4, 4), r"\(1, 2, 4, 4\)"),
        (torch.ones(1, 1, 0, 4), "no side of zero"),
        (torch.ones(1, 1, 4, 4, dtype=torch.uint8), "torch.uint8"),
        (torch.full((1, 1, 4, 4), -1e-9), ">= 0"),
        (torch.full((1, 1, 4, 4), float("nan")), "nan"),
        (torch.full((1, 1, 4, 4), float("inf")), "inf"),
        ([[1.0]], "a list"),
    ],
)
def test_a_wrong_density_is_refused_with_what_was_given(density, message):
    with pytest.raises(InvalidInput, match=message):
        require_density(density)


@pytest.mark.parametrize(
    "labels", [torch.zeros(4, 4).long(), torch.zeros(1, 4, 4), torch.zeros(1, 0, 4).long()]
)
def test_wrong_labels_are_refused(labels):
    with pytest.raises(InvalidInput, match="labels"):
        require_labels(labels)
