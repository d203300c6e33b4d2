"""Every published experiment: its file, its network, one step of it, and its commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from config_shrink import CONFIGS, FAKES, shrunk

from saccade.cli import main
from saccade.data import SampleCache, open_data
from saccade.networks import build_network, require_network
from saccade.samplers import FoveationSampler, OracleSampler, UniformSampler
from saccade.training import Config, read_config
from saccade.training.loop import resolve
from saccade.training.options import config_file
from saccade.training.run_folder import build_segmenter
from saccade.training.task import SegmentationTask

FILES = sorted(CONFIGS.glob("*/*.yaml"))
MILLIONS = {
    "hrnetv2:w48": 65.9,
    "pspnet:resnet50": 46.6,
    "deeplabv3plus:tu-xception65/8": 41.05,
    "upernet:resnet50": 64.0,
    "unet:original": 31.0,
}
"""Parameters of the networks; tests/networks compares them with the publications."""


def by_name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def test_the_files_and_the_table_are_as_the_program_writes_them(
    make: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = [path for path, text in make.files().items() if path.read_text() != text]
    assert stale == []
    assert set(FILES) == {CONFIGS / one.file for one in make.all_experiments()}
    assert len({one.file for one in make.all_experiments()}) == len(make.all_experiments())


def test_every_row_and_point_of_the_papers_is_there() -> None:
    """Counted by hand from the papers' tables; figures as docs/experiments.md explains them."""
    names = [by_name(path) for path in FILES]
    counted = {
        "iclr2022/table2": 6,  # three sizes, uniform and ours; optimal edge is ICCV's table 3
        "iclr2022/fig5": 6,
        "iclr2022/fig14": 3,
        "iclr2022/fig15": 2,
        "iclr2022/fig17": 33,  # eleven blurs, three data sets
        "iccv2019/table2": 10,
        "iccv2019/table3": 12,
        "iccv2019/table4": 8,
        "iccv2019/table5": 10,
        "foveation2020/table2": 33,  # eleven rows, three data sets
        "foveation2020/fig2": 12,  # whole images at four rates, patches of three sizes, five widths reduced
    }
    found = {start: sum(name.startswith(start + "_") for name in names) for start in counted}
    assert found == counted


@pytest.mark.parametrize("paper", ["iclr2022", "iccv2019", "foveation2020"])
def test_every_file_is_a_configuration_of_networks_that_there_are(paper: str) -> None:
    paths = [path for path in FILES if path.parent.name == paper]
    assert paths
    for path in paths:
        config = read_config(path)
        require_network(config.network.name)
        assert not config.network.antialias
        assert config.network.name in MILLIONS


@pytest.mark.parametrize("name", MILLIONS)
def test_the_networks_are_as_large_as_they_should_be(name: str) -> None:
    with torch.device("meta"):
        network = build_network(name, 19)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(MILLIONS[name], rel=0.005)


def test_the_papers_numbers_stand_in_the_files() -> None:
    """A few of each paper, read from its text."""

    def of(name: str) -> Config:
        return read_config(CONFIGS / f"{name}.yaml")

    ours = of("iclr2022/fig5_cityscapes_ours")
    assert (ours.sampler.size, ours.sampler.radius, ours.training.epochs) == ((64, 128), 15, 125)
    assert (ours.training.batch_size, ours.loss.edge_weight, ours.loss.edge) == (4, 100, "mse")
    assert of("iclr2022/fig5_deepglobe_ours").sampler.radius == 30
    slides = of("iclr2022/fig5_histology_ours").sampler
    assert (slides.fit, slides.size, slides.density, slides.radius) == (True, (80, 800), (20, 200), 10)
    square = of("iclr2022/table2_cityscapes_128_ours")
    assert (square.data.crop, square.sampler.size, square.training.epochs) == ("square", (128, 128), 1000)
    boundary = of("iccv2019/table2_apolloscape_512_ours")
    assert (boundary.training.batch_size, boundary.training.epochs) == (12, 33)
    assert boundary.optimizer.learning_rate == 1e-5
    assert len(boundary.boundary.classes or ()) == 8
    patches = of("foveation2020/table2_gleason2019_gumbel")
    assert patches.foveation.bank == (1100, 2000, 2900, 3800, 4400)
    assert patches.training.batch_size * patches.foveation.locations == 2
    assert (patches.optimizer.learning_rate, patches.optimizer.schedule) == (2e-5, "poly")


