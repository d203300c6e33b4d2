"""A short run of the campaign that damages what is read, and that it sees what goes wrong."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

import saccade
from saccade.errors import InvalidInput

ROOT = Path(__file__).parents[2]
FUZZ = ROOT / "benchmarks" / "fuzz.py"
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits as Linux has them")


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", FUZZ)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


SUBJECTS = "options,data tables,raster sidecars"


def test_damaged_files_are_read_or_refused() -> None:
    settings = os.environ | {"PYTHONPATH": str(Path(saccade.__file__).parent.parent)}
    words = [sys.executable, str(FUZZ), "--only", SUBJECTS, "--inputs", "40"]
    done = subprocess.run(words, env=settings, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "120 inputs, 0 faults" in done.stdout


def test_whatever_goes_wrong_is_counted(fuzz: ModuleType, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 0.5)
    monkeypatch.setattr(fuzz, "MEMORY", 64 << 20)
    inputs = ["sound", "fine", "refused", "broken", "killed", "gone", "slow", "large", "fine"]

    def use(folder: Path) -> None:
        word = (folder / "a").read_text()
        if word == "refused":
            raise InvalidInput("a", "b", "c")
        if word == "broken":
            raise KeyError(word)
        if word == "killed":
            os.kill(os.getpid(), signal.SIGSEGV)
        if word == "gone":
            os._exit(0)
        while word == "slow":
            time.perf_counter()
        if word == "large":
            bytes(1) * (96 << 20)

    def input_of(subject, sound: Path, folder: Path, number: int) -> tuple[Path, bytes]:
        (folder / "a").write_text(inputs[number])
        return folder / "a", b"sound"

    monkeypatch.setattr(fuzz, "input_of", input_of)
    (tmp_path / "sound").mkdir()
    (tmp_path / "sound" / "a").write_text("sound")
    subject, tally, number = fuzz.Subject("a", None, use), fuzz.Tally(), 1
    while number < len(inputs):
        number = fuzz.attempt(subject, tmp_path / "sound", number, len(inputs) - number, tally, float("inf"))
    assert (tally.tried, tally.refused) == (8, 1)
    faults = {what.partition(" at ")[0]: inputs[number] for what, number in tally.first.items()}
    assert faults == {
        "KeyError": "broken", "SIGSEGV": "killed", "vanished": "gone", "over 0 s": "slow",
        "over 1 GB": "large",
    }  # fmt: skip


def test_an_input_is_decided_by_its_number(fuzz: ModuleType) -> None:
    content = b'{"classes": [{"index": 0, "name": "ground"}]}\n'
    made = [fuzz.damaged(content, "classes.json", fuzz.random.Random(f"a/{k}")) for k in range(50)]
    again = [fuzz.damaged(content, "classes.json", fuzz.random.Random(f"a/{k}")) for k in range(50)]
    assert made == again and len(set(made)) > 20
