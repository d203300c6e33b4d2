"""What a file says about itself: physical size, map, gaps, and what a user should know."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image
from raster_files import make_geotiff, make_slide, scene

from saccade.errors import InvalidInput
from saccade.rasters import PixelSize, open_raster


def _info(path):
    with open_raster(path) as raster:
        return raster.info


def test_units_convert():
    size = PixelSize(0.5, 0.25, "micron")
    assert size.microns == (0.5, 0.25) and size.metres == pytest.approx((5e-7, 2.5e-7))
    assert PixelSize(2, 3, "metre").microns == (2e6, 3e6)


@pytest.mark.parametrize("side", [0, -1, float("nan"), float("inf")])
def test_an_impossible_pixel_size_is_refused(side):
    with pytest.raises(InvalidInput, match="positive"):
        PixelSize(1, side, "metre")


def test_ome_states_microns_in_any_unit(tmp_path):
    about = {
        "PhysicalSizeX": 250.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.5,
        "PhysicalSizeYUnit": "µm",
    }
    tifffile.imwrite(tmp_path / "a.ome.tif", scene(), photometric="rgb", metadata=about)
    assert _info(tmp_path / "a.ome.tif").pixel_size == PixelSize(0.5, 0.25, "micron")


def test_imagej_states_microns(tmp_path):
    pixels = scene(channels=1)[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, resolution=(4, 2), metadata={"unit": "um"})
    assert _info(tmp_path / "a.tif").pixel_size == PixelSize(0.5, 0.25, "micron")


@pytest.mark.parametrize(
    ("resolution", "unit", "expected"),
    [((20000, 10000), "CENTIMETER", (1.0, 0.5)), ((300, 300), "INCH", None), ((72, 72), "INCH", None)],
)
def test_a_print_resolution_is_no_physical_size(resolution, unit, expected, tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", scene(), photometric="rgb", resolution=resolution, resolutionunit=unit
    )
    size = _info(tmp_path / "a.tif").pixel_size
    assert (size.microns if size else None) == expected


def test_a_slide_states_its_scale_or_not(tmp_path):
    pytest.importorskip("openslide")
    make_slide(tmp_path / "with.svs")
    make_slide(tmp_path / "without.svs", mpp="")
    assert _info(tmp_path / "with.svs").pixel_size == PixelSize(0.25, 0.25, "micron")
    assert _info(tmp_path / "without.svs").pixel_size is None


def test_a_map_keeps_crs_transform_and_nodata(tmp_path):
    make_geotiff(tmp_path / "a.tif")
    info = _info(tmp_path / "a.tif")
    assert info.crs == "EPSG:32632" and info.nodata == 0 and info.masked
    assert info.transform == (0.5, 0.0, 500000.0, 0.0, -0.5, 5000000.0)
    assert info.pixel_size == PixelSize(0.5, 0.5, "metre")


def test_degrees_become_metres_at_the_middle(tmp_path):
    geod = pytest.importorskip("pyproj").Geod(ellps="WGS84")
    make_geotiff(tmp_path / "a.tif", crs="EPSG:4326")
    info = _info(tmp_path / "a.tif")
    latitude = 47.0 - 150e-5
    _, _, north = geod.inv(8.0, latitude - 5e-6, 8.0, latitude + 5e-6)
    _, _, east = geod.inv(8.0, latitude, 8.00001, latitude)
    assert info.pixel_size.metres == pytest.approx((north, east), rel=1e-4)
    assert "degrees" in info.notices[0]


def test_without_nodata_everything_is_valid(tmp_path):
    make_geotiff(tmp_path / "a.tif", nodata=None)
    with open_raster(tmp_path / "a.tif") as raster:
        assert not raster.info.masked and raster.valid().all()


def test_a_nodata_tag_without_a_map_is_kept(tmp_path):
    pixels = scene(channels=1)[..., 0]
    pixels[:5] = 9
    tifffile.imwrite(tmp_path / "a.tif", pixels, extratags=[(42113, "s", 0, "9", True)], metadata=None)
    with open_raster(tmp_path / "a.tif") as raster:
        assert raster.nodata == 9
        np.testing.assert_array_equal(raster.valid(), pixels != 9)


def test_a_wrong_extension_is_said_and_the_content_read(tmp_path):
    Image.fromarray(scene()).save(tmp_path / "a.tif", format="PNG")
    info = _info(tmp_path / "a.tif")
    assert info.notices == ("a.tif is named as TIFF but holds PNG; it is read as PNG",)
    Image.fromarray(scene()).save(tmp_path / "noextension", format="PNG")
    assert _info(tmp_path / "noextension").notices == ()


def test_a_stack_gives_its_first_plane_and_says_so(tmp_path):
    stack = scene((30, 40), 12, "uint16").transpose(2, 0, 1).reshape(2, 3, 2, 30, 40)
    tifffile.imwrite(tmp_path / "a.ome.tif", stack, metadata={"axes": "TCZYX"}, photometric="minisblack")
    with open_raster(tmp_path / "a.ome.tif") as raster:
        np.testing.assert_array_equal(raster.read(), stack[0, :, 0].transpose(1, 2, 0))
        assert raster.notices == ("a stack of 4 images: its first is taken",)


def test_only_photographs_stay_in_memory(made):
    assert _info(made("png rgb").path).resident == 150 * 211 * 3
    assert _info(made("tiff one strip lzw").path).resident == 0
