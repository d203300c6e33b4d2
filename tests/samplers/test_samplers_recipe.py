"""A sampler in one file, registered: every command takes it, and its options are a section like any other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from saccade.cli import main
from saccade.errors import FileProblem, InvalidInput, UsageError, at_least
from saccade.grids import uniform_grid
from saccade.losses import LossConfig
from saccade.samplers import Glimpses, Recipe, Sampler, recipe, register
from saccade.samplers.base import TrainingSample
from saccade.samplers.recipe import Augmented, AuxiliaryLoss, recipe_class
from saccade.training import load_run, read_config


class ToySampler(Sampler):
    """Samples gather around the centre: x becomes sign(x) |x|^(1 + strength)."""

    def __init__(self, size: Sequence[int], strength: float) -> None:
        super().__init__(size)
        self.strength = nn.Parameter(torch.tensor(strength))

    def propose(
        self, thumbnail: Tensor | None, labels: Sequence[Tensor] | None, size: tuple[int, int], batch: int
    ) -> Glimpses:
        even = uniform_grid(size, batch, device=self.strength.device)
        return Glimpses(
            even.sign() * even.abs().clamp_min(1e-6) ** (1 + self.strength.abs()), torch.arange(batch)
        )


class TowardsEven(AuxiliaryLoss):
    """Least where samples lie evenly, whatever the labels."""

    def __call__(
        self, batch: Sequence[TrainingSample], glimpses: Glimpses, augmentation: Augmented
    ) -> Tensor:
        return (glimpses.grids.abs().mean() - 0.5).square()


@dataclass(frozen=True)
class ToyConfig:
    strength: float = 1.0

    def __post_init__(self) -> None:
        at_least("toy.strength", self.strength, 0)


class Toy(Recipe[ToyConfig]):
    name = "toy"
    options_class = ToyConfig

    def build(self) -> ToySampler:
        return ToySampler(self.shared.size, self.own.strength)

    def auxiliary_loss(self, loss: LossConfig, class_names: Sequence[str]) -> TowardsEven:
        return TowardsEven()


TRAINING = ["--size", "8x12", "--network", "small:4", "--epochs", "2", "--batch-size", "2", "-q"]


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """The toy is known to this module alone."""
    known = recipe.recipes()
    register(Toy)
    yield
    recipe._REGISTERED.clear()
    recipe._REGISTERED.update(known)


@pytest.fixture
def unregistered(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {name: kind for name, kind in recipe._REGISTERED.items() if kind is not Toy}
    monkeypatch.setattr(recipe, "_REGISTERED", others)


@pytest.fixture(scope="module")
def toy_run(registered: None, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("toy") / "run"
    assert main(["train", str(tiny_data), str(root), "--sampler", "toy", "toy.strength=0.5", *TRAINING]) == 0
    return root


def test_its_options_are_a_section_of_the_run_and_its_loss_moves_its_weight(toy_run: Path) -> None:
    options = yaml.safe_load((toy_run / "config.yaml").read_text())
    assert options["sampler"]["name"] == "toy" and options["toy"] == {"strength": 0.5}
    run = load_run(toy_run, "last")
    assert run.config.options_of(ToyConfig) == ToyConfig(0.5)
    assert 0 < run.segmenter.sampler.get_parameter("strength").item() < 0.5


@pytest.mark.parametrize("way", [("--mode", "whole"), ("--mode", "tiles", "--tile", "16x24")])
def test_a_run_of_it_predicts(toy_run: Path, tiny_data: Path, tmp_path: Path, way: tuple[str, ...]) -> None:
    assert main(["predict", str(toy_run), str(tiny_data / "images"), str(tmp_path / "out"), *way, "-q"]) == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 8


def test_a_run_of_it_is_evaluated(toy_run: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(toy_run), str(tiny_data), "--json"]) == 0
    assert '"miou"' in capsys.readouterr().out


def test_it_is_compared_with_another_whose_run_does_not_need_it(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--seeds", "1", "--sizes", "8x12", *TRAINING[2:]]
    command = ["compare", str(tiny_data), str(tmp_path / "out"), "--samplers", "uniform,toy", *options]
    assert main([*command, "toy.strength=0.5"]) == 0
    runs = tmp_path / "out" / "runs"
    assert load_run(runs / "toy_8x12_s0").config.options_of(ToyConfig) == ToyConfig(0.5)
    others = {name: kind for name, kind in recipe._REGISTERED.items() if kind is not Toy}
    monkeypatch.setattr(recipe, "_REGISTERED", others)
    assert load_run(runs / "uniform_8x12_s0").config.sampler.name == "uniform"


def test_a_run_of_a_sampler_that_is_not_known_says_so(toy_run: Path, unregistered: None) -> None:
    with pytest.raises(FileProblem, match=r"your own as python:MODULE\.CLASS, but got 'toy'"):
        load_run(toy_run)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("toy.strenght=2", "'toy.strenght'; did you mean 'toy.strength'?"),
        ("toy.strength=-1", "toy.strength to be a finite number of at least 0"),
        ("sampler.name=toi", "did you mean 'toy'?"),
        ("tooy.strength=1", "did you mean 'toy'?"),
    ],
)
def test_wrong_options_of_it_are_named_with_what_is_allowed(option: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_config(overrides=["sampler.name=toy", option])
    assert words in str(refused.value)


def test_without_it_there_is_no_such_section(unregistered: None) -> None:
    with pytest.raises(UsageError, match="'toy'"):
        read_config(overrides=["toy.strength=2"])


def test_its_options_do_not_stand_in_the_runs_of_others() -> None:
    assert "toy" not in read_config().sections
    assert read_config(overrides=["sampler.name=toy"]).sections["toy"] == ToyConfig()


@pytest.mark.parametrize("taken", ["toy", "uniform", "Toy", "", "a toy"])
def test_a_name_that_is_taken_or_none_is_refused(taken: str) -> None:
    other = type("Other", (Toy,), {"name": taken, "__module__": __name__})
    with pytest.raises(InvalidInput, match="the name of a sampler"):
        register(other)


def test_a_section_of_another_kind_is_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "_REGISTERED", dict(recipe._REGISTERED))
    register(type("Loss", (Toy,), {"name": "loss", "__module__": __name__}))
    with pytest.raises(UsageError, match="the name of a sampler to be none of sampler, network, loss"):
        read_config(overrides=["sampler.name=loss"])


@pytest.mark.parametrize(
    "name", ["nowhere.Toy", "saccade.samplers.Nothing", "saccade.samplers.Sampler", "Toy", "", "json.dumps"]
)
def test_what_is_no_recipe_cannot_be_named(name: str, tmp_path: Path, tiny_data: Path) -> None:
    with pytest.raises(InvalidInput, match=r"a class of saccade\.samplers\.Recipe"):
        recipe_class(f"python:{name}")
    assert main(["train", str(tiny_data), str(tmp_path / "run"), "--sampler", f"python:{name}"]) == 2
    assert main(["compare", str(tiny_data), str(tmp_path / "out"), "--samplers", f"python:{name}"]) == 2
    assert list(tmp_path.iterdir()) == []
