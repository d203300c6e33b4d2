"""How closely an image is looked at follows from what the user says, and physical units need a scale."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.errors import InvalidInput
from saccade.geometry import SizeRange
from saccade.inference.layout import Layout, lay_out
from saccade.inference.options import (
    SamplingOptions,
    Spacing,
    parse_memory,
    parse_pixels,
    parse_tile,
)
from saccade.rasters import Level, PixelSize, RasterInfo

VIEW = (64, 128)


def info(size: tuple[int, int], scale: PixelSize | None = None) -> RasterInfo:
    level = Level.of(size, size, (256, 256))
    return RasterInfo(Path("slide.tif"), (level,), np.dtype(np.uint8), 3, "rgb", white=255, pixel_size=scale)


def laid(
    size: tuple[int, int], trained: float | None = 16.0, scale: PixelSize | None = None, **sampling
) -> Layout:
    return lay_out(info(size, scale), SamplingOptions(**sampling), VIEW, trained)


def test_auto_is_one_view_unless_that_shrinks_much_further_than_in_training() -> None:
    assert laid((1024, 2048)).mode == "whole"
    assert laid((2048, 4096)).mode == "whole"
    huge = laid((20_000, 20_000))
    assert huge.mode == "tiles" and huge.shrink == pytest.approx(16)
    assert "16 in training" in huge.reasons[0]
    assert laid((4096, 4096), trained=None).mode == "tiles"


def test_the_user_may_choose_the_other_way() -> None:
    assert laid((20_000, 20_000), mode="whole").view == VIEW
    small = laid((1024, 2048), mode="tiles", tile=(512, 512))
    assert small.mode == "tiles" and small.tiling.tile == (512, 512)


def test_microns_between_samples_follow_the_scale_of_the_file() -> None:
    scale = PixelSize(0.5, 0.5, "micron")
    near = laid((4000, 6000), scale=scale, mode="whole", spacing=Spacing(10, "micron"))
    assert near.view == (200, 300)
    tiles = laid((40_000, 60_000), scale=scale, spacing=Spacing(8, "micron"))
    assert tiles.mode == "tiles" and tiles.shrink == pytest.approx(16) and tiles.tiling.tile == (1024, 2048)
    metres = laid((4000, 6000), scale=PixelSize(2, 2, "metre"), mode="whole", spacing=Spacing(20, "metre"))
    assert metres.view == (400, 600)


@pytest.mark.parametrize(
    ("size", "sampling", "view"),
    [
        ((512, 9), {"mode": "tiles", "tile": (512, 512)}, (64, 4)),
        ((9, 512), {"mode": "tiles", "tile": (512, 512)}, (4, 128)),
        ((5000, 2), {"mode": "tiles", "tile": (512, 512)}, (64, 2)),
        ((512, 9), {"mode": "whole", "spacing": Spacing(8, "metre")}, (64, 4)),
        ((512, 9), {"mode": "whole", "pixels": 40}, (10, 4)),
        ((9, 512), {"mode": "whole", "pixels": 40}, (4, 10)),
        ((512, 9), {"mode": "whole", "pixels": 3}, (1, 3)),
    ],
)
def test_thin_images_keep_a_few_samples_across(size, sampling, view) -> None:
    layout = laid(size, scale=PixelSize(1, 1, "metre"), **sampling)
    assert layout.view == view
    if "pixels" in sampling:
        assert layout.samples <= sampling["pixels"]
    else:
        assert re.search(r"the scale would leave \d+ x \d+$", layout.notices[0])


def test_other_images_keep_their_scale_without_a_notice() -> None:
    for size in ((512, 512), (600, 400), (512, 64), (20_000, 20_000)):
        assert laid(size, mode="tiles", tile=(512, 512)).notices == ()
    asked = SamplingOptions(mode="tiles", tile=(512, 512), size=(8, 8))
    assert lay_out(info((512, 9)), asked, VIEW, 16.0).view == (8, 8)


@pytest.mark.parametrize("unit", ["micron", "metre"])
def test_physical_units_are_refused_where_the_file_has_no_scale(unit) -> None:
    with pytest.raises(InvalidInput, match=r"knows its scale.*slide\.tif.*use --pixels or --size"):
        laid((400, 400), spacing=Spacing(1, unit))


@given(
    st.tuples(st.integers(500, 30_000), st.integers(500, 30_000)),
    st.integers(10_000, 3_000_000),
    st.sampled_from(["auto", "tiles", "whole"]),
)
@settings(max_examples=60, deadline=None)
def test_no_more_pixels_than_were_allowed(size: tuple[int, int], pixels: int, mode) -> None:
    found = laid(size, mode=mode, pixels=pixels)
    assert found.samples <= pixels * 1.02
    if mode == "whole":
        assert found.samples >= min(pixels, size[0] * size[1]) * 0.95


@pytest.mark.parametrize(
    ("sampling", "words"),
    [
        ({"mode": "tile"}, "did you mean 'tiles'"),
        ({"pixels": 0}, "--pixels"),
        ({"overlap": 0.7}, "--overlap"),
        ({"mode": "whole", "tile": (5, 5)}, "--tile"),
        ({"size": (4, 4), "pixels": 9, "mode": "whole"}, "leave --size out"),
    ],
)
def test_wishes_that_do_not_fit_are_refused(sampling, words) -> None:
    with pytest.raises(InvalidInput, match=words):
        SamplingOptions(**sampling)


def test_amounts_are_read_as_people_write_them() -> None:
    assert parse_memory("2GB") == 2 * 10**9 and parse_memory("1.5 GiB") == 3 << 29
    assert parse_memory("512MiB") == 512 << 20
    assert parse_pixels("2M") == 2_000_000 and parse_pixels("1e6") == 10**6
    assert parse_tile("2048") == (2048, 2048) and parse_tile("64x128") == (64, 128)
    for text in ("two", "2GBs", "-1GB", "1000"):
        with pytest.raises(InvalidInput, match="--memory"):
            parse_memory(text)
    with pytest.raises(InvalidInput, match="--pixels"):
        parse_pixels("many")


RANGE = SizeRange((24, 48), (192, 384))


def ranged(image: tuple[int, int], **sampling) -> Layout:
    """For a run whose middle, 68 x 136, had 16 pixels a sample in training."""
    return lay_out(info(image), SamplingOptions(**sampling), RANGE.middle, 16.0, RANGE)


@pytest.mark.parametrize("view", RANGE.ladder())
def test_every_size_of_a_range_is_one_view_of_an_image_as_in_training(view: tuple[int, int]) -> None:
    found = ranged((1088, 2176), size=view)
    assert (found.mode, found.view, found.notices) == ("whole", view, ())


def test_one_view_goes_as_far_as_the_largest_size_of_a_range() -> None:
    assert ranged((4000, 8000), pixels=192 * 384).mode == "whole"
    beyond = ranged((4000, 8000), pixels=192 * 384 + 1000)
    assert beyond.mode == "tiles" and "73,728 of the largest view" in beyond.reasons[0]


@pytest.mark.parametrize(
    ("view", "near"), [((12, 24), "24x48"), ((384, 768), "192x384"), ((10, 10), "34x34")]
)
def test_a_view_outside_of_a_range_is_told_with_the_nearest_inside(view: tuple[int, int], near: str) -> None:
    told = ranged((1000, 2000), size=view, mode="whole").notices
    assert len(told) == 1 and told[0].endswith(f"the nearest is {near}")


@settings(max_examples=200)
@given(st.integers(1, 2000), st.integers(1, 2000))
def test_the_nearest_size_is_inside_and_a_size_inside_is_its_own(rows: int, columns: int) -> None:
    near = RANGE.nearest((rows, columns))
    assert near in RANGE
    assert near == (rows, columns) or (rows, columns) not in RANGE
