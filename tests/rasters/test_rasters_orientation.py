"""Images are read as they are shown: the orientation tag of EXIF and TIFF is applied, windows too."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from raster_files import scene

from saccade.geometry import Window
from saccade.rasters import image_size, open_raster, read_label_map, read_rgb

TAGS = range(1, 9)


def _with_tag(tag: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = tag
    return exif


def _shown(pixels: np.ndarray, tag: int, tmp_path) -> np.ndarray:
    path = tmp_path / "oracle.png"
    Image.fromarray(pixels).save(path, exif=_with_tag(tag))
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.jpg"])
def test_photographs_are_turned_as_pillow_turns_them(name, tag, tmp_path):
    path = tmp_path / name
    options = {"lossless": True} if name.endswith("webp") else {}
    Image.fromarray(scene((20, 33))).save(path, exif=_with_tag(tag), **options)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_rgb(path).array, expected)
    assert image_size(path) == expected.shape[:2]


@pytest.mark.parametrize("tag", TAGS)
def test_a_tiff_is_turned_window_by_window(tag, tmp_path):
    pixels, path = scene((40, 70)), tmp_path / "a.tif"
    tag_274 = (274, "H", 1, tag, True)
    tifffile.imwrite(path, pixels, tile=(16, 32), photometric="rgb", extratags=[tag_274], metadata=None)
    expected = _shown(pixels, tag, tmp_path)
    window = Window(3, 30, 5, 37)
    with open_raster(path) as raster:
        assert raster.size == expected.shape[:2]
        np.testing.assert_array_equal(raster.read(), expected)
        np.testing.assert_array_equal(raster.read(window), expected[window.slices])


def test_a_label_map_is_turned_like_its_photograph(tmp_path):
    labels = (np.arange(12 * 7).reshape(12, 7) % 5).astype(np.uint8)
    Image.fromarray(labels).save(tmp_path / "l.png", exif=_with_tag(6))
    np.testing.assert_array_equal(read_label_map(tmp_path / "l.png"), _shown(labels, 6, tmp_path))


def test_an_exif_block_behind_the_pixels_is_found(tmp_path):
    path = tmp_path / "late.png"
    Image.fromarray(scene((8, 12))).save(path, exif=_with_tag(8))
    data = path.read_bytes()
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    last = data.index(b"IEND") - 4
    path.write_bytes(data[:start] + data[end:last] + data[start:end] + data[last:])
    assert image_size(path) == (12, 8)
