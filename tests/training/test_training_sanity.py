"""One step before a run folder is made: what cannot be trained is refused by name, and nothing is changed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image
from torch import nn

from saccade.data import DataFolder, SampleCache, open_data
from saccade.data.scenes import make_scenes
from saccade.errors import SaccadeError
from saccade.training import Config, Run, train
from saccade.training.run_folder import build_segmenter
from saccade.training.task import SegmentationTask, sanity_check, tolerate_single_values

Train = Callable[..., Run]


class Pooled(nn.Module):
    """Batch norm behind a pooling of the whole image, as in DeepLabv3 and PSPNet."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.each = nn.Conv2d(3, classes, 1)
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, classes, 1), nn.BatchNorm2d(classes))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.each(image) + self.whole(image)
        return scores


class Failing(nn.Module):
    """Takes no image that is smaller than 64 x 64."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(3, classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if image.shape[2] < 64 or image.shape[3] < 64:
            raise ValueError("sides must be\n64 or more")
        scores: torch.Tensor = self.score(image)
        return scores


class Single(nn.Sequential):
    """Instance norm behind a pooling: one value, whatever the batch."""

    def __init__(self, classes: int) -> None:
        super().__init__(nn.Conv2d(3, classes, 1), nn.AdaptiveAvgPool2d(1), nn.InstanceNorm2d(classes))


@pytest.fixture(autouse=True)
def _networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of a user's own module."""
    own = ModuleType("own_networks")
    for name, make in {
        "pooled": Pooled,
        "failing": Failing,
        "more": lambda classes: nn.Conv2d(3, classes + 1, 1),
        "fewer": lambda classes: nn.Conv2d(3, classes - 1, 1),
        "grey": lambda classes: nn.Conv2d(1, classes, 1),
        "single": Single,
        "infinite": lambda classes: nn.Sequential(nn.Conv2d(3, classes, 1), nn.Threshold(1e9, float("nan"))),
    }.items():  # fmt: skip
        setattr(own, name, make)
    monkeypatch.setitem(sys.modules, "own_networks", own)


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ("more", "5, 8, 12"),
        ("fewer", "3, 8, 12"),
        ("grey", "Conv2d to take pixels of shape (2, 3, 8, 12)"),
        ("failing", "sides must be 64 or more"),
        ("single", "Expected more than 1"),
        ("infinite", "finite"),
    ],
)
def test_a_network_that_cannot_be_trained_is_named_before_anything_is_written(
    tiny_train: Train, tmp_path: Path, network: str, reason: str
) -> None:
    with pytest.raises(SaccadeError) as refused:
        tiny_train("run", f"network.name=python:own_networks.{network}")
    line = str(refused.value)
    assert f"python:own_networks.{network}" in line
    assert reason in line
    assert "\n" not in line
    assert not (tmp_path / "run").exists()


def test_what_is_refused_leaves_the_run_that_is_there(tiny_train: Train) -> None:
    run = tiny_train("run", "training.epochs=1")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(SaccadeError):
        tiny_train("run", "network.name=python:own_networks.more", overwrite=True)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_batches_of_one_train_behind_a_pooling_of_the_whole_image(tiny_train: Train) -> None:
    run = tiny_train("run", "network.name=python:own_networks.pooled", "training.batch_size=1")
    assert all(tensor.isfinite().all() for tensor in run.segmenter.state_dict().values())


def test_groups_of_one_size_with_a_single_image_train(
    tmp_path: Path, tiny_config: Callable[..., Config]
) -> None:
    wide = make_scenes(tmp_path / "data", count=(3, 1, 1), size=(32, 48), seed=2)
    for stem in ("images", "masks"):
        first = sorted((wide / stem).iterdir())[0]
        with Image.open(first) as image:
            image.crop((0, 0, 20, 32)).save(first)
    config = tiny_config(
        "network.name=python:own_networks.pooled", "sampler.fit=true", "training.batch_size=3"
    )
    run = train(open_data(wide), tmp_path / "run", config, device="cpu")
    assert run.epoch >= 1


def test_batch_norm_of_a_single_value_uses_what_it_has_gathered() -> None:
    layer = nn.BatchNorm2d(2)
    with torch.no_grad():
        layer.running_mean.copy_(torch.tensor([1.0, 2.0]))  # type: ignore[union-attr]
        layer.running_var.copy_(torch.tensor([4.0, 9.0]))  # type: ignore[union-attr]
    tolerate_single_values(layer)
    got = layer(torch.tensor([3.0, 5.0]).view(1, 2, 1, 1)).flatten()
    assert torch.allclose(got, torch.tensor([1.0, 1.0]), atol=1e-4)
    assert layer.training
    assert layer.running_mean.tolist() == [1.0, 2.0]  # type: ignore[union-attr]
    pair = torch.randn(2, 2, 1, 1)
    assert torch.equal(layer(pair), nn.BatchNorm2d(2)(pair))


def test_the_check_leaves_weights_modes_and_chance_as_they_were(
    opened: DataFolder, cache: SampleCache, tiny_config: Callable[..., Config]
) -> None:
    config = tiny_config("sampler.edge_weights=[1,1,1,1]")
    segmenter = build_segmenter(config, len(opened.classes))
    segmenter.sampler.requires_grad_(False)
    task = SegmentationTask(segmenter, config, opened.classes.names, 1)
    state = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    modes, random = [part.training for part in task.modules()], torch.get_rng_state()
    batch = [cache.get(opened, item) for item in opened.split("train")[:2]]
    sanity_check(task, batch, [config.sampler.size], [2, 1])
    assert all(torch.equal(tensor, state[name]) for name, tensor in task.state_dict().items())
    assert [part.training for part in task.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in task.parameters())
    assert not any(parameter.requires_grad for parameter in segmenter.sampler.parameters())


@pytest.mark.parametrize("rate", ["1e10", "1e6"])
def test_divergence_is_told_with_epoch_step_and_learning_rate(tiny_train: Train, rate: str) -> None:
    options = (f"optimizer.learning_rate={rate}", "optimizer.warmup=0", "optimizer.schedule=constant")
    with pytest.raises(SaccadeError, match=r"epoch \d, step \d.* learning rate of 1e\+\d+; lower optimizer"):
        tiny_train("run", "training.epochs=6", *options)
