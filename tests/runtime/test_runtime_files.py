"""A folder that one program writes is refused to others until it ends, however it ends."""

from __future__ import annotations

import errno
import subprocess
import sys
import time

import pytest

from saccade.errors import FileProblem
from saccade.runtime import files

fcntl = pytest.importorskip("fcntl")
EXPECTED = "a run that no other program trains"
HOLD = """
import sys
from pathlib import Path
from saccade.runtime.files import exclusively
with exclusively(Path(sys.argv[1]), "a free folder"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_held_by_one_and_free_afterwards(tmp_path):
    folder = tmp_path / "a" / "b"
    for _ in range(2):
        with (
            files.exclusively(folder, EXPECTED),
            pytest.raises(FileProblem, match=f"{folder}: expected {EXPECTED}, but got one being written now"),
            files.exclusively(folder, EXPECTED),
        ):
            raise AssertionError("held twice")
        assert list(folder.iterdir()) == []


def test_it_is_free_after_an_error(tmp_path):
    with pytest.raises(ValueError), files.exclusively(tmp_path, EXPECTED):
        raise ValueError
    with files.exclusively(tmp_path, EXPECTED):
        pass


def test_a_program_that_is_killed_frees_what_it_held(tmp_path):
    program = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with program:
        assert program.stdout.readline() == "held\n"
        with pytest.raises(FileProblem), files.exclusively(tmp_path, EXPECTED):
            pass
        program.kill()
    with files.exclusively(tmp_path, EXPECTED):
        pass


def test_a_disk_without_locks_refuses_nothing(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", none)
    with files.exclusively(tmp_path, EXPECTED), files.exclusively(tmp_path, EXPECTED):
        pass


def test_a_system_without_locks_refuses_nothing_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    with files.exclusively(tmp_path, EXPECTED), files.exclusively(tmp_path, EXPECTED):
        assert list(tmp_path.iterdir()) == []


def test_many_files_in_a_folder_that_takes_long_to_list_do_not_list_it_each_time(tmp_path, monkeypatch):
    listings, list_folder = [], files.os.listdir

    def slowly(folder):
        listings.append(folder)
        time.sleep(0.02)
        return list_folder(folder)

    monkeypatch.setattr(files.os, "listdir", slowly)
    for number in range(50):
        files.write_file(tmp_path / f"{number}.txt", "")
    assert len(listings) == 1
    monkeypatch.setattr(files.os, "listdir", list_folder)
    assert len(list(tmp_path.iterdir())) == 50


def test_what_a_dead_program_left_of_a_file_goes_and_of_others_stays(tmp_path):
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True)
    dead = int(done.stdout)
    for name in (f".a.txt.{dead}.part", f".a.gpkg.{dead}.part.gpkg", ".a.txt.1.part", f".b.txt.{dead}.part"):
        (tmp_path / name).touch()
    files.write_file(tmp_path / "a.txt", "")
    files.write_file(tmp_path / "a.gpkg", "")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".a.txt.1.part", f".b.txt.{dead}.part", "a.gpkg", "a.txt"]
