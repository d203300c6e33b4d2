"""Runs that version 0.1 trained (commit 82ad0fb) still load, and say what they said then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.cli import main
from saccade.training import read_config

FOLDER = Path(__file__).parent / "runs_0_1"
RUNS = ("deformation", "boundary", "foveation")


@pytest.fixture
def run_of_then(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy, beside a copy of the data it was trained on."""
    shutil.copytree(FOLDER / "data", tmp_path / "data")
    return Path(shutil.copytree(FOLDER / request.param, tmp_path / request.param))


@pytest.mark.parametrize("run_of_then", RUNS, indirect=True)
def test_labels_are_those_of_then(run_of_then: Path, tmp_path: Path, one_thread: None) -> None:
    assert main(["predict", str(run_of_then), str(tmp_path / "data" / "images"), str(tmp_path / "out")]) == 0
    expected = sorted((run_of_then / "labels").glob("*.png"))
    assert len(expected) == 12
    for path in expected:
        assert np.array_equal(np.array(Image.open(tmp_path / "out" / path.name)), np.array(Image.open(path)))


@pytest.mark.parametrize("run_of_then", RUNS, indirect=True)
def test_scores_are_those_of_then(
    run_of_then: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], one_thread: None
) -> None:
    assert main(["evaluate", str(run_of_then), str(tmp_path / "data"), "--json"]) == 0
    now, then = json.loads(capsys.readouterr().out), json.loads((run_of_then / "scores.json").read_text())
    assert {key: now[key] for key in then if key != "cost"} == {k: v for k, v in then.items() if k != "cost"}
    assert now["cost"]["pixels"] == then["cost"]["pixels"]


@pytest.mark.parametrize("run_of_then", RUNS, indirect=True)
def test_a_finished_run_is_taken_for_finished(run_of_then: Path, tmp_path: Path) -> None:
    before = (run_of_then / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    config = str(run_of_then / "config.yaml")
    assert main(["train", str(tmp_path / "data"), str(run_of_then), "--config", config, "--resume"]) == 0
    assert (run_of_then / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before


def test_options_by_their_names_of_then_are_read() -> None:
    then = read_config(FOLDER / "deformation" / "config.yaml")
    assert then.sampler.thumbnail == (16, 24)
    assert then.sampler.grid == "elastic_0_1"  # its springs are relaxed as they were then
    assert read_config(overrides=["sampler.grid=elastic"]).sampler.grid == "elastic"
    assert read_config(overrides=["sampler.overview=16x24"]).sampler.thumbnail == (16, 24)
