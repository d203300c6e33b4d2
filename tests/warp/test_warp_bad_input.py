"""Bad input: an error of ours that says what was given, what is allowed and the way out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from warp_grids import uniform

from saccade.errors import InvalidInput
from saccade.warp import Pyramid, sample, unwarp, unwarp_labels

IMAGE = torch.zeros(2, 3, 20, 30)
GRID = uniform(4, 5, 2)
SCORES = torch.zeros(2, 3, 4, 5)
NAN = GRID.clone()
NAN[1, 2, 3, 0] = torch.nan
INF = GRID.clone()
INF[0, 0, 0, 1] = torch.inf

BAD_GRIDS = {
    "no batch axis": (GRID[0], "of shape"),
    "three coordinates": (torch.zeros(2, 4, 5, 3), "of shape"),
    "other batch": (uniform(4, 5, 3), "of shape"),
    "no rows": (torch.zeros(2, 0, 5, 2), "zero"),
    "NaN": (NAN, "finite"),
    "infinite": (INF, "finite"),
    "pixels": (GRID * 20, r"within \[-1, 1\]"),
    "integers": (torch.zeros(2, 4, 5, 2, dtype=torch.int64), "floating"),
    "numpy": (np.zeros((2, 4, 5, 2), np.float32), "tensor"),
}


@pytest.mark.parametrize("name", BAD_GRIDS)
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_sample_refuses_bad_grids(name, mode):
    grid, message = BAD_GRIDS[name]
    for image in (IMAGE, Pyramid.of(IMAGE)):
        with pytest.raises(InvalidInput, match=message):
            sample(image, grid, mode=mode)


@pytest.mark.parametrize("name", BAD_GRIDS)
@pytest.mark.parametrize("function", [unwarp, unwarp_labels])
def test_unwarp_refuses_bad_grids(name, function):
    grid, message = BAD_GRIDS[name]
    with pytest.raises(InvalidInput, match=message):
        function(SCORES, grid, (20, 30))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (IMAGE[0], r"\(B, C, H, W\).*image\[None\]"),
        (IMAGE[..., 0], r"\(B, C, H, W\)"),
        (torch.zeros(2, 0, 20, 30), "zero"),
        (torch.zeros(2, 3, 0, 30), "zero"),
        (torch.zeros(2, 3, 20, 30, dtype=torch.complex64), "real"),
        (np.zeros((2, 3, 20, 30)), "torch.from_numpy"),
        ("image.png", "tensor"),
    ],
)
@pytest.mark.parametrize("antialias", [False, True])
def test_sample_refuses_bad_images(image, message, antialias):
    with pytest.raises(InvalidInput, match=message):
        sample(image, GRID, antialias=antialias)


@pytest.mark.parametrize("function", [unwarp, unwarp_labels])
@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (SCORES[0], "of shape"),
        (SCORES[:, :0], "zero"),
        (torch.zeros(2, 3, 5, 5), "one node for each"),
        (SCORES.to(torch.complex64), "real"),
        (SCORES.numpy(), "torch.from_numpy"),
    ],
)
def test_unwarp_refuses_bad_values(function, scores, message):
    with pytest.raises(InvalidInput, match=message):
        function(scores, GRID, (20, 30))


@pytest.mark.parametrize("function", [unwarp, unwarp_labels])
@pytest.mark.parametrize("size", [(0, 5), (5,), 7, (5, -1), (5.5, 6), None])
def test_unwarp_refuses_bad_sizes(function, size):
    with pytest.raises(InvalidInput, match="size"):
        function(SCORES, GRID, size)


@pytest.mark.parametrize("function", [unwarp, unwarp_labels])
@pytest.mark.parametrize(
    "window",
    [
        (0, 21, 0, 30),
        (-1, 5, 0, 30),
        (5, 5, 0, 30),
        (0, 20, 10, 9),
        (0, 20, 0, 31),
        (0, 20),
        5,
        (0, 1.5, 0, 3),
    ],
)
def test_unwarp_refuses_windows_outside_the_image(function, window):
    with pytest.raises(InvalidInput, match=r"window.*0 <= top < bottom <= 20"):
        function(SCORES, GRID, (20, 30), window=window)


@pytest.mark.parametrize(
    ("call", "near"), [(sample, "bilinear"), (unwarp, "linear"), (unwarp_labels, "linear")]
)
def test_a_mode_with_a_typo_is_told_the_nearest_name(call, near):
    arguments = (IMAGE, GRID) if call is sample else (SCORES, GRID, (20, 30))
    with pytest.raises(InvalidInput, match=f"did you mean '{near}'"):
        call(*arguments, mode=near + "r")


def test_labels_cannot_be_averaged():
    with pytest.raises(InvalidInput, match="antialias"):
        sample(IMAGE, GRID, mode="nearest", antialias=True)


def test_scores_must_be_floating_and_not_nan():
    with pytest.raises(InvalidInput, match="floating"):
        unwarp_labels(SCORES.long(), GRID, (20, 30))
    scores = SCORES.clone()
    scores[1, 2, 3, 4] = torch.nan
    for mode in ("linear", "nearest"):
        with pytest.raises(InvalidInput, match="NaN"):
            unwarp_labels(scores, GRID, (20, 30), mode=mode)


def test_more_classes_than_fit_are_refused():
    with pytest.raises(InvalidInput, match=r"at most 65535.*65536"):
        unwarp_labels(torch.zeros(1, 65536, 2, 2), uniform(2, 2), (4, 4))


def test_tensors_on_different_devices_are_refused():
    with pytest.raises(InvalidInput, match="device"):
        sample(torch.empty(2, 3, 20, 30, device="meta"), GRID)
    with pytest.raises(InvalidInput, match="device"):
        unwarp(torch.empty(2, 3, 4, 5, device="meta"), GRID, (20, 30))


def test_messages_are_of_the_family_and_value_errors():
    with pytest.raises(ValueError, match="expected grid to be"):
        sample(IMAGE, GRID * 2)
