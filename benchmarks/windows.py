"""Training on windows of one huge scene: memory, and the time of steps against tiles that were cut before.

    python benchmarks/windows.py FOLDER DATA [--side 30000] [--bands 5] [--turns 5] [--json FILE]

Makes in FOLDER, where they are missing, a scene of ``--side`` square out of the images and masks of DATA,
again and again in four orientations (a tiled TIFF of JPEG, or of bands with deflated values of 16 bits; the
mask a tiled TIFF), and tiles of the windows that are trained on. Every measurement is a training in a process
of its own: scene and tiles in turn, the same steps of the same network. Memory is that of ``saccade train``
and all its children.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from harness import watch

TILE, WINDOW, QUALITY = 512, 512, 90
STEPS, BATCH, EPOCHS = 12, 8, 6
HOW = ["sampler.name=uniform", "training.validate_every=999", "training.every_image=false",
       f"training.batch_size={BATCH}", f"training.epochs={EPOCHS}"]  # fmt: skip


def make_scene(folder: Path, data: Path, side: int, bands: int) -> None:
    """A scene of real images, with its mask, in three splits of which it stands in two."""
    if (folder / "splits.json").exists():
        return
    import tifffile

    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    how: dict[str, Any] = {"shape": (side, side, bands), "dtype": "uint16", "compression": "zlib",
                           "predictor": 2, "photometric": "minisblack", "planarconfig": "contig"}  # fmt: skip
    if not bands:
        how = {"shape": (side, side, 3), "dtype": "uint8", "photometric": "ycbcr", "subsampling": (2, 2)}
        how |= {"compression": "jpeg", "compressionargs": {"level": QUALITY}}
    common = {"tile": (TILE, TILE), "metadata": None}
    with tifffile.TiffWriter(folder / "images" / "scene.tif", bigtiff=True) as file:
        file.write(_tiles(data, side, "images", bands), **how, **common)
    with tifffile.TiffWriter(folder / "masks" / "scene.tif", bigtiff=True) as file:
        shape = {"shape": (side, side), "dtype": "uint8", "compression": "zlib", "photometric": "minisblack"}
        file.write(_tiles(data, side, "masks", bands), **shape, **common)
    (folder / "classes.json").write_text((data / "classes.json").read_text())
    (folder / "splits.json").write_text(json.dumps({"train": ["scene"], "val": ["scene"]}))


def _tiles(data: Path, side: int, kind: str, bands: int) -> Iterator[np.ndarray]:
    """The tiles of a scene, row by row."""
    stems = sorted(path.stem for path in (data / "images").iterdir())
    files = {path.stem: path for path in (data / kind).iterdir()}
    height, width = _read(files[stems[0]]).shape[:2]

    @lru_cache(-(-side // width) + 2)
    def turned(row: int, column: int) -> np.ndarray:
        number = row * (-(-side // width)) + column
        image = _read(files[stems[number % len(stems)]])
        image = image[:: -1 if number // len(stems) % 2 else 1, :: -1 if number // len(stems) % 4 > 1 else 1]
        return _as_bands(image, bands) if bands and kind == "images" else image

    for top in range(0, side, TILE):
        for left in range(0, side, TILE):
            bottom, right = min(top + TILE, side), min(left + TILE, side)
            sample = turned(0, 0)
            out = np.zeros((TILE, TILE, *sample.shape[2:]), sample.dtype)
            for row in range(top // height, (bottom - 1) // height + 1):
                for column in range(left // width, (right - 1) // width + 1):
                    first = max(top, row * height), max(left, column * width)
                    last = min(bottom, (row + 1) * height), min(right, (column + 1) * width)
                    part = turned(row, column)[
                        first[0] - row * height : last[0] - row * height,
                        first[1] - column * width : last[1] - column * width,
                    ]
                    out[first[0] - top : last[0] - top, first[1] - left : last[1] - left] = part
            yield out


def _read(path: Path) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(path))


def _as_bands(image: np.ndarray, bands: int) -> np.ndarray:
    """Colours as counts of 16 bits, and mixtures of them for further bands."""
    mixed = np.random.default_rng(0).dirichlet(np.ones(3), bands).astype(np.float32)
    mixed[:3] = np.eye(3)[:bands]
    return (image.astype(np.float32) @ mixed.T * 37 + 300).astype(np.uint16)


def cut(scene: Path, out: Path, kind: str) -> None:
    """The windows of an epoch as files: what whoever cuts tiles first would train on."""
    if (out / "splits.json").exists():
        return
    import tifffile
    from PIL import Image

    from saccade.data import open_data

    data = open_data(scene, window=WINDOW)
    for name in ("images", "masks"):
        (out / name).mkdir(parents=True, exist_ok=True)
    splits: dict[str, list[str]] = {"train": [], "val": []}
    for name, count in (("train", STEPS * BATCH), ("val", 4)):
        items = data.split(name)
        for item in [items[n * len(items) // count] for n in range(count)]:
            read, stem = data.read(item), item.stem.replace("@", "_")
            if kind == "tif":
                pixels = read.image.astype(np.uint16)
                how = {"compression": "zlib", "predictor": 2, "photometric": "minisblack"}
                tifffile.imwrite(out / "images" / f"{stem}.tif", pixels, planarconfig="contig", **how)
            else:
                how = {"quality": QUALITY} if kind == "jpg" else {}
                Image.fromarray(read.image).save(out / "images" / f"{stem}.{kind}", **how)
            Image.fromarray(data.classes.decode(read.labels).astype(np.uint8)).save(
                out / "masks" / f"{stem}.png"
            )
            splits[name].append(stem)
    (out / "classes.json").write_text((scene / "classes.json").read_text())
    (out / "splits.json").write_text(json.dumps(splits))


def steps(data: str, run: str, words: list[str]) -> None:
    """Trains, prints the seconds of a step in each epoch but the first, wall and processor, and ends before
    the validation of the last epoch, which is the same work whatever was trained on."""
    import saccade.training.loop as loop
    from saccade.data import open_data
    from saccade.training.config import read_config

    config = read_config(overrides=[*HOW, *words])
    opened = open_data(data, config.data, splits=("train", "val"))
    times: list[tuple[float, float]] = []

    def note(*_: Any) -> None:
        times.append((time.perf_counter(), time.process_time()))
        if len(times) == EPOCHS - 1:
            found = [[(b - a) / STEPS for a, b in zip(*pair, strict=True)] for pair in pairwise(times)]
            print(json.dumps(found), flush=True)
            os._exit(0)

    loop.train(opened, run, config, device="cpu", overwrite=True, on_epoch=note)


def reading(scene: Path, tiles: Path, count: int = 120) -> tuple[float, float]:
    """Median processor seconds of a window of an epoch and of a tile, read in turn by one thread."""
    from saccade.data import open_data
    from saccade.data.cache import Sample

    whole, cuts = open_data(scene, window=WINDOW), open_data(tiles)
    assert whole.draws is not None
    sources = [(whole, whole.draws.of(0, 1)), (cuts, cuts.split("train"))]
    times: list[list[float]] = [[], []]
    for number in range(count):
        for (data, items), some in zip(sources, times, strict=True):
            item = items[number % len(items)]
            began = time.thread_time()
            Sample.of(item, data.read(item))
            some.append(time.thread_time() - began)
    return statistics.median(times[0][8:]), statistics.median(times[1][8:])


def measured(data: Path, run: Path, words: list[str]) -> tuple[float, float]:
    """Median seconds of a step (wall, processor), in a process of its own."""
    command = [sys.executable, __file__, str(data), str(run), "--steps", *words]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        raise SystemExit(answer.stderr)
    found = json.loads(answer.stdout.strip().splitlines()[-1])
    return statistics.median(wall for wall, _ in found), statistics.median(cpu for _, cpu in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--side", type=int, default=30_000)
    parser.add_argument("--bands", type=int, default=0, help="of uint16; default colour of eight bits")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--network", default="unet:resnet18")
    parser.add_argument("--size", default="64x128")
    parser.add_argument("--memory", action="store_true", help="train with validation, and look at the memory")
    parser.add_argument("--reading", action="store_true", help="time the reading alone too, without turns")
    parser.add_argument("--windows", type=int, default=400, help="of an epoch, for --memory")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--steps", nargs="*", default=None, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.steps is not None:
        steps(str(asked.folder), str(asked.data), asked.steps)
        return
    kinds = ["tif"] if asked.bands else ["jpg"]
    scene = asked.folder / f"scene_{asked.side}_{asked.bands or 'colour'}"
    make_scene(scene, asked.data, asked.side, asked.bands)
    results: dict[str, Any] = {"side": asked.side, "bands": asked.bands or 3, "network": asked.network,
                               "size": asked.size, "load": os.getloadavg()[0]}  # fmt: skip
    network = [f"network.name={asked.network}", f"sampler.size={asked.size}"]
    if asked.memory:
        command = [
            sys.executable, "-m", "saccade", "train", str(scene), str(asked.folder / f"run_{scene.name}"),
            "--overwrite", "--epochs", "2", "data.window=512", f"data.windows={asked.windows}",
            "data.balance=classes", *network,
        ]  # fmt: skip
        seen = watch(command, asked.folder / f"{scene.name}.log")
        if seen.code:
            raise SystemExit(seen.said)
        gb, seconds = seen.peak / 1e9, seen.seconds
        print(f"train with validation on held-out blocks: {gb:.2f} GB at most, {seconds:.0f} s", flush=True)
        results |= {"peak_gb": gb, "train_seconds": seconds}
    for kind in kinds if asked.turns or asked.reading else ():
        tiles = asked.folder / f"tiles_{asked.side}_{asked.bands or 'colour'}_{kind}"
        cut(scene, tiles, kind)
        window, tile = reading(scene, tiles)
        print(
            f"reading, ms of one thread: a window {1e3 * window:.1f}, a tile ({kind}) {1e3 * tile:.1f}",
            flush=True,
        )
        results[f"reading_seconds_{kind}"] = window, tile
    ours = (scene, [*network, f"data.window={WINDOW}", f"data.windows={STEPS * BATCH}"])
    peers = {}
    for kind in kinds:
        tiles = asked.folder / f"tiles_{asked.side}_{asked.bands or 'colour'}_{kind}"
        peers[f"{kind}, read in each epoch"] = (tiles, [*network, "training.cache_gigabytes=0"])
    peers[f"{kinds[0]}, kept in memory"] = (peers[f"{kinds[0]}, read in each epoch"][0], network)
    times: dict[str, list[tuple[float, float]]] = {"windows": [], **{name: [] for name in peers}}
    for _ in range(asked.turns):
        for name, (data, words) in {"windows": ours, **peers}.items():
            times[name].append(measured(data, asked.folder / "run_steps", words))
            print(name, *(f"{t:.4f}" for t in times[name][-1]), flush=True)
    results["seconds_of_a_step"] = times
    for name in peers if asked.turns else ():
        for place, what in enumerate(("wall", "processor")):
            ratios = [a[place] / b[place] for a, b in zip(times["windows"], times[name], strict=True)]
            middle = statistics.median(ratios)
            print(f"windows / tiles ({name}), {what}: {middle:.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    if asked.json is not None:
        asked.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
