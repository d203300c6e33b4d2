"""Draws the pictures of grids.md from a photograph: ``python docs/make_grids.py IMAGE MASK OUT``."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

import saccade
from saccade import grids

INK = "#d62728"
SIZE = 64, 128
SHOWN = 32, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("image", "mask", "out"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    matplotlib.use("agg")
    photo = torch.from_numpy(np.array(Image.open(args.image).convert("RGB"))).permute(2, 0, 1)[None]
    labels = torch.from_numpy(np.array(Image.open(args.mask)))[None]
    args.out.mkdir(parents=True, exist_ok=True)
    for draw in (densities, attraction, boundary, patches):
        save(draw(photo, labels), args.out / f"grids_{draw.__name__}.png")


def densities(photo: Tensor, labels: Tensor) -> Figure:
    """The photograph, its labels, and what blur radius and weights of classes do to the edge density."""
    figure, axes = plt.subplots(2, 3, figsize=(11, 4.2))
    show(axes[0, 0], photo, "photograph, 1024 x 2048")
    axes[0, 1].imshow(labels[0], cmap="viridis", interpolation="nearest")
    axes[0, 1].set_title("labels: background, leaf, symptom")
    rest = [(0, None, "edge density 64 x 128, radius 0"), (1, None, "radius 1"), (4, None, "radius 4")]
    rest += [(1, [1.0, 1.0, 10.0], "radius 1, edges of symptoms weigh 10")]
    for axis, (radius, weights, title) in zip(axes.flat[2:], rest, strict=True):
        density = grids.edge_density(labels, SIZE, radius=radius, weights=weights)
        axis.imshow(density[0, 0] ** 0.5, cmap="magma")
        axis.set_title(title)
    return figure


def attraction(photo: Tensor, labels: Tensor) -> Figure:
    """The meshes of the attraction grid, and what the network sees through them."""
    density = grids.edge_density(labels, SIZE, radius=2)
    rows = [
        ("uniform", grids.uniform_grid),
        ("attraction, cover=False", lambda size: grids.attraction_grid(density, size, cover=False)),
        ("attraction", lambda size: grids.attraction_grid(density, size)),
        ("attraction, radius=30", lambda size: grids.attraction_grid(density, size, radius=30)),
        ("elastic", lambda size: grids.elastic_grid(density, size)),
    ]
    return meshes(photo, labels, rows)


def boundary(photo: Tensor, labels: Tensor) -> Figure:
    """Boundary grids of several smoothnesses and target classes."""

    def grid_of(size: tuple[int, int], **options) -> Tensor:
        return grids.boundary_grid(labels, size, **options)

    rows = [(f"boundary, smoothness={s:g}", partial(grid_of, smoothness=s)) for s in (0.3, 1, 5)]
    rows.append(("boundary, classes=[2] (symptoms)", partial(grid_of, classes=[2])))
    return meshes(photo, labels, rows)


def meshes(photo: Tensor, labels: Tensor, rows: list) -> Figure:
    """For each named grid its mesh on the photograph, and the photograph sampled through it."""
    figure, axes = plt.subplots(len(rows), 2, figsize=(9, 2.35 * len(rows)))
    for (left, right), (name, grid_of) in zip(axes, rows, strict=True):
        show(left, photo, f"{name}: {SHOWN[0]} x {SHOWN[1]} mesh", pale=True)
        draw_mesh(left, grid_of(SHOWN)[0], photo.shape[-2:])
        grid = grid_of(SIZE)
        seen = saccade.sample(photo.float(), grid, antialias=True)
        counts = grids.samples_per_region(grid, labels, 3)[0]
        covered = "covers" if grids.covers(grid) else "does not cover"
        title = f"64 x 128 samples, {counts[2] / counts.sum():.0%} on symptoms; {covered} the image"
        show(right, seen.clamp(0, 255).byte(), title)
    return figure


def patches(photo: Tensor, labels: Tensor) -> Figure:
    """Five fields of view round one place, each read with the same number of samples."""
    fields, size, image_size = [128, 256, 512, 1024, 1536], (64, 64), photo.shape[-2:]
    rows, columns = (labels[0] == 2).nonzero().double().mean(dim=0)
    centre = torch.tensor([[columns / (image_size[1] - 1), rows / (image_size[0] - 1)]]) * 2 - 1
    found, inside = grids.patch_grids(centre, fields, size, image_size, border="zero")
    figure = plt.figure(figsize=(11, 5.6))
    whole = figure.add_subplot(2, 1, 1)
    show(whole, photo, "fields of view 128 to 1536 pixels")
    for number, field in enumerate(fields):
        left, top = columns - field / 2, rows - field / 2
        whole.add_patch(plt.Rectangle((left, top), field, field, fill=False, color=INK, linewidth=1))
        patch = saccade.sample(photo.float(), found[:, number], antialias=True) * inside[:, None, number]
        axis = figure.add_subplot(2, len(fields), len(fields) + number + 1)
        show(axis, patch.clamp(0, 255).byte(), f"{field} px")
    return figure


def show(axis: Axes, image: Tensor, title: str, pale: bool = False) -> None:
    """An image (1, 3, H, W) uint8."""
    shown = image[0].permute(1, 2, 0).numpy()
    if pale:
        shown = (0.4 * shown + 0.6 * 255).astype(np.uint8)
    axis.imshow(shown, interpolation="nearest" if shown.shape[0] < 500 else "antialiased")
    axis.set_title(title)


def draw_mesh(axis: Axes, grid: Tensor, image_size: tuple[int, int]) -> None:
    """The rows and columns of a grid (h, w, 2) as lines."""
    height, width = image_size
    pixels = ((grid + 1) / 2 * torch.tensor([width - 1, height - 1])).numpy()
    lines = [*pixels, *pixels.transpose(1, 0, 2)]
    axis.add_collection(LineCollection(lines, colors=INK, linewidths=0.35))
    axis.set_xlim(0, width)
    axis.set_ylim(height, 0)


def save(figure: Figure, path: Path) -> None:
    """As a PNG of 256 colours, to keep it small."""
    for axis in figure.axes:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.title.set_fontsize(9)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)
    Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    main()
