"""What of a file elsewhere is read: bytes and requests against the tiles needed, and against the whole file.

    python benchmarks/remote.py RUN FOLDER [--json FILE]

FOLDER is for the maps that are made, and for labels. The server is on this machine and waits before answers.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import saccade
from huge_files import make_map
from range_server import serving
from saccade.rasters import tiff


def tiles_needed(run: Path, path: Path, out: Path, **how: Any) -> int:
    """Bytes of the tiles that a prediction of the file here reads, each once."""
    needed: dict[Any, int] = {}
    real = tiff.PageReader._bytes

    def spied(self: Any, index: int, skip: int, count: int) -> bytes | None:
        needed[self.page.index, index] = self._counts[index]
        return real(self, index, skip, count)

    tiff.PageReader._bytes = spied  # type: ignore[method-assign]
    try:
        saccade.predict(run, path, out, overwrite=True, progress=False, device="cpu", **how)
    finally:
        tiff.PageReader._bytes = real  # type: ignore[method-assign]
    return sum(needed.values())


def measured(run: Path, folder: Path, name: str, delay: float, **how: Any) -> dict[str, Any]:
    path = folder / name
    needed = tiles_needed(run, path, folder / "here", **how)
    with serving(folder) as served:
        served.delay = delay
        begin = time.perf_counter()
        saccade.predict(
            run, f"{served.url}/{name}", folder / "there", overwrite=True, progress=False, device="cpu", **how
        )
        seconds = time.perf_counter() - begin
        foreseen = saccade.plan(f"{served.url}/{name}", run, device="cpu", **how).remote_bytes
        read, requests = served.bytes, len(served.requests)
    here, there = ((folder / where / name).read_bytes() for where in ("here", "there"))
    return {
        **how, "delay": delay, "load": os.getloadavg()[0], "seconds": seconds, "requests": requests,
        "bytes": read,
        "of_tiles_needed": read / needed, "of_file": read / path.stat().st_size,
        "foreseen_of_read": (foreseen or 0) / read, "equal": here == there,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--delay", type=float, default=0.05)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    name = f"map{args.side}.tif"
    make_map(args.folder / name, args.side, args.side, tile=256)
    found = [
        measured(args.run, args.folder, name, args.delay, mode="whole", size="64x64"),
        measured(args.run, args.folder, name, args.delay, mode="tiles", size="64x64", tile="1024x1024"),
        measured(args.run, args.folder, name, args.delay, mode="tiles", size="64x64", tile="256x256"),
    ]
    print(json.dumps(found, indent=1))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
