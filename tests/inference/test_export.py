"""Exported networks answer in plain onnxruntime as they do here, at any size."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import saccade
from saccade.cli import main
from saccade.networks import Padded

onnxruntime = pytest.importorskip("onnxruntime")


def answer(file: Path, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, {"pixels": pixels})[0]


class Pyramid(torch.nn.Module):
    """As PSPNet: coarse pixels, and means of them over 1 to 3 parts a side."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 8, stride=8), torch.nn.BatchNorm2d(8), torch.nn.ReLU()
        )
        self.pools = torch.nn.ModuleList(torch.nn.AdaptiveAvgPool2d(n) for n in (1, 2, 3))
        self.head = torch.nn.Conv2d(32, classes, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        coarse = self.stem(pixels)
        size = coarse.shape[2:]
        parts = [torch.nn.functional.interpolate(pool(coarse), size, mode="bilinear") for pool in self.pools]
        return self.head(torch.cat([coarse, *parts], 1))


@pytest.fixture(scope="module")
def exported(trained_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return saccade.export(trained_folder, tmp_path_factory.mktemp("export") / "model.onnx")


@pytest.mark.parametrize("size", [(1, 64, 96), (3, 45, 71), (1, 9, 130)])
def test_networks_answer_in_another_program_as_here(
    trained_folder: Path, exported: list[Path], size: tuple[int, int, int]
) -> None:
    assert [file.name for file in exported] == ["model.onnx", "model.density.onnx"]
    pixels = np.random.default_rng(0).normal(size=(size[0], 3, *size[1:])).astype(np.float32)
    model = saccade.load(trained_folder, device="cpu")
    with torch.no_grad():
        wanted = model.network(torch.from_numpy(pixels)), model.sampler.net(torch.from_numpy(pixels))
    for file, truth in zip(exported, wanted, strict=True):
        assert np.abs(answer(file, pixels) - truth.numpy()).max() < 1e-4


def test_metadata_says_what_a_program_must_know(trained_folder: Path, exported: list[Path]) -> None:
    file = exported[0]
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    told = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    model = saccade.load(trained_folder, device="cpu")
    assert told["saccade.mean"] == pytest.approx(model.mean.flatten().tolist())
    assert told["saccade.std"] == pytest.approx(model.std.flatten().tolist())
    assert told["saccade.classes"] == json.loads(json.dumps(model.classes.as_dict()))
    assert told["saccade.size"] == list(model.sampler.size)


def test_padding_and_adaptive_poolings_are_exported_at_any_size(trained_folder: Path, tmp_path: Path) -> None:
    model = saccade.load(trained_folder, device="cpu")
    model.network = Padded(Pyramid(len(model.classes))).eval()
    (file, _) = saccade.export(model, tmp_path / "model.onnx")
    for rows, columns in ((96, 64), (50, 77)):
        pixels = torch.randn(1, 3, rows, columns)
        with torch.no_grad():
            truth = model.network(pixels).numpy()
        assert np.abs(answer(file, pixels.numpy()) - truth).max() < 1e-4 * max(1, np.abs(truth).max())


def test_torch_export_answers_as_here(trained_folder: Path, tmp_path: Path) -> None:
    (file, _) = saccade.export(trained_folder, tmp_path / "model.pt2")
    about = {"saccade.classes": ""}
    module = torch.export.load(file, extra_files=about).module()
    model, pixels = saccade.load(trained_folder, device="cpu"), torch.randn(1, 3, 33, 50)
    with torch.no_grad():
        torch.testing.assert_close(module(pixels), model.network(pixels), atol=1e-4, rtol=0)
    assert about["saccade.classes"]


def test_what_is_wrong_is_one_line(
    trained_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*words: object) -> str:
        assert main(["export", str(trained_folder), *map(str, words)]) == 1
        return capsys.readouterr().err

    assert ".onnx or .pt2" in told(tmp_path / "model.onxx")
    file = tmp_path / "model.onnx"
    assert main(["export", str(trained_folder), str(file), "-q"]) == 0
    before = file.read_bytes()
    assert "--overwrite" in told(file)
    assert file.read_bytes() == before
    assert main(["export", str(trained_folder), str(file), "--overwrite", "-q"]) == 0


def test_a_network_that_cannot_be_traced_is_named_and_nothing_written(
    trained_folder: Path, tmp_path: Path
) -> None:
    class Fixed(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return pixels[:, :1].repeat(1, len(model.classes), 1, 1) * float(pixels.shape[2])

    model = saccade.load(trained_folder, device="cpu")
    model.network = Fixed()
    with pytest.raises(saccade.SaccadeError, match=r"cannot be exported to \.onnx"):
        saccade.export(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_sampler_without_export_is_named(trained_folder: Path, tmp_path: Path) -> None:
    model = saccade.load(trained_folder, device="cpu")
    run = replace(model.run, segmenter=model)
    model.sampler = saccade.OracleSampler((8, 12))
    with pytest.raises(saccade.SaccadeError, match="has no export"):
        saccade.export(run, tmp_path / "model.onnx")
