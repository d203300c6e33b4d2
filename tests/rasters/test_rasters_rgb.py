"""Whole images as 8-bit RGB: every kind of sample by the documented rule, with what was changed said."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image
from raster_files import by_pillow, scene

from saccade.errors import FileProblem, InvalidInput
from saccade.rasters import as_rgb, image_size, open_raster, read_rgb


def test_grey_is_repeated(tmp_path):
    grey = scene(channels=1)[..., 0]
    Image.fromarray(grey).save(tmp_path / "a.png")
    rgb = read_rgb(tmp_path / "a.png")
    np.testing.assert_array_equal(rgb.array, np.stack([grey] * 3, 2))
    assert rgb.notices == ()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_spans_black_to_white(bits, tmp_path):
    values = np.arange(2**bits, dtype=np.uint8).repeat(3)[None].repeat(5, 0)
    scaled = values * np.uint8(255 // (2**bits - 1))
    image = Image.fromarray(scaled)
    if bits == 1:
        image.convert("1").save(tmp_path / "a.png")
    else:
        Image.fromarray(values).save(tmp_path / "a.png", bits=bits)
        if (tmp_path / "a.png").read_bytes()[24] != bits:  # the depth in the header
            pytest.skip("this Pillow writes grey of eight bits only (12 and older)")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png").array[..., 0], scaled)


def test_alpha_is_dropped_and_said(tmp_path):
    pixels = scene(channels=4)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    rgb = read_rgb(tmp_path / "a.png")
    np.testing.assert_array_equal(rgb.array, pixels[..., :3])
    assert rgb.notices == ("alpha dropped",)


def test_a_palette_is_expanded(tmp_path):
    image = Image.fromarray(scene()).quantize(20)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png").array, np.asarray(image.convert("RGB")))


def test_a_tiff_palette_is_expanded(tmp_path):
    indices = np.arange(200, dtype=np.uint8).reshape(10, 20)
    colours = np.random.default_rng(1).integers(0, 256, (3, 256)) * 257
    tifffile.imwrite(tmp_path / "a.tif", indices, photometric="palette", colormap=colours.astype(np.uint16))
    expected = (colours.T // 257)[indices]
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.tif").array, expected)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_divided_by_257(name, tmp_path):
    values = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
    if name == "a.png":
        Image.fromarray(values).save(tmp_path / name)
    else:
        tifffile.imwrite(tmp_path / name, values)
    rgb = read_rgb(tmp_path / name)
    np.testing.assert_array_equal(rgb.array[..., 1], np.rint(values / 257).astype(np.uint8))
    assert rgb.notices == ("uint16 scaled to 8 bits: 0 to 65535 became 0 to 255",)


def test_colour_png_of_sixteen_bits_keeps_its_bits(tmp_path):
    import imagecodecs

    values = scene(dtype="uint16")
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values))
    with open_raster(tmp_path / "a.png") as raster:
        np.testing.assert_array_equal(raster.read(), values)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png").array, np.rint(values / 257).astype(np.uint8))


def test_a_dark_image_of_twelve_bits_is_pointed_out_and_can_be_scaled(tmp_path):
    values = (scene(channels=1, dtype="uint16") >> 4)[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", values)
    dark = read_rgb(tmp_path / "a.tif")
    assert "very dark" in dark.notices[-1] and "value_range" in dark.notices[-1]
    bright = read_rgb(tmp_path / "a.tif", value_range=(0, 4095)).array[..., 0]
    np.testing.assert_array_equal(bright, np.rint(values / 4095 * 255).astype(np.uint8))


def test_an_image_without_a_number_is_pointed_out(tmp_path):
    values = np.full((5, 7), np.nan, np.float32)
    values.view(np.uint32)[0] = 0x7F800001  # a signalling NaN: arithmetic on it is a warning of numpy's
    tifffile.imwrite(tmp_path / "a.tif", values)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found = read_rgb(tmp_path / "a.tif")
    assert not found.array.any()
    assert found.notices[-1] == "no value is a number: all are taken as 0"


@pytest.mark.parametrize("white", [1.0, 255.0])
def test_floats_run_to_1_or_to_255(white, tmp_path):
    values = (scene(channels=1, dtype="float32")[..., 0] * white).astype(np.float32)
    values[0, 0] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", values)
    expected = np.rint(np.nan_to_num(values.astype(np.float64)) * (255 / white))
    found = read_rgb(tmp_path / "a.tif").array[..., 0]
    assert np.abs(found - expected).max() <= 1 and (found != expected).mean() < 0.001
    assert found[0, 0] == 0


def test_other_floats_are_refused_with_the_way_out(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.linspace(-40, 900, 100, dtype=np.float32).reshape(10, 10))
    with pytest.raises(FileProblem, match=r"-40 to 900.*value_range"):
        read_rgb(tmp_path / "a.tif")
    assert read_rgb(tmp_path / "a.tif", value_range=(-40, 900)).array.max() == 255


@pytest.mark.parametrize("limits", [(5, 5), (9, 2)])
def test_an_empty_value_range_is_refused(limits, tmp_path):
    Image.fromarray(scene()).save(tmp_path / "a.png")
    with pytest.raises(InvalidInput, match="low < high"):
        read_rgb(tmp_path / "a.png", value_range=limits)


def test_many_bands_give_the_first_three_and_say_so(tmp_path):
    values = scene(channels=7)
    tifffile.imwrite(
        tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig", metadata=None
    )
    rgb = read_rgb(tmp_path / "a.tif")
    np.testing.assert_array_equal(rgb.array, values[..., :3])
    assert rgb.notices == ("7 bands: the first three bands as red, green, blue",)


def test_two_bands_give_the_first_as_grey(tmp_path):
    values = scene(channels=2)
    tifffile.imwrite(
        tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig", metadata=None
    )
    rgb = read_rgb(tmp_path / "a.tif")
    np.testing.assert_array_equal(rgb.array, values[..., [0, 0, 0]])
    assert rgb.notices == ("2 bands: the first band as grey",)


def test_white_is_zero_is_turned_round(tmp_path):
    values = scene(channels=1)[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.tif").array[..., 0], 255 - values)


def test_cmyk_is_converted(tmp_path):
    Image.fromarray(scene()).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as image:
        expected = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(read_rgb(tmp_path / "a.jpg").array - expected).max() <= 1


def test_a_photograph_larger_than_pillows_limit_is_read_without_a_word(tmp_path, monkeypatch):
    pixels = scene((60, 80))
    for name in ("a.png", "a.jpg", "a.webp"):
        Image.fromarray(pixels).save(tmp_path / name)
    expected = {name: by_pillow(tmp_path / name) for name in ("a.png", "a.jpg", "a.webp")}
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, right in expected.items():
            assert image_size(tmp_path / name) == (60, 80)
            np.testing.assert_array_equal(read_rgb(tmp_path / name).array, right)


@pytest.mark.parametrize(
    "name", ["png rgb", "png grey", "jpeg", "webp rgba", "tiff tiles", "slide", "zarr 3"]
)
def test_the_array_belongs_to_the_caller(name, made):
    array = read_rgb(made(name).path).array
    assert array.flags.writeable and array.flags.c_contiguous


def test_a_map_is_read_as_a_photograph_without_rasterio(made, monkeypatch):
    import sys

    path, pixels = made("geotiff with thumbnails").path, made("geotiff with thumbnails").levels[0]
    monkeypatch.setitem(sys.modules, "rasterio", None)
    np.testing.assert_array_equal(read_rgb(path).array, pixels)
    assert image_size(path) == pixels.shape[:2]
    with pytest.raises(FileProblem, match="pip install rasterio"):
        open_raster(path)


@pytest.mark.parametrize("make", ["palette", "uint16", "float", "bands", "grey"])
def test_windows_of_the_rgb_view_are_parts_of_the_whole_image(make, tmp_path):
    from saccade.geometry import Window

    path = tmp_path / "a.tif"
    if make == "palette":
        path = tmp_path / "a.png"
        Image.fromarray(scene()).quantize(30).save(path)
    else:
        dtype = make if make in ("uint16",) else "float32" if make == "float" else "uint8"
        channels = {"bands": 5, "grey": 1}.get(make, 3)
        kind = "rgb" if channels == 3 else "minisblack"
        pixels = scene(channels=channels, dtype=dtype)
        pixels = pixels[..., 0] if channels == 1 else pixels
        options = {"planarconfig": "contig"} if channels > 1 else {}
        tifffile.imwrite(path, pixels, photometric=kind, tile=(64, 64), metadata=None, **options)
    window = Window(20, 90, 33, 150)
    whole = read_rgb(path)
    with as_rgb(open_raster(path)) as raster:
        assert (raster.channels, raster.dtype, raster.info.meaning) == (3, np.uint8, "rgb")
        np.testing.assert_array_equal(raster.read(window), whole.array[window.slices])
        assert raster.notices == whole.notices
