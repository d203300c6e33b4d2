"""Every reader gives what an independent library reads, in any window and on every level."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raster_files import FILES

from saccade.errors import InvalidInput
from saccade.geometry import Window
from saccade.rasters import open_raster

NAMES = sorted(FILES)


@pytest.mark.parametrize("name", NAMES)
def test_every_level_reads_as_the_other_library_reads_it(made, name):
    sample = made(name)
    with open_raster(sample.path) as raster:
        assert raster.size == sample.levels[0].shape[:2]
        assert [level.size for level in raster.levels] == [level.shape[:2] for level in sample.levels]
        for number, expected in enumerate(sample.levels):
            found = raster.read(level=number)
            assert found.flags.writeable and not np.shares_memory(found, raster.read(level=number))
            assert found.dtype == raster.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_window_is_that_part_of_the_whole(made, name, data):
    sample = made(name)
    number = data.draw(st.integers(0, len(sample.levels) - 1))
    height, width = sample.levels[number].shape[:2]
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    window = Window(
        top, data.draw(st.integers(top + 1, height)), left, data.draw(st.integers(left + 1, width))
    )
    with open_raster(sample.path) as raster:
        found = raster.read(window, number)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, sample.levels[number][window.slices])


@pytest.mark.parametrize("name", ["tiff tiles", "slide", "geotiff with thumbnails", "ome-zarr", "jpeg"])
def test_threads_may_read_one_raster_at_once(made, name):
    sample = made(name)
    height, width = sample.levels[0].shape[:2]
    windows = [
        Window(top, top + 50, left, left + 50)
        for top in range(0, height - 50, 30)
        for left in range(0, width - 50, 30)
    ]
    with open_raster(sample.path) as raster, ThreadPoolExecutor(4) as pool:
        for window, found in zip(windows, pool.map(raster.read, windows), strict=True):
            np.testing.assert_array_equal(found, sample.levels[0][window.slices])


@pytest.mark.parametrize("name", ["tiff tiles", "png rgb"])
def test_what_does_not_exist_is_refused(made, name):
    with open_raster(made(name).path) as raster:
        height, width = raster.size
        with pytest.raises(InvalidInput, match="level"):
            raster.read(level=1)
        with pytest.raises(InvalidInput, match="inside 150x211"):
            raster.read(Window(0, height, 0, width + 1))


def test_downsamples_are_whole_where_sides_were_rounded(made):
    with open_raster(made("tiff pyramid in subIFDs").path) as raster:
        assert [level.downsample for level in raster.levels] == [(1, 1), (2, 2), (4, 4), (8, 8)]


def test_reading_leaves_nothing_beside_the_file(made, tmp_path):
    import shutil

    for name in ("geotiff with thumbnails", "slide", "tiff tiles", "png rgb"):
        path = shutil.copy(made(name).path, tmp_path)
        with open_raster(path) as raster:
            raster.read()
            raster.valid()
    assert len(list(tmp_path.iterdir())) == 4


def test_threads_that_begin_together_find_the_tiles_of_a_jpeg_tiff(tmp_path, monkeypatch):
    """tifffile looks into the first tile when it first decodes, which must not move a read in progress."""
    pixels = np.random.default_rng(0).integers(0, 255, (64, 512, 3), np.uint8)
    tifffile.imwrite(tmp_path / "jpeg.tif", pixels, tile=(64, 64), compression="jpeg", photometric="rgb")
    windows = [Window(0, 64, left, left + 64) for left in range(0, 512, 64)]
    with open_raster(tmp_path / "jpeg.tif") as raster:
        expected = [raster.read(window) for window in windows]
    seek = tifffile.FileHandle.seek

    def slow(self, *place):
        found = seek(self, *place)
        time.sleep(0.002)
        return found

    monkeypatch.setattr(tifffile.FileHandle, "seek", slow)
    with open_raster(tmp_path / "jpeg.tif") as raster, ThreadPoolExecutor(len(windows)) as pool:
        for found, tile in zip(pool.map(raster.read, windows), expected, strict=True):
            np.testing.assert_array_equal(found, tile)
