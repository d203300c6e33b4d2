"""Zarr images of every naming of axes and groups, against the array that went into them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from raster_files import scene

from saccade.errors import FileProblem
from saccade.rasters import as_rgb, open_raster

zarr = pytest.importorskip("zarr")
PIXELS = scene((40, 50))


def write(path: Path, array: np.ndarray, names: tuple | None = None, version: int = 3, **attributes):
    """With dimension names as Zarr 3 keeps them, or as xarray writes them in Zarr 2."""
    options = {"dimension_names": names} if version == 3 and names else {}
    chunks = tuple(min(side, 16) for side in array.shape)
    made = zarr.create_array(
        str(path), shape=array.shape, chunks=chunks, dtype=array.dtype, zarr_format=version, **options
    )
    made[...] = array
    if version == 2 and names:
        attributes = {"_ARRAY_DIMENSIONS": list(names)} | attributes
    made.attrs.update(attributes)
    return made


NAMES = [
    ("band", "y", "x"), ("bands", "lat", "lon"), ("channel", "y", "x"), ("c", "Y", "X"), ("y", "x", "band"),
    ("row", "column", "rgb"), ("latitude", "longitude", "wavelength"), ("x", "y", "band"), ("band", "x", "y"),
    ("sample", "height", "width"), ("variable", "northing", "easting"), (None, "y", "x"), ("dim_0", "y", "x"),
]  # fmt: skip


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("names", NAMES)
def test_axes_are_known_by_their_names(names, version, tmp_path):
    if version == 2 and None in names:
        pytest.skip("xarray names every axis")
    axes = {"lat": "y", "latitude": "y", "row": "y", "height": "y", "northing": "y", "lon": "x",
            "longitude": "x", "column": "x", "width": "x", "easting": "x"}  # fmt: skip
    order = [{"y": 0, "x": 1}.get(axes.get(str(name).lower(), str(name).lower()), 2) for name in names]
    write(tmp_path / "a.zarr", PIXELS.transpose(order), names, version)
    with open_raster(tmp_path / "a.zarr") as raster:
        np.testing.assert_array_equal(raster.read(), PIXELS)
        assert raster.info.meaning == "rgb" and raster.notices == ()


def test_of_other_axes_the_first_is_taken_or_what_is_asked_for(tmp_path):
    stack = np.stack([scene((40, 50), seed=n).transpose(2, 0, 1) for n in range(4)])
    write(tmp_path / "a.zarr", stack, ("time", "band", "y", "x"))
    with open_raster(tmp_path / "a.zarr") as raster:
        np.testing.assert_array_equal(raster.read(), stack[0].transpose(1, 2, 0))
        assert raster.notices == ("a stack of 4 images: its first is taken",)
    with open_raster(tmp_path / "a.zarr#3") as raster:
        np.testing.assert_array_equal(raster.read(), stack[2].transpose(1, 2, 0))
        assert raster.notices == ()
    with pytest.raises(FileProblem, match="from #1 to #4"):
        open_raster(tmp_path / "a.zarr#5")


@pytest.mark.parametrize("version", [2, 3])
def test_bool_is_black_and_white(version, tmp_path):
    write(tmp_path / "a.zarr", PIXELS[..., 0] > 128, version=version)
    with as_rgb(open_raster(tmp_path / "a.zarr")) as raster:
        np.testing.assert_array_equal(raster.read()[..., 0], np.where(PIXELS[..., 0] > 128, 255, 0))


@pytest.mark.parametrize("version", [2, 3])
def test_a_data_set_of_xarray_is_its_one_image_in_its_place(version, tmp_path):
    path = tmp_path / "a.zarr"
    zarr.open_group(str(path), mode="w", zarr_format=version)
    names = ("band", "y", "x")
    wkt = (
        'PROJCS["WGS 84 / UTM zone 32N",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257]]'
    )
    rasterio = pytest.importorskip("rasterio")
    wkt = rasterio.crs.CRS.from_epsg(32632).to_wkt()
    write(path / "image", PIXELS.transpose(2, 0, 1), names, version, grid_mapping="spatial_ref")
    write(path / "x", 500005.0 + 10 * np.arange(50), ("x",), version)
    write(path / "y", 5299995.0 - 10 * np.arange(40), ("y",), version)
    write(path / "band", np.arange(3), ("band",), version)
    write(path / "spatial_ref", np.zeros((1,), int), ("one",), version, crs_wkt=wkt)
    for name in (path, path / "image"):
        with open_raster(name) as raster:
            np.testing.assert_array_equal(raster.read(), PIXELS)
            assert raster.crs == "EPSG:32632" and raster.pixel_size.metres == (10, 10)
            assert raster.transform == (10, 0, 500000, 0, -10, 5300000)


def test_rows_may_run_northwards_and_geozarr_names_its_system(tmp_path):
    pytest.importorskip("rasterio")
    path = tmp_path / "a.zarr"
    zarr.open_group(str(path), mode="w").attrs["proj:code"] = "EPSG:32632"
    write(path / "image", PIXELS[..., 0], ("y", "x"))
    write(path / "x", 500005.0 + 10 * np.arange(50), ("x",))
    write(path / "y", 5299605.0 + 10 * np.arange(40), ("y",))
    with open_raster(path) as raster:
        assert raster.transform == (10, 0, 500000, 0, 10, 5299600) and raster.crs == "EPSG:32632"
    zarr.open_group(str(path)).attrs["spatial:transform"] = [10, 0, 500000, 0, -10, 5300000]
    with open_raster(path) as raster:
        assert raster.transform == (10, 0, 500000, 0, -10, 5300000)


def test_uneven_coordinates_are_no_transform(tmp_path):
    path = tmp_path / "a.zarr"
    zarr.open_group(str(path), mode="w")
    write(path / "image", PIXELS[..., 0], ("y", "x"))
    write(path / "x", np.arange(50.0) ** 2, ("x",))
    write(path / "y", np.arange(40.0), ("y",))
    with open_raster(path) as raster:
        assert raster.transform is None


@pytest.mark.parametrize(("dtype", "empty"), [("uint8", 7), ("float32", -9999.0), ("float32", float("nan"))])
def test_the_fill_value_of_xarray_was_not_measured(dtype, empty, tmp_path):
    values = PIXELS[..., 0].astype(dtype)
    values[:5] = empty
    written = empty if empty == empty else "AAAAAAAA+H8="
    stored = values.astype("float64") if written == "AAAAAAAA+H8=" else values
    write(tmp_path / "a.zarr", stored, ("y", "x"), _FillValue=written)
    expected = np.isfinite(values) & (values != empty)
    with open_raster(tmp_path / "a.zarr") as raster:
        np.testing.assert_array_equal(raster.valid(), expected)


def ome(group, name: str, array: np.ndarray, axes: list) -> None:
    part = group.create_group(name) if name else group
    made = part.create_array("0", shape=array.shape, chunks=array.shape, dtype=array.dtype)
    made[...] = array
    part.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}


YX = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]


def test_labels_of_an_ome_zarr_are_read_by_their_path_or_asked_for(tmp_path):
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    ome(group, "", PIXELS.transpose(2, 0, 1), [{"name": "stain", "type": "channel"}, *YX])
    labels = group.create_group("labels")
    labels.attrs["ome"] = {"labels": ["cells"]}
    ome(labels, "cells", PIXELS[..., 0] // 64, YX)
    with open_raster(tmp_path / "a.zarr") as raster:
        np.testing.assert_array_equal(raster.read(), PIXELS)
    for name in ("labels", "labels/cells", "labels/cells/0"):
        with open_raster(tmp_path / "a.zarr" / name) as raster:
            np.testing.assert_array_equal(raster.read()[..., 0], PIXELS[..., 0] // 64)
    ome(labels, "nuclei", PIXELS[..., 0] // 32, YX)
    labels.attrs["ome"] = {"labels": ["cells", "nuclei"]}
    with pytest.raises(FileProblem, match="labels/cells"):
        open_raster(tmp_path / "a.zarr" / "labels")


def test_the_first_of_several_images_is_taken_and_said(tmp_path):
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    group.attrs["ome"] = {"bioformats2raw.layout": 3}
    for number in range(11):
        ome(group, str(number), PIXELS[..., 0] + number, YX)
    with open_raster(tmp_path / "a.zarr") as raster:
        np.testing.assert_array_equal(raster.read()[..., 0], PIXELS[..., 0])
        assert raster.notices == ("11 images: 0 is taken (another: a.zarr/1)",)
    with open_raster(tmp_path / "a.zarr" / "10") as raster:
        np.testing.assert_array_equal(raster.read()[..., 0], PIXELS[..., 0] + 10)


def test_the_first_field_of_a_plate_is_taken_and_said(tmp_path):
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    group.attrs["ome"] = {"plate": {"wells": [{"path": "A/1"}, {"path": "A/2"}]}}
    for name in ("A/1", "A/2"):
        well = group.create_group(name)
        well.attrs["ome"] = {"well": {"images": [{"path": "0"}]}}
        ome(well, "0", PIXELS[..., 0], YX)
    with open_raster(tmp_path / "a.zarr") as raster:
        np.testing.assert_array_equal(raster.read()[..., 0], PIXELS[..., 0])
        assert raster.notices == ("2 wells: A/1 is taken (another: a.zarr/A/2)",)


@pytest.mark.parametrize("names", [("a", "b", "c"), ("time", "y", "level"), ("y", "y", "x")])
def test_axes_that_are_no_image_are_named(names, tmp_path):
    write(tmp_path / "a.zarr", PIXELS, names)
    with pytest.raises(FileProblem, match="axes y and x"):
        open_raster(tmp_path / "a.zarr")


@pytest.mark.parametrize("version", [2, 3])
def test_opacity_and_numbers_that_are_none_were_not_measured(version, tmp_path):
    hole = np.zeros((40, 50), bool)
    hole[5:15, 20:40] = True
    opaque = np.concatenate([PIXELS, np.where(hole, 0, 255)[..., None].astype("u1")], axis=2)
    numbers = (PIXELS / np.float32(255)).astype("f4")
    numbers[hole] = np.nan
    for name, array in (("opaque", opaque), ("numbers", numbers)):
        write(tmp_path / f"{name}.zarr", array.transpose(2, 0, 1), ("band", "y", "x"), version)
        with as_rgb(open_raster(tmp_path / f"{name}.zarr")) as raster:
            np.testing.assert_array_equal(raster.valid(), ~hole)
            assert raster.info.masked
            np.testing.assert_allclose(raster.read()[~hole], PIXELS[~hole], atol=1)
