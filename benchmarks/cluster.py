"""Workers of Dask against one: where the network is the cost, what 10,000 parts cost, and what is held.

    python benchmarks/cluster.py RUN FOLDER [--json FILE]

FOLDER is for a map that is made, and for labels. The map comes from a server on this machine that waits
before each answer, as one far away would: what then takes time is waiting, which workers share even on busy
cores.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import saccade
from huge_files import make_map
from range_server import serving
from saccade.inference.cluster import connected


def timed(run: Path, address: str, out: Path, **how: Any) -> float:
    begin = time.perf_counter()
    saccade.predict(run, address, out, overwrite=True, progress=False, device="cpu", **how)
    return time.perf_counter() - begin


def network(run: Path, folder: Path, delay: float, side: int) -> dict[str, Any]:
    """Seconds of one worker and of two, start of the workers left out, least of two rounds; equal bytes."""
    make_map(folder / "map.tif", side, side // 8, tile=128)
    how = {"mode": "tiles", "size": "128x128", "tile": "256x256"}
    found: dict[str, Any] = {"delay": delay, "load": os.getloadavg()[0]}
    with serving(folder) as served:
        served.delay = delay
        for count in (1, 2):
            with connected(f"local:{count}") as client:
                client.wait_for_workers(count, timeout=300)
                out = folder / f"labels{count}"
                rounds = [timed(run, f"{served.url}/map.tif", out, client=client, **how) for _ in range(3)]
                found[f"seconds_{count}"] = min(rounds[1:])  # the first loads the run and compiles
                served.forget()
    one, two = ((folder / f"labels{n}" / "map.tif").read_bytes() for n in (1, 2))
    return {**found, "ratio": found["seconds_1"] / found["seconds_2"], "equal": one == two}


def nothing(number: int) -> list[int]:
    return [number] * 16


def overhead(parts: int) -> dict[str, Any]:
    """What a part that does nothing takes, asked for as those of an image are; memory of client and scheduler
    (one process)."""
    from collections import deque

    with connected("local:2") as client:
        client.wait_for_workers(2, timeout=300)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begin, waiting, numbers = time.perf_counter(), deque[Any](), iter(range(parts))
        while True:
            while len(waiting) < 4 and (number := next(numbers, None)) is not None:
                waiting.append(client.submit(nothing, number, pure=False))
            if not waiting:
                break
            waiting.popleft().result()
        seconds = time.perf_counter() - begin
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"parts": parts, "ms_a_part": 1000 * seconds / parts, "grown_mib": grown / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--delay", type=float, default=0.1, help="seconds before each answer of the server")
    parser.add_argument("--side", type=int, default=8192, help="rows of the map")
    parser.add_argument("--parts", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    found = {
        "overhead": overhead(args.parts),
        "network": network(args.run, args.folder, args.delay, args.side),
    }
    print(json.dumps(found, indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
