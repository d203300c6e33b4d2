"""An exported model labels files without torch as ``saccade predict --engine onnx`` does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional as F

import saccade
from saccade.cli import main
from saccade.geometry import Window
from saccade.grids.relaxation import elastic_nodes, even_grid, resized
from saccade.grids.relaxation_0_1 import at_rest_0_1
from saccade.lite import Model, over_image
from saccade.rasters import open_raster

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.usefixtures("one_thread")

BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names}:
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Blocked())
from saccade.cli import main
sys.exit(main({words}))
"""
LEFT_OUT = {
    "torch",
    "torchvision",
    "lightning",
    "timm",
    "segmentation_models_pytorch",
    "scipy",
    "yaml",
    "onnx",
    "imagecodecs",
    "rich",
    "rasterio",
    "zarr",
    "fsspec",
}
"""All that is declared but numpy, numba, pillow, tifffile and onnxruntime."""
FEW = 1e-3
"""The share of pixels on which labels may differ: grids agree to four digits."""


@pytest.fixture(scope="module")
def model(lively: saccade.Segmenter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saccade.export(lively, tmp_path_factory.mktemp("lite") / "model.onnx")[0]


@pytest.fixture(scope="module")
def images(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos, and a tiled TIFF with levels that says its scale."""
    folder = tmp_path_factory.mktemp("images")
    for image in images_of(tiny_data)[:2]:
        shutil.copy(image, folder)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (20, 30, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    kinds = {"tile": (64, 64), "photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(folder / "slide.tif") as file:
        file.write(pixels, resolution=(20000, 20000), resolutionunit="CENTIMETER", **kinds)
        file.write(pixels[::2, ::2], subfiletype=1, **kinds)
    return folder


def images_of(data: Path) -> list[Path]:
    return sorted((data / "images").iterdir())


def without_torch(*words: object) -> None:
    code = BLOCKED.format(names=LEFT_OUT, words=[str(word) for word in words])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_labels_are_those_of_the_run(
    model: Path, images: Path, lively: saccade.Segmenter, tmp_path: Path
) -> None:
    without_torch("predict", model, images, tmp_path / "lite", "--tile", "64x96")
    made = sorted(path.name for path in (tmp_path / "lite").iterdir())
    saccade.predict(lively, [images], tmp_path / "run", engine="onnx", tile="64x96")
    assert made == sorted(path.name for path in (tmp_path / "run").iterdir())
    assert {Path(name).suffix for name in made} == {".png", ".tif"}
    for name in made:
        labels = []
        for folder in ("lite", "run"):
            with open_raster(tmp_path / folder / name) as raster:
                labels.append(raster.read())
        assert (labels[0] != labels[1]).mean() <= FEW
        assert len(np.unique(labels[1])) > 1


def test_an_image_that_needs_another_decoder_is_refused_in_a_line(model: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8)
    for kind in ("lzw", "jpeg", "zstd"):
        tifffile.imwrite(tmp_path / f"{kind}.tif", pixels, photometric="rgb", compression=kind)
    Image.fromarray(pixels).save(tmp_path / "photo.webp")
    names = ("lzw.tif", "jpeg.tif", "zstd.tif", "photo.webp")
    words = ["predict", *map(str, (model, *(tmp_path / name for name in names), tmp_path / "out", "-q"))]
    code = BLOCKED.format(names={*LEFT_OUT, "compression"}, words=words)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == len(names)
    assert all("imagecodecs" in line for line in done.stderr.splitlines()), done.stderr


@pytest.mark.parametrize("options", [{}, {"pixels": 200}, {"size": (5, 7), "mode": "whole"}])
def test_layouts_are_those_of_the_run(
    model: Path, images: Path, lively: saccade.Segmenter, options: dict
) -> None:
    image = images / "slide.tif"
    wanted = saccade.predict(lively, image, engine="onnx", **options)
    found = Model(model).predict(image, **options)
    assert found.dtype == wanted.dtype
    assert (found != wanted).mean() <= FEW


def test_sizes_follow_the_image_as_a_sampler_says(model: Path) -> None:
    ours, sampler = Model(model), saccade.DeformationSampler((8, 12), thumbnail_size=(10, 20))
    sampler.follow_images()
    ours.options = {**ours.options, "fit": True}
    ours._about = {**ours._about, "size": [8, 12], "thumbnail_size": [10, 20], "density_size": [10, 20]}
    for image in ((30, 900), (400, 400), (500, 300)):
        theirs = sampler.for_image(image)
        wanted = {name: getattr(theirs, name) for name in ("size", "thumbnail_size", "density_size")}
        assert ours.sizes_for(image) == wanted


def test_what_is_no_exported_model_is_one_line(
    model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(file: Path, *words: str) -> tuple[int, str]:
        return main(
            ["predict", str(file), str(images), str(tmp_path / "out"), *words]
        ), capsys.readouterr().err

    (tmp_path / "broken.onnx").write_bytes(b"no network")
    for file, part in (
        (tmp_path / "none.onnx", "no such file"),
        (tmp_path / "broken.onnx", "no sound ONNX file"),
        (model.with_suffix(".density.onnx"), "another network"),
    ):
        code, line = told(file)
        assert code == 1
        assert part in line
        assert line.count("\n") == 1
    code, line = told(model, "--save", "scores", "--jobs", "2")
    assert code == 2
    assert "--save, --jobs cannot be had of an exported model" in line
    assert not (tmp_path / "out").exists()


def test_a_fault_of_one_image_does_not_stop_the_others(model: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    outcomes = list(Model(model).predict_files([tmp_path / "bad.png", images], tmp_path / "out"))
    assert [isinstance(outcome, saccade.SaccadeError) for outcome in outcomes].count(True) == 1
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    again = list(Model(model).predict_files([images], tmp_path / "out"))
    assert all("exists" in str(outcome) for outcome in again)
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


sides = st.tuples(st.integers(1, 40), st.integers(1, 40))


@settings(max_examples=25, deadline=None)
@given(sides, sides, st.integers(0, 99), st.sampled_from([0.05, 0.1, 1.0]))
def test_grids_are_those_of_tensors(
    density: tuple[int, int], size: tuple[int, int], seed: int, floor: float
) -> None:
    values = np.random.default_rng(seed).random(density, dtype=np.float32)
    wanted = saccade.elastic_grid(torch.from_numpy(values)[None, None], size, floor=floor)[0].numpy()
    assert np.abs(elastic_nodes(values, size, floor) - wanted).max() < 1e-4
    of_0_1 = saccade.elastic_grid(torch.from_numpy(values)[None, None], size, floor=floor, as_of_0_1=True)
    assert np.abs(elastic_nodes(values, size, floor, at_rest_0_1) - of_0_1[0].numpy()).max() < 1e-4
    assert np.abs(even_grid(size) - saccade.uniform_grid(size)[0].numpy()).max() < 1e-6


@settings(max_examples=25, deadline=None)
@given(sides, sides, st.integers(0, 99))
def test_values_are_resized_as_torch_does(before: tuple[int, int], after: tuple[int, int], seed: int) -> None:
    values = np.random.default_rng(seed).random(before, dtype=np.float32)
    how = {"mode": "bilinear", "align_corners": True}
    wanted = F.interpolate(torch.from_numpy(values)[None, None], after, **how)[0, 0].numpy()
    assert np.abs(resized(values, after) - wanted).max() < 1e-4


def test_a_grid_over_a_region_is_one_over_the_image() -> None:
    region, size = Window(10, 31, 40, 81), (101, 201)
    corners = over_image(even_grid((2, 2)), region, size)
    assert np.allclose((corners[0, 0] + 1) / 2 * [200, 100], [40, 10])
    assert np.allclose((corners[1, 1] + 1) / 2 * [200, 100], [80, 30])
