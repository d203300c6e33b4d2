"""The examples of docs/data.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.data import FORMATS, open_data
from saccade.data.classes import read_classes
from saccade.data.label_rule import read_label_rule

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_examples_make_a_sound_data_folder_and_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    classes, splits, _ = blocks("json")
    convert, use, draw, fake = blocks("python")
    root = tmp_path / "leaves"
    for name in ("images", "colour_masks"):
        (root / name).mkdir(parents=True)
    (root / "classes.json").write_text(classes)
    (root / "splits.json").write_text(splits)
    colours = np.array([[0, 0, 0], [0, 176, 0], [255, 0, 0], [9, 9, 9]], np.uint8)
    for number in range(1, 5):
        ids = np.random.default_rng(number).integers(0, 4, (6, 9))
        Image.fromarray(colours[ids] // 2 + 40).save(root / "images" / f"leaf_{number}.jpg")
        Image.fromarray(colours[ids]).save(root / "colour_masks" / f"leaf_{number}.png")
    monkeypatch.chdir(root)
    exec(compile(convert, str(PAGE), "exec"), {})
    assert (np.asarray(Image.open("masks/leaf_4.png")) == np.where(ids == 3, 255, ids)).all()
    monkeypatch.chdir(tmp_path)
    exec(compile(use, str(PAGE), "exec"), {})
    assert "leaf_2 (6, 9) torch.Size([1, 6, 9])" in capsys.readouterr().out
    exec(compile(draw, str(PAGE), "exec"), {})
    assert len(open_data("scenes").split("train")) == 4
    exec(compile(fake, str(PAGE), "exec"), {})
    assert "('road', 'sidewalk', " in capsys.readouterr().out


def test_the_example_of_polygons_is_a_sound_table(tmp_path: Path) -> None:
    path = tmp_path / "classes.json"
    path.write_text(blocks("json")[2])
    table, faults = read_classes(path)
    assert table is not None and not faults
    rule, faults = read_label_rule(path, table, zero=False)
    assert not faults and (rule.index_of("2100"), rule.index_of("WetSand"), rule.index_of("x")) == (0, 1, 2)
    assert rule.unlabelled == 255 and rule.overlaps == "smallest"


def test_every_layout_stands_in_the_table() -> None:
    rows = re.findall(r"^\| .* \| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(FORMATS)
