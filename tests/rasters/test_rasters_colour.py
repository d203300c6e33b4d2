"""The scale of values hangs on no single pixel, and colours that are not sRGB become so."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from saccade.data.options import DataOptions, parse_value_range
from saccade.errors import FileProblem, InvalidInput
from saccade.rasters import as_rgb, open_raster, read_rgb
from saccade.training.config import read_config

ADOBE = {
    b"rXYZ": (0.60974, 0.31111, 0.01947),
    b"gXYZ": (0.20528, 0.62567, 0.06087),
    b"bXYZ": (0.14919, 0.06322, 0.74457),
}


def profile(primaries: dict[bytes, tuple[float, ...]]) -> bytes:
    """The profile of sRGB with other primaries (X, Y, Z under D50)."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for entry in range(struct.unpack(">I", data[128:132])[0]):
        name, at, _ = struct.unpack(">4sII", data[132 + 12 * entry : 144 + 12 * entry])
        if name in primaries:
            data[at + 8 : at + 20] = struct.pack(">3i", *(round(value * 65536) for value in primaries[name]))
    return bytes(data)


def floats() -> np.ndarray:
    return np.random.default_rng(1).random((40, 50, 3)).astype(np.float32)


@pytest.mark.parametrize("white", [1.0, 255.0])
@pytest.mark.parametrize("outlier", [1.03, -0.004, 40.0, np.inf, np.nan])
def test_one_pixel_does_not_change_the_scale(outlier, white, tmp_path):
    values = floats() * np.float32(white)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    expected = read_rgb(tmp_path / "a.tif").array
    values[3, 4, 1] = outlier * white
    tifffile.imwrite(tmp_path / "b.tif", values, photometric="rgb")
    changed = (read_rgb(tmp_path / "b.tif").array != expected).any(axis=2)
    assert not np.delete(changed.ravel(), 3 * 50 + 4).any()


def test_few_bright_pixels_on_black_keep_the_scale_of_255(tmp_path):
    values = np.zeros((100, 100), np.float32)
    values[:3, :3] = 200
    tifffile.imwrite(tmp_path / "a.tif", values)
    assert read_rgb(tmp_path / "a.tif").array.max() == 200


def test_the_scale_of_floats_is_said_with_the_file(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", floats(), photometric="rgb")
    assert any("0 to 1" in notice and "a.tif" in notice for notice in read_rgb(tmp_path / "a.tif").notices)


def test_training_and_prediction_scale_a_file_alike(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", floats() * 255, photometric="rgb")
    with as_rgb(open_raster(tmp_path / "a.tif")) as raster:
        np.testing.assert_array_equal(raster.read(), read_rgb(tmp_path / "a.tif").array)


def test_metres_are_refused_and_scaled_when_told(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", floats() * 1000, photometric="rgb")
    with pytest.raises(FileProblem, match="value_range"):
        read_rgb(tmp_path / "a.tif")
    assert read_rgb(tmp_path / "a.tif", value_range=(0, 1000)).array.mean() > 100


def test_a_value_range_is_an_option_of_data():
    options = read_config(None, ["data.value_range=0,4095"]).data
    assert options == DataOptions(value_range=(0.0, 4095.0))
    assert read_config(None, ["data.value_range=[-1, 1]"]).data.value_range == (-1.0, 1.0)
    assert parse_value_range("-0.5,1e4") == (-0.5, 10000.0)


@pytest.mark.parametrize("text", ["1,0", "1", "0,inf", "a,b", "0,1,2", "nan,1"])
def test_a_value_range_that_is_none_is_refused(text):
    with pytest.raises(InvalidInput, match="LOW,HIGH"):
        parse_value_range(text)


def test_colours_multiplied_by_their_opacity_are_divided_as_pillow_does(tmp_path):
    pixels = np.random.default_rng(2).integers(0, 256, (40, 50, 4)).astype(np.uint8)
    pixels[:5, :, 3] = 0
    pixels[..., :3] = pixels[..., :3].astype(int) * pixels[..., 3:] // 255
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["assocalpha"])
    with Image.open(tmp_path / "a.tif") as image:
        expected = np.asarray(image.convert("RGBA"))[..., :3]
    with as_rgb(open_raster(tmp_path / "a.tif")) as raster:
        np.testing.assert_array_equal(raster.read()[5:], expected[5:])
        np.testing.assert_array_equal(raster.valid(), pixels[..., 3] > 0)


def test_a_wide_gamut_becomes_srgb_and_srgb_stays_as_it_is(tmp_path):
    pixels = np.random.default_rng(3).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    for name, data in (("wide", profile(ADOBE)), ("plain", profile({}))):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels, photometric="rgb", iccprofile=data)
    np.testing.assert_array_equal(read_rgb(tmp_path / "plain.tif").array, pixels)
    expected = ImageCms.profileToProfile(
        Image.fromarray(pixels),
        ImageCms.ImageCmsProfile(io.BytesIO(profile(ADOBE))),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    result = read_rgb(tmp_path / "wide.tif")
    np.testing.assert_array_equal(result.array, np.asarray(expected))
    assert "converted to sRGB by its ICC profile" in result.notices