def steps(
    paths: list[Path], make: ModuleType, fake: Callable[[str], Path]
) -> Iterator[tuple[str, SegmentationTask, torch.Tensor]]:
    """One training step of each configuration, on a few pixels of made-up data in its layout."""
    needs = {CONFIGS / one.file: one for one in make.all_experiments()}
    cache, opened = SampleCache(), {}
    for path in paths:
        config = read_config(path, shrunk(needs[path].options))
        key = (needs[path].data, config.data.crop)
        if key not in opened:
            opened[key] = open_data(fake(needs[path].data), config.data)
        data = opened[key]
        config = resolve(config, data)
        task = SegmentationTask(build_segmenter(config, len(data.classes)), config, data.classes.names, 1)
        task.stage = lambda: (True, True)  # type: ignore[method-assign]
        task.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
        batch = [cache.get(data, item) for item in data.split("train")[:2]]
        yield by_name(path), task, task.training_step(batch, 0)


@pytest.mark.parametrize("paper", ["iclr2022", "iccv2019", "foveation2020"])
def test_every_experiment_makes_a_step(paper: str, make: ModuleType, fake: Callable[[str], Path]) -> None:
    """Network and, where the sampler learns, sampler get a gradient; an ensemble has nothing to learn."""
    paths = [path for path in FILES if path.parent.name == paper and "ensemble" not in path.stem]
    assert len(paths) > 30
    for name, task, loss in steps(paths, make, fake):
        assert loss.isfinite() and loss > 0, name
        loss.backward()
        assert moved(task.segmenter.network), name
        learns = not isinstance(task.segmenter.sampler, UniformSampler | OracleSampler)
        if isinstance(task.segmenter.sampler, FoveationSampler):
            learns = task.segmenter.sampler.learns
        assert moved(task.segmenter.sampler) == learns, name


def moved(module: torch.nn.Module) -> bool:
    return any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


@pytest.mark.parametrize(
    "name",
    [
        "iclr2022/fig5_deepglobe_ours",
        "iclr2022/fig5_histology_ours",
        "iclr2022/fig15_cityscapes_staged",
        "iccv2019/table3_cityscapes_pspnet_064_ours",
        "iccv2019/table5_supervisely_016_uniform",
        "foveation2020/table2_gleason2019_mean",
    ],
)
def test_the_commands_train_evaluate_and_predict(
    name: str,
    make: ModuleType,
    fake: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    experiment = next(one for one in make.all_experiments() if one.file == f"{name}.yaml")
    data, run = fake(experiment.data), str(tmp_path / "run")
    assert main(["train", str(data), run, "--config", name, *shrunk(experiment.options), "-q"]) == 0
    assert main(["evaluate", run, str(data), "--json", "-q"]) == 0  # as the page says it: no split is named
    scores = json.loads(capsys.readouterr().out)
    assert scores["images"] > 0 and scores["miou"] is not None
    assert main(["report", run, "-q"]) == 0
    images = [
        str(item.image)
        for item in open_data(data, read_config(tmp_path / "run/config.yaml").data).split("val")
    ]
    assert main(["predict", run, *images, str(tmp_path / "out"), "-q"]) == 0
    assert len(list((tmp_path / "out").glob("*.*"))) >= len(images)


def test_a_published_configuration_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "iclr2022/fig5_cityscapes_ours"
    assert {config_file(name), config_file(f"{name}.yaml"), config_file(f"configs/{name}.yaml")} == {
        CONFIGS / f"{name}.yaml"
    }
    own = Path(f"{name}.yaml")
    own.parent.mkdir()
    own.write_text("training: {epochs: 3}")
    assert config_file(own) == own  # a file of the user's goes first
    assert main(["train", str(tmp_path), "run", "--config", "iclr2022/fig5_cityscape_ours"]) == 1
    assert f"did you mean '{name}'?" in capsys.readouterr().err


def test_each_data_set_of_the_papers_has_a_fake(make: ModuleType) -> None:
    assert {one.data for one in make.all_experiments()} == set(FAKES)
