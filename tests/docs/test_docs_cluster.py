"""The page about more than one machine is followed, with a scheduler and workers of its own commands."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from saccade.cli import main

pytest.importorskip("distributed", reason="the extra cluster")
PAGE = Path(__file__).parents[2] / "docs" / "cluster.md"
PORT = "8786"
HANGING = 300


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in reversed(processes):
        process.terminate()
    for process in processes:
        process.wait(HANGING)


@pytest.fixture
def port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.mark.slow
def test_the_page_can_be_followed(
    trained_folder, tiny_data, tmp_path, port, started, monkeypatch, one_thread
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained_folder, "RUN")
    shutil.copytree(tiny_data, "DATA")
    Path("IMAGES").mkdir()
    for number in range(2):
        Image.new("RGB", (48, 32), (90, 120, 60 * number)).save(f"IMAGES/photo{number}.png")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OMP_NUM_THREADS": "1",
    }
    text = PAGE.read_text(encoding="utf-8").replace(PORT, port)
    commands = 0
    for language, block in re.findall(r"^```(sh|python)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        if language == "python":
            exec(compile(block, str(PAGE), "exec"), {})
            continue
        for words in map(shlex.split, block.splitlines()):
            commands += 1
            if words[0] == "saccade":
                assert main([*words[1:], "--device", "cpu", "-q"]) == 0, shlex.join(words)
            elif words[0] == "torchrun":
                run = [sys.executable, "-m", "torch.distributed.run", *words[1:]]
                subprocess.run(run, env=environment, check=True, timeout=HANGING)
            else:
                module = {"scheduler": "dask_scheduler", "worker": "dask_worker"}[words[1]]
                run = [sys.executable, "-m", f"distributed.cli.{module}", *words[2:], "--no-dashboard"]
                started.append(subprocess.Popen(run, env=environment, stderr=subprocess.DEVNULL))
    assert commands == 6
    labels = [{p.name: p.read_bytes() for p in Path(out).iterdir()} for out in ("OUT", "OUT2", "OUT3")]
    assert labels[0] == labels[1] == labels[2] and len(labels[0]) == 2
    assert Path("OUT4/comparison.html").is_file() and Path("RUN2/checkpoints/last.ckpt").is_file()
