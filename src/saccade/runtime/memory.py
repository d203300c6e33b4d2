"""How much memory this process holds and may take, and the most that a call takes."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
M_MMAP_THRESHOLD = -3
"""Of glibc's malloc.h."""
USUAL = 700 << 20
"""What the program holds once torch is loaded, where the system does not say."""


@cache
def physical_memory() -> int:
    """Bytes of RAM of this machine; 64 GiB where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 64 << 30


def resident_memory() -> int:
    """Bytes of RAM that this program holds now; a usual value where the system does not say."""
    held = _field(STATUS, "VmRSS")
    if held is None and (psutil := _psutil()) is not None:
        held = int(psutil.Process().memory_info().rss)
    return USUAL if held is None else held


def peak_resident_memory() -> int | None:
    """The most bytes of RAM that this program has held; None where the system does not say."""
    peak = _field(STATUS, "VmHWM")
    if peak is not None:
        return peak
    try:
        import resource
    except ImportError:  # Windows
        psutil = _psutil()
        return None if psutil is None else getattr(psutil.Process().memory_info(), "peak_wset", None)
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage if sys.platform == "darwin" else usage * 1024


def available_memory() -> int:
    """Bytes that can be taken without swapping: what the system has left, or what the container allows."""
    left = _field(MEMINFO, "MemAvailable")
    if left is None and (psutil := _psutil()) is not None:
        left = int(psutil.virtual_memory().available)
    known = [value for value in (left, _from_cgroup()) if value is not None]
    return min(known) if known else _half_of_physical()


def give_large_blocks_back() -> None:
    """From now on, blocks of over a megabyte go back to the system as soon as they are freed.

    For a server of many threads: glibc learns to keep what was freed, up to 32 MB a block, in an arena for
    each thread, which came to 600 MB for 50 clients of the viewer. Each block is cleared anew, which a
    network's activations would feel. Nothing happens where the C library has no such setting.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 20)


def peak_memory(call: Callable[[], Any], device: torch.device) -> int | None:
    """Bytes that ``call`` adds at its peak: allocated ones on CUDA, resident ones of the process on a CPU.

    On a CPU the free memory that the process keeps is handed back first, so that a second measurement finds
    as much as the first. None where the system does not tell: only Linux forgets an earlier, higher peak.
    """
    gc.collect()
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    try:
        ctypes.CDLL(None).malloc_trim(0)
        RESET.write_text(RESET_PEAK)
    except (OSError, AttributeError, TypeError):
        call()
        return None
    held = resident_memory()
    call()
    peak = peak_resident_memory()
    return None if peak is None else max(0, peak - held)


def _psutil() -> Any:
    """The package that asks any system, where somebody has installed it."""
    with suppress(ImportError):
        import psutil

        return psutil
    return None


def _field(file: Path, name: str) -> int | None:
    """Bytes of a line "name: kibibytes kB" of a file under /proc; None where there is none."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    amounts = [int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")]
    return amounts[0] if amounts else None


def _from_cgroup() -> int | None:
    try:
        limit = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text())
        statistics = (CGROUP / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return None
    reclaimable = sum(int(line.split()[1]) for line in statistics if line.startswith("inactive_file "))
    return max(0, limit - used + reclaimable)


def _half_of_physical() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError, AttributeError):
        return 2 << 30
