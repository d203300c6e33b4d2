"""Measures cases against named peers: warm-up, alternating runs, medians, spread, distance from the limit."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

SHORTEST = 0.02
"""Seconds that one measurement takes at least: quick calls are repeated."""

PACKAGES = ("torch", "numba", "numpy", "scipy", "pillow")


@dataclass(frozen=True)
class Case:
    """One operation against a peer that does the same.

    Args:
        name: what is measured, with its sizes.
        ours, peer: called without arguments; the peer does the same work in the usual way.
        peer_name: how the peer is called in the table.
        limit: what the operation cannot do without: "2.1 MB written", "0.27 GFLOP".
        target: the ratio peer time / our time that is asked for; None where the case is only shown.
    """

    name: str
    ours: Callable[[], object]
    peer_name: str
    peer: Callable[[], object]
    limit: str
    target: float | None


@dataclass(frozen=True)
class Outcome:
    """Seconds, medians of all runs; ``spread`` is the range of the middle half over the median."""

    name: str
    peer_name: str
    ours: float
    peer: float
    ratio: float
    target: float | None
    ours_spread: float
    peer_spread: float
    ours_cpu: float
    peer_cpu: float
    first_call: float
    limit: str
    limit_seconds: float
    runs: int
    commit: str
    date: str

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.ratio >= self.target


def measure(case: Case, runs: int, peaks: dict[str, float], commit: str) -> Outcome:
    """Alternates ours and peer ``runs`` times after a warm-up of each."""
    first = _seconds(case.ours, 1)[0]
    case.peer()
    times: dict[str, list[tuple[float, float]]] = {"ours": [], "peer": []}
    calls = {name: _calls(function) for name, function in (("ours", case.ours), ("peer", case.peer))}
    for _ in range(runs):
        for name, function in (("ours", case.ours), ("peer", case.peer)):
            times[name].append(_seconds(function, calls[name]))
    walls = {name: [wall for wall, _ in pairs] for name, pairs in times.items()}
    cpus = {name: statistics.median(cpu for _, cpu in pairs) for name, pairs in times.items()}
    ours, peer = statistics.median(walls["ours"]), statistics.median(walls["peer"])
    return Outcome(
        name=case.name,
        peer_name=case.peer_name,
        ours=ours,
        peer=peer,
        ratio=peer / ours,
        target=case.target,
        ours_spread=_spread(walls["ours"]),
        peer_spread=_spread(walls["peer"]),
        ours_cpu=cpus["ours"],
        peer_cpu=cpus["peer"],
        first_call=first,
        limit=case.limit,
        limit_seconds=_limit_seconds(case.limit, peaks),
        runs=runs,
        commit=commit,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _calls(function: Callable[[], object]) -> int:
    return max(1, min(1000, int(SHORTEST / max(_seconds(function, 1)[0], 1e-7))))


def _seconds(function: Callable[[], object], calls: int) -> tuple[float, float]:
    """(wall, processor) seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        function()
    return (time.perf_counter() - wall) / calls, (time.process_time() - cpu) / calls


def _spread(walls: Sequence[float]) -> float:
    ordered = sorted(walls)
    quarter = len(ordered) // 4
    return (ordered[-1 - quarter] - ordered[quarter]) / statistics.median(ordered)


def _limit_seconds(limit: str, peaks: dict[str, float]) -> float:
    """Seconds that the limit would take at the measured peak of this machine."""
    amount, unit = limit.split()[:2]
    per_second = peaks["gflop_per_second"] if unit == "GFLOP" else peaks["mb_per_second"]
    return float(amount) / per_second


def machine_peaks() -> dict[str, float]:
    """What this machine does at best now: MB written a second, float32 GFLOP a second."""
    block = torch.empty(1 << 28, dtype=torch.uint8)
    matrix = torch.rand(1024, 1024)
    fill = min(_seconds(lambda: block.fill_(1), 1)[0] for _ in range(5))
    product = min(_seconds(lambda: matrix @ matrix, 1)[0] for _ in range(5))
    return {"mb_per_second": block.numel() / 1e6 / fill, "gflop_per_second": 2 * 1024**3 / 1e9 / product}


