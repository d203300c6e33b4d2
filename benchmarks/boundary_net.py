"""How near boundary nets come to the grids that they were taught, on images they saw and others.

    python benchmarks/boundary_net.py DATA OUT RUN [RUN ...]

Writes OUT.json, OUT.md and OUT.jpg: three test images; in columns the samples of the uniform grid, of the
first run, and of the exact grid of the true labels.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from saccade.data import Decoded, open_data
from saccade.figures import Picture, outlines, samples_on, shrink
from saccade.grids import resize_grid, uniform_grid
from saccade.samplers import BoundarySampler, BoundaryTarget
from saccade.samplers.boundary import BoundaryConfig, covering, sampling_grid, target_classes, untangled
from saccade.training import load_run
from saccade.training.run_folder import Run
from saccade.warp import Pyramid

SPLITS = ("train", "val", "test")
PICTURED, WIDE = 3, 480


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", nargs="+", type=Path)
    args = parser.parse_args()
    runs = [load_run(path) for path in args.runs]
    found, shown = nodes_of(args.data, runs)
    rows = [errors(run, found[run.path]) for run in runs]
    args.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
    args.out.with_suffix(".md").write_text(table(rows))
    picture = np.concatenate([row_of(runs[0], one) for one in shown])
    Image.fromarray(picture).save(args.out.with_suffix(".jpg"), quality=80)
    print(table(rows))


NodesBySplit = dict[str, list[tuple[Tensor, Tensor]]]
"""By split, of every image: the nodes of the net, not projected, and those of the target, (h_t, w_t, 2)."""


@torch.no_grad()
def nodes_of(path: Path, runs: list[Run]) -> tuple[dict[Path, NodesBySplit], list[Decoded]]:
    """Of every run; and the test images with most boundary, a third of the split apart from each other."""
    data = open_data(path)
    found: dict[Path, NodesBySplit] = {run.path: defaultdict(list) for run in runs}
    for split in SPLITS:
        for item in data.split(split):
            one = data.read(item)
            pyramid = Pyramid.of(torch.from_numpy(one.image).permute(2, 0, 1)[None])
            labels = torch.from_numpy(one.labels)[None]
            for run in runs:
                found[run.path][split].append((predicted(run, pyramid), exact(run, labels)))
        print(split, flush=True)
    items = data.split("test")
    parts = [items[len(items) * n // PICTURED : len(items) * (n + 1) // PICTURED] for n in range(PICTURED)]
    return found, [most_boundary(map(data.read, part[:8])) for part in parts]


def most_boundary(some: Iterable[Decoded]) -> Decoded:
    return max(some, key=lambda one: outlines(one.labels).sum())


def predicted(run: Run, pyramid: Pyramid) -> Tensor:
    sampler, thumbnail = run.segmenter.sampler, run.segmenter.thumbnail([pyramid])
    assert isinstance(sampler, BoundarySampler)
    return sampler.net(thumbnail)[0].permute(1, 2, 0)


def exact(run: Run, labels: Tensor) -> Tensor:
    options = run.config.options_of(BoundaryConfig)
    target = BoundaryTarget(options.smoothness, target_classes(options, run.classes.names))
    return target([labels], options.tensor)[0].permute(1, 2, 0)


def errors(run: Run, found: NodesBySplit) -> dict:
    """Means over nodes and images of the squared distance to the exact grid: the auxiliary loss."""
    mean = torch.stack([target for _, target in found["train"]]).mean(dim=0)
    even = uniform_grid(run.config.options_of(BoundaryConfig).tensor)[0]
    rows = {"run": run.path.name}
    for split in SPLITS:
        pairs = found[split]
        ways = {
            "net": [nodes for nodes, _ in pairs],
            "projected": [untangled(covering(nodes[None]))[0] for nodes, _ in pairs],
            "mean target": [mean] * len(pairs),
            "uniform": [even] * len(pairs),
        }
        targets = [target for _, target in pairs]
        each = {way: squares(some, targets) for way, some in ways.items()}
        rows[split] = {way: statistics.fmean(some) for way, some in each.items()}
        rows[split] |= {"net, median": statistics.median(each["net"]), "images": len(pairs)}
    return rows


def squares(some: list[Tensor], targets: list[Tensor]) -> list[float]:
    """Of each image, mean over nodes."""
    return [float((a - b).square().sum(-1).mean()) for a, b in zip(some, targets, strict=True)]


def table(rows: list[dict]) -> str:
    ways = ("net", "net, median", "projected", "mean target", "uniform")
    lines = [["run", "images", *ways, "net / mean target"], ["---"] * 8]
    for row in rows:
        for split in SPLITS:
            one = row[split]
            figures = [f"{one[way] * 1e4:.2f}" for way in ways]
            lines.append([row["run"], split, *figures, f"{one['net'] / one['mean target']:.2f}"])
    first = "Squared distance of nodes to the exact grid, mean over nodes and images, in 1e-4 of [-1, 1].\n\n"
    return first + "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


@torch.no_grad()
def row_of(run: Run, one: Decoded) -> Picture:
    """Uniform, predicted, exact; borders of the true labels in orange."""
    labels = torch.from_numpy(one.labels)[None]
    pyramid = Pyramid.of(torch.from_numpy(one.image).permute(2, 0, 1)[None])
    size = run.segmenter.sampler.size
    exact_grid = resize_grid(exact(run, labels)[None], size)
    grids = [uniform_grid(size), sampling_grid(predicted(run, pyramid)[None], size), exact_grid]
    small = shrink(np.ascontiguousarray(one.image), WIDE).copy()
    small[outlines(shrink(one.labels, WIDE, labels=True))] = (255, 140, 0)
    return np.concatenate([samples_on(small, grid[0].numpy()) for grid in grids], axis=1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
