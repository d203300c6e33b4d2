"""Outputs are what other tools read: the same pixels, valid formats, no class invented by a coarser level."""

from __future__ import annotations

import json
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from raster_files import by_gdal, by_pillow

from saccade.errors import FileProblem, InvalidInput
from saccade.rasters import Output, PixelSize, RasterWriter, open_raster
from saccade.rasters.journal import halve

SIZE = (301, 450)
TILE = 64
PALETTE = tuple((40 * i, 255 - 40 * i, 7 * i) for i in range(6))
MAP = {"crs": "EPSG:32632", "transform": (0.5, 0.0, 500000.0, 0.0, -0.5, 5000000.0)}
MICRONS = {"pixel_size": PixelSize(0.5, 0.25, "micron")}


def blocks(size: tuple[int, int] = SIZE, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 6, (size[0] // 7 + 1, size[1] // 11 + 1))
    return np.kron(coarse, np.ones((7, 11), int))[: size[0], : size[1]].astype(dtype)


def write(path, values: np.ndarray, **options):
    channels = values.shape[2] if values.ndim == 3 else 1
    output = Output(values.shape[:2], dtype=str(values.dtype), channels=channels, tile=TILE, **options)
    with RasterWriter(path, output) as writer:
        for top in range(0, len(values), 50):
            writer.append(values[top : top + 50])
        return writer.finish()


@pytest.mark.parametrize("name", ["l.png", "l.tif", "l.ome.tif", "l.zarr"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_labels_come_back_as_they_were(name, dtype, tmp_path):
    labels = blocks(dtype=dtype)
    path = write(tmp_path / name, labels)
    with open_raster(path) as raster:
        np.testing.assert_array_equal(raster.read()[..., 0], labels)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("place", [{}, MAP])
@pytest.mark.parametrize(
    ("dtype", "channels"), [("uint8", 3), ("float16", 3), ("float32", 5), ("float16", 1)]
)
@pytest.mark.parametrize("name", ["s.tif", "s.zarr"])
def test_scores_come_back_as_they_were(name, place, dtype, channels, tmp_path):
    scores = np.random.default_rng(1).random((*SIZE, channels))
    scores = (scores * 255).astype(dtype) if dtype == "uint8" else scores.astype(dtype)
    path = write(tmp_path / name, scores, kind="scores", **place)
    with open_raster(path) as raster:
        np.testing.assert_array_equal(raster.read(), scores)
        assert len(raster.levels) == 4


def test_ome_tiff_says_axes_scale_and_levels(tmp_path):
    labels = blocks()
    path = write(tmp_path / "l.ome.tif", labels, palette=PALETTE, **MICRONS)
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        assert file.is_ome and series.axes == "YX" and file.pages[0].compression == 8
        assert [level.shape for level in series.levels] == [(301, 450), (151, 225), (76, 113), (38, 57)]
        assert 'PhysicalSizeX="0.25"' in file.ome_metadata and 'PhysicalSizeY="0.5"' in file.ome_metadata
    np.testing.assert_array_equal(tifffile.imread(path), labels)
    np.testing.assert_array_equal(by_pillow(path)[..., 0], labels)
    with open_raster(path) as raster:
        assert raster.pixel_size == PixelSize(0.5, 0.25, "micron")
        np.testing.assert_array_equal(raster.info.palette[:6], PALETTE)


def test_scores_of_ome_tiff_are_named_channels(tmp_path):
    scores = (np.random.default_rng(1).random((*SIZE, 3)) * 255).astype(np.uint8)
    path = write(tmp_path / "s.ome.tif", scores, kind="scores", names=("road", "tree", "a & b"))
    with tifffile.TiffFile(path) as file:
        assert file.series[0].axes == "CYX"
        assert 'Name="road"' in file.ome_metadata and "a &amp; b" in file.ome_metadata
    np.testing.assert_array_equal(tifffile.imread(path), scores.transpose(2, 0, 1))


@pytest.mark.parametrize("size", [SIZE, (40, 50), (64, 64), (1, 1), (65, 3)])
def test_a_map_is_a_valid_cloud_optimized_geotiff(size, tmp_path):
    validate = pytest.importorskip("rio_cogeo.cogeo").cog_validate
    labels = blocks(size)
    path = write(tmp_path / "l.tif", labels, palette=PALETTE, nodata=255, **MAP)
    valid, errors, complaints = validate(path, strict=True)
    assert (valid, errors, complaints) == (True, [], [])
    np.testing.assert_array_equal(by_gdal(path)[..., 0], labels)
    with open_raster(path) as raster:
        assert (raster.crs, raster.transform, raster.nodata) == (MAP["crs"], MAP["transform"], 255)
        np.testing.assert_array_equal(raster.info.palette[:6], PALETTE)


def test_a_map_in_wkt_and_turned_is_kept(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    wkt = rasterio.CRS.from_proj4("+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84 +units=m").to_wkt()
    turned = (0.4, 0.3, 100.0, 0.3, -0.4, 200.0)
    path = write(tmp_path / "l.tif", blocks(), crs=wkt, transform=turned)
    with rasterio.open(path) as file:
        assert file.crs == rasterio.CRS.from_wkt(wkt)
        assert tuple(file.transform)[:6] == pytest.approx(turned)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_scores_on_a_map_are_a_valid_cog_with_named_bands(dtype, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    validate = pytest.importorskip("rio_cogeo.cogeo").cog_validate
    scores = (np.random.default_rng(1).random((*SIZE, 3)) * 200).astype(dtype)
    path = write(tmp_path / "s.tif", scores, kind="scores", names=("a", "b & c", "<d>"), **MAP)
    assert validate(path, strict=True)[0]
    with rasterio.open(path) as file:
        assert file.descriptions == ("a", "b & c", "<d>")
        np.testing.assert_array_equal(file.read().transpose(1, 2, 0), scores)


def test_a_large_cog_is_a_bigtiff_and_still_valid(tmp_path, monkeypatch):
    validate = pytest.importorskip("rio_cogeo.cogeo").cog_validate
    from saccade.rasters import tiff_writer

    monkeypatch.setattr(tiff_writer, "CLASSIC_LIMIT", 1000)
    labels = blocks()
    path = write(tmp_path / "l.tif", labels, palette=PALETTE, nodata=0, **MAP)
    assert path.read_bytes()[:4] == b"II+\0"
    assert validate(path, strict=True) == (True, [], [])
    np.testing.assert_array_equal(by_gdal(path)[..., 0], labels)
    np.testing.assert_array_equal(tifffile.imread(path), labels)


def test_ome_zarr_follows_the_specification(tmp_path):
    zarr = pytest.importorskip("zarr")
    labels = blocks()
    path = write(
        tmp_path / "l.zarr", labels, palette=PALETTE, names=tuple("abcdef"), nodata=9, **MICRONS, **MAP
    )
    group = zarr.open_group(str(path), mode="r")
    image = group.attrs["multiscales"][0]
    assert [axis["name"] for axis in image["axes"]] == ["y", "x"]
    assert image["axes"][0]["unit"] == "micrometer"
    scales = [entry["coordinateTransformations"][0]["scale"] for entry in image["datasets"]]
    assert scales == [[0.5 * 2**n, 0.25 * 2**n] for n in range(4)]
    np.testing.assert_array_equal(group["0"][:], labels)
    assert group["0"].chunks == (TILE, TILE)
    colours = group.attrs["image-label"]["colors"]
    assert colours[2] == {"label-value": 2, "rgba": [*PALETTE[2], 255]}
    with open_raster(path) as raster:
        assert (raster.crs, raster.transform, raster.nodata) == (MAP["crs"], MAP["transform"], 9)


def test_chunks_of_zarr_are_the_tiles_as_they_were_packed_and_none_of_zeros(tmp_path):
    zarr = pytest.importorskip("zarr")
    labels = blocks()
    labels[:TILE, TILE : 2 * TILE] = 0
    path = write(tmp_path / "l.zarr", labels)
    assert zarr.open_group(str(path), mode="r")["0"].metadata.compressor.codec_id == "zlib"
    assert not (path / "0" / "0" / "1").exists()
    tile = zlib.decompress((path / "0" / "0" / "0").read_bytes())
    np.testing.assert_array_equal(np.frombuffer(tile, np.uint8).reshape(TILE, TILE), labels[:TILE, :TILE])


def test_png_shows_the_palette(tmp_path):
    from PIL import Image

    labels = blocks()
    with Image.open(write(tmp_path / "l.png", labels, palette=PALETTE)) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), np.array(PALETTE)[labels])


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 3)))
def test_a_coarser_label_is_one_of_its_four_and_the_most_frequent(labels):
    coarse = halve(labels, "labels")
    assert coarse.shape == tuple((side + 1) // 2 for side in labels.shape)
    padded = np.pad(labels, [(0, side % 2) for side in labels.shape], mode="edge")
    for i in range(coarse.shape[0]):
        for j in range(coarse.shape[1]):
            four = padded[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].ravel().tolist()
            most = max(four.count(value) for value in four)
            assert coarse[i, j] == next(value for value in four if four.count(value) == most)


@pytest.mark.parametrize("name", ["l.ome.tif", "l.tif", "l.zarr"])
def test_coarser_levels_of_labels_hold_no_new_class(name, tmp_path):
    labels = blocks() * np.uint8(40)
    path = write(tmp_path / name, labels, **(MAP if name == "l.tif" else {}))
    with open_raster(path) as raster:
        expected = labels
        for level in range(1, len(raster.levels)):
            expected = halve(expected, "labels")
            np.testing.assert_array_equal(raster.read(level=level)[..., 0], expected)
            assert set(np.unique(expected)) <= set(np.unique(labels))


def test_coarser_levels_of_scores_are_means(tmp_path):
    scores = np.random.default_rng(1).random((64, 128, 2)).astype(np.float32)
    path = write(tmp_path / "s.tif", scores, kind="scores")
    with open_raster(path) as raster:
        mean = scores.reshape(32, 2, 64, 2, 2).mean((1, 3))
        np.testing.assert_allclose(raster.read(level=1), mean, rtol=1e-6)


def test_the_bytes_do_not_depend_on_how_rows_were_given(tmp_path):
    labels = blocks()
    files = []
    for number, step in enumerate((1, 37, 64, 301)):
        path = tmp_path / str(number) / "l.ome.tif"
        path.parent.mkdir()
        reused = np.empty((step, SIZE[1]), np.uint8)
        with RasterWriter(path, Output(SIZE, tile=TILE)) as writer:
            for top in range(0, SIZE[0], step):
                rows = labels[top : top + step]
                reused[: len(rows)] = rows
                writer.append(reused[: len(rows)])
            writer.finish()
        files.append(path.read_bytes())
    assert len(set(files)) == 1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"kind": "label"}, "labels, scores or density"),
        ({"dtype": "float32"}, "uint8 or uint16"),
        ({"channels": 3}, "several only for scores"),
        ({"tile": 100}, "multiple of 16"),
        ({"size": (0, 4)}, "size"),
        ({"palette": ((1, 2),)}, "red, green, blue"),
        ({"palette": PALETTE, "dtype": "uint16"}, "only for labels of uint8"),
        ({"palette": ((1, 2, 256),)}, "0 to 255"),
    ],
)
def test_an_output_that_does_not_fit_together_is_refused(options, problem):
    with pytest.raises(InvalidInput, match=problem):
        Output(**({"size": SIZE} | options))


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("l.jpg", {}, r"\.png, \.tif, \.ome\.tif or \.zarr"),
        ("l", {}, "no extension"),
        ("l.png", {"size": (20000, 20000)}, r"name it \.tif"),
        ("l.png", {"kind": "scores", "channels": 3}, "one channel"),
        ("no/l.tif", {}, "make the folder first"),
    ],
)
def test_a_name_that_is_no_format_is_refused_before_any_work(name, options, problem, tmp_path):
    with pytest.raises(FileProblem, match=problem):
        RasterWriter(tmp_path / name, Output(**({"size": SIZE} | options)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("band", "problem"),
    [
        (np.zeros((5, 449), np.uint8), "450"),
        (np.zeros((5, 450, 2), np.uint8), "450"),
        (np.zeros((0, 450), np.uint8), "rows"),
        (np.zeros((5, 450), np.int64), "of uint8"),
        (np.zeros((302, 450), np.uint8), "at most 301 rows"),
    ],
)
def test_a_band_that_does_not_fit_is_refused(band, problem, tmp_path):
    with RasterWriter(tmp_path / "l.tif", Output(SIZE, tile=TILE)) as writer:
        with pytest.raises(InvalidInput, match=problem):
            writer.append(band)
        with pytest.raises(InvalidInput, match="all 301"):
            writer.finish()
    assert not (tmp_path / "l.tif").exists()


def test_an_output_like_a_raster_takes_its_place(made):
    with open_raster(made("cog").path) as raster:
        output = Output.like(raster, "labels", nodata=255)
        assert (output.size, output.crs, output.transform) == (raster.size, raster.crs, raster.transform)
        assert json.dumps(output.as_json())


def test_no_warning_reaches_the_user(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("a.tif", "b.ome.tif", "c.zarr", "d.png"):
            write(tmp_path / name, blocks())
        write(tmp_path / "e.tif", blocks(), **MAP)


def test_several_outputs_may_be_written_at_once(tmp_path):
    names = [tmp_path / f"{number}.tif" for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for path in pool.map(lambda path: write(path, blocks()), names):
            np.testing.assert_array_equal(tifffile.imread(path), blocks())
