"""Training on images of different shapes, seen each in its own proportions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saccade.cli import main
from saccade.data import SampleCache, open_data
from saccade.errors import UsageError
from saccade.training import load_run, read_config, train
from saccade.training.loading import Augmentation
from saccade.training.run_folder import build_segmenter
from saccade.training.task import SegmentationTask, bucket_by_shape

SIZES = [(30, 60), (60, 30), (24, 90), (32, 64)]
FIT = ["sampler.fit=true", "sampler.size=8x40", "sampler.thumbnail=8x40", "sampler.density=4x20"]
TINY = ["network.name=small:4", "training.batch_size=4", "training.epochs=2", *FIT]


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of four images a split, of different shapes."""
    root = tmp_path_factory.mktemp("shapes") / "data"
    rng = np.random.default_rng(0)
    splits: dict[str, list[str]] = {}
    for split in ("train", "val", "test"):
        for number, size in enumerate(SIZES):
            stem = f"{split}_{number}"
            labels = np.kron(rng.integers(0, 2, (6, 6)), np.ones((15, 15), int))[: size[0], : size[1]]
            labels = np.pad(labels, [(0, size[0] - labels.shape[0]), (0, size[1] - labels.shape[1])])
            picture = (labels[..., None] * 120 + rng.integers(0, 90, (*size, 3))).astype(np.uint8)
            for folder, pixels in (("images", picture), ("masks", labels.astype(np.uint8))):
                (root / folder).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / folder / f"{stem}.png")
            splits.setdefault(split, []).append(stem)
    classes = {"classes": [{"index": k, "name": name} for k, name in enumerate(("sea", "land"))]}
    (root / "classes.json").write_text(json.dumps(classes))
    (root / "splits.json").write_text(json.dumps(splits))
    return root


@pytest.mark.parametrize("sampler", ["uniform", "deformation", "oracle", "boundary"])
def test_a_batch_of_several_shapes_trains(shapes: Path, tmp_path: Path, sampler: str) -> None:
    data = open_data(shapes)
    options = [f"sampler.name={sampler}", "boundary.width=4", "training.first_stage_epochs=1"]
    run = train(data, tmp_path / "run", read_config(overrides=[*TINY, *options]), device="cpu")
    assert run.segmenter.sampler.for_image((60, 30)).size == (16, 8)
    assert load_run(tmp_path / "run").segmenter.sampler.for_image((24, 90)).size == (8, 30)


def test_the_loss_of_a_mixed_batch_is_the_mean_of_its_images(
    shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a network without batch norm an image's loss does not depend on its company."""
    data, cache = open_data(shapes), SampleCache()
    batch = [cache.get(data, item) for item in data.split("train")]
    config = read_config(overrides=[*TINY, "sampler.edge_weights=equal"])
    task = SegmentationTask(build_segmenter(config, 2).eval(), config, ("sea", "land"), 1)
    draw = Augmentation.random(4, config.augment, torch.Generator().manual_seed(0))
    together = task._losses(batch, draw, 0)
    alone = [task._losses([one], draw.of([place]), 0) for place, one in enumerate(batch)]
    for whole, parts in zip(together, zip(*alone, strict=True), strict=True):
        assert whole.item() == pytest.approx(torch.stack(parts).mean().item(), rel=1e-4)


def test_only_images_with_one_size_of_view_are_taken_together(shapes: Path) -> None:
    data, cache = open_data(shapes), SampleCache()
    batch = [cache.get(data, item) for item in data.split("train")]
    config = read_config(overrides=TINY)
    sampler = build_segmenter(config, 2).sampler
    draw = Augmentation.random(4, config.augment, torch.Generator().manual_seed(0))
    parts = list(bucket_by_shape(sampler, batch, draw))
    assert [[one.stem[-1] for one in part] for part, _, _ in parts] == [["0", "3"], ["1"], ["2"]]
    assert [share for _, _, share in parts] == [0.5, 0.25, 0.25]
    assert torch.equal(parts[0][1].flipped, draw.flipped[[0, 3]])
    sampler.fits = {}
    [(part, drawn, share)] = bucket_by_shape(sampler, batch, draw)
    assert (part, drawn, share) == (batch, draw, 1.0)


def test_the_commands_train_evaluate_and_predict_images_of_any_shape(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run: Callable[..., int] = lambda *words: main([str(word) for word in words])  # noqa: E731
    assert run("train", shapes, tmp_path / "run", *TINY, "-q") == 0
    assert run("evaluate", tmp_path / "run", shapes, "--json", "-q") == 0
    assert json.loads(capsys.readouterr().out)["images"] == 4
    images = sorted((shapes / "images").glob("test_*.png"))
    assert run("predict", tmp_path / "run", *images, tmp_path / "out", "-q") == 0
    sizes = [Image.open(tmp_path / "out" / path.name).size[::-1] for path in images]
    assert sizes == SIZES


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["sampler.fit=true", "sampler.size=80x40"], "SHORTxLONG"),
        (["sampler.fit=true", "sampler.density=1x40"], "SHORTxLONG"),
        (["sampler.fit=true", "sampler.name=foveation"], "foveation"),
    ],
)
def test_sizes_that_cannot_follow_are_refused(overrides: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_config(overrides=overrides)


def test_a_prediction_looks_as_training_did(shapes: Path, tmp_path: Path) -> None:
    data = open_data(shapes)
    options = ["sampler.name=uniform", "network.antialias=true"]
    run = train(data, tmp_path / "run", read_config(overrides=[*TINY, *options]), device="cpu")
    assert main(["predict", str(tmp_path / "run"), str(shapes / "images"), str(tmp_path / "out"), "-q"]) == 0
    segmenter = load_run(run.path).segmenter
    for item in data.split("test"):
        image = torch.from_numpy(np.array(Image.open(item.image))).permute(2, 0, 1)
        wanted = segmenter.predict(image).numpy()
        assert np.array_equal(np.array(Image.open(tmp_path / "out" / f"{item.stem}.png")), wanted)