def surroundings(peaks: dict[str, float]) -> dict[str, Any]:
    """Where figures come from: processor, threads, versions, how busy the machine was."""
    return {
        "device": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        **{name: round(peak, 1) for name, peak in peaks.items()},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def current_commit() -> str:
    """The commit of the working tree, marked where tracked files differ from it."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True).stdout.strip()

    dirty = git("status", "--porcelain", "--untracked-files=no", "--", "../src", ".")
    return git("rev-parse", "--short", "HEAD") + (" with changes" if dirty else "")


def show(outcomes: Sequence[Outcome], console: Console) -> None:
    """The table: losses too."""
    table = Table(title="ours against peers (medians; spread of the middle half)")
    for column in ("case", "ours", "peer", "ratio", "wanted", "of the limit", "peer is"):
        table.add_column(column, justify="left" if column in ("case", "peer is") else "right")
    for one in outcomes:
        colour = {True: "green", False: "red", None: "white"}[one.met]
        table.add_row(
            one.name,
            f"{_short(one.ours)} ±{one.ours_spread / 2:.0%}",
            f"{_short(one.peer)} ±{one.peer_spread / 2:.0%}",
            f"[{colour}]{one.ratio:.3g}x[/]",
            "" if one.target is None else f"{one.target:.3g}x",
            f"{one.limit_seconds / one.ours:.1%} ({one.limit})",
            one.peer_name,
        )
    console.print(table)


def _short(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def keep(outcomes: Sequence[Outcome], path: Path, where: dict[str, Any]) -> None:
    """Writes outcomes as JSON; cases measured before and not now stay as they are."""
    old = json.loads(path.read_text())["cases"] if path.exists() else []
    new = {one.name: {**asdict(one), "met": one.met} for one in outcomes}
    cases = [case for case in old if case["name"] not in new] + list(new.values())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"measured_on": where, "cases": cases}, indent=1) + "\n")


@dataclass(frozen=True)
class Watched:
    """A command that was looked at while it ran.

    Attributes:
        code: its exit code.
        said: what it wrote, both streams.
        seconds, processor: by the clock, and of the processor, its children's that it waited for included.
        peak: the most bytes that it and its children held together.
        own: the same without the pages of files, libraries above all: what of these a process is counted for
            depends on what the machine had read before. The most that was met.
    """

    code: int
    said: str
    seconds: float
    processor: float
    peak: int
    own: int


def watch(
    command: Sequence[str], log: Path, *, every: float = 0.02, look: Callable[[int], object] | None = None
) -> Watched:
    """Runs a command to its end.

    The peak of a single process is what the kernel noted; that of several is the largest sum that was met.
    Pages that processes share count for each.

    Args:
        command: its words.
        log: a file for what it says.
        every: seconds between two looks.
        look: called with the bytes of its own that are held now.
    """
    began, most, most_own = time.perf_counter(), 0, 0
    before: set[int] = set()
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            there = tree(process.pid)
            # A child that is about to become another program has its parent's pages for an instant.
            processes, before = [one for one in there if one in before], {process.pid, *there}
            most = max(most, sum(map(resident, processes)), _highest(process.pid))
            held = sum(map(own_memory, processes))
            most_own = max(most_own, held)
            if look is not None:
                look(held)
            time.sleep(every)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds, processor = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
    return Watched(process.returncode, log.read_text(errors="replace"), seconds, processor, most, most_own)


def tree(root: int) -> list[int]:
    """A process and all below it."""
    found = [root]
    for one in found:
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def resident(process: int) -> int:
    """Bytes that a process holds; 0 where it is no more."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def own_memory(process: int) -> int:
    """Bytes that a process holds, without pages of files; 0 where it is no more."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
        return sum(int(status.split(f"{name}:")[1].split()[0]) for name in ("RssAnon", "RssShmem")) * 1024
    except (OSError, IndexError):
        return 0


def _highest(process: int) -> int:
    """The most bytes that a process ever held."""
    try:
        return int(Path(f"/proc/{process}/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        return 0


def campaign_arguments(doc: str | None, *, quick: str) -> argparse.Namespace:
    """What a campaign of many cases is asked for; ``quick`` says what it does then."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--place", type=Path, help="a folder for images and runs, which stay there")
    return parser.parse_args()
