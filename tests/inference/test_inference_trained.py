"""How closely a run looked in training: kept with it, and found for runs that did not keep it."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from pathlib import Path

import pytest
import torch

from saccade.data import open_data
from saccade.training import load_run, read_config, train
from saccade.training.downsampling import training_downsampling

SMALL = ["sampler.size=8x12", "network.name=small:4", "training.epochs=1", "training.batch_size=4"]


def test_a_run_tells_without_its_data(trained_folder: Path) -> None:
    run = load_run(trained_folder)
    view = run.segmenter.sampler.size
    elsewhere = replace(run, config=replace(run.config, data=replace(run.config.data, path=None)))
    assert training_downsampling(elsewhere) == pytest.approx(sqrt(32 * 48 / (view[0] * view[1])))


def test_a_run_on_parts_of_images_tells_of_the_parts(tiny_data: Path, tmp_path: Path) -> None:
    options = ["sampler.name=uniform", "data.crop=random_square"]
    config = read_config(overrides=[*SMALL, *options])
    train(open_data(tiny_data, config.data), tmp_path / "run", config, device="cpu")
    assert training_downsampling(load_run(tmp_path / "run")) == pytest.approx(sqrt(32 * 32 / (8 * 12)))


def test_a_run_that_did_not_keep_it_is_told_by_its_images(run_folder: Path) -> None:
    file = run_folder / "checkpoints" / "best.ckpt"
    saved = torch.load(file, weights_only=True)
    kept = saved.pop("shrink")
    torch.save(saved, file)
    run = load_run(run_folder)
    assert run.shrink is None
    assert training_downsampling(run) == pytest.approx(kept)
