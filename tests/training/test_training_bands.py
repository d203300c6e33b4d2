"""Runs of bands: what three bands of eight bits would not show is learned, kept and predicted in place."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from rasterio.transform import from_origin

import saccade
from saccade.errors import FileProblem, InvalidInput, UsageError
from saccade.lite import Model
from saccade.networks import build_network
from saccade.rasters import read_rgb
from saccade.rasters.bands import Bands
from saccade.training import load_run, read_config
from saccade.training.loading import Augmentation
from saccade.training.run_folder import build_segmenter

SIZE = (32, 48)
PLACE = from_origin(500000, 5200000, 10, 10)
OPTIONS = {
    "sampler": "uniform", "network": "small:8", "size": SIZE, "epochs": 24, "batch_size": 2, "device": "cpu",
    "options": ["optimizer.learning_rate=0.01", "training.validate_every=24", "augment.brightness=0"],
}  # fmt: skip


def make_data(root: Path, kind: str) -> Path:
    """A class that shows only in band 4, or only in steps of less than 1/255 of the range of the values."""
    generator = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    stems = [f"scene_{n}" for n in range(10)]
    for stem in stems:
        mask = np.zeros(SIZE, np.uint8)
        for _ in range(3):
            top, left = generator.integers(0, SIZE[0] - 12), generator.integers(0, SIZE[1] - 12)
            mask[top : top + 12, left : left + 12] = 1
        if kind == "band 4":
            pixels = generator.normal(1500, 400, (5, *SIZE)).clip(1, 4000)
            pixels[3] += mask * 2500.0
        else:  # of 65535, what becomes one step of eight bits is 257: all of the image is 117
            pixels = 30000 + generator.normal(0, 10, (5, *SIZE)).clip(-25, 25) + mask * 70.0
        write(root / "images" / f"{stem}.tif", pixels.round().astype(np.uint16))
        Image.fromarray(mask).save(root / "masks" / f"{stem}.png")
    classes = [{"index": 0, "name": "land"}, {"index": 1, "name": "lake"}]
    (root / "classes.json").write_text(json.dumps({"classes": classes, "ignore_index": 255}))
    (root / "splits.json").write_text(json.dumps({"train": stems[:8], "val": stems[8:9], "test": stems[9:]}))
    return root


def write(path: Path, pixels: np.ndarray, names=("B1", "B2", "B3", "B4", "B5")) -> Path:
    count, height, width = pixels.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": pixels.dtype}
    with rasterio.open(path, "w", **profile, crs="EPSG:32632", transform=PLACE) as file:
        file.write(pixels)
        file.descriptions = names
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Path]:
    """Data whose class shows in band 4 alone, and a run of it."""
    root = tmp_path_factory.mktemp("bands")
    data = make_data(root / "data", "band 4")
    saccade.train(data, root / "run", progress=False, **OPTIONS)
    return data, root / "run"


def test_a_class_that_shows_in_band_4_alone_is_learned(trained):
    data, run = trained
    assert saccade.evaluate(run, data, device="cpu", progress=False).to_json()["iou"]["lake"] > 0.95


def test_a_class_below_one_step_of_eight_bits_is_learned(tmp_path):
    data = make_data(tmp_path / "data", "below one step")
    seen = [read_rgb(path).array for path in (data / "images").iterdir()]
    assert all((array == 117).all() for array in seen)  # nothing is left of it in eight bits
    run = saccade.train(data, tmp_path / "run", progress=False, **OPTIONS)
    assert saccade.evaluate(run, data, device="cpu", progress=False).to_json()["iou"]["lake"] > 0.95


def test_the_run_keeps_bands_and_scale(trained):
    data, run = trained
    opened = load_run(run)
    bands = opened.segmenter.reading.bands
    assert bands.names == ("B1", "B2", "B3", "B4", "B5") and bands.dtype == "uint16"
    assert opened.segmenter.mean.flatten().tolist() == pytest.approx(bands.mean)
    stems = json.loads((data / "splits.json").read_text())["train"]
    pixels = [rasterio.open(data / "images" / f"{stem}.tif").read() for stem in stems]
    assert bands.mean == pytest.approx(np.stack(pixels, 1).reshape(5, -1).mean(1).tolist())
    assert opened.segmenter.network.down[0][0].in_channels == 5


@pytest.mark.parametrize("mode", ["whole", "tiles"])
def test_predictions_lie_where_their_image_does(trained, tmp_path, mode):
    data, run = trained
    image = data / "images" / "scene_9.tif"
    kept = {"tile": 32} if mode == "tiles" else {}
    (done,) = saccade.predict(run, image, tmp_path / mode, mode=mode, device="cpu", progress=False, **kept)
    with rasterio.open(done.labels) as labels, rasterio.open(image) as source:
        assert (labels.crs, labels.transform, labels.shape) == (source.crs, source.transform, source.shape)
        found, pixels = labels.read(1), source.read()
    assert (found == saccade.predict(run, image, mode=mode, device="cpu", progress=False, **kept)).all()
    array = saccade.predict(run, pixels.transpose(1, 2, 0), mode=mode, device="cpu", progress=False, **kept)
    assert (found == array).all()
    truth = np.asarray(Image.open(data / "masks" / "scene_9.png"))
    assert (found == truth).mean() > 0.95


def test_an_exported_run_of_bands_answers_in_plain_onnxruntime(trained, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    data, run = trained
    (file,) = saccade.export(run, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    about = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    with rasterio.open(data / "images" / "scene_9.tif") as source:
        assert (
            about["saccade.bands"] == list(source.descriptions) and about["saccade.dtype"] == source.dtypes[0]
        )
        pixels = source.read().astype(np.float32)
    mean, std = (np.reshape(about[f"saccade.{name}"], (-1, 1, 1)) for name in ("mean", "std"))
    (scores,) = session.run(["scores"], {"pixels": ((pixels - mean) / std).astype(np.float32)[None]})
    labels = saccade.predict(run, data / "images" / "scene_9.tif", device="cpu", progress=False)
    assert (scores[0].argmax(0) == labels).mean() > 0.999
    with pytest.raises(saccade.SaccadeError, match="bands in their own values need torch"):
        Model(file)


def test_unmeasured_pixels_do_not_change_others(trained, tmp_path):
    data, run = trained
    with rasterio.open(data / "images" / "scene_9.tif") as file:
        pixels = file.read()
    plain = saccade.predict(run, pixels.transpose(1, 2, 0), device="cpu", progress=False)
    holes = pixels.astype(np.float32)
    holes[:, :, :8] = np.nan
    found = saccade.predict(run, holes.transpose(1, 2, 0), device="cpu", progress=False)
    assert (found[:, 24:] == plain[:, 24:]).all()


def test_files_that_are_otherwise_are_refused(trained, tmp_path):
    data, run = trained
    with rasterio.open(data / "images" / "scene_9.tif") as file:
        pixels = file.read()
    four = write(tmp_path / "four.tif", pixels[:4], ["B1", "B2", "B3", "B5"])
    with pytest.raises(FileProblem, match=r"the bands of the run.*none called B4"):
        saccade.predict(run, four, tmp_path / "out", device="cpu", progress=False)
    reflectance = write(tmp_path / "reflectance.tif", (pixels / 10000).astype(np.float32))
    with pytest.raises(FileProblem, match="uint16 samples"):
        saccade.predict(run, reflectance, tmp_path / "out", device="cpu", progress=False)
    dark = write(tmp_path / "dark.tif", (pixels // 200).astype(np.uint16))
    with pytest.raises(FileProblem, match="values up to about"):
        saccade.predict(run, dark, device="cpu", progress=False)
    Image.new("RGB", (48, 32)).save(tmp_path / "photo.png")
    with pytest.raises(FileProblem, match="bands of the run"):
        saccade.predict(run, tmp_path / "photo.png", device="cpu", progress=False)
    with pytest.raises(UsageError, match="value_range"):
        saccade.predict(run, four, device="cpu", progress=False, value_range=(0, 1))


def test_other_data_is_not_scored(trained, tmp_path):
    _, run = trained
    other = make_data(tmp_path / "other", "band 4")
    for path in (other / "images").iterdir():
        with rasterio.open(path) as file:
            pixels = file.read()
        write(path, pixels.astype(np.int16))
    with pytest.raises(saccade.errors.DataFaults, match="uint16 samples, as of the run"):
        saccade.evaluate(run, other, device="cpu", progress=False)


def test_a_run_whose_bands_are_broken_is_told(trained, tmp_path):
    import shutil

    broken = shutil.copytree(trained[1], tmp_path / "run")
    text = (broken / "config.yaml").read_text()
    (broken / "config.yaml").write_text(text.replace("dtype: uint16", "dtype: uint16\n  std: [0, 0]", 1))
    with pytest.raises(FileProblem):
        load_run(broken)


@pytest.mark.parametrize(
    "name", ["small:4", "unet:original", "unet:resnet18", "hrnetv2:w18_small", "pspnet:resnet18",
             "upernet:resnet18/64", "deeplabv3plus:resnet18", "fpn:tu-resnet10t"],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 5])
def test_networks_take_any_number_of_bands(name, channels):
    network = build_network(name, 2, channels=channels).eval()
    assert network(torch.zeros(1, channels, 64, 64)).shape == (1, 2, 64, 64)


@pytest.mark.parametrize("sampler", ["deformation", "boundary", "foveation"])
def test_samplers_see_every_band(sampler):
    known = Bands(tuple("abcde"), (1, 2, 3, 4, 5), 5, "uint16", True, (100.0,) * 5, (10.0,) * 5)
    words = [f"sampler.name={sampler}", "network.name=small:4", "sampler.size=8x12"]
    words += ["foveation.bank=[12,24]", "foveation.shrink=4"] if sampler == "foveation" else []
    config = replace(read_config(overrides=words), bands=known.to_dict())
    segmenter = build_segmenter(config, 2).eval()
    image = np.random.default_rng(0).integers(50, 150, (40, 60, 5)).astype(np.uint16)
    first, second = segmenter.segment(image), segmenter.segment(image)
    assert first.labels.shape == (40, 60) and (first.labels == second.labels).all()


def test_the_light_of_three_channels_is_drawn_as_ever():
    options = read_config().augment
    generator = torch.Generator().manual_seed(3)
    old = Augmentation.random(2, options, generator)
    known = Bands(("a",), (1,), 1, "uint16", False, (1.0,), (1.0,), (0.0,), (2.0,))
    new = Augmentation.random(2, options, torch.Generator().manual_seed(3), known)
    assert old.shift.shape == (2, 3, 1, 1) and new.shift.shape == (2, 1, 1, 1)
    assert (old.gain == new.gain).all() and (old.flipped == new.flipped).all()
    generator = torch.Generator().manual_seed(3)
    torch.rand(2, 2, generator=generator), torch.randn(2, 1, 1, 1, generator=generator)
    assert (old.shift == options.brightness * torch.randn(2, 3, 1, 1, generator=generator)).all()


def test_numbers_of_bands_that_are_none():
    network = torch.nn.Conv2d(2, 2, 1)
    for mean, std in (([1, 2], [1]), ([1, 2], [0, 1]), ([1, float("nan")], [1, 1])):
        with pytest.raises(InvalidInput, match="mean and std"):
            saccade.Segmenter(saccade.UniformSampler((4, 4)), network, mean=mean, std=std)


def test_weights_of_a_unet_of_bands_are_loaded_again(tmp_path):
    data = make_data(tmp_path / "data", "band 4")
    options = {**OPTIONS, "network": "unet:resnet18", "epochs": 1, "size": (16, 32)}
    trained = saccade.train(data, tmp_path / "run", progress=False, **options)
    again = load_run(tmp_path / "run").segmenter.state_dict()
    assert all(map(torch.equal, trained.segmenter.state_dict().values(), again.values()))
    assert again["network.network.encoder.conv1.weight"].shape[1] == 5
