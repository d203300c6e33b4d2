"""GeoTIFFs of the odder kinds read as GDAL reads them, whoever decodes the pixels."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from raster_files import by_gdal, by_pillow, make_geotiff, scene

from saccade.rasters import open_raster
from saccade.rasters.geotiff import GeoRaster, GeoTiffRaster

rasterio = pytest.importorskip("rasterio")
copy = pytest.importorskip("rasterio.shutil").copy


def _add_mask(path) -> np.ndarray:
    mask = np.zeros((300, 500), bool)
    mask[50:200, 30:400] = True
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(mask)
    return mask


def _check(path) -> None:
    with open_raster(path) as raster, rasterio.open(path) as file:
        count = len(file.overviews(1))
        assert len(raster.levels) == count + 1
        np.testing.assert_array_equal(raster.read(), by_gdal(path))
        for level in range(count):
            np.testing.assert_array_equal(raster.read(level=level + 1), by_gdal(path, level))
        np.testing.assert_array_equal(raster.valid(), file.dataset_mask() > 0)
        assert raster.transform == tuple(file.transform)[:6]


def test_a_plain_geotiff_is_decoded_by_tifffile(tmp_path):
    make_geotiff(tmp_path / "a.tif", tiled=True, blockxsize=64, blockysize=64)
    with open_raster(tmp_path / "a.tif") as raster:
        assert isinstance(raster, GeoTiffRaster)
    _check(tmp_path / "a.tif")


def test_planes_read_alike(tmp_path):
    make_geotiff(tmp_path / "a.tif", interleave="band", tiled=True, blockxsize=64, blockysize=64)
    _check(tmp_path / "a.tif")


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
@pytest.mark.parametrize("photometric", ["rgb", "minisblack"])
def test_planes_of_jpeg_read_as_gdal_reads_them(photometric, bands, tmp_path):
    if photometric == "rgb" and bands < 3:
        pytest.skip("three planes make colours")
    options = {"compress": "jpeg", "interleave": "band", "photometric": photometric}
    for number, tiles in enumerate([{}, {"tiled": True, "blockxsize": 64, "blockysize": 48}]):
        path = tmp_path / f"{number}.tif"
        pixels = scene((90, 130), bands).transpose(2, 0, 1)
        size = {"height": 90, "width": 130, "count": bands, "dtype": "uint8"}
        with rasterio.open(path, "w", driver="GTiff", **size, **options, **tiles) as file:
            file.write(pixels)
        with open_raster(path) as raster:
            np.testing.assert_array_equal(raster.read(), by_gdal(path))
            assert not raster.notices or "GDAL" not in raster.notices[0]


def test_jpeg_with_thinned_colour_reads_as_pillow_reads_it(tmp_path):
    path = tmp_path / "a.tif"
    make_geotiff(
        path, nodata=None, compress="jpeg", photometric="ycbcr", tiled=True, blockxsize=64, blockysize=64
    )
    with open_raster(path) as raster:
        np.testing.assert_array_equal(raster.read(), by_pillow(path))


def test_overviews_in_a_file_beside_it_are_found(tmp_path):
    path = tmp_path / "a.tif"
    make_geotiff(path)
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], rasterio.enums.Resampling.average)
    assert (tmp_path / "a.tif.ovr").exists()
    _check(path)


@pytest.mark.parametrize("overviews", [[], [2, 4]])
def test_a_mask_tells_what_was_measured(overviews, tmp_path):
    path = tmp_path / "a.tif"
    make_geotiff(path, nodata=None)
    mask = _add_mask(path)
    if overviews:
        with rasterio.open(path, "r+") as file:
            file.build_overviews(overviews, rasterio.enums.Resampling.nearest)
    _check(path)
    with open_raster(path) as raster:
        assert raster.info.masked
        np.testing.assert_array_equal(raster.valid(), mask)


def test_a_cog_with_a_mask_has_its_levels(tmp_path):
    make_geotiff(tmp_path / "a.tif", nodata=None)
    _add_mask(tmp_path / "a.tif")
    copy(tmp_path / "a.tif", tmp_path / "cog.tif", driver="COG", blocksize=64)
    _check(tmp_path / "cog.tif")


def test_a_transparent_band_is_no_colour_and_masks(tmp_path):
    pixels = scene((40, 50), 4)
    pixels[:10, :, 3], pixels[10:, :, 3] = 0, 255
    profile = {"driver": "GTiff", "height": 40, "width": 50, "count": 4, "dtype": "uint8", "crs": "EPSG:3857"}
    place = rasterio.Affine(1, 0, 0, 0, -1, 0)
    with rasterio.open(
        tmp_path / "a.tif", "w", transform=place, photometric="rgb", alpha="yes", **profile
    ) as file:
        file.write(pixels.transpose(2, 0, 1))
    with open_raster(tmp_path / "a.tif") as raster:
        assert raster.info.alpha and raster.channels == 4
        np.testing.assert_array_equal(raster.valid(), pixels[..., 3] > 0)


def test_a_world_file_places_a_plain_tiff(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", scene(), photometric="rgb")
    (tmp_path / "a.tfw").write_text("0.5\n0\n0\n-0.5\n100.25\n199.75\n")
    with open_raster(tmp_path / "a.tif") as raster:
        assert raster.transform == (0.5, 0, 100, 0, -0.5, 200) and raster.crs is None
        assert raster.pixel_size is None


def test_what_tifffile_cannot_decode_gdal_does(tmp_path, monkeypatch):
    from saccade.errors import FileProblem
    from saccade.rasters import geotiff

    make_geotiff(tmp_path / "a.tif")

    def refuse(path):
        raise FileProblem(path, "a", "b")

    monkeypatch.setattr(geotiff, "TiffRaster", refuse)
    with open_raster(tmp_path / "a.tif") as raster:
        assert isinstance(raster, GeoRaster)
    _check(tmp_path / "a.tif")
