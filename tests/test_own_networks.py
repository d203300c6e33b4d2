"""Networks and segmenters that are handed over in Python, in the place of a name and of a run."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saccade
from saccade.cli import main
from saccade.data import open_data
from saccade.runtime.trust import Trust, take_over, trust

HOW: dict[str, Any] = {"sampler": "uniform", "size": (8, 12), "epochs": 1, "device": "cpu"}


class Net(nn.Module):
    """Scores of K classes by one convolution."""

    def __init__(self, classes: int = 4, channels: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.layer = nn.Conv2d(channels, classes, 3, stride, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        scores: Tensor = self.layer(pixels)
        return scores


def made(classes: int) -> nn.Module:
    return Net(classes)


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a test names is allowed in that test alone."""
    before = trust()
    take_over(Trust())
    yield
    take_over(before)


@pytest.fixture
def given(tiny_data: Path, tmp_path: Path) -> Path:
    """A run of a module without a name."""
    return saccade.train(tiny_data, tmp_path / "given", network=Net(), **HOW).path


def test_what_can_be_imported_is_kept_by_its_name(tiny_data: Path, tmp_path: Path) -> None:
    run = saccade.train(tiny_data, tmp_path / "run", network=made, **HOW)
    assert run.config.network.name == f"python:{__name__}.made"
    saccade.load(run.path)  # named in this process
    take_over(Trust())  # as in another
    with pytest.raises(saccade.FileProblem, match="options that run no code"):
        saccade.load(run.path)
    assert isinstance(saccade.load(run.path, network=made), saccade.Segmenter)
    with pytest.raises(saccade.FileProblem, match=r"the network python:.*Net, but got python:.*made; leave"):
        saccade.load(run.path, network=Net)


def test_a_module_is_trained_as_a_copy_from_its_own_weights(tiny_data: Path, tmp_path: Path) -> None:
    network, how = Net(), {**HOW, "options": {"optimizer.learning_rate": 1e-9}}
    before = network.layer.weight.detach().clone()
    run = saccade.train(tiny_data, tmp_path / "run", network=network, **how)
    assert run.config.network.name == "given:Net"
    assert torch.equal(network.layer.weight, before)
    (trained,) = (value for name, value in run.segmenter.network.named_parameters() if "weight" in name)
    assert torch.allclose(trained, before, atol=1e-4)  # at a rate of nearly nothing


