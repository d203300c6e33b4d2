"""Foveated prediction of a 20,000 x 20,000 image from a file, in a process of its own: memory and time.

    python benchmarks/foveation_huge.py WORK [--side 20000] [--estimator mode]

Makes a tiled JPEG TIFF with a pyramid in WORK once, and a run with fresh weights (what they say does not
matter here), then runs ``saccade predict`` on it and measures the peak of its resident memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from harness import current_commit
from huge_files import make_image

LIMIT = 2 << 30
RESULTS = Path(__file__).parent / "results" / "foveation_huge.json"
OPTIONS = [
    "sampler.name=foveation", "sampler.size=64x64", "foveation.bank=[256,512,1024,2048,4096]",
    "foveation.shrink=32", "foveation.stride=6", "network.name=small:4", "training.epochs=1",
    "training.batch_size=2", "foveation.visits=1",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--estimator", default="mode")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    image = args.work / f"image_{args.side}.tif"
    if not image.exists():
        make_image(image, args.side)
    run = made_run(args.work, args.estimator)
    command = [sys.executable, "-m", "saccade", "predict", run, image, args.work / "labels", "--overwrite"]
    start = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command])
    _, status, usage = os.wait4(process.pid, 0)
    seconds, peak = time.perf_counter() - start, usage.ru_maxrss * 1024
    if status:
        sys.exit(f"prediction failed with {status}")
    found = {
        "image": [args.side, args.side], "estimator": args.estimator, "seconds": round(seconds, 1),
        "peak_bytes": peak, "limit_bytes": LIMIT, "met": peak <= LIMIT, "options": OPTIONS,
        "threads": torch.get_num_threads(), "commit": current_commit(),
    }  # fmt: skip
    args.out.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{peak / 2**20:.0f} MiB at its peak (2048 allowed), {seconds:.0f} s")


def made_run(work: Path, estimator: str) -> Path:
    """A run of one step on a few scenes, made in a process of its own, whose memory counts for nothing."""
    root = work / f"run_{estimator}"
    if not root.exists():
        code = (
            "import sys\nfrom pathlib import Path\n"
            "from saccade.data import open_data\nfrom saccade.data.scenes import make_scenes\n"
            "from saccade.training import read_config, train\n"
            f"work, options = Path({str(work)!r}), {[*OPTIONS, f'foveation.estimator={estimator}']!r}\n"
            "data = work / 'scenes'\n"
            "data.exists() or make_scenes(data, count=(2, 1, 1), size=(300, 400), seed=1)\n"
            f"train(open_data(data), Path({str(root)!r}), read_config(overrides=options), device='cpu')\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True)
    return root


if __name__ == "__main__":
    main()
