"""Processor time of one small photograph from a cold start, above that of ``import torch``:
``python benchmarks/cold_start.py RUN [--turns N]``.

Commands take turns, each in a process of its own, with one thread; medians. Libraries lie in the cache of the
disk, kernels in numba's, byte code beside the sources: a first, unmeasured turn sees to it.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (384, 512)


def seconds(words: list[str]) -> float:
    """Processor time of a process and its children."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, check=True, env=environment | threads, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("run", type=Path, help="a run folder, or an exported model")
    parser.add_argument("--turns", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.png"
        noise = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)
        Image.fromarray(noise).resize(SIZE[::-1]).save(photo)
        predict = [
            "-m",
            "saccade",
            "predict",
            str(args.run),
            str(photo),
            folder + "/out",
            "--overwrite",
            "-q",
        ]
        commands = {"import torch": ["-c", "import torch"], "saccade predict": predict}
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(args.turns + 1):
            for name, words in commands.items():
                took = seconds([sys.executable, *words])
                if turn:
                    taken[name].append(took)
    medians = {name: statistics.median(all_of_it) for name, all_of_it in taken.items()}
    for name, median in medians.items():
        print(f"{name:16} {median:.2f} s ({min(taken[name]):.2f} to {max(taken[name]):.2f})")
    print(f"{'above':16} {medians['saccade predict'] - medians['import torch']:.2f} s")


if __name__ == "__main__":
    main()
