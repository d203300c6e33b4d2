"""What this process holds and may take: told by the system, by another package, or by neither."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from saccade.runtime import memory

NOWHERE = Path("/no/such/file")
CPU = torch.device("cpu")


@pytest.fixture
def no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATUS", "MEMINFO", "RESET", "CGROUP"):
        monkeypatch.setattr(memory, name, NOWHERE / name)


def psutil(**fields: int) -> SimpleNamespace:
    held = SimpleNamespace(**fields)
    return SimpleNamespace(
        Process=lambda: SimpleNamespace(memory_info=lambda: held),
        virtual_memory=lambda: SimpleNamespace(available=3 << 30),
    )


@pytest.mark.skipif(not memory.STATUS.exists(), reason="only Linux has /proc")
def test_what_is_held_grows_with_what_is_made() -> None:
    before = memory.resident_memory()
    made = torch.ones(80_000_000, dtype=torch.uint8)
    assert 70e6 < memory.resident_memory() - before < 100e6
    assert memory.peak_resident_memory() >= memory.resident_memory() - len(made)


THREADS_THAT_END = """
import sys, threading
import numpy as np
from saccade.runtime import memory
if sys.argv[1] == "back":
    memory.give_large_blocks_back()
np.ones(30 << 20, np.uint8)  # glibc learns from the first that is freed to keep blocks as large
before = memory.resident_memory()
kept, leave, done = [], threading.Event(), threading.Barrier(9)

def work():
    for _ in range(5):
        kept.append([np.ones(20 << 20, np.uint8), np.ones(1000, np.uint8)].pop())
    done.wait()
    leave.wait()

for _ in range(8):
    threading.Thread(target=work, daemon=True).start()
done.wait()
print(memory.resident_memory() - before)
"""


@pytest.mark.skipif(not memory.STATUS.exists(), reason="only Linux has /proc")
def test_threads_keep_no_large_blocks_that_they_freed() -> None:
    command = [sys.executable, "-c", THREADS_THAT_END]
    kept, back = (
        int(subprocess.run([*command, how], stdout=subprocess.PIPE, check=True).stdout)
        for how in ("kept", "back")
    )
    if kept < 40e6:
        pytest.skip("this C library keeps nothing")
    assert back < 20e6


def test_another_package_is_asked_where_the_system_has_no_files(
    no_proc: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psutil", psutil(rss=123 << 20))
    assert memory.resident_memory() == 123 << 20
    assert memory.available_memory() == 3 << 30


def test_a_system_that_says_nothing_gives_usual_values_and_no_peak_of_a_call(
    no_proc: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert memory.resident_memory() == memory.USUAL
    assert memory.available_memory() > 1 << 28
    called: list[int] = []
    assert memory.peak_memory(lambda: called.append(1), CPU) is None
    assert called == [1]


def test_the_peak_of_this_process_is_told_without_the_files_of_linux(no_proc: None) -> None:
    pytest.importorskip("resource")
    peak = memory.peak_resident_memory()
    assert peak is not None and 50 << 20 < peak < 1 << 36


def test_a_container_allows_less_than_the_system_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text(str(100 << 20))
    (tmp_path / "memory.current").write_text(str(60 << 20))
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {20 << 20}\n")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory.available_memory() == 60 << 20
