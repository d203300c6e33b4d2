"""What killed programs leave is taken away by the next; each was found by ``python benchmarks/kills.py``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import saccade
from saccade.inference.files import claim_file, claim_of, list_jobs
from saccade.runtime.files import finished_file


def _dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_kill_after_the_output_was_complete_leaves_nothing_behind(run_folder: Path, tmp_path: Path) -> None:
    """Kill 61 of "predict COG": its hidden folder and its lock stayed for ever."""
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / "a.png")
    out = tmp_path / "out"
    saccade.predict(run_folder, tmp_path / "a.png", out, device="cpu")
    [job] = list_jobs([tmp_path / "a.png"], out)
    left = out / ".a.png.part"
    left.mkdir()
    (left / "tiles").write_bytes(b"tiles")
    claim_file(claim_of(job)).touch()
    saccade.predict(run_folder, tmp_path / "a.png", out, device="cpu", resume=True)
    assert os.listdir(out) == ["a.png"]


def test_a_file_that_was_begun_is_taken_away_by_whoever_writes_it_next(tmp_path: Path) -> None:
    """Kill 1 of "predict tables and polygons"."""
    left = tmp_path / f".a.geojson.{_dead()}.part"
    others = tmp_path / f".a.geojson.{os.getppid()}.part"  # of a program that runs
    left.touch()
    others.touch()
    with finished_file(tmp_path / "a.geojson") as temporary:
        temporary.write_text("{}")
    assert sorted(os.listdir(tmp_path)) == sorted([others.name, "a.geojson"])


def test_a_job_that_goes_on_takes_away_what_was_left_of_an_output_that_is_complete(
    run_folder: Path, tmp_path: Path
) -> None:
    """Kill 17 of "predict tables and polygons": labels were complete, tables were not."""
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / "a.png")
    out = tmp_path / "out"
    saccade.predict(run_folder, tmp_path / "a.png", out, save="labels,table", device="cpu")
    (out / "a_objects.csv").unlink()
    (out / ".a.png.part" / "level1").mkdir(parents=True)
    saccade.predict(run_folder, tmp_path / "a.png", out, save="labels,table", device="cpu", resume=True)
    assert sorted(os.listdir(out)) == ["a.png", "a_classes.csv", "a_objects.csv"]
