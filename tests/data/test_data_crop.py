"""Parts of images: the largest square, in the middle or anywhere, and sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from saccade.cli import main
from saccade.data import DataOptions, Sample, SampleCache, open_data
from saccade.data.options import Crop
from saccade.errors import InvalidInput
from saccade.testing import make_fake
from saccade.training import load_run, read_config, train
from saccade.training.loading import random_crops

SIDES = st.integers(1, 40)


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES)
def test_the_middle_is_as_far_from_both_ends(height: int, width: int, rows: int, columns: int) -> None:
    for text in ("none", "square", "random_square", f"{rows}x{columns}"):
        crop = Crop.parse(text)
        window = crop.window((height, width))
        extent = crop.extent((height, width))
        if window is None:
            assert extent == (height, width)
        else:
            assert window.size == extent and window.inside((height, width))
            assert 0 <= (height - window.bottom) - window.top <= 1
            assert 0 <= (width - window.right) - window.left <= 1
        if "square" in text:
            assert extent == (min(height, width),) * 2


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_a_square_anywhere_lies_in_the_image(height: int, width: int, down: float, right: float) -> None:
    window = Crop.parse("random_square").anywhere((height, width), (down, right))
    assert window.inside((height, width)) and window.height == window.width == min(height, width)


@pytest.mark.parametrize("text", ["", "big", "0x4", "4x", "12", "-1x3", "square "])
def test_what_is_no_crop_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="none, square, random_square or ROWSxCOLUMNS"):
        DataOptions(crop=text)


def test_images_labels_and_counts_are_of_the_part(tmp_path: Path) -> None:
    make_fake("folder", tmp_path)
    kept: list[str] = []
    data = open_data(
        tmp_path, crop="10x12", on_decoded=lambda item, decoded: kept.append(str(decoded.labels.shape))
    )
    item = data.split("val")[0]
    decoded = data.read(item)
    stored = np.asarray(Image.open(item.mask))[3:13, 6:18]
    assert (decoded.labels == stored).all()
    assert (decoded.image == np.asarray(Image.open(item.image))[3:13, 6:18]).all()
    assert set(kept) == {"(10, 12)"}
    assert data.size(item) == (10, 12) and data.sizes() == {(10, 12): 7}
    assert data.class_counts().sum() == 7 * 120
    assert decoded.image.base is None or decoded.image.base.nbytes == decoded.image.nbytes


def test_a_random_square_leaves_only_training_images_whole(tmp_path: Path) -> None:
    make_fake("folder", tmp_path)
    cache = SampleCache()
    data = open_data(tmp_path, crop="random_square", on_decoded=cache.keep)
    assert {data.size(item) for item in data.split("train")} == {(16, 24)}
    assert {data.size(item) for name in ("val", "test") for item in data.split(name)} == {(16, 16)}
    assert cache.get(data, data.split("train")[0]).size == data.read(data.split("train")[0]).labels.shape
    evaluated = open_data(tmp_path, data.options.evaluated())
    assert set(evaluated.sizes()) == {(16, 16)}


def samples(count: int) -> list[Sample]:
    """Whose pixels tell their place."""
    place = torch.arange(8 * 20, dtype=torch.uint8).view(1, 8, 20)
    from saccade.warp import Pyramid

    return [Sample("a", Pyramid.of(place[None].expand(1, 3, 8, 20).contiguous()), place)] * count


def test_random_squares_follow_the_seed_and_reach_every_place() -> None:
    crop = Crop.parse("random_square")
    first, again, other = (random_crops(samples(60), crop, seed) for seed in (1, 1, 2))
    corners = [int(part.labels[0, 0, 0]) for part in first]
    assert corners == [int(part.labels[0, 0, 0]) for part in again]
    assert corners != [int(part.labels[0, 0, 0]) for part in other]
    assert set(corners) == set(range(13))
    for part in first:
        assert part.size == (8, 8) and part.varied
        assert (part.pyramid.level(0)[0, 0] == part.labels[0]).all()


def test_training_sees_squares_and_a_resumed_run_the_same_ones(tmp_path: Path, one_thread: None) -> None:
    make_fake("folder", tmp_path / "data")
    options = ["network.name=small:4", "sampler.size=8x8", "training.batch_size=2", "data.crop=random_square"]
    config = read_config(overrides=[*options, "training.epochs=2"])
    data = open_data(tmp_path / "data", config.data)
    runs = [train(data, tmp_path / name, config, device="cpu") for name in ("a", "b")]
    assert runs[0].config.data.crop == "random_square"
    states = [run.segmenter.state_dict() for run in runs]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    fixed = read_config(overrides=[*options[:-1], "data.crop=square", "training.epochs=2"])
    other = train(open_data(tmp_path / "data", crop="square"), tmp_path / "c", fixed, device="cpu")
    assert any(not torch.equal(states[0][key], other.segmenter.state_dict()[key]) for key in states[0])


def test_data_opened_otherwise_than_the_configuration_asks_is_refused(tmp_path: Path) -> None:
    data = open_data(make_fake("folder", tmp_path / "data"))
    config = read_config(overrides=["data.crop=square"])
    with pytest.raises(InvalidInput, match=r"open it with open_data\(path, config.data\)"):
        train(data, tmp_path / "run", config, device="cpu")
    assert not (tmp_path / "run").exists()


def test_evaluate_crops_as_the_run_was_trained_unless_told(
    tmp_path: Path, one_thread: None, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = make_fake("folder", tmp_path / "data"), tmp_path / "run"
    tiny = ["network.name=small:4", "sampler.size=8x8", "training.batch_size=2", "training.epochs=1"]
    assert (
        main(["train", str(data), str(run), "--crop", "random_square", "-q", "--device", "cpu", *tiny]) == 0
    )
    assert load_run(run).config.data.crop == "random_square"
    pixels = {}
    for name, options in {"run": [], "none": ["--crop", "none"], "key": ["data.crop=12x20"]}.items():
        assert main(["evaluate", str(run), str(data), "-q", "--device", "cpu", *options]) == 0
        from saccade.evaluation.results import load_evaluation

        newest = max(run.glob("evaluation_test*.json"), key=lambda file: file.stat().st_mtime_ns)
        pixels[name] = int(load_evaluation(newest).confusion.sum())
    assert pixels == {"run": 2 * 256, "none": 2 * 384, "key": 2 * 240}
    assert main(["evaluate", str(run), str(data), "sampler.size=3x3"]) == 2
    assert "expected an option of the data" in capsys.readouterr().err
