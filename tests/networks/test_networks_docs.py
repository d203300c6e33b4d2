"""The page docs/networks.md: its names are known, its numbers right, its examples run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from saccade.cli import main
from saccade.networks import build_network, require_network

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"
TEXT = PAGE.read_text(encoding="utf-8")
COUNTED = {
    "small": 0.5, "small:32": 1.9, "hrnetv2:w48": 65.9, "hrnetv2:w18": 9.6, "hrnetv2:w18_small": 1.5,
    "pspnet:resnet50": 46.6, "upernet:resnet50": 64.0, "deeplabv3plus:tu-xception65": 41.1,
    "unet:original": 31.0, "unet:resnet18": 14.3,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The images are tiny."""


@pytest.mark.parametrize("name", COUNTED)
def test_the_table_tells_the_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        count = sum(p.numel() for p in build_network(name, 19).parameters())
    assert round(count / 1e6, 1) == COUNTED[name]
    assert f"{COUNTED[name]:.1f} M" in TEXT


def test_every_name_on_the_page_is_known() -> None:
    kinds = "small|hrnetv2|pspnet|upernet|deeplabv3plus|unet"
    names = [name for name in re.findall(rf"`((?:{kinds}):[^`\s]+)`", TEXT) if "..." not in name]
    assert len(names) > 8
    for name in names:
        require_network(name)


def test_a_network_of_ones_own_trains_and_predicts_by_command(
    tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, _ = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "leafnet.py").write_text(own)
    monkeypatch.syspath_prepend(str(tmp_path))
    run, images = str(tmp_path / "run"), sorted(str(path) for path in (tiny_data / "images").iterdir())
    options = [
        "--network",
        "python:leafnet.make",
        "--size",
        "8x12",
        "--epochs",
        "1",
        "--batch-size",
        "2",
        "-q",
    ]
    assert main(["train", str(tiny_data), run, *options]) == 0
    assert main(["predict", run, images[0], str(tmp_path / "out"), "-q"]) == 0
    assert Image.open(next((tmp_path / "out").glob("*.png"))).size == (48, 32)


def test_a_network_of_torchvision_segments(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    _, use = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, torch.Tensor] = {}
    exec(compile(use, str(PAGE), "exec"), names)
    assert names["labels"].shape == (512, 1024)
    assert int(names["labels"].max()) < 3
