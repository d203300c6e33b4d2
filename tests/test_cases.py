"""Files at which other programs failed, through the commands: each gives what an independent reader sees.

The files lie outside the project, in ``shared/cases/rasters`` of a folder above it. The network answers by
brightness alone, a class for each corner of the colour cube, so that right labels are known to the pixel.
"""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.cli import main
from saccade.data import open_data
from saccade.rasters import open_raster

CASES = next(
    (
        folder / "shared" / "cases" / "rasters"
        for folder in Path(__file__).resolve().parents
        if (folder / "shared" / "cases" / "rasters").is_dir()
    ),
    None,
)
pytestmark = [
    pytest.mark.skipif(CASES is None, reason="the case bank (shared/cases/rasters) is not on this machine"),
    pytest.mark.usefixtures("one_thread"),
]

NETWORK = """
import torch

class Corners(torch.nn.Module):
    "Class 4 r + 2 g + b, where r, g and b tell whether red, green and blue are above half."

    def __init__(self, classes):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))
        index = torch.arange(8)[:, None]
        self.register_buffer("signs", (index // torch.tensor([4, 2, 1]) % 2 * 2 - 1).float())

    def forward(self, pixels):
        mean = pixels.new_tensor([0.485, 0.456, 0.406])[:, None, None]
        std = pixels.new_tensor([0.229, 0.224, 0.225])[:, None, None]
        bright = pixels * std + mean - 0.5
        return torch.einsum("kc,bchw->bkhw", self.signs, bright) * 10 + self.unused * 0
"""
CORNERS = np.array([[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)], np.uint8)
GREY = ("black", "white")
NAMES = ("black", "blue", "green", "cyan", "red", "magenta", "yellow", "white")
UNMEASURED = 255


def blocks(names: list[list[str]]) -> np.ndarray:
    """Class indices: squares of 50 pixels of the colours named."""
    return np.kron([[NAMES.index(name) for name in row] for row in names], np.ones((50, 50), int))


