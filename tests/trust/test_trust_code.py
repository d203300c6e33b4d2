"""Code that a file names runs only when the user allows it, or named it too."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import saccade
from saccade.cli import main
from saccade.errors import FileProblem
from saccade.runtime import trust
from saccade.runtime.trust import Trust, name_code, require_allowed_code, trusting
from saccade.training import load_run, read_config

NETWORK = """
from pathlib import Path
from torch import nn
Path({mark!r}).touch()
def make(classes):
    return nn.Conv2d(3, classes, 1)
"""


@pytest.fixture(autouse=True)
def nothing_allowed():
    """What one test names is a stranger's in the next."""
    before = trust.trust()
    trust.take_over(Trust())
    yield
    trust.take_over(before)


@pytest.fixture
def strange_run(run_folder: Path, tmp_path: Path, monkeypatch) -> tuple[Path, Path]:
    """A run whose options name code of a module beside it, and the file that running the code makes."""
    ran = tmp_path / "ran"
    (tmp_path / "strangers_8.py").write_text(NETWORK.format(mark=str(ran)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "strangers_8", raising=False)
    config = run_folder / "config.yaml"
    config.write_text(config.read_text().replace("small:4", "python:strangers_8.make"))
    assert "python:strangers_8.make" in config.read_text()
    return run_folder, ran


def test_a_run_that_names_code_is_refused_before_it_runs(strange_run):
    run, ran = strange_run
    with pytest.raises(FileProblem, match=r"python:strangers_8\.make.*--allow-code"):
        saccade.load(run)
    with pytest.raises(FileProblem, match="run no code"):
        load_run(run)
    assert not ran.exists()


def test_a_run_that_names_code_runs_it_where_that_is_allowed(strange_run):
    run, ran = strange_run
    with pytest.raises(FileProblem, match="weights that fit"):  # they are of another network
        saccade.load(run, allow_code=True)
    assert ran.exists()
    assert trust.trust() == Trust()


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "RUN", "IMAGE", "OUT"],
        ["evaluate", "RUN", "DATA"],
        ["plan", "IMAGE", "RUN"],
        ["train", "DATA", "RUN", "--resume"],
        ["train", "DATA", "NEW", "--config", "RUN/config.yaml"],
        ["compare", "DATA", "NEW", "--config", "RUN/config.yaml"],
        ["report", "RUN"],
    ],
)
def test_no_command_runs_code_that_a_file_names(words, strange_run, tiny_data, tmp_path, capsys):
    run, ran = strange_run
    image = next((tiny_data / "images").iterdir())
    places = {"RUN": run, "DATA": tiny_data, "IMAGE": image, "OUT": tmp_path / "out", "NEW": tmp_path / "new"}
    shown = [
        str(run / "config.yaml") if word == "RUN/config.yaml" else str(places.get(word, word))
        for word in words
    ]
    assert main([*shown]) == 1
    told = capsys.readouterr().err
    assert "network.name: python:strangers_8.make" in told and "--allow-code" in told
    assert not ran.exists()


def test_a_page_of_a_run_is_made_without_its_code(strange_run, capsys):
    run, ran = strange_run
    from saccade.report import write_report

    assert "python:strangers_8.make" in write_report(run).read_text()
    assert not ran.exists()


def test_each_place_that_can_name_code_is_looked_at(tmp_path):
    for options in (
        "sampler: {name: 'python:a.B'}",
        "sampler: {net: 'python:a.b'}",
        "network: {name: 'python:a.b'}",
    ):
        (tmp_path / "c.yaml").write_text(options)
        with pytest.raises(FileProblem, match="run no code"):
            read_config(tmp_path / "c.yaml")
    with pytest.raises(FileProblem, match="run no code"):
        require_allowed_code("x", {"any": [{"where": ["python:a.b"]}]})


@pytest.mark.parametrize(
    "command", ["compare", "evaluate", "export", "plan", "predict", "report", "train", "view"]
)
def test_every_command_that_opens_a_run_can_be_told_to_trust_it(command, capsys):
    assert main([command, "--help"]) == 0
    assert "--allow-code" in capsys.readouterr().out


def test_what_the_user_names_is_allowed_and_nothing_else(tmp_path):
    name_code(["network.name=python:a.b", "python:c.d", "x=python:e.f"])
    for name in ("a.b", "c.d", "e.f"):
        require_allowed_code("x", {"network": {"name": f"python:{name}"}})
    with pytest.raises(FileProblem, match="run no code"):
        require_allowed_code("x", {"network": {"name": "python:a.bc"}})


def test_naming_it_in_the_command_is_enough_and_a_later_command_must_say_so(tmp_path, tiny_data):
    """In processes of their own, as a user does it."""
    (tmp_path / "mine_8.py").write_text(NETWORK.format(mark=str(tmp_path / "ran")))
    image = next((tiny_data / "images").iterdir())

    def saccade_of(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "saccade", *words, "-q"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )

    options = ["--size", "8x12", "--sampler", "uniform", "--epochs", "1", "--device", "cpu"]
    done = saccade_of("train", str(tiny_data), "run", "--network", "python:mine_8.make", *options)
    assert done.returncode == 0, done.stderr
    refused = saccade_of("predict", "run", str(image), "out", "--device", "cpu")
    assert refused.returncode == 1 and "--allow-code" in refused.stderr
    shutil.copy(image, tmp_path / f"second{image.suffix}")
    both = [str(image), f"second{image.suffix}"]
    done = saccade_of("predict", "run", *both, "out2", "--device", "cpu", "--allow-code", "--jobs", "2")
    assert done.returncode == 0, done.stderr


def test_trust_ends_with_its_block_also_after_an_error():
    with pytest.raises(ValueError), trusting(code=True, outside=True):
        assert trust.trust().code and trust.trust().outside
        raise ValueError
    assert trust.trust() == Trust()
    with trusting(code=True), trusting():
        assert trust.trust().code  # an inner block takes nothing away
