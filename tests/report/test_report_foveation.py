"""Foveation maps: what light and dark mean, and what a run keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from saccade.data import open_data
from saccade.report.run import map_picture, read_run, training_figures
from saccade.samplers.foveation_maps import average_width, expected_field, field_maps
from saccade.training import read_config, train

BANK = (10, 20, 50)


def test_light_is_wide_and_dark_is_narrow() -> None:
    maps = np.zeros((3, 2, 4), np.float16)
    maps[0, :, :2], maps[2, :, 2:] = 1, 1
    picture = map_picture(expected_field(maps, BANK), 40).astype(int).sum(2)
    assert picture.shape == (20, 40)
    assert picture[:, :20].max() < picture[:, 20:].min()
    assert average_width(maps, BANK) == pytest.approx(30)


def test_a_run_keeps_a_map_at_each_validation_and_its_page_shows_them(
    tiny_data: Path, tmp_path: Path, one_thread: None
) -> None:
    options = [
        "sampler.name=foveation", "sampler.size=8x8", "foveation.bank=[12,20,30]", "foveation.shrink=4",
        "foveation.locations=2", "foveation.visits=1", "network.name=small:4", "training.batch_size=2",
        "training.epochs=2",
    ]  # fmt: skip
    train(open_data(tiny_data), tmp_path / "run", read_config(overrides=options), device="cpu")
    kept = sorted(file.name for file in (tmp_path / "run" / "foveation").iterdir())
    assert kept == ["epoch_0001.npy", "epoch_0002.npy"]
    maps = np.load(tmp_path / "run" / "foveation" / kept[0])
    assert maps.shape == (3, 8, 12) and np.allclose(maps.sum(0), 1, atol=0.01)
    shown = read_run(tmp_path / "run").maps
    assert shown is not None and shown.title == "Fields of view"
    assert [figure.name for figure in shown.figures] == ["foveation-1", "foveation-2"]


def test_a_run_without_maps_shows_none(tmp_path: Path) -> None:
    assert field_maps(tmp_path, BANK) == () and training_figures(tmp_path) is None
