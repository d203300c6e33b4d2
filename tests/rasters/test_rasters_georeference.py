"""Where rasters lie: against rasterio, PROJ and the six numbers of world files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from raster_files import scene

from saccade.errors import FileProblem
from saccade.rasters import Output, RasterWriter, open_raster
from saccade.rasters.georeference import reprojection

rasterio = pytest.importorskip("rasterio")
from rasterio.crs import CRS  # noqa: E402

SIZE = (30, 40)
PIXELS = scene(SIZE)
PLACE = rasterio.Affine(10, 0, 500000, 0, -10, 5300000)
SHEARED = rasterio.Affine(8, 3, 500000, -2, -9, 5300000)
LOCAL = 'LOCAL_CS["drone",UNIT["metre",1]]'
SHIFTED = "+proj=utm +zone=32 +ellps=intl +towgs84=-87,-98,-121,0,0,0,0 +units=m"


def geotiff(path: Path, crs: str | None, transform=PLACE, **options) -> Path:
    height, width = SIZE
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 3, "dtype": "uint8"} | options
    with rasterio.open(path, "w", crs=crs, transform=transform, **profile) as file:
        file.write(PIXELS.transpose(2, 0, 1))
    return path


def world(path: Path, a=10.0, d=0.0, b=0.0, e=-10.0, x=500005.0, y=5299995.0) -> None:
    path.write_text("\n".join(map(str, (a, d, b, e, x, y))))


WORLD = [
    ("A.TIF", "A.TFW"), ("a.tif", "a.tfw"), ("a.tif", "a.TFW"), ("a.tif", "a.tifw"), ("a.tiff", "a.tfw"),
    ("a.tif", "a.wld"), ("a.jpg", "a.jgw"), ("a.JPG", "a.JGW"), ("a.jpeg", "a.jgw"), ("a.jpg", "a.jpgw"),
    ("a.jpg", "a.wld"), ("a.png", "a.pgw"), ("a.png", "a.PGW"), ("a.png", "a.pngw"), ("a.bmp", "a.bpw"),
    ("a.webp", "a.wpw"),
]  # fmt: skip


@pytest.mark.parametrize(("image", "beside"), WORLD)
def test_a_world_file_places_an_image_whatever_its_spelling(image, beside, tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / image)
    world(tmp_path / beside)
    with open_raster(tmp_path / image) as raster:
        assert raster.transform == tuple(PLACE)[:6] and raster.crs is None and raster.size == SIZE


def test_a_world_file_may_turn_and_shear(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    a, b, c, d, e, f = tuple(SHEARED)[:6]
    world(tmp_path / "a.pgw", a, d, b, e, c + (a + b) / 2, f + (d + e) / 2)
    with open_raster(tmp_path / "a.png") as raster:
        np.testing.assert_allclose(raster.transform, tuple(SHEARED)[:6])


@pytest.mark.parametrize("text", ["", "1 2 3", "a b c d e f", "0 0 0 0 1 1", "nan 0 0 1 0 0"])
def test_a_world_file_without_a_place_is_one_line(text, tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.webp")
    (tmp_path / "a.wpw").write_text(text)
    with pytest.raises(FileProblem, match="world file"):
        open_raster(tmp_path / "a.webp")


@pytest.mark.parametrize("suffix", ["tif", "png", "jpg", "webp", "bmp", "gif"])
def test_gdals_file_beside_an_image_places_it(suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(PIXELS).save(path)
    text = (
        f"<PAMDataset><SRS>{CRS.from_epsg(32632).to_wkt()}</SRS><GeoTransform>500000, 10, 0, 5300000, 0, -10"
    )
    path.with_name(path.name + ".aux.xml").write_text(text + "</GeoTransform></PAMDataset>")
    with open_raster(path) as raster:
        assert raster.crs == "EPSG:32632" and raster.transform == tuple(PLACE)[:6]
        assert raster.pixel_size.metres == (10, 10)


def test_statistics_beside_an_image_are_no_place(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    (tmp_path / "a.png.aux.xml").write_text('<PAMDataset><PAMRasterBand band="1"/></PAMDataset>')
    with open_raster(tmp_path / "a.png") as raster:
        assert raster.transform is None and raster.notices == ()


def test_a_turned_photograph_does_not_keep_the_place_of_its_stored_rows(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", exif=exif)
    world(tmp_path / "a.jgw")
    with open_raster(tmp_path / "a.jpg") as raster:
        assert raster.transform is None and "map coordinates are not kept" in raster.notices[0]


SYSTEMS = {
    "utm": "EPSG:32632", "degrees": "EPSG:4326", "mercator": "EPSG:3857", "geocentric": "EPSG:4978",
    "local": LOCAL, "a shift of the datum": SHIFTED, "with heights": "EPSG:7415",
    "feet": "EPSG:2263", "esri": "ESRI:102008", "no code": "+proj=laea +lat_0=52 +lon_0=10 +datum=WGS84",
    "ed50": "EPSG:23032", "grads": "EPSG:4807", "old german": "EPSG:31467",
}  # fmt: skip


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_reference_system_is_kept_through_reading_and_writing(name, tmp_path):
    step = 1e-3 if name in ("degrees", "grads") else 10
    transform = rasterio.Affine(step, 0, 8, 0, -step, 47)
    path = geotiff(tmp_path / "a.tif", SYSTEMS[name], transform)
    with rasterio.open(path) as file:
        stored = file.crs
    with open_raster(path) as raster:
        np.testing.assert_array_equal(raster.read(), PIXELS)
        assert CRS.from_user_input(raster.crs) == stored
        if name == "a shift of the datum":
            assert "-87" in raster.crs
        output = Output.like(raster)
    with RasterWriter(tmp_path / "out.tif", output) as writer:
        writer.append(np.zeros(SIZE, np.uint8))
        writer.finish()
    with rasterio.open(tmp_path / "out.tif") as file:
        assert file.crs == stored and file.transform == transform
        assert file.crs.to_wkt(version="WKT2_2019").count("BOUNDCRS") == stored.to_wkt(
            version="WKT2_2019"
        ).count("BOUNDCRS")


def test_the_shift_to_wgs_84_is_as_large_as_proj_says(tmp_path):
    from rasterio.warp import transform

    path = geotiff(tmp_path / "a.tif", SHIFTED)
    with open_raster(path) as raster:
        kept = transform(raster.crs, "EPSG:4326", [500000], [5300000])
    direct = transform(CRS.from_user_input(SHIFTED), "EPSG:4326", [500000], [5300000])
    plain = transform(CRS.from_epsg(23032), "EPSG:4326", [500000], [5300000])
    assert kept == direct and kept != plain


@pytest.mark.parametrize(
    ("crs", "metres"),
    [("EPSG:32632", 10), ("EPSG:2263", 10 * 1200 / 3937), (LOCAL, 10), ("EPSG:4978", None), (None, None)],
)
def test_metres_are_those_of_the_systems_unit_where_it_has_one(crs, metres, tmp_path):
    with open_raster(geotiff(tmp_path / "a.tif", crs)) as raster:
        size = raster.pixel_size
        assert (size is None) if metres is None else size.metres == pytest.approx((metres, metres))


def test_a_system_without_a_transform_has_no_metres_and_says_so(tmp_path):
    with open_raster(geotiff(tmp_path / "a.tif", "EPSG:32632", transform=None)) as raster:
        assert raster.crs == "EPSG:32632" and raster.transform is None and raster.pixel_size is None
        assert "a reference system without a transform: map coordinates are not kept" in raster.notices


def test_a_sheared_transform_is_kept(tmp_path):
    with open_raster(geotiff(tmp_path / "a.tif", "EPSG:32632", SHEARED)) as raster:
        np.testing.assert_allclose(raster.transform, tuple(SHEARED)[:6])
        assert raster.pixel_size.metres == pytest.approx((np.hypot(3, 9), np.hypot(8, 2)))


def test_pixels_that_are_points_are_moved_by_half_of_one(tmp_path):
    path = tmp_path / "a.tif"
    with rasterio.Env(GTIFF_POINT_GEO_IGNORE=False):
        geotiff(path, "EPSG:32632")
        with rasterio.open(path, "r+") as file:
            file.update_tags(AREA_OR_POINT="Point")
    with rasterio.open(path) as file, open_raster(path) as raster:
        assert raster.transform == tuple(file.transform)[:6]


@pytest.mark.parametrize("way", ["gcps", "rpcs"])
def test_a_place_that_is_not_kept_is_said(way, tmp_path):
    from rasterio.control import GroundControlPoint
    from rasterio.rpc import RPC

    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, photometric="rgb")
    with rasterio.open(path, "r+") as file:
        if way == "gcps":
            points = [GroundControlPoint(r, c, 8 + c / 100, 47 - r / 100) for r in (0, 30) for c in (0, 40)]
            file.gcps = (points, CRS.from_epsg(4326))
        else:
            one, zeros = [1.0] + [0.0] * 19, [0.0] * 20
            file.rpcs = RPC(
                height_off=0.0, height_scale=1.0, lat_off=47.0, lat_scale=1.0, line_den_coeff=one,
                line_num_coeff=zeros, line_off=15.0, line_scale=15.0, long_off=8.0, long_scale=1.0,
                samp_den_coeff=one, samp_num_coeff=zeros, samp_off=20.0, samp_scale=20.0,
            )  # fmt: skip
    with open_raster(path) as raster:
        assert raster.transform is None
        assert any("map coordinates are not kept" in notice for notice in raster.notices)
        np.testing.assert_array_equal(raster.read(), PIXELS)


def test_what_gdal_does_not_open_is_placed_by_its_tags(tmp_path, monkeypatch):
    from saccade.rasters import geotiff as module

    path = geotiff(tmp_path / "a.tif", "EPSG:32632")
    with open_raster(path) as raster:
        expected = raster.crs, raster.transform, raster.pixel_size

    def refuse(path, **options):
        raise FileProblem(path, "a georeferenced raster", "what its decoder does not support")

    monkeypatch.setattr(module, "GeoRaster", refuse)
    with open_raster(path) as raster:
        assert (raster.crs, raster.transform, raster.pixel_size) == expected
        np.testing.assert_array_equal(raster.read(), PIXELS)


def test_jpeg_xl_in_a_geotiff_keeps_its_place(tmp_path):
    path = tmp_path / "a.tif"
    tags = [(33550, 12, 3, (10.0, 10.0, 0.0)), (33922, 12, 6, (0.0, 0.0, 0.0, 500000.0, 5300000.0, 0.0))]
    tags.append((34735, 3, 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632)))
    options = {"compressionargs": {"lossless": True}, "photometric": "rgb", "metadata": None}
    tifffile.imwrite(path, PIXELS, compression="jpegxl", extratags=[(*tag, True) for tag in tags], **options)
    with open_raster(path) as raster:
        assert raster.crs == "EPSG:32632" and raster.transform == tuple(PLACE)[:6]
        np.testing.assert_array_equal(raster.read(), PIXELS)


VRT = '<VRTDataset rasterXSize="40" rasterYSize="30">{}</VRTDataset>'
BAND = (
    '<VRTRasterBand dataType="Byte" band="{n}"><SimpleSource><SourceFilename relativeToVRT="1">{name}'
    "</SourceFilename><SourceBand>{n}</SourceBand></SimpleSource></VRTRasterBand>"
)
STARTS = ["", '<?xml version="1.0" encoding="UTF-8"?>\n', "\ufeff", "\n \t", "<!-- made by hand -->\n"]


@pytest.mark.parametrize("start", STARTS)
def test_a_vrt_is_known_whatever_stands_before_it(start, tmp_path):
    geotiff(tmp_path / "source.tif", "EPSG:32632")
    bands = "".join(BAND.format(n=n, name="source.tif") for n in (1, 2, 3))
    (tmp_path / "a.vrt").write_text(start + VRT.format(bands), encoding="utf-8")
    with open_raster(tmp_path / "a.vrt") as raster:
        np.testing.assert_array_equal(raster.read(), PIXELS)


def test_a_vrt_names_the_file_that_it_lacks(tmp_path):
    bands = "".join(BAND.format(n=n, name="gone.tif") for n in (1, 2, 3))
    (tmp_path / "a.vrt").write_text(VRT.format(bands))
    with (
        pytest.raises(FileProblem, match=r"gone\.tif, which is not there"),
        open_raster(tmp_path / "a.vrt") as raster,
    ):
        raster.read()


def test_a_point_without_a_place_in_the_other_system_takes_no_other_with_it(tmp_path):
    bring = reprojection("EPSG:4326", "EPSG:32632", tmp_path)
    corners = np.array([[9.0, 45.0], [200.0, 200.0], [9.1, 45.1], [1e300, 0.0], [9.2, 45.2]])
    brought = bring(corners)
    assert np.isfinite(brought).all(axis=1).tolist() == [True, False, True, False, True]
    np.testing.assert_array_equal(brought[[0, 2, 4]], bring(corners[[0, 2, 4]]))
