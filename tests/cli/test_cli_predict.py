"""``saccade predict`` and ``saccade plan`` as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.cli import main


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The images are tiny."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.jpg", "b.png", "c.tif"):
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(folder / name)
    return folder


def test_a_folder_a_file_and_a_list(trained_folder: Path, photos: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "list.txt").write_text("# mine\nphotos/a.jpg\n\nphotos/gone.png\n")
    Image.new("RGB", (30, 20)).save(tmp_path / "d.png")
    given = [str(photos), str(tmp_path / "d.png"), str(tmp_path / "list.txt")]
    assert main(["predict", str(trained_folder), *given, str(tmp_path / "out")]) == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png", "c.png", "d.png"]
    said = capsys.readouterr().err
    assert "gone.png: expected an image, but got no such file" in said
    assert "4 of 5 images labelled" in said


def test_processes_give_the_same_and_tell_it_in_order(trained_folder, photos, tmp_path, capsys) -> None:
    (photos / "aa.png").write_bytes((photos / "b.png").read_bytes()[:100])
    (photos / "bb.tif").write_bytes(b"")
    for jobs in ("1", "2"):
        out = str(tmp_path / jobs)
        assert (
            main(["predict", str(trained_folder), str(photos), out, "--jobs", jobs, "--device", "cpu"]) == 1
        )
        lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
        assert ["aa.png" in lines[0], "bb.tif" in lines[1], len(lines)] == [True, True, 2]
    for name in ("a.png", "b.png", "c.png"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_what_is_there_is_kept_gone_on_with_or_replaced(trained_folder, photos, tmp_path, capsys) -> None:
    command = ["predict", str(trained_folder), str(photos), str(tmp_path / "out")]
    assert main(command) == 0
    (tmp_path / "out" / "b.png").unlink()
    assert main(command) == 1 and "use --resume" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0 and "1 of 1 images labelled" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


def test_tiles_and_everything_beside_them(trained_folder: Path, photos: Path, tmp_path: Path) -> None:
    save = "labels,scores,density,samples,overlay,polygons"
    options = ["--mode", "tiles", "--tile", "32x48", "--save", save]
    out = tmp_path / "out"
    assert main(["predict", str(trained_folder), str(photos / "b.png"), str(out), *options]) == 0
    made = {"b.png", "b_scores.npz", "b_density.png", "b_samples.png", "b_overlay.png", "b_polygons.geojson"}
    assert {path.name for path in out.iterdir()} == made
    with np.load(out / "b_scores.npz") as saved:
        assert saved["scores"].ndim == 4 and len(saved["regions"]) == len(saved["grid"])


def test_a_plan_says_what_it_takes_and_why(trained_folder: Path, photos: Path, capsys) -> None:
    assert main(["plan", str(photos / "b.png"), str(trained_folder)]) == 0
    out = capsys.readouterr().out
    for word in ("40 x 60 pixels", "96 in 1 view", "GFLOPs", "MB at the peak", "time", ".png", "why"):
        assert word in out


def test_a_plan_for_a_program(trained_folder: Path, photos: Path, capsys) -> None:
    options = ["--json", "--mode", "tiles", "--tile", "20x30", "--overlap", "0"]
    assert main(["plan", str(photos / "c.tif"), str(trained_folder), *options]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["mode"], plan["views"], plan["tile"], plan["view"]) == ("tiles", 4, [20, 30], [8, 12])
    assert plan["pixels"] == 4 * 8 * 12 and plan["size"] == [40, 60]
    assert plan["memory_bytes"] > 1e8 and plan["gflops"] > 0 and plan["reasons"]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--mpp", "2"], 1, "--mpp"),
        (["--memory", "30MB"], 1, "--memory to be at least"),
        (["--memory", "lots"], 1, "such as 2GB"),
        (["--mode", "tile"], 2, "tile"),
        (["--mpp", "2", "--gsd", "2"], 2, "--gsd"),
        (["--jobs", "0"], 2, "--jobs"),
        (["--pixels", "0"], 1, "--pixels"),
        (["--gflops", "1e-9"], 1, "--gflops to be at least"),
        (["--seconds", "0"], 1, "--seconds to be a time above 0"),
        (["--seconds", "1", "--gflops", "1"], 1, "choose one"),
        (["--total-seconds", "5", "--pixels", "9"], 2, "leave --size, --pixels"),
        (["--total-seconds", "5", "--jobs", "2"], 2, "leave --jobs"),
        (["--total-seconds", "1e-6"], 1, "--total-seconds to be at least"),
    ],
)
def test_wishes_that_cannot_be_met(options, code, words, trained_folder, photos, tmp_path, capsys) -> None:
    command = ["predict", str(trained_folder), str(photos / "b.png"), str(tmp_path / "out"), *options]
    assert main(command) == code
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out" / "b.png").exists()


def test_one_fault_of_many_images_is_one_line() -> None:
    from saccade.cli.predict import fault_lines
    from saccade.errors import FileProblem, SaccadeError, told_to_shell

    fix = "wait, then use --resume"
    taken = [FileProblem(f"{k}.jpg", "an image of nobody", "one that is taken", fix) for k in range(12)]
    other = [FileProblem("x.jpg", "an image", "a text"), SaccadeError("disk full")]
    with told_to_shell():
        lines = list(fault_lines([*taken, *other]))
    assert lines == [
        "0.jpg and 11 more: expected an image of nobody, but got one that is taken; wait, then use --resume",
        "x.jpg: expected an image, but got a text",
        "disk full",
    ]
    assert len(list(fault_lines(taken[:3]))) == 3
