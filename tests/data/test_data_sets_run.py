"""Every data set runs through the real commands, from the folder as it is downloaded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.cli import main
from saccade.data import FORMATS, open_data
from saccade.testing import make_fake

TINY = ["network.name=small:8", "sampler.size=8x16", "training.batch_size=2", "training.epochs=1"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("name", FORMATS)
def test_a_data_set_trains_evaluates_and_predicts(
    name: str, tmp_path: Path, one_thread: None, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = make_fake(name, tmp_path / "data", count=(2, 1, 1)), tmp_path / "run"
    before = contents(data)
    assert main(["train", str(data), str(run), "--device", "cpu", "-q", *TINY]) == 0, capsys.readouterr().err
    capsys.readouterr()
    evaluate = ["evaluate", str(run), str(data), "--split", "val", "--json", "-q", "--device", "cpu"]
    assert main(evaluate) == 0, capsys.readouterr().err
    scores = json.loads(capsys.readouterr().out)
    opened = open_data(data, splits=["val"])
    assert list(scores["iou"]) == list(opened.classes.names)
    assert scores["images"] == len(opened.split("val"))
    image = opened.split("val")[0].image
    assert main(["predict", str(run), str(image), str(tmp_path / "out"), "-q", "--device", "cpu"]) == 0
    (written,) = (p for p in (tmp_path / "out").iterdir() if p.is_file())
    labels = np.asarray(Image.open(written))
    assert labels.shape == (16, 24)
    assert set(np.unique(labels)) <= set(opened.classes.indices)
    assert contents(data) == before


@pytest.mark.parametrize("name", FORMATS)
def test_info_tells_what_a_data_set_is(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = make_fake(name, tmp_path / "data")
    assert main(["info", str(data), "--json", "-q"]) == 0, capsys.readouterr().err
    facts = json.loads(capsys.readouterr().out)
    assert facts["format"] == name
    assert facts["splits"]["train"]["images"] >= 3
    assert facts["faults"] == []
