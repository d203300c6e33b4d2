"""Foveation patches: against crops, the published program's patches, and each border by hand."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.errors import InvalidInput
from saccade.grids import footprints, patch_grids


def centre_of(top: float, left: float, side: float, height: int, width: int) -> torch.Tensor:
    """(1, 2) the centre of the square with its first pixel at (top, left)."""
    pixels = torch.tensor([[left + side / 2 - 0.5, top + side / 2 - 0.5]], dtype=torch.float64)
    return pixels / torch.tensor([width - 1, height - 1]) * 2 - 1


def read(image, grids, inside):
    return (
        F.grid_sample(image.double(), grids.flatten(0, 1).double(), align_corners=True)
        * inside.flatten(0, 1)[:, None]
    )


def test_at_one_sample_a_pixel_a_patch_is_the_crop():
    image = torch.rand(1, 3, 40, 60)
    grids, inside = patch_grids(centre_of(7, 12, 16, 40, 60), [16], (16, 16), (40, 60))
    assert inside.all()
    torch.testing.assert_close(
        read(image, grids, inside), image[..., 7:23, 12:28].double(), atol=1e-5, rtol=0
    )


def test_patches_inside_the_image_are_those_of_the_published_program(golden):
    arrays = golden("fov_1_pad_cityscapes_like")
    image = torch.from_numpy(arrays["image_u8"]).float()[None] / 255
    compared = 0
    for place, field in ((p, f) for p in range(5) for f in range(3)):
        top, left, side = arrays["patch_coords"][place, field][:3].tolist()
        if min(top, left) < 0 or top + side > 48 or left + side > 96:
            continue
        centre = centre_of(top, left, side, 48, 96)
        patch = read(image, *patch_grids(centre, [side], (16, 16), (48, 96), border="zero"))
        expected = torch.from_numpy(arrays["patches"][place, field]).double()
        torch.testing.assert_close(patch[0], expected, atol=1e-5, rtol=0)
        compared += 1
    assert compared >= 5


@pytest.mark.parametrize(
    ("border", "mode"), [("reflect", "reflect"), ("edge", "replicate"), ("zero", "constant")]
)
def test_beyond_the_image_each_border_reads_as_padding_does(border, mode):
    image = torch.rand(1, 2, 20, 30, dtype=torch.float64)
    padded = F.pad(image, (12, 12, 12, 12), mode=mode)
    centre = centre_of(-7, 20, 16, 20, 30)
    patch = read(image, *patch_grids(centre, [16], (16, 16), (20, 30), border=border))
    torch.testing.assert_close(patch, padded[..., 5:21, 32:48], atol=1e-5, rtol=0)


def test_a_field_many_times_the_image_is_mirrored_as_often_as_needed():
    grids, inside = patch_grids(torch.zeros(1, 2), [100], (100, 100), (5, 11))
    assert inside.all() and grids.abs().max() <= 1
    x = (grids[0, 0, 0, :, 0] + 1) / 2 * 10
    assert (x.diff().abs() <= 1 + 1e-4).all()


@settings(max_examples=30, deadline=None)
@given(
    st.floats(-1, 1),
    st.floats(-1, 1),
    st.floats(1, 500),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from(["reflect", "edge", "zero"]),
)
def test_grids_stay_in_the_image_and_are_centred(x, y, field, rows, columns, border):
    grids, inside = patch_grids(
        torch.tensor([[x, y]]), [field, (field, 2 * field)], (rows, columns), (64, 48), border=border
    )
    assert grids.shape == (1, 2, rows, columns, 2) and inside.shape == (1, 2, rows, columns)
    assert grids.dtype == torch.float32 and grids.abs().max() <= 1
    if border == "zero" and bool(inside.all()):
        middle = grids.mean(dim=(2, 3))[0]
        if bool((grids.abs() < 1).all()):
            torch.testing.assert_close(middle, torch.tensor([[x, y]]).expand(2, 2), atol=1e-4, rtol=0)


def test_inside_the_image_footprints_are_the_cells_of_the_patch():
    grids, _ = patch_grids(torch.zeros(1, 2), [(32, 64)], (8, 8), (100, 200))
    torch.testing.assert_close(footprints(grids[:, 0], (100, 200))[0, 4, 4], torch.tensor([8.0, 4.0]))


def test_zero_marks_what_is_beyond_the_image():
    _, inside = patch_grids(torch.tensor([[-1.0, -1.0]]), [8], (4, 4), (50, 50), border="zero")
    assert inside[0, 0].tolist() == [[False] * 4] * 2 + [[False, False, True, True]] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"border": "mirror"}, "reflect"),
        ({"border": 3}, "border"),
        ({"fields_of_view": []}, "fields_of_view"),
        ({"fields_of_view": 16}, "fields_of_view"),
        ({"fields_of_view": [0]}, "above 0"),
        ({"fields_of_view": [(4, 5, 6)]}, "pair"),
        ({"fields_of_view": ["a"]}, "fields_of_view"),
        ({"patch_size": (0, 4)}, "patch_size"),
        ({"image_size": (4,)}, "image_size"),
        ({"centres": torch.zeros(2)}, "centres"),
        ({"centres": torch.tensor([[0.0, 1.5]])}, "centre outside"),
        ({"centres": torch.tensor([[0.0, float("nan")]])}, "centre"),
        ({"centres": torch.zeros(1, 2).long()}, "centres"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    good = {"centres": torch.zeros(1, 2), "fields_of_view": [8], "patch_size": (4, 4), "image_size": (20, 20)}
    with pytest.raises(InvalidInput, match=message):
        patch_grids(**{**good, **options})
