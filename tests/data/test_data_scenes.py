"""The program's own scenes: deterministic, sound, with large things and rare small ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from saccade.data import open_data
from saccade.data.scenes import BOAT, SCENE_CLASSES, draw_scene, make_scenes
from saccade.errors import FileProblem, InvalidInput


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_same_seed_draws_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    first, second, other = (
        contents(make_scenes(tmp_path / name, count=(2, 1, 1), size=(32, 48), seed=seed))
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    assert first == second
    assert first["images/scene_000.jpg"] != other["images/scene_000.jpg"]


@pytest.mark.parametrize("size", [(16, 16), (64, 96), (17, 33), (200, 40)])
def test_scenes_are_a_sound_data_folder_of_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    data = open_data(make_scenes(tmp_path / "set", count=(4, 2, 2), size=size, seed=1))
    assert {name: len(items) for name, items in data.splits.items()} == {"train": 4, "val": 2, "test": 2}
    assert set(data.sizes()) == {size}
    assert data.classes == SCENE_CLASSES
    assert (data.class_counts("train") > 0).all()


def test_masks_carry_the_colours_of_the_classes(tmp_path: Path) -> None:
    root = make_scenes(tmp_path / "set", count=(1, 0, 0), size=(32, 48))
    mask = Image.open(root / "masks" / "scene_000.png")
    boats = np.asarray(mask) == BOAT
    assert set(map(tuple, np.asarray(mask.convert("RGB"))[boats])) == {SCENE_CLASSES.colours[BOAT]}


def test_boats_are_small_and_rare_in_a_large_scene() -> None:
    shares, areas = [], []
    for k in range(4):
        labels = draw_scene(np.random.default_rng([0, k]), (512, 1024)).labels
        shares.append(np.bincount(labels.ravel(), minlength=4) / labels.size)
        numbered, count = ndimage.label(labels == BOAT)
        areas += ndimage.sum_labels(labels == BOAT, numbered, range(1, count + 1)).tolist()
    water, land, forest, boat = np.mean(shares, axis=0)
    assert 0.6 < water < 0.9
    assert min(land, forest) > 0.05
    assert 0.004 < boat < 0.015
    assert np.median(areas) < 512 * 1024 / 2000
    assert len(areas) > 40


def test_boats_lie_on_water_only() -> None:
    rng = np.random.default_rng(4)
    labels = draw_scene(rng, (256, 512)).labels
    rim = ndimage.binary_dilation(labels == BOAT) & (labels != BOAT)
    assert (labels[rim] == 0).mean() > 0.95


@pytest.mark.parametrize(
    "options",
    [
        {"size": (0, 64)},
        {"size": (8, 64)},
        {"size": (64,)},
        {"count": (0, 0, 0)},
        {"count": (1, -1, 0)},
        {"count": (1, 1)},
    ],
)
def test_impossible_scenes_are_refused_before_anything_is_written(tmp_path: Path, options: dict) -> None:
    with pytest.raises(InvalidInput):
        make_scenes(tmp_path / "set", **options)
    assert not (tmp_path / "set").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileProblem, match="not empty"):
        make_scenes(tmp_path, count=(1, 0, 0), size=(32, 32))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(FileProblem, match="got a file"):
        make_scenes(tmp_path / "mine.txt", count=(1, 0, 0), size=(32, 32))


def test_an_interrupted_drawing_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_scenes(tmp_path / "set", count=(3, 1, 1), size=(32, 48), on_drawn=stop)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    make_scenes(tmp_path / "set", count=(1, 0, 0), size=(32, 48))
    assert len(open_data(tmp_path / "set").split("train")) == 1
