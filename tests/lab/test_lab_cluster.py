"""Runs of a comparison on a Dask cluster are those of one process, whoever is killed in the middle."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import saccade
from saccade.cli import main
from saccade.errors import UsageError

pytest.importorskip("distributed", reason="the extra cluster")


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The runs are tiny."""


HOW: dict[str, Any] = {
    "samplers": ["uniform", "deformation"], "sizes": ["8x12"], "seeds": 1, "network": "small:4", "epochs": 3,
    "batch_size": 2, "device": "cpu", "progress": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def alone(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("alone") / "out"
    saccade.compare(tiny_data, out, **HOW)
    torch.set_num_threads(before)
    return out


def same(one: Path, other: Path) -> None:
    """Weights to the bit, and all that was counted."""
    runs = sorted(path.name for path in (one / "runs").iterdir() if path.is_dir())
    assert runs == sorted(path.name for path in (other / "runs").iterdir() if path.is_dir()) != []
    for run in runs:
        weights, theirs = (
            torch.load(out / "runs" / run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
            for out in (one, other)
        )
        assert all(torch.equal(weights[name], theirs[name]) for name in weights | theirs)
        counted = [saccade.evaluate(out / "runs" / run, store=False).to_json() for out in (one, other)]
        for found in counted:
            found.pop("cost", None)
        assert counted[0] == counted[1]


def die_once(mark: str) -> None:
    """On a worker: the first that has finished an epoch of the second run kills itself."""
    from saccade.lab import cluster

    real = cluster.wanted

    def wanted() -> bool:
        folder = Path(mark).parent / "out" / "runs" / "deformation_8x12_s0" / "checkpoints" / "last.ckpt"
        if not os.path.exists(mark) and folder.exists():
            Path(mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return real()

    cluster.wanted = wanted


def test_the_run_of_a_killed_worker_goes_on_with_another(
    tiny_data, alone, client, tmp_path, monkeypatch
) -> None:
    from saccade.lab import compare

    lines: list[str] = []
    real = compare.Overall.tell

    def heard(self: Any, trial: Any, share: float, line: str) -> None:
        lines.append(f"{trial.name}: {line}")
        real(self, trial, share, line)

    monkeypatch.setattr(compare.Overall, "tell", heard)
    client.run(die_once, str(tmp_path / "mark"))
    compared = saccade.compare(tiny_data, tmp_path / "out", client=client, **HOW)
    assert (tmp_path / "mark").exists() and compared.failures == []
    assert any("deformation_8x12_s0: goes on after epoch" in line for line in lines)
    same(tmp_path / "out", alone)
    client.wait_for_workers(2, timeout=200)


def test_the_command_takes_a_cluster_and_uses_what_is_there(
    tiny_data, alone, client, tmp_path, capsys
) -> None:
    words = ["--samplers", "uniform", "--sizes", "8x12", "--seeds", "1", "--network", "small:4", "-q"]
    words += ["--epochs", "3", "--batch-size", "2", "--device", "cpu", "--cluster", client.scheduler.address]
    assert main(["compare", str(tiny_data), str(alone), *words, "--dry-run"]) == 0
    assert "1 runs: 1 there, 0 to train" in capsys.readouterr().out
    broken = ["--set", "uniform:optimizer.learning_rate=1e30", "--set", "uniform:optimizer.warmup=0"]
    assert main(["compare", str(tiny_data), str(tmp_path / "out"), *words, *broken]) == 1
    assert "no run succeeded: uniform_8x12_s0: the loss became" in capsys.readouterr().err
    for more, told in (
        (["--jobs", "2"], "one alone shares the runs out"),
        (["--cluster", "here"], "--cluster is local:N"),
    ):
        assert main(["compare", str(tiny_data), str(tmp_path / "other"), *words, *more]) == 2
        assert told in capsys.readouterr().err
    with pytest.raises(UsageError, match="one alone shares"):
        saccade.compare(tiny_data, tmp_path / "other", cluster="local:2", client=client, **HOW)
    assert not (tmp_path / "other").exists()


def busy() -> bool:
    from saccade.runtime import cluster_tasks

    return cluster_tasks._BUSY.locked()


def test_workers_stop_when_nobody_waits_for_them_any_more(tiny_data, client, tmp_path) -> None:
    """Else a comparison that was interrupted would keep a cluster busy for hours."""
    last = tmp_path / "out" / "runs" / "uniform_8x12_s0" / "checkpoints" / "last.ckpt"

    def interrupt() -> None:
        while not last.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        saccade.compare(tiny_data, tmp_path / "out", client=client, **HOW | {"epochs": 100_000})
    thread.join()
    deadline = time.monotonic() + 120
    while any(client.run(busy).values()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not (last.parent.parent / "failure.json").exists()
