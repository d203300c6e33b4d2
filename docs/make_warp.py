"""Draws the pictures of warp.md from a photograph: ``python docs/make_warp.py IMAGE MASK OUT``."""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate, one_hot

import saccade

SIZE = 64, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("image", "mask", "out"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    matplotlib.use("agg")
    photo = torch.from_numpy(np.array(Image.open(args.image).convert("RGB"))).permute(2, 0, 1)[None]
    labels = torch.from_numpy(np.array(Image.open(args.mask)))[None]
    args.out.mkdir(parents=True, exist_ok=True)
    for name, figure in (("zone_plate", zone_plate()), ("there_and_back", there_and_back(photo, labels))):
        figure.savefig(args.out / f"warp_{name}.png", dpi=100, bbox_inches="tight")


def zone_plate() -> Figure:
    """A zone plate shrunk 16 times: what is sampled with and without footprints, and area averaging."""
    side, small = 1024, 64
    at = torch.arange(side) - (side - 1) / 2
    plate = (0.5 + 0.5 * torch.cos(torch.pi * (at[:, None] ** 2 + at[None] ** 2) / side))[None, None]
    middles = ((torch.arange(small) + 0.5) * side / small - 0.5) / (side - 1) * 2 - 1
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    grid = torch.stack([x, y], -1)[None]
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.2))
    panels = [
        (plate[..., 412:612, 412:612], "middle of a zone plate, 1024 x 1024"),
        (saccade.sample(plate, grid), "bilinear, 64 x 64: false rings"),
        (saccade.sample(plate, grid, antialias=True), "antialias=True"),
        (adaptive_avg_pool2d(plate, small), "area averaging"),
    ]
    for axis, (image, title) in zip(axes, panels, strict=True):
        axis.imshow(image[0, 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        finish(axis, title)
    return figure


def there_and_back(photo: Tensor, labels: Tensor) -> Figure:
    """A photograph sampled at a grid, its labels too, and both put back."""
    size = (photo.shape[2], photo.shape[3])
    grid = saccade.attraction_grid(saccade.edge_density(labels, SIZE, radius=1))
    seen = saccade.sample(photo, grid, antialias=True)
    classes = saccade.sample(labels, grid, mode="nearest")
    scores = one_hot(classes.long()).permute(0, 3, 1, 2).float()
    back = saccade.unwarp_labels(scores, grid, size)
    even = saccade.uniform_grid(SIZE)
    plain = one_hot(saccade.sample(labels, even, mode="nearest").long()).permute(0, 3, 1, 2).float()
    resized = interpolate(plain, size=size, mode="bilinear", align_corners=True).argmax(1)
    figure, axes = plt.subplots(2, 3, figsize=(12, 4.6))
    axes = axes.flat
    axes[0].imshow(photo[0].permute(1, 2, 0))
    finish(axes[0], f"photograph, {size[0]} x {size[1]}")
    axes[1].imshow(seen[0].permute(1, 2, 0) / 255, interpolation="nearest")
    finish(axes[1], f"sampled at {SIZE[0]} x {SIZE[1]} places, drawn to edges")
    axes[2].imshow(saccade.warp.unwarp(seen, grid, size)[0].permute(1, 2, 0) / 255)
    finish(axes[2], "the samples put back")
    for axis, part, title in (
        (axes[3], labels[0], "labels"),
        (axes[4], back[0], f"labels from these samples: {agree(back, labels):.1%} right"),
        (axes[5], resized[0], f"as many samples evenly spread: {agree(resized, labels):.1%} right"),
    ):
        axis.imshow(part, cmap="viridis", interpolation="nearest")
        finish(axis, title)
    return figure


def agree(one: Tensor, other: Tensor) -> float:
    """The share of pixels at which two label maps agree."""
    return (one == other).float().mean().item()


def finish(axis: Axes, title: str) -> None:
    axis.set_title(title, fontsize=9)
    axis.set_axis_off()


if __name__ == "__main__":
    main()
