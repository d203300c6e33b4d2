"""A stored evaluation says what it is of, and answers no other question."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.cli.main import main
from saccade.data import open_data
from saccade.data.scenes import make_scenes
from saccade.evaluation import load_evaluation
from saccade.evaluation.results import Subject, keep_evaluation, stored_evaluation


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The network is tiny."""


def evaluations(run: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in run.glob("evaluation_*.json")}


def shown_miou(run: Path) -> str:
    """The mean IoU that the page shows first."""
    text = re.sub(r"<(style|script).*?</\1>|<[^>]+>", " ", (run / "report.html").read_text(), flags=re.S)
    found = re.search(r"(\d\.\d+)\s+mIoU at full", text)
    assert found, text[:500]
    return found[1]


@pytest.fixture
def other_data(tiny_data: Path, tmp_path: Path) -> Path:
    """The same stems, other pictures."""
    return make_scenes(tmp_path / "other", count=(4, 2, 2), size=(32, 48), seed=9)


def run_command(*words: object) -> None:
    assert main([*map(str, words), "-q", "--device", "cpu"]) == 0


def test_each_question_keeps_its_own_file(run_folder: Path, tiny_data: Path, other_data: Path) -> None:
    run_command("evaluate", run_folder, tiny_data)
    own = evaluations(run_folder)
    assert list(own) == ["evaluation_test.json"]
    run_command("evaluate", run_folder, other_data)
    run_command("evaluate", run_folder, tiny_data, "--crop", "16x16")
    run_command("evaluate", run_folder, tiny_data, "--checkpoint", "last")
    kept = evaluations(run_folder)
    assert len(kept) == 4
    assert kept["evaluation_test.json"] == own["evaluation_test.json"]
    run_command("evaluate", run_folder, other_data)
    assert len(evaluations(run_folder)) == 4


def test_a_report_shows_the_runs_own_scores_whatever_was_evaluated(
    run_folder: Path, tiny_data: Path, other_data: Path, tmp_path: Path
) -> None:
    plain = Path(shutil.copytree(run_folder, tmp_path / "plain"))
    run_command("report", plain)
    run_command("evaluate", run_folder, other_data)
    run_command("evaluate", run_folder, tiny_data, "--crop", "16x16")
    run_command("report", run_folder)
    assert shown_miou(run_folder) == shown_miou(plain)


def test_a_report_after_an_evaluation_of_other_stems(
    run_folder: Path, tmp_path: Path, tiny_data: Path
) -> None:
    other = make_scenes(tmp_path / "other", count=(1, 1, 1), size=(32, 48), seed=3)
    for kind in ("images", "masks"):
        for file in (other / kind).iterdir():
            file.rename(file.with_name("z" + file.name))
    splits = json.loads((other / "splits.json").read_text())
    stems = {name: ["z" + stem for stem in splits[name]] for name in ("train", "val", "test")}
    (other / "splits.json").write_text(json.dumps(stems))
    run_command("evaluate", run_folder, other)
    run_command("report", run_folder)


def test_corrected_masks_are_another_question(run_folder: Path, tiny_data: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    subject = Subject.of(run_folder, open_data(data), "test")
    assert subject == Subject.of(run_folder, open_data(tiny_data), "test")
    stem = json.loads((data / "splits.json").read_text())["test"][0]
    file = next((data / "masks").glob(f"{stem}.*"))
    with Image.open(file) as image:
        values = np.array(image)
    # as many pixels of each class as before
    Image.fromarray(values[::-1].copy()).save(file)
    assert subject != Subject.of(run_folder, open_data(data), "test")


def test_other_weights_are_another_question(run_folder: Path, tiny_data: Path) -> None:
    data = open_data(tiny_data)
    before = Subject.of(run_folder, data, "test")
    file = run_folder / "checkpoints" / "best.ckpt"
    file.write_bytes(file.read_bytes() + b" ")
    assert before != Subject.of(run_folder, data, "test")
    assert before != replace(before, split="val")
    assert before.key != replace(before, version="9").key


def test_an_evaluation_of_0_1_is_read_and_not_trusted(run_folder: Path, tiny_data: Path) -> None:
    run_command("evaluate", run_folder, tiny_data)
    file = run_folder / "evaluation_test.json"
    content = json.loads(file.read_text())
    del content["of"]
    file.write_text(json.dumps(content))
    old = load_evaluation(file)
    assert old.subject is None
    subject = Subject.of(run_folder, open_data(tiny_data), "test")
    assert stored_evaluation(run_folder, subject) is None
    text = file.read_text()
    kept = keep_evaluation(run_folder, old, subject)
    assert kept != file
    assert file.read_text() == text
    again = stored_evaluation(run_folder, subject)
    assert again is not None
    assert again.subject == subject
    assert again.miou == old.miou
