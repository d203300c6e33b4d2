"""Processes that torchrun and srun start learn what the processes learn that ``--device cpu:2`` starts."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import assert_same_weights

from saccade.errors import UsageError
from saccade.runtime.devices import DistributedContext, lightning_device
from saccade.training.launched import how_to_begin, launcher, training_place

NETWORK = """
import os, signal
from torch import nn

class Net(nn.Sequential):
    def forward(self, pixels):
        # In the second epoch, in the second process, once: as if its machine had gone.
        mark = os.environ.get("DIES")
        if mark and os.environ["RANK"] == "1" and os.path.exists(mark) and not os.path.exists(mark + ".dead"):
            open(mark + ".dead", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(pixels)

def make(classes):
    return Net(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, classes, 1))
"""
OPTIONS = ["--size", "8x12", "--sampler", "uniform", "--batch-size", "4", "--epochs", "3", "-q"]
OPTIONS += ["--network", "python:network_of_launched.make"]
HANGING = 300


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    (folder / "network_of_launched.py").write_text(NETWORK)
    return folder


@pytest.fixture(scope="module")
def environment(code: Path) -> dict[str, str]:
    path = os.pathsep.join([str(code), *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def together(tiny_data: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes learn that the first starts itself."""
    out = tmp_path_factory.mktemp("together") / "run"
    command = [sys.executable, "-m", "saccade", "train", str(tiny_data), str(out), *OPTIONS]
    subprocess.run([*command, "--device", "cpu:2"], env=environment, check=True, timeout=HANGING)
    return out


def same(one: Path, other: Path) -> None:
    weights = [
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for run in (one, other)
    ]
    assert_same_weights(*weights)


@pytest.mark.slow
def test_torchrun_goes_on_from_the_last_checkpoint_after_a_process_died(
    tiny_data, together, environment, tmp_path
) -> None:
    out, mark = tmp_path / "run", tmp_path / "run" / "checkpoints" / "last.ckpt"
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]
    train = ["-m", "saccade", "train", str(tiny_data), str(out), *OPTIONS, "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, *command, *train], env={**environment, "DIES": str(mark)}, capture_output=True,
        text=True, timeout=HANGING,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Path(f"{mark}.dead").exists()
    same(out, together)
    told = json.loads((out / "environment.json").read_text())
    assert told["launch"].startswith("torchrun ") and told["device"] == "2 processes on cpu"


def srun(
    data: Path, out: Path, environment: dict[str, str], *more: str
) -> list[subprocess.CompletedProcess[str]]:
    """Two processes with the variables that srun gives."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"NTASKS": 2, "STEP_NUM_TASKS": 2, "NTASKS_PER_NODE": 2, "NNODES": 1, "JOB_ID": 77, "NODEID": 0}
    shared |= {"JOB_NAME": "saccade"}
    started = []
    for rank in (0, 1):
        own = {
            f"SLURM_{name}": str(value) for name, value in {**shared, "PROCID": rank, "LOCALID": rank}.items()
        }
        variables = {**environment, **own, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        command = [sys.executable, "-m", "saccade", "train", str(data), str(out), *OPTIONS, "--device", "cpu"]
        pipe: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen([*command, *more], env=variables, **pipe))
    return [
        subprocess.CompletedProcess("", process.wait(), *texts)
        for process in started
        for texts in [process.communicate(timeout=HANGING)]
    ]


@pytest.mark.slow
def test_srun_trains_one_run_and_refuses_it_once(tiny_data, together, environment, tmp_path) -> None:
    done = srun(tiny_data, tmp_path / "run", environment)
    assert [process.returncode for process in done] == [0, 0], done
    same(tmp_path / "run", together)
    again = srun(tiny_data, tmp_path / "run", environment)
    assert [process.returncode for process in again] == [1, 1]
    assert "there is a run already" in again[0].stderr and again[1].stderr == ""


SLURM = {"SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NODEID": "1"}
SLURM |= {"SLURM_JOB_NAME": "train", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_ID": "7"}


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in {**SLURM, "SLURM_STEP_NUM_TASKS": "4"}.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_a_batch_script_without_srun_is_alone(slurm) -> None:
    assert training_place("cpu") == DistributedContext("cpu", rank=3, count=4, launched=True)
    slurm.delenv("SLURM_STEP_NUM_TASKS")
    assert launcher() is None and training_place("cpu") == lightning_device("cpu")


def test_what_does_not_go_with_a_launcher_is_refused(slurm) -> None:
    with pytest.raises(UsageError, match="--device is auto, cpu or cuda where torchrun or srun"):
        training_place("cpu:2")
    slurm.setenv("SLURM_NTASKS_PER_NODE", "3")
    with pytest.raises(UsageError, match="as many processes on every machine"):
        training_place("cpu")
    slurm.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(UsageError, match="--ntasks-per-node"):
        training_place("cpu")


def test_gpus_are_those_of_each_machine(slurm) -> None:
    slurm.setattr(torch.cuda, "is_available", lambda: True)
    slurm.setattr(torch.cuda, "device_count", lambda: 2)
    assert training_place("auto") == DistributedContext("cuda", (0, 1), 3, 4, launched=True)
    slurm.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="each sees 1 GPU"):
        training_place("auto")


def test_only_a_run_of_the_same_launch_is_gone_on_with_by_itself(slurm, tmp_path) -> None:
    """A training that was refused, for there is a run already, must not take that up when it is restarted."""
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    (tmp_path / "environment.json").write_text('{"launch": "slurm 7"}')
    assert how_to_begin(tmp_path, False, True) == (False, True)
    slurm.setenv("SLURM_RESTART_COUNT", "1")
    assert how_to_begin(tmp_path, False, True) == (True, False)
    checkpoint.unlink()
    assert how_to_begin(tmp_path, False, False) == (False, True)
    slurm.setenv("SLURM_JOB_ID", "8")
    assert how_to_begin(tmp_path, False, False) == (False, False)
    (tmp_path / "environment.json").unlink()
    assert how_to_begin(tmp_path, True, False) == (True, False)