@pytest.mark.parametrize("again", [Net, Net(), lambda classes: Net(classes), f"python:{__name__}.made"])
def test_a_run_without_a_name_is_opened_with_a_network_of_the_same_make(again: Any, given: Path) -> None:
    saved = torch.load(given / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    model = saccade.load(given, network=again)
    for name, value in model.state_dict().items():
        assert torch.equal(value, saved[f"segmenter.{name}"])


def test_another_network_or_none_is_told(given: Path) -> None:
    with pytest.raises(
        saccade.FileProblem, match=r"given:Net, which was handed over in Python; .*network=\.\.\."
    ):
        saccade.load(given)
    with pytest.raises(saccade.FileProblem, match="hand over the network that it was trained with"):
        saccade.load(given, network=Net(3))


def test_the_shell_refuses_a_run_without_a_name(
    given: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(next((tiny_data / "images").iterdir()))
    for words in (
        ["evaluate", str(given)], ["predict", str(given), image, "out"], ["export", str(given), "x.onnx"],
        ["plan", image, str(given)], ["report", str(given)],
        ["train", str(tiny_data), str(given), "--resume"],
    ):  # fmt: skip
        assert main(words) == 1
        told = capsys.readouterr().err.strip()
        assert "which was handed over in Python" in told
        assert "\n" not in told


def test_a_loaded_model_is_used_and_goes_on(given: Path, tiny_data: Path, tmp_path: Path) -> None:
    model = saccade.load(given, network=Net)
    assert saccade.evaluate(model, tiny_data).miou == saccade.evaluate(model, tiny_data, store=False).miou
    outcomes = saccade.predict(model, tiny_data / "images", tmp_path / "out")
    assert all(outcome.fault is None for outcome in outcomes)
    assert saccade.report_run(model).is_file()
    with pytest.raises(saccade.InvalidInput, match="leave jobs, cluster and client out"):
        saccade.predict(model, tiny_data / "images", tmp_path / "shared", jobs=2)
    more = saccade.train(tiny_data, given, network=Net(), resume=True, **{**HOW, "epochs": 2})
    assert more.config.training.epochs == 2


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (Net(3), r"score 4 classes, but got scores of shape \(2, 3, 8, 12\)"),
        (lambda classes: Net(classes + 1), r"score 4 classes, but got scores of shape \(2, 5, 8, 12\)"),
        (Net(4, channels=5), "to have 5 channels, but got 3"),
        (lambda: Net(4), "called with the number of classes"),
        (lambda classes: classes, "a torch.nn.Module, but got int"),
        (nn.Flatten(), "wrap it in a module that returns scores"),
    ],
)
def test_a_network_that_does_not_fit_is_told_before_anything_is_made(
    network: Any, told: str, tiny_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(saccade.SaccadeError, match=told):
        saccade.train(tiny_data, tmp_path / "run", network=network, **HOW)
    assert not (tmp_path / "run").exists()


def test_several_processes_and_comparisons_need_a_name(tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(saccade.UsageError, match="several processes cannot be handed"):
        saccade.train(tiny_data, tmp_path / "run", network=Net(), **{**HOW, "device": "cpu:2"})
    with pytest.raises(saccade.UsageError, match="a comparison opens its runs again"):
        saccade.compare(tiny_data, tmp_path / "out", network=Net())


# --- a segmenter without a run ------------------------------------------------------------------------------


def own(sampler: Any = None, classes: Any = None, outputs: int = 4) -> saccade.Segmenter:
    return saccade.Segmenter(sampler or saccade.UniformSampler((8, 12)), Net(outputs), classes=classes)


def test_a_segmenter_made_in_python_is_evaluated_and_kept_nowhere(tiny_data: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in tiny_data.rglob("*")}
    scores = saccade.evaluate(own(), tiny_data)
    assert set(scores.to_json()["iou"]) == {"water", "land", "forest", "boat"}
    assert len(scores.records) == 2
    assert {path: path.stat().st_mtime_ns for path in tiny_data.rglob("*")} == before
    assert np.isfinite(saccade.evaluate(own(saccade.OracleSampler((8, 12))), tiny_data).miou)


def test_a_segmenter_made_in_python_predicts_plans_and_counts(tiny_data: Path, tmp_path: Path) -> None:
    table = open_data(tiny_data, splits=("test",)).classes
    images = sorted((tiny_data / "images").iterdir())
    for classes, names in ((None, {f"class {k}" for k in range(4)}), (table, set(table.names))):
        segmenter, out = own(classes=classes), tmp_path / str(classes is None)
        outcomes = saccade.predict(segmenter, images[:2], out, save="labels,table")
        labels = saccade.predict(segmenter, images[0])
        assert (labels == segmenter.predict(images[0]).numpy()).all()
        assert all(outcome.fault is None for outcome in outcomes)
        with next(out.glob("*.csv")).open() as file:
            assert {row["class"] for row in csv.DictReader(file)} <= names
        assert saccade.plan(images[0], segmenter).pixels == 96


def test_a_segmenter_made_in_python_is_exported_as_it_looks(tiny_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from saccade.lite import Model
    from saccade.samplers import DensityToGrid

    sampler = saccade.DeformationSampler((8, 12), to_grid=DensityToGrid(floor=0.4))
    segmenter = own(sampler)
    assert len(saccade.export(segmenter, tmp_path / "own.onnx")) == 2
    image = sorted((tiny_data / "images").iterdir())[0]
    exported = Model(tmp_path / "own.onnx")
    assert exported.options["floor"] == 0.4
    assert (exported.predict(image) == saccade.predict(segmenter, image)).mean() > 0.99


def test_what_a_segmenter_made_in_python_has_not_is_told(tiny_data: Path) -> None:
    with pytest.raises(
        saccade.FileProblem, match=r"3 classes, which the segmenter scores, but got 4 \(water"
    ):
        saccade.evaluate(own(outputs=3), tiny_data)
    with pytest.raises(saccade.UsageError, match="needs data"):
        saccade.evaluate(own())
    with pytest.raises(saccade.InvalidInput, match="left out for a segmenter made in Python"):
        saccade.evaluate(own(), tiny_data, checkpoint="last")
    with pytest.raises(saccade.InvalidInput, match="a segmenter made in Python"):
        saccade.report_run(own())


def test_this_module_can_be_imported_by_its_name() -> None:
    assert sys.modules[__name__].made is made
