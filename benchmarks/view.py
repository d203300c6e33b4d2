"""Times of the viewer on a file: first tile, pan, memory, fifty at once.

    python benchmarks/view.py scene.tif [labels.tif]

Tiles are asked for over HTTP as the page does, none twice but by the fifty. Processor time is told beside the
time on the clock: a busy machine stretches the latter.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from saccade.runtime.memory import peak_resident_memory, resident_memory
from saccade.viewer.open import Overlays, open_gallery
from saccade.viewer.server import Viewer

MIB = 1 << 20


def main(image: Path, labels: Path | None) -> None:
    before = resident_memory()
    start = time.perf_counter()
    viewer = Viewer(open_gallery([image], Overlays(labels=labels)))
    threading.Thread(target=viewer.serve_forever, daemon=True).start()
    print(f"{image.name}: opened and served after {time.perf_counter() - start:.3f} s")

    def get(rest: str, connection: http.client.HTTPConnection | None = None) -> tuple[float, bool, bytes]:
        line = connection or http.client.HTTPConnection("127.0.0.1", viewer.server_address[1], timeout=120)
        begun = time.perf_counter()
        line.request("GET", f"/{viewer.token}/{rest}")
        answer = line.getresponse()
        data = answer.read()
        assert answer.status == 200, (rest, data)
        taken, partial = time.perf_counter() - begun, answer.getheader("X-Partial") == "1"
        if connection is None:
            line.close()
        return taken, partial, data

    taken, _, data = get("image/0")
    print(f"  what the page is told: {1000 * taken:.0f} ms")
    about = json.loads(data)
    depth, (rows, columns) = about["depth"], about["size"]
    for layer, one in enumerate(about["layers"]):
        first, partial, _ = get(f"tile/0/{layer}/{depth}/0/0")
        print(f"  first tile of {one['name']}: {1000 * first:.0f} ms{' (in part)' if partial else ''}")
        waited = time.perf_counter()
        while partial:
            time.sleep(0.2)
            _, partial, _ = get(f"tile/0/{layer}/{depth}/0/0")
        if time.perf_counter() - waited > 0.1:
            print(f"    whole after {time.perf_counter() - waited:.1f} s")
    rng = random.Random(0)

    def place() -> str:
        z = rng.randint(0, depth)
        x, y = rng.randrange(-(-columns // (512 << z))), rng.randrange(-(-rows // (512 << z)))
        return f"tile/0/{rng.randrange(len(about['layers']))}/{z}/{x}/{y}"

    places = list(dict.fromkeys(place() for _ in range(400)))
    used = time.process_time()
    times = sorted(get(rest)[0] for rest in places)
    used = time.process_time() - used
    each = 1000 * used / len(times)
    print(f"  {len(times)} tiles here and there: {_spread(times)}, {each:.0f} ms of the processor")
    walks = [[place() for _ in range(20)] for _ in range(50)]
    ready = threading.Barrier(50)

    def visit(walk: list[str]) -> list[float]:
        line = http.client.HTTPConnection("127.0.0.1", viewer.server_address[1], timeout=300)
        ready.wait()
        return [get(rest, line)[0] for rest in walk]

    begun = time.perf_counter()
    with ThreadPoolExecutor(50) as pool:
        times = sorted(t for walk in pool.map(visit, walks) for t in walk)
    taken = time.perf_counter() - begun
    print(f"  50 clients, {len(times)} tiles: {len(times) / taken:.0f} a second, {_spread(times)}")
    peak = peak_resident_memory() or 0
    held = viewer.tiles.held / MIB
    print(f"  memory: {before / MIB:.0f} MiB before, {peak / MIB:.0f} MiB at most, {held:.0f} of tiles")
    print(f"  {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    viewer.shutdown()
    viewer.close()


def _spread(times: list[float]) -> str:
    """Of sorted seconds."""
    middle, most = times[len(times) // 2], times[int(len(times) * 0.95)]
    return f"median {1000 * middle:.0f} ms, 95 % within {1000 * most:.0f} ms"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
