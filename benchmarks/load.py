"""Much at once: ``python benchmarks/load.py [--only WORD] [--json FILE] [--quick]``.

- ``viewer``: 50 clients of ``saccade view`` on a large image, and clients that hang or cut the line.
- ``compare``: a comparison of 200 runs of a tiny network: what each takes besides its training, the memory of
  the program, the page, and doing it again with ``--resume``.
- ``data``: a data set of 50,000 images: ``info``, and ``train`` until its first epoch is over.
- ``job``: ``predict`` of 10,000 images of one folder, and again with ``--resume``.
- ``classes``: 255 classes, the most that there are, from ``init`` to the viewer; and 300, which are refused.

Each prints its figures and the bounds that they hold. Memory is a program's own, without pages of files (of
libraries), which a machine counts now more, now less. Times are of a processor where they are told as such:
other programs on the machine change them little. What must not be quadratic is measured at a fifth of the
number too.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for each other take the processor's time

import http.client
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from harness import Watched, campaign_arguments, current_commit, own_memory, watch
from memory import MB, SACCADE, blocks, make_data, must

CLIENTS = 50


@dataclass(frozen=True)
class Figure:
    """Something that was measured, and the most that it may be; None where it is only told."""

    name: str
    value: float
    unit: str
    most: float | None = None

    @property
    def kept(self) -> bool:
        return self.most is None or self.value <= self.most

    def line(self) -> str:
        bound = "" if self.most is None else f"   (at most {self.most:g})"
        mark = "" if self.kept else "   OVER"
        return f"  {self.name}: {self.value:,.4g} {self.unit}{bound}{mark}"


def run(place: Path, *words: object, said: bool = False, look: Any = None) -> Watched:
    """``saccade WORDS``, which must succeed."""
    quiet = () if said else ("-q",)
    return must(watch((*SACCADE, *map(str, words), *quiet), place / "said", look=look))


# The viewer


def viewer(place: Path, quick: bool) -> Iterator[Figure]:
    """A TIFF without levels, whose coarse tiles are the dear ones, with labels over it."""
    side = 4000 if quick else 20000
    image, labels = place / f"scene_{side}.tif", place / f"labels_{side}.tif"
    if not image.exists():
        _large(image, side, 3)
        _large(labels, side, 1)
    with served(place, image, "--labels", labels) as server:
        yield from _asked(server, 4 if quick else 20)
        before = server.held()
        yield from _rude(server)
        yield Figure("held after clients that hang", server.held() / MB, "MB", before / MB * 1.05 + 20)


def _large(path: Path, side: int, channels: int) -> None:
    import tifffile

    tile = blocks((512, 512)) if channels == 3 else blocks((512, 512))[..., 0] // 64
    tiles = (tile for _ in range((-(-side // 512)) ** 2))
    shape = (side, side, 3) if channels == 3 else (side, side)
    how: dict[str, Any] = {"photometric": "rgb" if channels == 3 else "minisblack", "compression": "deflate"}
    tifffile.imwrite(path, tiles, shape=shape, dtype=np.uint8, tile=(512, 512), metadata=None, **how)


class Server:
    """A viewer that runs."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        self.port, self.token = int(address.split(":")[2].split("/")[0]), address.split("/")[3]

    def get(self, rest: str, line: http.client.HTTPConnection | None = None) -> tuple[float, int, bytes]:
        """Seconds, status and bytes of an answer."""
        began = time.perf_counter()
        own = line or http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        own.request("GET", f"/{self.token}/{rest}")
        answer = own.getresponse()
        data = answer.read()
        if line is None:
            own.close()
        return time.perf_counter() - began, answer.status, data

    def held(self) -> int:
        return own_memory(self.process.pid)

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/task"))


