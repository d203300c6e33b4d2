"""Bad files end in one clear line, never in a decoder's own words, a hang or a wrong image."""

from __future__ import annotations

import builtins
import os

import numpy as np
import pytest
import tifffile
from PIL import Image
from raster_files import make_slide, scene

from saccade.errors import FileProblem
from saccade.rasters import image_size, open_raster, read_label_map, read_rgb, tiff_pages


def _problem(action, path) -> str:
    with pytest.raises(FileProblem) as caught:
        action(path)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(str(path))
    return message


def _read_all(path) -> None:
    with open_raster(path) as raster:
        for level in range(len(raster.levels)):
            raster.read(level=level)


@pytest.mark.parametrize("action", [open_raster, read_rgb, read_label_map, image_size])
def test_what_is_no_image_is_said_in_one_line(action, tmp_path):
    assert "no such file" in _problem(action, tmp_path / "missing.png")
    assert "a folder without Zarr" in _problem(action, tmp_path)
    (tmp_path / "empty.tif").touch()
    assert "empty file (0 bytes)" in _problem(action, tmp_path / "empty.tif")
    (tmp_path / "text.png").write_text("this is a letter, not an image\n" * 20)
    assert "none of the formats known" in _problem(action, tmp_path / "text.png")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize(
    "name",
    ["png rgb", "jpeg", "webp lossless", "tiff plain", "tiff tiles", "tiff strips deflate", "cog", "slide",
     "ome-tiff pyramid", "jpeg 2000"],
)  # fmt: skip
def test_a_truncated_file_is_damaged(name, share, made, tmp_path):
    data = made(name).path.read_bytes()
    path = tmp_path / made(name).path.name
    path.write_bytes(data[: int(len(data) * share)])
    message = _problem(_read_all, path)
    assert "damaged or truncated" in message or "formats known" in message


def test_a_tiff_that_ends_before_its_tiles_is_told_when_it_is_opened(tmp_path):
    """Tables of tiles come first in such a file, so all but the pixels is there."""
    whole, path = tmp_path / "whole.tif", tmp_path / "cut.tif"
    tifffile.imwrite(whole, np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8), tile=(64, 64))
    with tifffile.TiffFile(whole) as file:
        last = max(file.pages[0].dataoffsets)
    path.write_bytes(whole.read_bytes()[:last])
    assert "damaged or truncated" in _problem(open_raster, path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_said(tmp_path):
    Image.fromarray(scene()).save(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    assert "permission denied" in _problem(open_raster, tmp_path / "a.png")


def test_one_giant_packed_strip_is_refused_with_the_way_out(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", scene(), compression="deflate", rowsperstrip=150, photometric="rgb")
    monkeypatch.setattr(tiff_pages, "LARGEST_SEGMENT", 10_000)
    assert "vips tiffsave" in _problem(read_rgb, tmp_path / "a.tif")


def test_one_giant_plain_strip_is_read_row_by_row(tmp_path, monkeypatch):
    pixels = scene()
    tifffile.imwrite(tmp_path / "a.tif", pixels, rowsperstrip=150, photometric="rgb")
    monkeypatch.setattr(tiff_pages, "LARGEST_SEGMENT", 10_000)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.tif").array, pixels)
    with open_raster(tmp_path / "a.tif") as raster:
        assert raster.levels[0].tile[0] * raster.levels[0].tile[1] * 3 < 150 * 211 * 3


def test_complex_numbers_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 6), np.complex64))
    assert "samples of another type" in _problem(open_raster, tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("name", "module", "extra", "packages"),
    [
        ("slide", "openslide", "slides", "openslide-python openslide-bin"),
        ("cog", "rasterio", "geo", "rasterio"),
        ("zarr 3", "zarr", "zarr", "zarr"),
    ],
)
@pytest.mark.parametrize("kind", [ImportError, OSError])
def test_a_missing_library_is_named_with_what_to_install(
    name, module, extra, packages, kind, made, monkeypatch
):
    path = made(name).path
    real = builtins.__import__

    def without(wanted, *arguments):
        if wanted.split(".")[0] == module:
            raise kind(f"cannot load {wanted!r}")
        return real(wanted, *arguments)

    import importlib

    monkeypatch.setattr(importlib, "import_module", lambda wanted: without(wanted))
    assert f"pip install {packages} (the extra {extra!r} of saccade)" in _problem(open_raster, path)


def test_a_slide_with_missing_levels_reads_what_it_has(tmp_path):
    pytest.importorskip("openslide")
    levels = make_slide(tmp_path / "a.svs")
    with tifffile.TiffFile(tmp_path / "a.svs") as file:
        last = file.pages[1].offset
        first_next = file.pages[0].offset + 2 + 12 * len(file.pages[0].tags)
    data = bytearray((tmp_path / "a.svs").read_bytes())
    assert int.from_bytes(data[first_next : first_next + 4], "little") == last
    data[first_next : first_next + 4] = bytes(4)
    (tmp_path / "a.svs").write_bytes(data)
    with open_raster(tmp_path / "a.svs") as raster:
        assert len(raster.levels) == 1
        np.testing.assert_array_equal(raster.read(), levels[0])


def test_a_zarr_group_of_many_arrays_asks_for_one(tmp_path):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(tmp_path / "g.zarr"), mode="w")
    for name in ("a", "b"):
        group.create_array(name, shape=(8, 8), chunks=(4, 4), dtype="uint8")
    assert "name one of its arrays" in _problem(open_raster, tmp_path / "g.zarr")
    with open_raster(tmp_path / "g.zarr" / "a") as raster:
        assert raster.size == (8, 8)


def test_a_zarr_array_of_many_axes_is_refused(tmp_path):
    zarr = pytest.importorskip("zarr")
    zarr.create_array(str(tmp_path / "a.zarr"), shape=(2, 2, 8, 8), chunks=(1, 1, 4, 4), dtype="uint8")
    assert "4 axes" in _problem(open_raster, tmp_path / "a.zarr")
