"""Networks run by onnxruntime label images as PyTorch does, and no rows of one engine follow the other's."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import saccade
from saccade.cli import main
from saccade.geometry import Tiling
from saccade.inference.engine import OnnxNetworks, require_engine
from saccade.inference.files import Job
from saccade.inference.jobs import Worker, _begin
from saccade.inference.layout import Layout
from saccade.inference.predict import PredictionConfig, fingerprint
from saccade.rasters import as_rgb, open_raster

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.usefixtures("one_thread")

FEW = 1e-4
"""The share of pixels that may be ties."""


@pytest.fixture(scope="module")
def networks(trained_folder: Path) -> OnnxNetworks:
    model = saccade.load(trained_folder, device="cpu")
    return OnnxNetworks.of(model, len(model.classes))


def images_of(data: Path) -> list[Path]:
    return sorted((data / "images").iterdir())


@pytest.mark.parametrize("how", [{"mode": "whole"}, {"mode": "tiles", "tile": "20x24"}])
def test_labels_are_those_of_torch(lively: saccade.Segmenter, tiny_data: Path, how: dict[str, str]) -> None:
    images = images_of(tiny_data)
    first = np.stack(saccade.predict(lively, images, **how))
    second = np.stack(saccade.predict(lively, images, engine="onnx", **how))
    assert (first != second).mean() <= FEW
    assert len(np.unique(first)) > 1


def test_the_command_takes_the_engine(trained_folder: Path, tiny_data: Path, tmp_path: Path) -> None:
    image = images_of(tiny_data)[0]
    assert main(["predict", str(trained_folder), str(image), str(tmp_path), "--engine", "onnx", "-q"]) == 0
    found = np.asarray(Image.open(tmp_path / f"{image.stem}.png"))
    assert (found == saccade.predict(trained_folder, image, engine="onnx", device="cpu")).all()


def test_scores_and_densities_are_those_of_torch(
    trained_folder: Path, tiny_data: Path, networks: OnnxNetworks
) -> None:
    model = saccade.load(trained_folder, device="cpu")
    twin = networks.segmenter(model)
    for image in images_of(tiny_data)[:2]:
        ours, theirs = model.segment(image), twin.segment(image)
        torch.testing.assert_close(theirs.density, ours.density, atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(theirs.scores, ours.scores, atol=1e-3, rtol=1e-3)
    assert list(model.network.parameters())
    assert not list(twin.parameters())


def test_networks_changed_in_memory_are_never_stale(lively: saccade.Segmenter, tiny_data: Path) -> None:
    model, image = copy.deepcopy(lively), images_of(tiny_data)[0]
    before = saccade.predict(model, image, engine="onnx")
    with torch.no_grad():
        for weight in model.network.parameters():
            weight.neg_()
    after = saccade.predict(model, image, engine="onnx")
    assert (after == saccade.predict(model, image)).all()
    assert (after != before).any()


def test_a_resumed_job_knows_the_engine(
    trained_folder: Path, tiny_data: Path, networks: OnnxNetworks
) -> None:
    model, image = saccade.load(trained_folder, device="cpu"), images_of(tiny_data)[0]
    layout = Layout(Tiling((32, 48), (32, 48), 0.125), (8, 12), ())
    with as_rgb(open_raster(image)) as raster:

        def mark(segmenter: saccade.Segmenter) -> str:
            return fingerprint(segmenter, image, raster, layout, PredictionConfig(model.classes))

        again = OnnxNetworks.of(model, len(model.classes))
        assert again == networks
        assert mark(networks.segmenter(model)) == mark(again.segmenter(model)) != mark(model)


def test_other_processes_get_the_networks(
    trained_folder: Path, tiny_data: Path, tmp_path: Path, networks: OnnxNetworks
) -> None:
    worker = pickle.loads(pickle.dumps(Worker(trained_folder, "best", "cpu", 1, networks)))
    model, image = saccade.load(trained_folder, device="cpu"), images_of(tiny_data)[0]
    work = _begin(0, worker, PredictionConfig(model.classes))
    job = Job(image, tmp_path / "labels.png")
    assert work(job, None).fault is None
    found = np.asarray(Image.open(tmp_path / "labels.png"))
    assert (found == saccade.predict(model, image, engine="onnx")).all()


def test_a_plan_tells_the_time_of_the_engine(trained_folder: Path, tiny_data: Path, capsys) -> None:
    image = images_of(tiny_data)[0]
    torch_plan, plan = (
        saccade.plan(image, trained_folder, device="cpu", engine=e) for e in ("torch", "onnx")
    )
    assert plan.gflops == torch_plan.gflops > 0 and plan.seconds > 0
    assert main(["plan", str(image), str(trained_folder), "--engine", "onnx", "--device", "cpu"]) == 0
    assert f"{plan.gflops:.3g} GFLOPs" in capsys.readouterr().out
    with pytest.raises(saccade.UsageError, match="--gflops counts"):
        saccade.plan(image, trained_folder, device="cpu", engine="onnx", gflops=1)


def test_what_cannot_be_is_one_line_and_nothing_is_written(
    trained_folder: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fixed(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return pixels[:, :1].repeat(1, len(model.classes), 1, 1) * float(pixels.shape[2])

    model, out = saccade.load(trained_folder, device="cpu"), tmp_path / "out"
    network, model.network = model.network, Fixed()
    with pytest.raises(saccade.SaccadeError, match=r"cannot be exported to \.onnx"):
        saccade.predict(model, images_of(tiny_data), out, engine="onnx")
    model.network = network
    with pytest.raises(saccade.InvalidInput, match="'onnx'"):
        saccade.predict(model, images_of(tiny_data), out, engine="onyx")
    with pytest.raises(saccade.UsageError, match="--gflops counts"):
        saccade.predict(model, images_of(tiny_data), out, engine="onnx", gflops=1)
    with pytest.raises(saccade.UsageError, match="runs on the CPU, not on cuda:1"):
        require_engine("onnx", "cuda:1")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(saccade.SaccadeError, match=r"pip install 'saccade\[onnx\]'"):
        saccade.predict(model, images_of(tiny_data), out, engine="onnx")
    assert not out.exists()
