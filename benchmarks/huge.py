"""Huge images: what reading, writing and predicting cost in time, memory and bytes, beside libraries alone.

    python benchmarks/huge.py FOLDER [--sides 20480 65536] [--json FILE]

Makes the images in FOLDER where they are missing (0.2 and 1.9 GB). Every measurement runs in a process of its
own, ours and its peer in turn, so that peak memory is its own and both meet the same load.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

VIEW = 512
SMALL = "huge_warm.tif"


def view_ours(image: Path, folder: Path) -> str:
    """A 512 x 512 view that looks closer at the middle, as a learned grid does."""
    import torch

    from saccade.rasters import RGBRaster, as_rgb, open_raster, sample_raster

    read = []

    class Noting(RGBRaster):
        def _read(self, window, level):
            read.append((level, window.top, window.left))
            return super()._read(window, level)

    line = torch.linspace(-1, 1, VIEW)
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)[None]
    grid = grid.sign() * grid.abs() ** 1.5
    with (raster := as_rgb(open_raster(image))):
        sample_raster(Noting(raster, raster.limits, ()), grid)
    _tile_list(folder, image).write_text(json.dumps(read))
    return "512 x 512 view, densest in the middle"


def view_tifffile(image: Path, folder: Path) -> str:
    """The tiles that the view needs, decoded by tifffile on two threads and thrown away."""
    import tifffile

    with tifffile.TiffFile(image) as file, ThreadPoolExecutor(2) as pool:
        pages = [level.pages[0] for level in file.series[0].levels]
        # what tifffile reads when it is first asked for moves the file: before the threads
        known = [(page.decode, page.jpegtables, page.jpegheader) for page in pages]

        def decode(place: list[int]) -> None:
            page, (decoded, tables, header) = pages[place[0]], known[place[0]]
            number = place[1] // 512 * -(-page.imagewidth // 512) + place[2] // 512
            with lock:
                file.filehandle.seek(page.dataoffsets[number])
                data = file.filehandle.read(page.databytecounts[number])
            decoded(data, number, jpegtables=tables, jpegheader=header)

        lock = threading.Lock()
        list(pool.map(decode, json.loads(_tile_list(folder, image).read_text())))
    return "tifffile, decoding the same tiles alone"


def _tile_list(folder: Path, image: Path) -> Path:
    return folder / f"{image.stem}_tiles.json"


def thumbnail_ours(image: Path, folder: Path) -> str:
    from saccade.rasters import open_raster, thumbnail

    with open_raster(image) as raster:
        thumbnail(raster, (VIEW, VIEW))
    return "512 x 512 thumbnail"


def thumbnail_tifffile(image: Path, folder: Path) -> str:
    """The same level decoded whole by tifffile and averaged by numpy."""
    import tifffile

    with tifffile.TiffFile(image) as file:
        level = [level for level in file.series[0].levels if level.shape[0] >= VIEW][-1].asarray()
    step = level.shape[0] // VIEW
    level[: step * VIEW, : step * VIEW].reshape(VIEW, step, VIEW, step, 3).mean((1, 3))
    return "tifffile and numpy"


def write_ours(image: Path, folder: Path) -> str:
    from huge_files import label_rows
    from saccade.rasters import Output, RasterWriter, open_raster

    with open_raster(image) as raster:
        height, width = raster.size
    path = folder / "ours.ome.tif"
    with RasterWriter(path, Output((height, width)), overwrite=True) as writer:
        for top in range(0, height, 512):
            writer.append(label_rows(top, min(512, height - top), width))
        writer.finish()
    path.unlink()
    return "labels of the whole image: pyramidal OME-TIFF, resumable"


def write_tifffile(image: Path, folder: Path) -> str:
    """The same labels and levels (by every 2nd pixel) by tifffile alone; a killed run would lose all."""
    import tifffile

    from huge_files import label_rows

    with tifffile.TiffFile(image) as file:
        side = file.pages[0].shape[0]

    def tiles(size: int, step: int) -> Iterator[np.ndarray]:
        for top in range(0, size, 512):
            rows = label_rows(top, 512, -(-size // 512) * 512, step)
            for left in range(0, size, 512):
                yield np.ascontiguousarray(rows[:, left : left + 512])

    _write_levels(folder / "theirs.ome.tif", side, tiles)
    return "tifffile alone"


def _write_levels(path: Path, side: int, tiles: Callable[[int, int], Iterator[np.ndarray]]) -> None:
    import tifffile

    steps = [1]
    while side / steps[-1] > 512:
        steps.append(steps[-1] * 2)
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as file:
        for number, step in enumerate(steps):
            size = -(-side // step)
            place: dict[str, Any] = {"subfiletype": 1} if number else {"subifds": len(steps) - 1}
            form = {"shape": (size, size), "dtype": "uint8", "tile": (512, 512)}
            file.write(tiles(size, step), **form, compression="adobe_deflate", maxworkers=2, **place)
    path.unlink()


def predict_ours(image: Path, folder: Path) -> str:
    """Labels of the whole image in one learned view, from file to file; notes what it read and its shares."""
    from huge_predict import CLASSES, noting, segmenter, timed
    from saccade import sources
    from saccade.inference import Job, PredictionConfig, SamplingOptions, predict_image
    from saccade.rasters import RasterWriter, sample_raster

    read: list[tuple[int, int, int]] = []
    spent: dict[str, float] = {}
    vars(sources)["as_rgb"] = noting(read)
    vars(sources)["sample_raster"] = timed(sample_raster, "reading", spent)
    RasterWriter.append = timed(RasterWriter.append, "writing", spent)
    RasterWriter.finish = timed(RasterWriter.finish, "writing", spent)
    start = time.perf_counter()
    path = folder / "predicted.ome.tif"
    predict_image(
        segmenter(),
        Job(image, path),
        PredictionConfig(CLASSES, SamplingOptions(mode="whole"), overwrite=True),
    )
    spent["total"] = time.perf_counter() - start
    _tile_list(folder, image).write_text(json.dumps(read))
    _shares(folder).write_text(json.dumps({name: part / spent["total"] for name, part in spent.items()}))
    return "predicted, 256 x 256 learned view to labels on disk"


def predict_tifffile(image: Path, folder: Path) -> str:
    """The same tiles decoded, such labels (every 64th pixel, enlarged) written, without a model."""
    from saccade.rasters import open_raster

    view_tifffile(image, folder)
    with open_raster(folder / "predicted.ome.tif") as raster:
        level = min(6, len(raster.levels) - 1)
        small = raster.read(level=level)[..., 0]
        side = raster.size[0]

    def tiles(size: int, step: int) -> Iterator[np.ndarray]:
        factor = max(1, 2**level // step)
        for top in range(0, size, 512):
            rows = small[top // factor : (top + 511) // factor + 1, :: max(1, step >> level)]
            rows = rows.repeat(factor, 0)[:512].repeat(factor, 1)
            padded = np.zeros((512, -(-size // 512) * 512), np.uint8)
            padded[: len(rows), : min(size, rows.shape[1])] = rows[:, :size]
            for left in range(0, size, 512):
                yield np.ascontiguousarray(padded[:, left : left + 512])

    _write_levels(folder / "theirs.ome.tif", side, tiles)
    return "tifffile, reading those tiles and writing such labels, no model"


def _shares(folder: Path) -> Path:
    return folder / "shares.json"


PAIRS: list[tuple[Callable[[Path, Path], str], Callable[[Path, Path], str]]] = [
    (view_ours, view_tifffile),
    (thumbnail_ours, thumbnail_tifffile),
    (write_ours, write_tifffile),
    (predict_ours, predict_tifffile),
]


def measure(name: str, image: Path, folder: Path) -> dict[str, Any]:
    """Runs one function here, once on a small image so that imports and compiling are over, then for good:
    seconds, peak memory, bytes read; and what the start cost, which is the same for every image."""
    work = next(work for pair in PAIRS for work in pair if work.__name__ == name)
    work(folder / SMALL, folder)
    before, started, busy = _bytes_read(), time.perf_counter(), time.process_time()
    title = work(image, folder)
    times = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - busy}
    times["start_cpu_seconds"] = busy
    return {"name": title, **times, "peak_bytes": _peak(), "bytes_read": _bytes_read() - before}


def _peak() -> int:
    """Of this program alone: what getrusage tells holds the memory of the parent too."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _bytes_read() -> int:
    try:
        return int(Path("/proc/self/io").read_text().split()[1])
    except OSError:
        return 0


