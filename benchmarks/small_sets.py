"""How batch size, number of steps and learning rate should follow the number of training images.

    python small_sets.py DATA... --images 10 50 --json results/small_sets.json
    python small_sets.py DATA... --images 10 50 500 --search --json results/small_sets.json
    python small_sets.py --table --json results/small_sets.json

trains subsets of data sets with each of a few schedules (one thread, a small network, 32 x 64 samples) and
scores the last epoch on up to ten images of val at full resolution. --search takes what a training has by
default and its neighbours: half and twice the learning rate, half and twice the batch at as many steps, twice
the steps. What the JSON file holds already is not trained again; --table says how far the default is from the
best of what was trained.
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
from saccade.training.length import fitted_length
from saccade.training.run_folder import METRICS, read_metrics

VALIDATED = 10
SCHEDULES = [(2, 300), (4, 300), (8, 300), (2, 1000), (4, 1000), (8, 1000)]
"""Images a step, and steps in all."""
RARE = {"coffee_leaf": "symptom", "carrot_weed": "weed"}
"""The class that a data set is about, where it is one."""


def subset(data: DataFolder, images: int) -> DataFolder:
    """The first images of train, and of val at most ten."""
    splits = {"train": data.split("train")[:images], "val": data.split("val")[:VALIDATED]}
    return replace(data, splits={name: tuple(items) for name, items in splits.items()})


def by_default(images: int) -> tuple[int, int, float]:
    """Batch, steps and learning rate of a training that is told nothing of them."""
    config = fitted_length(read_config(), images, ())
    batch = config.training.batch_size
    return batch, config.training.epochs * -(-images // batch), config.optimizer.learning_rate


def neighbours(images: int) -> list[tuple[int, int, float]]:
    """The default first, then what the search tries; no batch is larger than the set."""
    batch, steps, rate = by_default(images)
    tried = [(batch, steps, rate), (batch, steps, rate / 2), (batch, steps, rate * 2)]
    tried += [(batch // 2, steps, rate / 2**0.5), (batch, 2 * steps, rate)]
    return tried + ([(2 * batch, steps, rate * 2**0.5)] if 2 * batch <= images else [])


def key(row: dict) -> tuple:
    """What a training is known by; steps are rounded to whole epochs."""
    names = ("data", "images", "batch", "epochs", "seed")
    return *(row[name] for name in names), round(row["rate"], 7)


def table(rows: list[dict]) -> str:
    """By data set and number of images, the default beside the best of all that was trained, in points."""
    lines = ["| data | images | score | default | best | by | behind |", "|---|---|---|---|---|---|---|"]
    for name, images in sorted({(row["data"], row["images"]) for row in rows}):
        cell = [row for row in rows if (row["data"], row["images"]) == (name, images)]
        batch, steps, rate = by_default(images)
        usual = [r for r in cell if (r["batch"], r["steps"], r["rate"]) == (batch, steps, rate)]
        if not usual:
            continue
        for score in ["mIoU", *([RARE[name]] if name in RARE else [])]:
            of = [row["miou"] if score == "mIoU" else row["iou"][score] for row in cell]
            best, row = max(zip(of, cell, strict=True), key=lambda pair: pair[0])
            mine = of[cell.index(usual[0])]
            by = f"batch {row['batch']}, {row['steps']} steps, {row['rate']:.2g}"
            gap = f"{100 * (best - mine):.1f}"
            lines.append(f"| {name} | {images} | {score} | {mine:.3f} | {best:.3f} | {by} | {gap} |")
    return "\n".join(lines)


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
    parser.add_argument("data", nargs="*", type=Path, help="folders of data sets")
    parser.add_argument(
        "--images", nargs="+", type=int, default=[10, 50], help="how many of train; default 10 50"
    )
    parser.add_argument(
        "--schedules",
        nargs="+",
        default=[f"{b}x{s}" for b, s in SCHEDULES],
        metavar="BATCHxSTEPS",
        help="what is trained without --search",
    )
    parser.add_argument("--search", action="store_true", help="the default and its neighbours")
    parser.add_argument("--rate", type=float, help="learning rate; default 2e-3 times sqrt(batch / 8)")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--json", type=Path, help="what is known already, and where it is kept")
    parser.add_argument("--table", action="store_true", help="print what the JSON file holds, train nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(args.json.read_text()) if args.json and args.json.exists() else []
    if args.table:
        print(table(rows))
        return
    for path in args.data:
        cache = SampleCache(3 << 30)
        whole = open_data(path, splits=("train", "val"), on_decoded=None)
        for images in args.images:
            data = subset(whole, images)
            count = len(data.split("train"))
            pairs = [tuple(map(int, text.split("x"))) for text in args.schedules]
            told = [(b, s, args.rate or 2e-3 * (b / 8) ** 0.5) for b, s in pairs]
            for batch, steps, rate in neighbours(count) if args.search else told:
                epochs = max(1, round(steps / -(-count // min(batch, count))))
                row = {"data": path.name, "images": count, "batch": batch, "epochs": epochs}
                row |= {"rate": rate, "seed": args.seed}
                if key(row) in map(key, rows):
                    continue
                row |= trial(data, cache, batch, steps, rate, args.seed)
                print(json.dumps(row), flush=True)
                rows.append(row)
                if args.json:
                    args.json.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")


if __name__ == "__main__":
    main()
