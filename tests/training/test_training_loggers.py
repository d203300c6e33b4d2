"""Losses and scores go to loggers by name, and change nothing of the training."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
import torch

import saccade
from saccade.cli import main
from saccade.training.run_folder import CHECKPOINTS, LAST

HOW = {"size": (8, 12), "network": "small:4", "epochs": 2, "batch_size": 2, "device": "cpu"}


def test_tensorboard_gets_what_the_table_holds(tiny_data: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    plain = saccade.train(tiny_data, tmp_path / "plain", **HOW)
    run = saccade.train(tiny_data, tmp_path / "run", options={"training.logger": "tensorboard"}, **HOW)
    events = accumulator.EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    with (run.path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = [event.value for event in events.Scalars("val_miou")]
    assert told == pytest.approx([float(row["val_miou"]) for row in rows], abs=1e-5)
    weights = [
        torch.load(r.path / CHECKPOINTS / LAST, weights_only=False)["state_dict"] for r in (plain, run)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_what_is_no_logger_or_not_installed_is_refused(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", str(tiny_data), str(tmp_path / "run"), "--size", "8x12", "--network", "small:4"]
    assert main([*words, "training.logger=tensorbord"]) == 2
    assert "did you mean 'tensorboard'?" in capsys.readouterr().err
    if "wandb" not in sys.modules:
        assert main([*words, "--epochs", "1", "training.logger=wandb"]) == 1
        err = capsys.readouterr().err
        assert "pip install wandb" in err and "Traceback" not in err
    assert not (tmp_path / "run").exists()