@contextmanager
def served(place: Path, *words: object) -> Iterator[Server]:
    """``saccade view WORDS``."""
    command = [*SACCADE, "view", *map(str, words), "--no-browser", "-q"]
    with (place / "said").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        yield Server(process, process.stdout.readline().strip())
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _asked(server: Server, tiles: int) -> Iterator[Figure]:
    about = json.loads(server.get("image/0")[2])
    depth, (rows, columns) = about["depth"], about["size"]
    rng = random.Random(0)

    def place() -> str:
        z = rng.randint(0, depth)
        x, y = rng.randrange(-(-columns // (512 << z))), rng.randrange(-(-rows // (512 << z)))
        return f"tile/0/{rng.randrange(len(about['layers']))}/{z}/{x}/{y}"

    pages = ["", "viewer.js", "viewer.css", "images", "image/0", "counts/0"]
    walks = [[*pages, *(place() for _ in range(tiles))] for _ in range(CLIENTS)]
    failed: list[str] = []
    for layer in range(len(about["layers"])):  # PyTorch and kernels are loaded for the first
        server.get(f"tile/0/{layer}/{depth}/0/0")
    held = [server.held()]
    ready = threading.Barrier(CLIENTS)

    def visit(walk: list[str]) -> list[float]:
        line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        ready.wait()
        times = []
        for rest in walk:
            try:
                seconds, status, data = server.get(rest, line)
            except OSError as error:
                failed.append(f"{rest}: {error}")
                line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
                continue
            times.append(seconds)
            held.append(server.held())
            if status != 200:
                failed.append(f"{rest}: {status} {data[:80]!r}")
        line.close()
        return times

    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        times = sorted(seconds for walk in pool.map(visit, walks) for seconds in walk)
    taken = time.perf_counter() - began
    for line in failed[:5]:
        print(f"    {line}")
    yield Figure("answers", len(times), "")
    yield Figure("answers a second", len(times) / taken, "")
    yield Figure("median of an answer", 1e3 * times[len(times) // 2], "ms", 3000)
    yield Figure("95 % of the answers within", 1e3 * times[int(len(times) * 0.95)], "ms", 10000)
    yield Figure("errors", len(failed), "", 0)
    yield Figure("held after a tile of each layer", held[0] / MB, "MB")
    yield Figure("held at most", max(held) / MB, "MB", held[0] / MB + 300)


def _rude(server: Server) -> Iterator[Figure]:
    """Clients that say nothing, half of a request, ask and leave at once, or never read the answer."""
    hanging = []
    for number in range(4 * CLIENTS):
        line = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        tile, host = f"tile/0/0/0/{number % 8}/{number // 8}", f"127.0.0.1:{server.port}"
        ask = f"GET /{server.token}/{tile} HTTP/1.1\r\nHost: {host}\r\n"
        if number % 4 == 1:
            line.sendall(ask[: len(ask) // 2].encode())
        elif number % 4 == 2:
            line.sendall(f"{ask}\r\n".encode())
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # cut, not closed
            line.close()
            continue
        elif number % 4 == 3:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            with suppress(OSError):
                line.sendall(f"{ask}\r\n".encode() * 20)
        hanging.append(line)
    seconds, status, _ = server.get("image/0")
    yield Figure(f"an answer beside {len(hanging)} clients that hang", 1e3 * seconds, "ms", 3000)
    yield Figure("errors of it", status != 200, "", 0)
    seconds = max(server.get(f"tile/0/0/0/{n}/{n}")[0] for n in range(4))
    yield Figure("a tile beside them", 1e3 * seconds, "ms", 10000)
    for line in hanging:
        line.close()
    end = time.monotonic() + 75
    while server.threads() > 30 and time.monotonic() < end:
        time.sleep(0.5)
    yield Figure("threads that are left", server.threads(), "", 30)


# A comparison of many runs


def compare(place: Path, quick: bool) -> Iterator[Figure]:
    """Uniform and deformation at two sizes with 50 seeds each."""
    data = place / "tiny"
    if not data.exists():
        make_data(data, 3, {"train": 4, "val": 2, "test": 2}, (48, 64))
    several = {}
    for seeds in (2, 5) if quick else (10, 50):
        runs, out = 4 * seeds, place / f"compared_{4 * seeds}"
        shutil.rmtree(out, ignore_errors=True)
        words = ["compare", data, out, "--seeds", seeds, "--sizes", "8x12,12x16", "--epochs", 1,
                 "--network", "small:4", "--batch-size", 2, "--device", "cpu"]  # fmt: skip
        held: list[tuple[int, int]] = []

        def look(now: int, out: Path = out, held: list[tuple[int, int]] = held) -> None:
            held.append((len(os.listdir(out / "runs")) if (out / "runs").is_dir() else 0, now))

        seen = run(place, *words, look=look)
        trained = _trained(out)
        several[runs] = (seen.processor - 3) / runs
        yield Figure(f"{runs} runs", seen.seconds, "s")
        yield Figure("of the processor a run", several[runs], "s")
        yield Figure("of these in epochs, by the clock", trained / runs, "s")
        at = [now for done, now in held if runs // 4 <= done <= runs // 4 + 2]
        late = [now for done, now in held if runs - 3 <= done < runs]
        yield Figure("held after a quarter of the runs", max(at) / MB, "MB")
        yield Figure("held before the last run", max(late) / MB, "MB", max(at) / MB * 1.1)
        yield Figure("held at most, with tables and page", seen.own / MB, "MB", max(at) / MB * 1.1 + 200)
        page = (out / "comparison.html").stat().st_size
        yield Figure("page", page / MB, "MB", 20)
        again = run(place, *words, "--resume")
        yield Figure("again with --resume, of the processor", again.processor, "s", 15 + 0.1 * runs)
    few, many = sorted(several)
    yield Figure(f"a run of {many} over one of {few}", several[many] / several[few], "times", 1.5)


def _trained(out: Path) -> float:
    """Seconds that the epochs of all runs took."""
    total = 0.0
    for table in out.glob("runs/*/metrics.csv"):
        head, *rows = table.read_text().splitlines()
        place = head.split(",").index("seconds")
        total += sum(float(row.split(",")[place] or 0) for row in rows)
    return total


# Data sets and jobs of very many images


def data(place: Path, quick: bool) -> Iterator[Figure]:
    """``info`` and ``train``: images of 32 x 48, few different ones."""
    several = {}
    count = 2000 if quick else 50000
    for number in (count // 5, count):
        folder = place / f"many_{number}"
        if not folder.exists():
            write_many(folder, number)
        seen = run(place, "info", folder)
        several[number] = (seen.processor - 2) / number
        yield Figure(f"info of {number} images", seen.seconds, "s")
        yield Figure("of the processor an image", 1e3 * several[number], "ms", 5)
        yield Figure("held at most", seen.own / MB, "MB", 500 + number * 0.02)
    yield Figure("an image of many over one of few", several[count] / several[count // 5], "times", 1.3)
    began, first = time.perf_counter(), [0.0]
    out = place / "run_many"
    shutil.rmtree(out, ignore_errors=True)

    def look(_: int) -> None:
        if not first[0] and (out / "config.yaml").exists():
            first[0] = time.perf_counter() - began

    seen = run(place, "train", folder, out, "network.name=small:4", "sampler.size=8x12", "training.epochs=1",
               "training.batch_size=64", "--device", "cpu", look=look)  # fmt: skip
    yield Figure("train until the first step, about", first[0], "s")
    yield Figure("an epoch of train with its validation", seen.seconds, "s")
    yield Figure("of the processor an image", 1e3 * seen.processor / count, "ms")
    yield Figure("held at most, with all images in memory", seen.own / MB, "MB", 800 + count * 0.06)


def write_many(folder: Path, number: int) -> None:
    """A data set of ``number`` images of two kilobytes; a tenth each to validate and to test. None may be
    there twice in two splits, so that they are no links to few."""
    from PIL import Image

    make_data(folder, 3, {}, (32, 48))
    rng = np.random.default_rng(1)
    names = [f"{k:06}" for k in range(number)]
    masks = folder / "masks"
    for name in names:
        labels = rng.integers(0, 3, (4, 6), np.uint8).repeat(8, 0).repeat(8, 1)
        pixels = (labels[..., None] * 80 + rng.integers(0, 40, 3)).astype(np.uint8)
        pixels[0, :3, 0] = [int(name[k : k + 2]) for k in (0, 2, 4)]
        Image.fromarray(pixels).save(folder / "images" / f"{name}.png", compress_level=1)
        Image.fromarray(labels).save(masks / f"{name}.png", compress_level=1)
    tenth = number // 10
    splits = {"val": names[:tenth], "test": names[tenth : 2 * tenth], "train": names[2 * tenth :]}
    (folder / "splits.json").write_text(json.dumps(splits))


def job(place: Path, quick: bool) -> Iterator[Figure]:
    """``predict`` of a folder; what an image takes besides is what it takes among few."""
    tiny = place / "tiny_run"
    if not tiny.exists():
        source = make_data(place / "tiny_data", 3, {"train": 2, "val": 1, "test": 1}, (32, 48))
        run(place, "train", source, tiny, "network.name=small:4", "sampler.size=8x12", "training.epochs=1",
            "--device", "cpu")  # fmt: skip
    several = {}
    count = 500 if quick else 10000
    for number in (count // 5, count):
        folder, out = place / f"images_{number}", place / f"labels_{number}"
        if not folder.exists():
            folder.mkdir()
            write_images(folder, number)
        shutil.rmtree(out, ignore_errors=True)
        held: list[tuple[int, int]] = []

        def look(now: int, out: Path = out, held: list[tuple[int, int]] = held) -> None:
            held.append((len(os.listdir(out)) if out.is_dir() else 0, now))

        words = ["predict", tiny, folder, out, "--save", "labels,table", "--device", "cpu"]
        seen = must(watch((*SACCADE, *map(str, words), "-q"), place / "said", every=0.5, look=look))
        several[number] = (seen.processor - 3) / number
        yield Figure(f"predict of {number} images", seen.seconds, "s")
        yield Figure("of the processor an image", 1e3 * several[number], "ms", 40)
        files = 3 * number
        early = [now for done, now in held if files * 0.1 <= done <= files * 0.5]
        late = [now for done, now in held if files * 0.5 < done < files]
        yield Figure("held in the first half", max(early) / MB, "MB")
        yield Figure("held in the second half", max(late) / MB, "MB", max(early) / MB * 1.05)
        again = run(place, *words, "--resume")
        yield Figure("again with --resume, of the processor", again.processor, "s", 5 + 0.002 * number)
    yield Figure("an image of many over one of few", several[count] / several[count // 5], "times", 1.3)
    out = place / "labels_table"
    shutil.rmtree(out, ignore_errors=True)


def write_images(folder: Path, number: int) -> None:
    from PIL import Image

    for k in range(number):
        Image.fromarray(blocks((32, 48), 8, k)).save(folder / f"{k:06}.png", compress_level=1)


# Classes


def classes(place: Path, quick: bool) -> Iterator[Figure]:
    """Everything with 255 classes; one more is refused in a line."""
    folder, tiny = place / "data_255", place / "run_255"
    shutil.rmtree(tiny, ignore_errors=True)
    if not folder.exists():
        make_data(folder, 255, {"train": 4, "val": 2, "test": 2}, (128, 192))
    how = ("network.name=small:4", "sampler.size=32x48", "training.epochs=1", "--device", "cpu")
    seen = run(place, "train", folder, tiny, *how)
    yield Figure("train with 255 classes, of the processor", seen.processor, "s", 60)
    seen = run(place, "evaluate", tiny, folder, "--device", "cpu")
    yield Figure("evaluate, of the processor", seen.processor, "s", 60)
    seen = run(place, "report", tiny)
    yield Figure("report, of the processor", seen.processor, "s", 30)
    yield Figure("report", (tiny / "report.html").stat().st_size / MB, "MB", 5)
    out = place / "labels_255"
    shutil.rmtree(out, ignore_errors=True)
    image = next((folder / "images").glob("test*"))
    every = "labels,scores,polygons,table,uncertainty,overlay,samples,density"
    seen = run(place, "predict", tiny, image, out, "--save", every, "--device", "cpu")
    yield Figure("predict with all extras, of the processor", seen.processor, "s", 30)
    bare = place / "bare_255"
    shutil.rmtree(bare, ignore_errors=True)
    shutil.copytree(folder, bare)
    for name in ("classes.json", "splits.json"):
        (bare / name).unlink()
    (place / "names.txt").write_text("".join(f"{n} class {n}\n" for n in range(255)))
    seen = run(place, "init", bare, "--names", place / "names.txt")
    yield Figure("init, of the processor", seen.processor, "s", 30)
    found = len(json.loads((bare / "classes.json").read_text())["classes"])
    yield Figure("classes that init missed", 255 - found, "", 0)
    with served(place, tiny, "--data", folder, "--device", "cpu") as server:
        about = json.loads(server.get("image/0")[2])
        yield Figure("names in the viewer that are missing", 255 - len(about["legend"]["names"]), "", 0)
        seconds, status, _ = server.get(f"tile/0/{len(about['layers']) - 1}/0/0/0")
        yield Figure("a tile of a run of 255 classes", 1e3 * seconds, "ms", 10000)
        yield Figure("errors", status != 200, "", 0)
    yield from _refused(place)


def _refused(place: Path) -> Iterator[Figure]:
    """300 classes are more than a pixel of a byte tells apart: a line says so, of the table and of masks."""
    from PIL import Image

    folder = place / "data_300"
    shutil.rmtree(folder, ignore_errors=True)
    make_data(folder, 3, {"train": 2, "val": 1, "test": 1}, (128, 192))
    table = json.loads((folder / "classes.json").read_text())
    first = table["classes"][0]
    table["classes"] = [first | {"name": f"class {n}", "index": n} for n in range(300)]
    (folder / "classes.json").write_text(json.dumps(table))
    many = np.arange(300, dtype=np.uint16).repeat(128 * 192 // 300 + 1)[: 128 * 192].reshape(128, 192)
    for path in (folder / "masks").iterdir():
        Image.fromarray(many).save(path)
    for words in (("info", folder), ("train", folder, place / "run_300")):
        yield _one_line(place, words)
    for name in ("classes.json", "splits.json"):
        (folder / name).unlink()
    yield _one_line(place, ("init", folder))


def _one_line(place: Path, words: tuple[object, ...]) -> Figure:
    seen = watch((*SACCADE, *map(str, words)), place / "said")
    lines = [line for line in seen.said.splitlines() if line.startswith("saccade:")]
    clear = seen.code == 1 and "Traceback" not in seen.said and "255" in seen.said
    print(f"    {words[0]} of 300 classes: {' / '.join(lines or seen.said.splitlines()[-2:])[:240]}")
    return Figure(f"{words[0]} of 300 classes without a line that says 255 are the most", not clear, "", 0)


CASES: dict[str, Callable[[Path, bool], Iterator[Figure]]] = {
    "viewer": viewer, "compare": compare, "data": data, "job": job, "classes": classes,
}  # fmt: skip


def main() -> int:
    asked = campaign_arguments(__doc__, quick="a tenth of everything, or less")
    place = asked.place or Path(tempfile.mkdtemp(prefix="saccade_load_"))
    place.mkdir(parents=True, exist_ok=True)
    over = 0
    try:
        for name, case in CASES.items():
            if asked.only not in name:
                continue
            print(f"{name}: {(case.__doc__ or '').splitlines()[0]}", flush=True)
            figures = []
            for figure in case(place, asked.quick):
                print(figure.line(), flush=True)
                figures.append(figure)
                over += not figure.kept
            if asked.json:
                keep(name, figures, asked.json)
    finally:
        if asked.place is None:
            shutil.rmtree(place, ignore_errors=True)
    return 1 if over else 0


def keep(name: str, figures: list[Figure], path: Path) -> None:
    """As JSON; cases that were measured before and not now stay."""
    known = json.loads(path.read_text()) if path.exists() else {}
    known[name] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": current_commit(),
        "cores": os.cpu_count(), "load_average": [round(n, 1) for n in os.getloadavg()],
        "figures": [asdict(one) | {"value": round(float(one.value), 3), "kept": one.kept} for one in figures],
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
