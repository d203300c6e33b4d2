"""How much memory this process may take, and the most that a call takes."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")
RESET_PEAK = "5"


def peak_memory(call: Callable[[], Any], device: torch.device) -> int | None:
    """Bytes that ``call`` adds at its peak: allocated ones on CUDA, resident ones of the process on a CPU.

    On a CPU the free memory that the process keeps is handed back first, so that a second measurement finds
    as much as the first. None where the system does not tell (only Linux does).
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    return _resident_peak(call)


def _resident_peak(call: Callable[[], Any]) -> int | None:
    try:
        ctypes.CDLL(None).malloc_trim(0)
        RESET.write_text(RESET_PEAK)
        before = _resident("VmRSS")
        call()
        return max(0, _resident("VmHWM") - before)
    except (OSError, AttributeError, TypeError):
        return None


def _resident(field: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{STATUS} has no {field}")


_CGROUP = Path("/sys/fs/cgroup")


def available_memory() -> int:
    """Bytes that can be taken without swapping: what the system has left, or what the container allows."""
    left = [_from_meminfo(), _from_cgroup()]
    known = [value for value in left if value is not None]
    return min(known) if known else _half_of_physical()


def _from_meminfo() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    amounts = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return amounts[0] if amounts else None


def _from_cgroup() -> int | None:
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        statistics = (_CGROUP / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return None
    reclaimable = sum(int(line.split()[1]) for line in statistics if line.startswith("inactive_file "))
    return max(0, limit - used + reclaimable)


def _half_of_physical() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError, AttributeError):
        return 2 << 30
