"""``saccade info`` says what an image or a data folder is, and refuses what is neither."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.cli import main


def test_a_data_folder_as_json(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(scenes), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["kind"] == "data folder"
    images = [(name, split["images"]) for name, split in facts["splits"].items()]
    assert images == [("train", 2), ("val", 1), ("test", 1)]
    assert facts["splits"]["train"]["sizes"] == [{"size": [48, 64], "images": 2}]
    masks = np.concatenate([np.asarray(Image.open(path)).ravel() for path in (scenes / "masks").iterdir()])
    pixels = {row["name"]: row["pixels"] for row in facts["classes"]}
    assert list(pixels.values()) == np.bincount(masks, minlength=4).tolist()
    assert sum(row["share"] for row in facts["classes"]) == pytest.approx(1)
    assert facts["faults"] == []


def test_a_data_folder_for_people(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(scenes)]) == 0
    captured = capsys.readouterr()
    assert "4: 2 train, 1 val, 1 test" in captured.out
    assert "48 x 64 (4) (rows x columns)" in captured.out
    assert "boat" in captured.out
    assert captured.err == ""


def test_an_image_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "turned.jpg", exif=exif)
    assert main(["info", str(tmp_path / "turned.jpg"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["size"]) == ("image", [20, 10])
    assert (facts["channels"], facts["dtype"]) == (3, "uint8")
    assert [level["size"] for level in facts["levels"]] == [[20, 10]]
    assert facts["crs"] is None


def test_an_image_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.zeros((10, 20), np.uint16)).save(tmp_path / "deep.png")
    assert main(["info", str(tmp_path / "deep.png")]) == 0
    out = capsys.readouterr().out
    assert "10 x 20 pixels (rows x columns)" in out
    assert "uint16" in out


def test_all_faults_are_listed_and_exit_1(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scenes / "images" / "scene_000.jpg").write_bytes(b"")
    Image.new("RGB", (64, 48), (9, 8, 7)).save(scenes / "masks" / "scene_001.png")
    (scenes / "splits.json").write_text('{"train": ["scene_000", "scene_001"], "val": ["scene_009"],}')
    assert main(["info", str(scenes)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[0] == "saccade: error: the data set has 1 fault:"
    assert "splits.json: expected a JSON object, found broken JSON in line 1" in captured.err
    (scenes / "splits.json").write_text('{"train": ["scene_000", "scene_001"], "val": ["scene_009"]}')
    assert main(["info", str(scenes)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "saccade: error: the data set has 3 faults:"
    assert len(lines) == 4
    assert main(["info", str(scenes), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["faults"]) == 3


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"II*\0"])
def test_a_file_that_is_no_image_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    assert main(["info", str(path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"saccade: error: {path}: expected ")
    assert captured.err.count("\n") == 1
    assert "defect" not in captured.err


def test_nothing_and_an_empty_folder_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(tmp_path / "nothing")]) == 1
    assert "no such file or folder" in capsys.readouterr().err
    assert main(["info", str(tmp_path)]) == 1
    assert "an empty folder" in capsys.readouterr().err


def test_a_name_that_no_file_can_have_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "x" * 5000]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "defect" not in err