COLOURS = blocks([["red", "green", "blue"], ["black", "white", "yellow"]])
BLACK_AND_WHITE = blocks([["black", "black", "black"], ["black", "white", "black"]])
PLACE = (10, 0, 500000, 0, -10, 5300000)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network tells the corners of the colour cube apart."""
    root = tmp_path_factory.mktemp("corners")
    (root / "colour_corners.py").write_text(NETWORK)
    sys.path.insert(0, str(root))
    data = root / "data"
    for part in ("images", "masks"):
        (data / part).mkdir(parents=True)
    for number, name in enumerate("abc"):
        labels = np.kron(np.roll(np.arange(8), number).reshape(2, 4), np.ones((16, 16))).astype(np.uint8)
        Image.fromarray(CORNERS[labels]).save(data / "images" / f"{name}.png")
        Image.fromarray(labels).save(data / "masks" / f"{name}.png")
    classes = [{"index": i, "name": n, "colour": CORNERS[i].tolist()} for i, n in enumerate(NAMES)]
    (data / "classes.json").write_text(json.dumps({"classes": classes, "ignore_index": UNMEASURED}))
    (data / "splits.json").write_text(json.dumps({"train": ["a"], "val": ["b"], "test": ["c"]}))
    options = ["--network", "python:colour_corners.Corners", "--sampler", "uniform", "--device", "cpu"]
    options += ["sampler.size=100x150", "training.epochs=1", "training.batch_size=1"]
    assert main(["train", str(data), str(root / "run"), *options]) == 0
    return root / "run"


@pytest.fixture
def predict(run: Path, tmp_path: Path) -> Callable[..., np.ndarray]:
    """Labels that ``saccade predict`` writes of one file, as Pillow, GDAL, tifffile or zarr read them."""

    def predict(image: Path, *options: str) -> np.ndarray:
        out = tmp_path / "out"
        assert main(["predict", str(run), str(image), str(out), "--device", "cpu", *options]) == 0
        return labels_in(out)

    return predict


def labels_in(folder: Path) -> np.ndarray:
    written = [path for path in folder.iterdir() if path.suffix != ".geojson"]
    assert len(written) == 1
    if written[0].suffix == ".zarr":
        zarr = pytest.importorskip("zarr")
        return np.asarray(zarr.open(str(written[0]), mode="r")["0"][:])
    if written[0].suffix == ".png":
        return np.asarray(Image.open(written[0]))
    return by_gdal(written[0]).read(1)


def by_gdal(path: Path):  # a dataset of rasterio, which has no types
    rasterio = pytest.importorskip("rasterio")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        return rasterio.open(path)


def case(name: str) -> Path:
    assert CASES is not None
    return CASES / name


PICTURES = {
    "01_minwhite_geotiff/geo.tif": BLACK_AND_WHITE,
    "01_minwhite_geotiff/plain.tif": BLACK_AND_WHITE,
    "02_ycbcr_not_jpeg/ycbcr.tif": COLOURS,
    "04_bgr_roles/argb.tif": COLOURS,
    "04_bgr_roles/bgr.tif": COLOURS,
    "08_strip_count_0/x.tif": COLOURS,
    "09_thumbnail_first/several.tif": COLOURS,
    "09_thumbnail_first/thumb.tif": COLOURS,
    "11_bit_depth_by_gdal/j1.jp2": BLACK_AND_WHITE,
    "11_bit_depth_by_gdal/j12.jp2": BLACK_AND_WHITE,
    "11_bit_depth_by_gdal/nbits12.tif": BLACK_AND_WHITE,
    "12_zarr_named_dims/band.zarr": COLOURS,
    "12_zarr_named_dims/bool.zarr": BLACK_AND_WHITE,
    "13_float_scale/f103.tif": COLOURS,
    "13_float_scale/fneg.tif": COLOURS,
    "14_georef_beside/jgw/a.jpg": COLOURS,
    "14_georef_beside/pam/a.tif": COLOURS,
    "14_georef_beside/tfw/A.TIF": COLOURS,
    "15_local_crs/local.tif": COLOURS,
    "17_ome_multifile/a.ome.tif": BLACK_AND_WHITE,
    "17_ome_multifile/b.ome.tif": BLACK_AND_WHITE,
    "19_png_refused/grey_alpha16.png": BLACK_AND_WHITE,
    "19_png_refused/iccp.png": COLOURS,
    "19_png_refused/rgb16_trns.png": COLOURS,
}


@pytest.mark.parametrize("name", PICTURES)
def test_labels_are_those_of_the_picture(name: str, predict) -> None:
    labels = predict(case(name))
    agreement = labels == PICTURES[name]
    if name.startswith("13"):  # one pixel is the outlier
        agreement[5, 5] = labels[5, 5] == (by_gdal(case(name)).read()[:, 5, 5] > 0.5) @ [4, 2, 1]
    if name.endswith(".jpg"):  # blocks of 8 pixels mix the colours at the borders
        assert agreement.mean() > 0.94
    else:
        assert np.argwhere(~agreement).tolist() == []


def test_info_takes_every_file(capsys) -> None:
    for name in PICTURES:
        assert main(["info", str(case(name))]) == 0
        assert "100 x 150 pixels (rows x columns)" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["mask_nodata.tif", "alpha_nodata.tif"])
def test_mask_opacity_and_nodata_leave_out_what_gdal_leaves_out(name: str, predict) -> None:
    path = case("05_mask_and_nodata") / name
    measured = by_gdal(path).dataset_mask() > 0
    assert 0.4 < measured.mean() < 0.6
    assert_labels(predict(path), COLOURS, measured)


def test_what_lerc_masks_is_unmeasured(predict) -> None:
    path = case("07_lerc_nan/lerc_nan.tif")
    measured = np.isfinite(by_gdal(path).read()).any(axis=0)
    assert 0 < measured.mean() < 1
    assert_labels(predict(path), COLOURS, measured)


def assert_labels(labels: np.ndarray, picture: np.ndarray, measured: np.ndarray) -> None:
    assert np.array_equal(labels == UNMEASURED, ~measured)
    assert np.array_equal(labels[measured], picture[measured])


def test_metres_are_refused_until_their_range_is_named(run: Path, predict, tmp_path: Path, capsys) -> None:
    path = case("13_float_scale/fm.tif")
    assert main(["predict", str(run), str(path), str(tmp_path / "refused"), "--device", "cpu"]) == 1
    assert "value" in capsys.readouterr().err
    assert np.array_equal(predict(path, "--value-range", "0,1000"), COLOURS)


@pytest.mark.parametrize("name", ["pam/a.tif", "tfw/A.TIF", "jgw/a.jpg"])
def test_labels_lie_where_the_image_lies(name: str, predict, tmp_path: Path) -> None:
    path = case("14_georef_beside") / name
    predict(path)
    (written,) = (tmp_path / "out").iterdir()
    with by_gdal(written) as labels:
        assert tuple(labels.transform)[:6] == PLACE
        if name.startswith("pam"):
            assert labels.crs.to_epsg() == 32632
    if not name.startswith("tfw"):  # GDAL looks for a world file in lower case
        assert tuple(by_gdal(path).transform)[:6] == PLACE


def test_a_local_system_is_kept(predict, tmp_path: Path) -> None:
    path = case("15_local_crs/local.tif")
    predict(path)
    (written,) = (tmp_path / "out").iterdir()
    with by_gdal(written) as labels, by_gdal(path) as image:
        assert labels.crs == image.crs
        assert labels.transform == image.transform


def test_the_second_image_of_a_file_can_be_named(predict) -> None:
    tifffile = pytest.importorskip("tifffile")
    path = case("09_thumbnail_first/several.tif")
    with tifffile.TiffFile(path) as file:
        second = file.pages[1].asarray()
    labels = predict(Path(f"{path}#2"))
    assert np.array_equal(labels, (second > 127) @ [4, 2, 1])


def test_both_files_of_an_ome_set_are_the_set() -> None:
    tifffile = pytest.importorskip("tifffile")
    for name in ("a", "b"):
        path = case(f"17_ome_multifile/{name}.ome.tif")
        with open_raster(path) as raster:
            assert np.array_equal(raster.read(), tifffile.imread(path).transpose(1, 2, 0))


def test_one_file_of_an_ome_set_alone_names_what_is_missing(run: Path, tmp_path: Path, capsys) -> None:
    shutil.copy(case("17_ome_multifile/a.ome.tif"), tmp_path)
    command = ["predict", str(run), str(tmp_path / "a.ome.tif"), str(tmp_path / "out"), "--device", "cpu"]
    assert main(command) == 1
    assert "OME-TIFF set" in capsys.readouterr().err


@pytest.mark.parametrize("mode", [["--mode", "whole"], ["--mode", "tiles", "--tile", "512x512"]])
def test_a_slide_is_labelled_where_it_was_scanned(mode: list[str], predict, tmp_path: Path) -> None:
    openslide = pytest.importorskip("openslide")
    path = case("21_slide_bounds/b.scn")
    with openslide.OpenSlide(path) as slide:
        scanned = np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., 3] > 0
        bounds = [int(slide.properties[f"openslide.bounds-{side}"]) for side in "xy"]
    labels = predict(path, "--save", "labels,polygons", *mode)
    assert np.array_equal(labels == UNMEASURED, ~scanned)
    (outlines,) = (tmp_path / "out").glob("*.geojson")
    features = json.loads(outlines.read_text())["features"]
    corners = np.concatenate([part for f in features for part in outline(f["geometry"])])
    rows, columns = np.nonzero(scanned)
    assert corners.min(0).tolist() == [columns.min() - bounds[0], rows.min() - bounds[1]] == [0, 0]
    assert corners.max(0).tolist() == [columns.max() + 1 - bounds[0], rows.max() + 1 - bounds[1]]


def outline(geometry: dict) -> list[np.ndarray]:
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    return [np.asarray(polygon[0]) for polygon in polygons]


@pytest.mark.parametrize("name", ["same_crs", "crs84_named", "ed50_named", "rfc7946_no_member"])
def test_outlines_in_another_system_lie_where_they_belong(name: str, run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(case("22_outline_crs") / name, tmp_path / "data"))
    assert main(["info", str(folder)]) == 0
    data = open_data(folder)
    for split in ("train", "val", "test"):
        (item,) = data.split(split)
        with by_gdal(item.image) as image:
            white = image.read(1) > 127
        assert 0.2 < white.mean() < 0.8
        assert (data.read(item).labels == white).mean() > 0.995
    small = ["--network", "small:4", "--sampler", "uniform", "sampler.size=16x16", "training.epochs=1"]
    assert main(["train", str(folder), str(tmp_path / "run"), "--device", "cpu", *small]) == 0


def test_a_thin_image_in_tiles_is_labelled_as_a_whole_one(predict, tmp_path: Path) -> None:
    path = case("24_thin_in_tiles/thin.tif")
    pixels = by_gdal(path).read()
    truth = np.tensordot([4, 2, 1], pixels > 127, 1)
    labels = predict(path, "--mode", "tiles", "--tile", "512x512")
    assert (labels == truth).mean() > 0.98
