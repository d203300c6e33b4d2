"""Data sets of bands: which are taken, what they are normalised with, and sets that do not go together."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from saccade.data import SampleCache, open_data
from saccade.errors import DataFaults, InvalidInput
from saccade.testing import make_fake
from saccade.training import read_config
from saccade.training.loop import resolve

NAMES = ["B2", "B3", "B4", "B8", "B12"]


def write(path: Path, pixels: np.ndarray, names: list[str] | None = None, **options) -> Path:
    count, height, width = pixels.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": pixels.dtype}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **profile, **options) as file:
        file.write(pixels)
        if names:
            file.descriptions = names
    return path


def scene(root: Path, images: dict[str, np.ndarray], names=NAMES, **options) -> Path:
    """A data folder: masks of two classes, the last image for validation, all others for training."""
    for stem, pixels in images.items():
        write(root / "images" / f"{stem}.tif", pixels, names, **options)
        mask = np.zeros(pixels.shape[1:], np.uint8)
        mask[:, ::2] = 1
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(root / "masks" / f"{stem}.png")
    classes = [{"index": 0, "name": "land"}, {"index": 1, "name": "water"}]
    (root / "classes.json").write_text(json.dumps({"classes": classes, "ignore_index": 255}))
    stems = list(images)
    splits = {"train": stems[:-1], "val": stems[-1:]}
    (root / "splits.json").write_text(json.dumps(splits))
    return root


def noise(seed: int, dtype: str = "int16", count: int = 5, high: int = 3000) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, high, (count, 16, 24)).astype(dtype)


def three(dtype: str = "int16", count: int = 5) -> dict[str, np.ndarray]:
    return {name: noise(seed, dtype, count) for seed, name in enumerate("abc")}


def test_photographs_are_what_they_were(tmp_path):
    data = open_data(make_fake("folder", tmp_path / "leaves", size=(16, 24)))
    assert data.bands is None and data.scaled_bands() is None
    config = resolve(read_config(), data)
    assert config.bands is None


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_other_files_keep_their_values(tmp_path, dtype):
    images = {name: np.clip(pixels, 1, 250).astype(dtype) for name, pixels in three().items()}
    data = open_data(scene(tmp_path, images))
    assert data.bands is not None and data.bands.names == tuple(NAMES)
    sample = SampleCache().get(data, data.split("train")[0])
    assert (sample.pyramid.level(0)[0].numpy() == images["a"]).all()


def test_mean_and_deviation_are_of_the_measured_training_pixels(tmp_path):
    images = three("float32")
    images["a"][1, :8] = np.nan
    images["b"][:, 4:6] = -9
    data = open_data(scene(tmp_path, images, nodata=-9))
    bands = data.scaled_bands()
    pixels = np.stack([images["a"], images["b"]], 1).reshape(5, -1).astype(np.float64)
    pixels[pixels == -9] = np.nan
    assert np.allclose(bands.mean, np.nanmean(pixels, axis=1))
    assert np.allclose(bands.std, np.nanstd(pixels, axis=1))
    assert np.allclose(bands.low, np.nanquantile(pixels, 0.02, axis=1))
    sample = SampleCache().get(data, data.split("train")[0])
    assert sample.pyramid.channels == 10  # values, and beside them what was measured
    assert sample.pyramid.base.isfinite().all()


@pytest.mark.parametrize(
    ("scale", "mean", "std"),
    [("0,4000", 2000.0, 2000.0), ("percentiles", None, None), ("0,10 0,10 0,10 0,10 0,4000", 2000.0, 2000.0)],
)
def test_the_scale_is_chosen(tmp_path, scale, mean, std):
    data = open_data(scene(tmp_path, three()), scale=scale)
    bands = data.scaled_bands()
    if mean is None:
        mean, std = (bands.low[4] + bands.high[4]) / 2, (bands.high[4] - bands.low[4]) / 2
    assert (bands.mean[4], bands.std[4]) == (mean, std)


@pytest.mark.parametrize("wanted", ["B8,B2", "4,1", ("B8", "B2"), "b08, 1"])
def test_bands_are_chosen_by_name_or_number(tmp_path, wanted):
    images = three()
    data = open_data(scene(tmp_path, images), read_config().data.changed({"bands": wanted}))
    assert data.bands.names == ("B8", "B2")
    decoded = data.read(data.split("train")[0])
    assert (decoded.image == images["a"][[3, 0]].transpose(1, 2, 0)).all()


def test_colour_of_a_file_with_infrared_is_its_colours(tmp_path):
    images = {name: np.clip(pixels, 0, 250).astype("uint8") for name, pixels in three(count=4).items()}
    root = scene(tmp_path, images, None, photometric="rgb", alpha="no")
    assert open_data(root).bands is None
    every = open_data(root, read_config(overrides=["data.bands=all"]).data)
    assert every.bands.numbers == (1, 2, 3, 4)
    own = open_data(root, read_config(overrides=["data.scale=data"]).data)
    assert own.bands.names == ("red", "green", "blue")


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (noise(9, "uint16"), "int16 samples"),
        (noise(9)[:3], "5 bands|none called"),
        (noise(9, high=50) // 40 + 1, "another unit|up to about"),
    ],
    ids=["type", "count", "unit"],
)
def test_images_that_do_not_go_together_are_told_before_training(tmp_path, odd, words):
    root = scene(tmp_path, three())
    write(root / "images" / "b.tif", odd, NAMES[: len(odd)])
    with pytest.raises(DataFaults, match=words) as caught:
        open_data(root)
    assert "b.tif" in str(caught.value)


def test_photographs_among_bands_are_told(tmp_path):
    root = scene(tmp_path, three())
    (root / "images" / "b.tif").unlink()
    Image.new("RGB", (24, 16)).save(root / "images" / "b.png")
    with pytest.raises(DataFaults, match=r"colour of eight bits, as b\.png"):
        open_data(root)
    colours = open_data(root, read_config(overrides=["data.bands=colour"]).data)
    assert colours.bands is None


@pytest.mark.parametrize(
    "wrong",
    [
        ["data.bands=B99"],
        ["data.bands=B2,B2"],
    ],
)
def test_bands_that_there_are_not_are_told(tmp_path, wrong):
    with pytest.raises(DataFaults, match="band"):
        open_data(scene(tmp_path, three()), read_config(overrides=wrong).data)


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": "dta"},
        {"scale": "5,1"},
        {"scale": "imagenet", "bands": "1,2,3"},
        {"bands": "colour", "scale": "data"},
        {"bands": "1,2", "value_range": (0.0, 255.0)},
    ],
)
def test_options_that_do_not_go_together(wrong):
    with pytest.raises(InvalidInput, match=r"data\."):
        read_config().data.changed(wrong)


def test_a_scale_of_another_number_of_bands(tmp_path):
    data = open_data(scene(tmp_path, three()), scale="0,1 0,2")
    with pytest.raises(InvalidInput, match=r"data\.scale.*5 bands"):
        data.scaled_bands()
