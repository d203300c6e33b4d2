"""``saccade compare`` as a user runs it, on tiny scenes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.cli import main
from saccade.runtime.files import exclusively

TINY = ["--network", "small:4", "--epochs", "1", "--batch-size", "2", "--seeds", "1", "--device", "cpu", "-q"]
OPTIONS = ["--samplers", "uniform,deformation", "--sizes", "8x12", *TINY]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="session")
def compared_folder(tiny_data, tmp_path_factory):
    """A finished comparison of two methods at a size; never changed by a test."""
    out = tmp_path_factory.mktemp("compare") / "out"
    assert main(["compare", str(tiny_data), str(out), *OPTIONS]) == 0
    return out


@pytest.fixture
def compared(compared_folder, tmp_path) -> Path:
    return Path(shutil.copytree(compared_folder, tmp_path / "out"))


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "comparison.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_comparison_leaves_runs_a_table_and_a_page(compared):
    assert [row["status"] for row in rows_of(compared)] == ["done", "done"]
    assert {folder.name for folder in (compared / "runs").iterdir()} == {
        "uniform_8x12_s0", "deformation_8x12_s0",
    }  # fmt: skip
    plain = json.loads((compared / "comparison.json").read_text())
    assert plain["reference"] == "uniform"
    assert plain["costs"]["rows"][1]["sampler_gflops"] > 0 == plain["costs"]["rows"][0]["sampler_gflops"]
    page = (compared / "comparison.html").read_text()
    assert "Cost against quality" in page
    assert page.count("data:image/") % 6 == 0


def test_the_scores_are_those_of_saccade_evaluate(compared, tiny_data, capsys):
    run = compared / "runs" / "uniform_8x12_s0"
    assert main(["evaluate", str(run), str(tiny_data), "--json", "-q"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert float(rows_of(compared)[0]["miou"]) == found["miou"]


def test_what_is_there_is_used_and_what_is_missing_is_trained(compared, tiny_data, capsys):
    before = {file: file.stat().st_mtime_ns for file in compared.rglob("*.ckpt")}
    more = ["--samplers", "uniform,deformation,wide=uniform", "--set", "wide:network.name=small:6"]
    assert main(["compare", str(tiny_data), str(compared), *more, "--sizes", "8x12", *TINY, "--json"]) == 0
    assert {file: file.stat().st_mtime_ns for file in before} == before
    shown = json.loads(capsys.readouterr().out)
    assert [row["sampler"] for row in shown["summary"]] == ["uniform", "deformation", "wide"]
    assert shown["arms"]["wide"] == ["sampler.name=uniform", "network.name=small:6"]


def test_runs_put_where_they_are_looked_for_are_used(trained_folder, tiny_data, tmp_path, capsys):
    """``saccade train`` made it, with the same options."""
    shutil.copytree(trained_folder, tmp_path / "out" / "runs" / "deformation_8x12_s0")
    options = ["--samplers", "deformation", "--sizes", "8x12", *TINY, "--epochs", "2", "--dry-run"]
    assert main(["compare", str(tiny_data), str(tmp_path / "out"), *options]) == 0
    assert "1 runs: 1 there, 0 to train" in capsys.readouterr().out


def test_a_run_that_fails_is_shown_and_the_others_go_on(tiny_data, tmp_path, capsys):
    broken = ["--set", "wild:optimizer.learning_rate=1e30", "--set", "wild:optimizer.warmup=0"]
    options = ["--samplers", "uniform,wild=uniform", "--sizes", "8x12", *TINY, "--epochs", "4", *broken]
    assert main(["compare", str(tiny_data), str(tmp_path / "out"), *options]) == 1
    assert "failed: wild_8x12_s0: the loss became" in capsys.readouterr().out
    rows = rows_of(tmp_path / "out")
    assert [row["status"] for row in rows] == ["done", "failed"]
    assert "learning_rate" in rows[1]["reason"]
    assert "the loss became" in (tmp_path / "out" / "comparison.html").read_text()


def test_two_processes_give_what_one_gives(tiny_data, compared, tmp_path):
    out = tmp_path / "two"
    assert main(["compare", str(tiny_data), str(out), *OPTIONS, "--jobs", "2"]) == 0
    scores = [[row["miou"] for row in rows_of(folder)] for folder in (out, compared)]
    assert scores[0] == scores[1]


def test_a_dry_run_predicts_and_writes_nothing(tiny_data, tmp_path, capsys):
    assert main(["compare", str(tiny_data), str(tmp_path / "out"), *OPTIONS, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "2 runs: 0 there, 2 to train" in said
    assert said.count("steps measured now") == 2
    assert not (tmp_path / "out").exists()


def test_a_dry_run_of_a_study_that_trains_nothing_predicts_its_measuring(tiny_data, tmp_path, capsys):
    options = ["--study", "oracle-blur", "--sizes", "8x12", *TINY, "--dry-run"]
    assert main(["compare", str(tiny_data), str(tmp_path / "out"), *options]) == 0
    assert "nothing to train; about " in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_studies_are_listed_and_one_without_training_has_a_page(tiny_data, tmp_path, capsys):
    assert main(["compare", str(tiny_data), "--study", "list"]) == 0
    assert "oracle-blur" in capsys.readouterr().out
    options = ["--study", "oracle-blur", "--sizes", "8x12", *TINY]
    assert main(["compare", str(tiny_data), str(tmp_path / "out"), *options]) == 0
    assert "Label recovery over the blur" in (tmp_path / "out" / "study_oracle-blur.html").read_text()
    shown = capsys.readouterr().out
    content = json.loads((tmp_path / "out" / "study_oracle-blur.json").read_text())
    table = next(block for block in content["blocks"] if block["kind"] == "table")
    assert all(row[0] in shown for row in table["rows"])
    again = ["--study", "smoothness", "--sizes", "8x12", *TINY]
    assert main(["compare", str(tiny_data), str(tmp_path / "out"), *again]) == 0


def test_a_study_of_other_sizes_agrees_with_the_evaluation_at_its_own(tiny_data, compared):
    options = ["--study", "other-sizes", "--sizes", "8x12", *TINY]
    assert main(["compare", str(tiny_data), str(compared), *options]) == 0
    page = (compared / "study_other-sizes.html").read_text()
    assert {folder.name for folder in (compared / "runs").iterdir()} == {
        "uniform_8x12_s0", "deformation_8x12_s0",
    }  # fmt: skip
    row = page[page.index("uniform, trained at 8x12") :].split("</tr>")[0]
    assert f"{float(rows_of(compared)[0]['miou']):.3f}" in row


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--samplers", "unifrom"], 2, "did you mean 'uniform'?"),
        (["--sizes", "64x128"], 1, "smallest image (32x48)"),
        (["--sizes", "8"], 2, "ROWSxCOLUMNS"),
        (["--seeds", "none"], 2, "--seeds"),
        (["--seeds", "0"], 2, "--seeds"),
        (["--jobs", "0"], 2, "--jobs"),
        (["--study", "radus"], 2, "radius"),
        (["--study", "radius", "--samplers", "uniform"], 2, "its own samplers"),
        (["sampler.size=8x8"], 2, "--sizes"),
        (["loss.edge_wait=1"], 2, "edge_weight"),
        (["--set", "oracle:loss.edge_weight=1"], 2, "no sampler 'oracle'"),
        (["--set", "uniform:loss.edge_wait=1"], 2, "edge_weight"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_made(
    tiny_data, tmp_path, capsys, options, code, said
):
    assert main(["compare", str(tiny_data), str(tmp_path / "out"), "-q", *options]) == code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_runs_of_other_options_are_refused(compared, tiny_data, capsys):
    assert main(["compare", str(tiny_data), str(compared), *OPTIONS, "augment.contrast=0"]) == 1
    assert "augment.contrast=0.2 instead of 0" in capsys.readouterr().err


def test_a_folder_of_something_else_is_refused(tiny_data, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("all of it")
    assert main(["compare", str(tiny_data), str(tmp_path / "out"), *OPTIONS]) == 1
    assert "a new or empty folder, or a comparison" in capsys.readouterr().err


def gflops_of(out: Path) -> list[float]:
    return [float(row["gflops"]) for row in rows_of(out)]


def test_costs_are_those_of_the_runs_that_are_there(compared, tiny_data):
    """Not those that an earlier table tells of methods of the same names."""
    before = gflops_of(compared)
    wider = [*OPTIONS, "--network", "small:8", "--overwrite"]
    assert main(["compare", str(tiny_data), str(compared), *wider]) == 0
    assert all(now > 1.5 * then for now, then in zip(gflops_of(compared), before, strict=True))


def test_a_narrower_comparison_keeps_the_costs_of_the_wider(compared, tiny_data):
    def costs() -> dict:
        return json.loads((compared / "comparison.json").read_text())["costs"]

    before = costs()
    assert main(["compare", str(tiny_data), str(compared), *OPTIONS, "--samplers", "uniform"]) == 0
    assert [row["sampler"] for row in rows_of(compared)] == ["uniform"]
    assert costs() == before


def test_runs_are_evaluated_again_where_masks_were_corrected(compared, tiny_data, tmp_path):
    """The images have the same names, so the pixels of each class tell."""
    data = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    stem = json.loads((data / "splits.json").read_text())["test"][0]
    mask = next((data / "masks").glob(f"{stem}.*"))
    values = np.asarray(Image.open(mask)).copy()
    values[: values.shape[0] // 2] = 0
    Image.fromarray(values).save(mask)
    before = [row["miou"] for row in rows_of(compared)]
    weights = {file: file.stat().st_mtime_ns for file in compared.rglob("*.ckpt")}
    assert main(["compare", str(data), str(compared), *OPTIONS]) == 0
    assert all(now["miou"] != then for now, then in zip(rows_of(compared), before, strict=True))
    assert {file: file.stat().st_mtime_ns for file in weights} == weights


def test_a_comparison_that_another_program_is_at_is_refused(compared, tiny_data, capsys):
    with exclusively(compared / "runs", "a free one"):
        assert main(["compare", str(tiny_data), str(compared), *OPTIONS, "--seeds", "2", "--resume"]) == 1
    assert "a comparison that no other program is at, but got one being" in capsys.readouterr().err
    assert not (compared / "runs" / "uniform_8x12_s1").exists()
