"""Jobs in several processes: each done once, news told, deaths told, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from saccade.errors import InvalidInput, SaccadeError
from saccade.runtime import processes
from saccade.runtime.processes import Killed, run_jobs


def begin(number: int, factor: int) -> Callable[[Any, Any], Any]:
    def work(job: Any, tell: Any) -> Any:
        if job == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if job == "refuse":
            raise InvalidInput("job", "a number", job)
        if job == "break":
            return 1 // 0
        if job == "sleep":
            tell(os.getpid())
            time.sleep(600)
        tell("half", job / 2)
        return factor * job

    return work


def refuse_to_begin(number: int) -> Callable[[Any, Any], Any]:
    raise SaccadeError("no weights here")


def test_each_job_is_done_once_and_its_news_are_told() -> None:
    heard: list[tuple[int, str, float]] = []
    with closing(run_jobs(range(5), 2, begin, 10, on_news=lambda *news: heard.append(news))) as results:
        assert dict(results) == {job: 10 * job for job in range(5)}
    assert sorted(heard) == [(job, "half", job / 2) for job in range(5)]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system kills in another way")
def test_a_killed_process_costs_its_own_job_alone() -> None:
    jobs = [1, "die", 2, 3, "die", 4]
    assert dict(run_jobs(jobs, 2, begin, 10)) == {
        0: 10, 1: Killed("signal SIGKILL"), 2: 20, 3: 30, 4: Killed("signal SIGKILL"), 5: 40,
    }  # fmt: skip


def test_what_a_process_fails_with_reaches_the_caller() -> None:
    with pytest.raises(SaccadeError, match="no weights here"):
        list(run_jobs([1], 1, refuse_to_begin))
    with pytest.raises(SaccadeError, match="expected job to be a number, but got refuse"):
        list(run_jobs(["refuse"], 1, begin, 1))
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(run_jobs(["break"], 1, begin, 1))


def test_processes_end_with_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PATIENCE", 0.2)
    sleepers: list[int] = []
    jobs = run_jobs(["sleep", 1, 2], 2, begin, 1, on_news=lambda job, *news: sleepers.append(news[0]))
    with closing(jobs) as results:
        assert next(results) == (1, 1)
    assert not any(alive(pid) for pid in sleepers if isinstance(pid, int))


FIRST = """
import sys
from saccade.runtime.processes import run_jobs
from test_runtime_processes import begin
if __name__ == "__main__":
    list(run_jobs(["sleep"], 1, begin, 1, on_news=lambda job, pid: print(pid, flush=True)))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends a process with its parent")
def test_no_process_outlives_a_program_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "first.py").write_text(FIRST)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    first = subprocess.Popen([sys.executable, tmp_path / "first.py"], stdout=subprocess.PIPE, env=environment)
    with first:
        assert first.stdout is not None
        pid = int(first.stdout.readline())
        assert alive(pid)
        first.kill()
    deadline = time.monotonic() + 60
    while alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Neither gone nor waiting to be buried."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