def in_own_process(name: str, image: Path, folder: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, str(folder), "--measure", name, str(image)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compare(image: Path, folder: Path, rounds: int, only: str = "") -> list[dict[str, Any]]:
    """Of a few rounds, ours and the peer's taken in turn, those of least processor time."""
    rows = []
    for pair in PAIRS:
        if not pair[0].__name__.startswith(only):
            continue
        runs = [[in_own_process(work.__name__, image, folder) for work in pair] for _ in range(rounds)]
        ours, peer = (min(kind, key=lambda run: run["cpu_seconds"]) for kind in zip(*runs, strict=True))
        share = {"image": image.name, "file_share": ours["bytes_read"] / image.stat().st_size}
        if pair[0] is predict_ours:
            share["shares"] = json.loads(_shares(folder).read_text())
        rows.append(ours | share | {"peer": peer, **_ratios(ours, peer)})
        print(_line(rows[-1]), flush=True)
    return rows


def _with_others(rows: list[dict[str, Any]], file: Path) -> list[dict[str, Any]]:
    """The rows, and those of the file that were not measured again."""
    earlier = json.loads(file.read_text()) if file.exists() else {"rows": []}
    about = {key: value for key, value in earlier.items() if key != "rows"}
    new = {(row["image"], row["name"]) for row in rows}
    kept = [about | row for row in earlier["rows"] if (row["image"], row["name"]) not in new]
    return sorted(kept + rows, key=lambda row: str(row["image"]))


def _ratios(ours: dict[str, Any], peer: dict[str, Any]) -> dict[str, float]:
    """By the clock, and by the processor's time, which other programs on the machine disturb less."""
    return {
        "ratio": ours["seconds"] / peer["seconds"],
        "cpu_ratio": ours["cpu_seconds"] / peer["cpu_seconds"],
    }


def _line(row: dict[str, Any]) -> str:
    text = f"{row['name']:58s} {row['seconds']:8.2f} s {row['peak_bytes'] / 2**20:7.0f} MiB"
    text += f" {row['file_share']:8.2%} of the file read" if "view" in row["name"] else ""
    if "shares" in row:
        text += f" reading {row['shares']['reading']:.0%}, writing {row['shares']['writing']:.0%}"
    peer = row["peer"]
    text += f" | {peer['name']} {peer['seconds']:.2f} s {peer['peak_bytes'] / 2**20:.0f} MiB"
    start = row["start_cpu_seconds"] / (row["start_cpu_seconds"] + row["cpu_seconds"])
    return f"{text}: {row['ratio']:.2f}x, {row['cpu_ratio']:.2f}x of processor time; start {start:.0%}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sides", type=int, nargs="+", default=[20480, 65536])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", metavar="WORD", default="", help="pairs whose name begins so: predict")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", nargs=2, metavar=("NAME", "IMAGE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure[0], Path(options.measure[1]), options.folder)))
        return
    from huge_files import make_image

    rows = []
    if not (options.folder / SMALL).exists():
        make_image(options.folder / SMALL, 1024)
    for side in options.sides:
        image = options.folder / f"huge_{side}.tif"
        if not image.exists():
            make_image(image, side)
        print(f"{image.name}: {side} x {side}, {image.stat().st_size / 1e9:.2f} GB on disk")
        rows += compare(image, options.folder, options.rounds, options.only)
    if options.json:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        ).stdout
        about = {"machine": platform.processor() or platform.machine(), "commit": commit.strip()}
        about["load"] = os.getloadavg()[0]
        rows = _with_others([row | about for row in rows], options.json)
        options.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
