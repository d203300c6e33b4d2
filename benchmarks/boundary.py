"""Boundary-driven sampling on real labels, without any training.

    python benchmarks/boundary.py targets DATA OUT.json          seconds of the exact grids of all masks
    python benchmarks/boundary.py overhead OUT.json              GFLOPs and milliseconds of the auxiliary net
    python benchmarks/boundary.py smoothness DATA OUT [options]  recovery and sample placement over lambda

``smoothness`` writes OUT.json, OUT.md and OUT.png (the samples over a photograph, as in Fig. 3 of ICCV 2019).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from saccade.data import DataFolder, open_data
from saccade.figures import outlines, samples_on, shrink
from saccade.geometry import parse_size
from saccade.lab.studies.boundary import STEPS, Placement, Recovered, placements_of, smoothness_study
from saccade.metrics.cost import count_flops
from saccade.samplers import BoundarySampler, BoundaryTarget
from saccade.samplers.boundary import BoundaryConfig, target_classes

THUMBNAILS, WIDTHS = ((32, 32), (64, 64), (64, 96), (64, 128)), (32, 64, 128, 256)
PICTURED = (0.1, 1.0, 10.0)


@dataclass(frozen=True)
class Labels:
    """What the study needs of an image."""

    stem: str
    labels: torch.Tensor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("targets", "overhead", "smoothness"))
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--sizes", default="32x64,64x128")
    parser.add_argument("--split", default="test")
    parser.add_argument("--classes", help="target classes, by name; default all")
    parser.add_argument("--most", type=int, default=20, help="images")
    args = parser.parse_args()
    {"targets": targets, "overhead": overhead, "smoothness": smoothness}[args.what](args)


def targets(args: argparse.Namespace) -> None:
    """The exact 8 x 8 grids of the training images; reading image and labels is told apart."""
    data = open_data(args.paths[0])
    target, items = BoundaryTarget(), data.split("train")
    target([torch.zeros(8, 8, dtype=torch.uint8)], (8, 8))
    read, grids, sizes = np.zeros(2), np.zeros(2), set()
    for item in items:
        start = clocks()
        labels = torch.from_numpy(data.read(item).labels)
        middle = clocks()
        target([labels], (8, 8))
        read, grids = read + middle - start, grids + clocks() - middle
        sizes.add(tuple(labels.shape))
    seconds = {
        name: dict(zip(("wall", "processor"), map(float, some), strict=True))
        for name, some in (("grids", grids), ("reading", read), ("both", grids + read))
    }
    about = {"load_average": os.getloadavg(), "threads": torch.get_num_threads()}
    save(args.paths[1], {**about, "images": len(items), "sizes": sorted(sizes), "seconds": seconds})


def clocks() -> np.ndarray:
    """Seconds of wall and processor."""
    return np.array([time.perf_counter(), time.process_time()])


def overhead(args: argparse.Namespace) -> None:
    """Of the sampler alone: net, projection, and resizing, for one thumbnail."""
    rows = []
    for thumbnail in THUMBNAILS:
        for width in WIDTHS:
            sampler = BoundarySampler((64, 128), thumbnail_size=thumbnail, width=width).eval()
            sampler.to(memory_format=torch.channels_last)
            pixels = torch.randn(1, 3, *thumbnail).to(memory_format=torch.channels_last)
            flops = count_flops(lambda sampler=sampler, pixels=pixels: sampler(pixels))
            rows.append(
                {
                    "thumbnail": thumbnail,
                    "width": width,
                    "gflops": flops / 1e9,
                    "ms": 1e3 * median(sampler, pixels),
                }
            )
            print(rows[-1])
    save(args.paths[0], rows)


@torch.no_grad()
def median(sampler: BoundarySampler, pixels: torch.Tensor, repeats: int = 15) -> float:
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        sampler(pixels)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[3:])


def smoothness(args: argparse.Namespace) -> None:
    data = open_data(args.paths[0], splits=(args.split,))
    wanted = None if args.classes is None else tuple(args.classes.split(","))
    classes = target_classes(BoundaryConfig(classes=wanted), data.classes.names)
    placements = [*placements_of(), *(Placement(step, (16, 16)) for step in STEPS)]
    found = {}
    for text in args.sizes.split(","):
        images = labels_of(data, args.split, args.most)
        found[text] = smoothness_study(
            images, len(data.classes), parse_size(text), placements=placements, classes=classes
        )
        print(text, "done", flush=True)
    rows = {size: [one.to_json(data.classes.names) for one in some] for size, some in found.items()}
    about = {
        "data": args.paths[0].name,
        "images": min(args.most, len(data.split(args.split))),
        "classes": wanted,
    }
    save(args.paths[1].with_suffix(".json"), {**about, "sizes": rows})
    args.paths[1].with_suffix(".md").write_text(table(about, found, data.classes.names))
    draw(args.paths[1].with_suffix(".png"), data, args.split, parse_size(args.sizes.split(",")[0]), classes)


def labels_of(data: DataFolder, split: str, most: int) -> Iterator[Labels]:
    for item in data.split(split)[:most]:
        yield Labels(item.stem, torch.from_numpy(np.ascontiguousarray(data.read(item).labels))[None])


def table(about: dict, found: dict[str, list[Recovered]], names: tuple[str, ...]) -> str:
    head = ["size", "grid", "lambda", *names, "mean", "samples near", "folded"]
    lines = [head, ["---"] * len(head)]
    for size, some in found.items():
        for one in some:
            row = one.to_json(names)
            way = (
                "uniform"
                if row["smoothness"] is None
                else "view"
                if row["tensor"] is None
                else "x".join(map(str, row["tensor"]))
            )
            scores = [
                *row["label_recovery"].values(),
                row["label_recovery_miou"],
                row["near_boundary"],
                row["folded"],
            ]
            texts = ["-" if score is None else f"{score:.3f}" for score in scores]
            lines.append([size, way, f"{row['smoothness'] or 0:g}" if row["smoothness"] else "", *texts])
    targets = ", ".join(about["classes"] or ["all classes"])
    first = f"{about['data']}, {about['images']} images, targets: {targets}. IoU of label recovery.\n\n"
    return first + "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def draw(
    path: Path, data: DataFolder, split: str, size: tuple[int, int], classes: tuple[int, ...] | None
) -> None:
    """Samples of the exact grids on the photograph with most boundary of the first ten, lambda growing
    downwards; left the published 8 x 8 stretched, right as many nodes as the view has."""
    decoded = max(
        (data.read(item) for item in data.split(split)[:10]), key=lambda one: outlines(one.labels).sum()
    )
    labels = torch.from_numpy(np.ascontiguousarray(decoded.labels))[None]
    picture = shrink(np.ascontiguousarray(decoded.image), 760)
    rows = []
    for step in PICTURED:
        grids = [Placement(step, tensor).grid(labels, size, classes)[0].numpy() for tensor in ((8, 8), None)]
        rows.append(np.concatenate([samples_on(picture, grid) for grid in grids], axis=1))
    Image.fromarray(np.concatenate(rows)).save(path)


def save(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
