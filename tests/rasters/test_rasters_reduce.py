"""The thumbnail is the exact area mean, from the right level, in any cut of the image into blocks."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from raster_files import by_gdal, make_geotiff, scene

from saccade.errors import InvalidInput
from saccade.rasters import as_rgb, open_raster, thumbnail
from saccade.rasters.reduce import thumbnail_level


def shares(cells: int, pixels: int) -> np.ndarray:
    """(cells, pixels) how much of each pixel lies in each of ``cells`` equal parts of the axis."""
    edges = np.linspace(0, pixels, cells + 1)
    low, high = edges[:-1, None], edges[1:, None]
    return (np.minimum(high, np.arange(1, pixels + 1)) - np.maximum(low, np.arange(pixels))).clip(0)


def area_mean(pixels: np.ndarray, size: tuple[int, int], weight: np.ndarray | None = None) -> np.ndarray:
    weight = np.ones(pixels.shape[:2]) if weight is None else weight
    down, across = shares(size[0], pixels.shape[0]), shares(size[1], pixels.shape[1])
    total = np.einsum("ai,ijc,bj->abc", down, pixels * weight[..., None], across)
    with np.errstate(invalid="ignore"):
        return total / np.einsum("ai,ij,bj->ab", down, weight, across)[..., None]


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), data=st.data())
def test_each_pixel_is_the_mean_of_its_share(height, width, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("o") / "a.tif"
    pixels = scene((height, width), dtype="float32")
    tifffile.imwrite(path, pixels, tile=(16, 16), photometric="rgb", metadata=None)
    size = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    with open_raster(path) as raster:
        np.testing.assert_allclose(thumbnail(raster, size), area_mean(pixels, size), atol=1e-6)


def test_integers_are_rounded_to_nearest(made):
    sample = made("tiff strips deflate")
    with open_raster(sample.path) as raster:
        found = thumbnail(raster, (13, 17))
    mean = area_mean(sample.levels[0], (13, 17))
    assert found.dtype == np.uint8 and np.abs(found - mean).max() <= 0.5 + 1e-9


def test_the_cut_into_pieces_does_not_change_it(made, monkeypatch):
    from saccade.rasters import reduce

    with open_raster(made("tiff float").path) as raster:
        whole = thumbnail(raster, (40, 50))
        monkeypatch.setattr(reduce, "BLOCK_PIXELS", 64 * 64)
        assert len(list(reduce.blocks(raster.levels[0]))) == 12
        np.testing.assert_allclose(thumbnail(raster, (40, 50)), whole, rtol=1e-6)


def test_the_coarsest_level_that_is_fine_enough_is_read(made):
    with open_raster(made("tiff pyramid in subIFDs").path) as raster:
        assert [thumbnail_level(raster, size) for size in [(300, 500), (150, 250), (100, 200), (20, 63)]] == [
            0,
            1,
            1,
            3,
        ]
        np.testing.assert_array_equal(thumbnail(raster, (75, 125)), raster.read(level=2))


def test_nodata_counts_nowhere(tmp_path):
    path = tmp_path / "g.tif"
    make_geotiff(path, nodata=0)
    pixels = by_gdal(path)
    measured = (pixels != 0).any(2)
    with open_raster(path) as raster:
        np.testing.assert_array_equal(raster.valid(), measured)
        found = thumbnail(raster, (30, 50))
    np.testing.assert_allclose(found[4:], np.rint(area_mean(pixels, (30, 50), measured)[4:]), atol=1)
    assert not found[:4, :6].any()


def test_a_palette_is_not_averaged_but_its_colours_are(tmp_path):
    indices = (np.arange(60 * 80).reshape(60, 80) % 7).astype(np.uint8)
    colours = np.random.default_rng(1).integers(0, 256, (3, 256)).astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "p.tif", indices, photometric="palette", colormap=colours, metadata=None)
    raster = open_raster(tmp_path / "p.tif")
    np.testing.assert_array_equal(thumbnail(raster, (60, 80))[..., 0], indices)
    np.testing.assert_array_equal(thumbnail(raster, (20, 16))[..., 0], indices[1::3, 2::5])
    with as_rgb(raster) as rgb:
        mean = area_mean((colours.T // 257)[indices].astype(float), (6, 8))
        assert np.abs(thumbnail(rgb, (6, 8)) - mean).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("size", [(0, 5), (151, 10), (10, 212), (3,), "ab"])
def test_an_impossible_size_is_refused(size, made):
    with open_raster(made("tiff tiles").path) as raster, pytest.raises(InvalidInput):
        thumbnail(raster, size)


def test_progress_runs_from_0_to_1(made):
    seen: list[float] = []
    with open_raster(made("tiff tiles").path) as raster:
        thumbnail(raster, (10, 10), progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 1.0
