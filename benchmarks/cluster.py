"""Workers of Dask against one: where the network is the cost, what 10,000 parts cost, and what is held.

    python benchmarks/cluster.py RUN FOLDER [--json FILE]

FOLDER is for a map that is made, and for labels. The map comes from a server on this machine that waits
before each answer, as one far away would: what then takes time is waiting, which workers share even on busy
cores. With ``--delay 0`` the network of RUN is the cost; then a core for each worker must be free, and
``OMP_NUM_THREADS=1`` keeps each worker to its own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import saccade
from huge_files import make_map
from range_server import serving
from saccade.geometry import Tiling
from saccade.inference import Job
from saccade.inference.cluster import STRIDES, Parts
from saccade.inference.label_values import OUTPUT_TILE
from saccade.rasters.journal import Output
from saccade.runtime.cluster import connected
from saccade.runtime.memory import resident_memory


def timed(run: Path, address: str, out: Path, **how: Any) -> float:
    begin = time.perf_counter()
    saccade.predict(run, address, out, overwrite=True, progress=False, device="cpu", **how)
    return time.perf_counter() - begin


def network(run: Path, folder: Path, delay: float, side: int, pairs: int, size: str) -> dict[str, Any]:
    """Seconds of one worker and of two in turn, without the start of workers; the ratio of the least."""
    make_map(folder / "map.tif", side, side // 8, tile=128)
    how = {"mode": "tiles", "size": size, "tile": "256x256"}
    found: dict[str, Any] = {"delay": delay, "side": side, "size": size, "load": []}
    found |= {"seconds_1": [], "seconds_2": []}
    with serving(folder) as served, connected("local:1") as one, connected("local:2") as two:
        served.delay = delay
        two.wait_for_workers(2, timeout=300)
        for number in range(pairs + 1):  # the first loads the run and compiles
            for count, client in ((1, one), (2, two)):
                seconds = timed(run, f"{served.url}/map.tif", folder / f"labels{count}", client=client, **how)
                if number:
                    found[f"seconds_{count}"].append(seconds)
                served.forget()
            found["load"].append(os.getloadavg()[0])
            print(number, found, file=sys.stderr, flush=True)
    labels = [(folder / f"labels{n}" / "map.tif").read_bytes() for n in (1, 2)]
    ratio = min(found["seconds_1"]) / min(found["seconds_2"])
    return {**found, "ratio": ratio, "equal": labels[0] == labels[1]}


def nothing(*arguments: Any) -> dict[str, list[list[int]]]:
    """Rows of four tiles of one class each, which take no work."""
    return {"labels": [[0, 1, 2, 3]]}


def overhead(parts: int) -> dict[str, Any]:
    """What a part that takes no work costs, asked for as those of an image are; memory of client and
    scheduler (one process) after a tenth and at the end."""
    tiling = Tiling((parts * OUTPUT_TILE, 4 * OUTPUT_TILE), (OUTPUT_TILE // STRIDES,) * 2, 0.0)
    image: Any = SimpleNamespace(
        raster=SimpleNamespace(size=tiling.size), mark="0" * 64,
        execution=SimpleNamespace(layout=SimpleNamespace(tiling=tiling)),
    )  # fmt: skip
    memory: dict[str, float] = {}
    with connected("local:2") as client:
        client.wait_for_workers(2, timeout=300)
        asked = Parts(client, "", Job(Path("map.tif"), Path("labels.tif")), do=nothing)
        begin, count = time.perf_counter(), 0
        for count, _ in enumerate(asked(image, 0, {"labels": Output(tiling.size)}), start=1):
            if count in (parts // 10, parts):
                memory[f"mib_after_{count}"] = resident_memory() / 2**20
        seconds = time.perf_counter() - begin
    return {"parts": count, "ms_a_part": 1000 * seconds / count, "load": os.getloadavg()[0], **memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--delay", type=float, default=0.1, help="seconds before each answer of the server")
    parser.add_argument("--size", default="128x128", help="of the view of a tile of 256x256")
    parser.add_argument("--side", type=int, default=8192, help="rows of the map")
    parser.add_argument("--pairs", type=int, default=3, help="turns of one worker and of two")
    parser.add_argument("--parts", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    found = {
        "overhead": overhead(args.parts),
        "network": network(args.run, args.folder, args.delay, args.side, args.pairs, args.size),
    }
    print(json.dumps(found, indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
