"""How batch size, number of steps and learning rate should follow the number of training images.

    python small_sets.py DATA... --images 10 50 --json results/small_sets.json

trains subsets of data sets with each of a few schedules (one thread, a small network, 32 x 64 samples) and
scores the last epoch on up to ten images of val at full resolution.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from saccade.data import DataFolder, SampleCache, open_data
from saccade.training import read_config, train
from saccade.training.run_folder import METRICS, read_metrics

VALIDATED = 10
SCHEDULES = [(2, 300), (4, 300), (8, 300), (2, 1000), (4, 1000), (8, 1000)]
"""Images a step, and steps in all."""


def subset(data: DataFolder, images: int) -> DataFolder:
    """The first images of train, and of val at most ten."""
    splits = {"train": data.split("train")[:images], "val": data.split("val")[:VALIDATED]}
    return replace(data, splits={name: tuple(items) for name, items in splits.items()})


def trial(data: DataFolder, cache: SampleCache, batch: int, steps: int, rate: float, seed: int) -> dict:
    """One training; the scores of its last epoch."""
    images = len(data.split("train"))
    each = -(-images // min(batch, images))
    epochs = max(1, round(steps / each))
    options = {
        "network.name": "small", "sampler.size": "32x64",
        "training.batch_size": batch, "training.epochs": epochs,
        "training.validate_every": epochs, "training.seed": seed, "optimizer.learning_rate": rate,
        "data.path": str(data.path),
    }  # fmt: skip
    config = read_config(overrides=[f"{name}={value}" for name, value in options.items()])
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = train(data, Path(folder) / "run", config, cache=cache, device="cpu")
        row = list(read_metrics(run.path / METRICS))[-1]
    scores = {
        name: round(row[f"val_iou_{name}"], 4)
        for name in data.classes.names
        if row[f"val_iou_{name}"] is not None
    }
    return {
        "batch": batch, "steps": epochs * each, "epochs": epochs, "rate": rate, "seed": seed,
        "miou": round(row["val_miou"], 4), "iou": scores, "seconds": round(time.perf_counter() - begun, 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--images", nargs="+", type=int, default=[10, 50])
    parser.add_argument(
        "--schedules", nargs="+", default=[f"{b}x{s}" for b, s in SCHEDULES], metavar="BATCHxSTEPS"
    )
    parser.add_argument("--rate", type=float, help="learning rate; default 2e-3 times sqrt(batch / 8)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(args.json.read_text()) if args.json and args.json.exists() else []
    for path in args.data:
        cache = SampleCache(3 << 30)
        whole = open_data(path, splits=("train", "val"), on_decoded=None)
        for images in args.images:
            data = subset(whole, images)
            for text in args.schedules:
                batch, steps = map(int, text.split("x"))
                rate = args.rate or 2e-3 * (batch / 8) ** 0.5
                row = {"data": path.name, "images": len(data.split("train"))}
                row |= trial(data, cache, batch, steps, rate, args.seed)
                print(json.dumps(row), flush=True)
                rows.append(row)
                if args.json:
                    args.json.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")


if __name__ == "__main__":
    main()
