"""Benchmark cases of sample and unwarp: run them with ``python benchmarks/operators.py``."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from harness import Case
from saccade.grids import attraction_grid, uniform_grid
from saccade.warp import Pyramid, sample, unwarp, unwarp_labels

LABEL_MAPS = (
    ((64, 128), (1024, 2048), 19, 15),
    ((300, 300), (2448, 2448), 7, 20),
    ((512, 512), (8192, 8192), 7, 60),
)


def cases() -> list[Case]:
    """All cases of the warp room."""
    return [*_labels(), *_harder_labels(), *_values(), *_samples()]


def deformed(size: tuple[int, int]) -> Tensor:
    """An attraction grid of a density with a few peaks, as a trained sampler makes them; covers the image."""
    rows, columns = (side // 4 for side in size)
    noise = torch.randn(1, 1, max(2, rows // 4), max(2, columns // 4), generator=_seed())
    density = torch.softmax(1.5 * interpolate(noise, (rows, columns), mode="bicubic").flatten(), 0)
    return attraction_grid(density.view(1, 1, rows, columns), size)


def regions(classes: int, size: tuple[int, int]) -> Tensor:
    """(1, K, h, w) scores as a network gives them: smooth regions of classes, and some noise."""
    coarse = torch.randn(
        1, classes, 12 * size[0] // max(size) + 2, 12 * size[1] // max(size) + 2, generator=_seed()
    )
    smooth = interpolate(coarse, size, mode="bicubic", align_corners=True)
    return (4 * smooth + 0.1 * torch.randn(smooth.shape, generator=_seed())).contiguous()


def photograph(height: int, width: int) -> Tensor:
    """(1, 3, H, W) uint8 with smooth parts, edges and grain, laid out as a decoder leaves it."""
    coarse = torch.rand(1, 3, height // 32, width // 32, generator=_seed())
    smooth = interpolate(coarse, (height, width), mode="bicubic")
    image = 255 * smooth + 6 * torch.randn(smooth.shape, generator=_seed())
    return image.clamp(0, 255).to(torch.uint8).contiguous(memory_format=torch.channels_last)


def _seed() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _resize_and_argmax(scores: Tensor, size: tuple[int, int]) -> Callable[[], Tensor]:
    def peer() -> Tensor:
        full = interpolate(scores, size=size, mode="bilinear", align_corners=True)
        return full.argmax(1).to(torch.uint8)

    return peer


PEER = "interpolate + argmax (uniform pipeline in PyTorch)"


def _label_case(kind: str, scores: Tensor, grid: Tensor, size: tuple[int, int], target: float | None) -> Case:
    h, w = scores.shape[2:]
    name = f"unwarp_labels linear, {h}x{w} -> {size[0]}x{size[1]}, K = {scores.shape[1]}{kind}"
    written = f"{size[0] * size[1] / 1e6:.3g} MB written"
    return Case(
        name,
        lambda: unwarp_labels(scores, grid, size),
        PEER,
        _resize_and_argmax(scores, size),
        written,
        target,
    )


def _labels() -> list[Case]:
    return [
        _label_case("", regions(classes, cells), deformed(cells), size, target)
        for cells, size, classes, target in LABEL_MAPS
    ]


def _harder_labels() -> list[Case]:
    cells, size, classes, _ = LABEL_MAPS[0]
    noise = torch.randn(1, classes, *cells, generator=_seed())
    scores, grid = regions(classes, cells), deformed(cells)
    half = scores.half()
    return [
        _label_case(", scores of pure noise", noise, grid, size, None),
        _label_case(", grid that leaves a margin", scores, grid * 0.9, size, None),
        _label_case(", uniform grid", scores, uniform_grid(cells), size, None),
        _label_case(", half precision", half, grid, size, None),
        Case(
            "unwarp_labels nearest, 64x128 -> 1024x2048, K = 19",
            lambda: unwarp_labels(scores, grid, size, mode="nearest"),
            PEER,
            _resize_and_argmax(scores, size),
            "2.1 MB written",
            None,
        ),
    ]


def _values() -> list[Case]:
    cells, size = (64, 128), (1024, 2048)
    grid = deformed(cells)
    values = torch.randn(1, 1, *cells, generator=_seed())
    nodes = ((grid[0].double() + 1) / 2 * torch.tensor([size[1] - 1, size[0] - 1])).flatten(0, 1).numpy()
    y, x = np.mgrid[: size[0], : size[1]]
    places = np.stack([x, y], -1).reshape(-1, 2)
    known = values.flatten().numpy()
    written = f"{4 * size[0] * size[1] / 1e6:.3g} MB written"
    return [
        Case(
            "unwarp linear, 64x128 -> 1024x2048, one channel",
            lambda: unwarp(values, grid, size),
            "scipy LinearNDInterpolator",
            lambda: LinearNDInterpolator(nodes, known)(places),
            written,
            20,
        ),
        Case(
            "unwarp nearest, 64x128 -> 1024x2048, one channel",
            lambda: unwarp(values, grid, size, mode="nearest"),
            "scipy cKDTree on both cores",
            lambda: known[cKDTree(nodes).query(places, workers=-1)[1]],
            written,
            20,
        ),
        Case(
            "unwarp linear, forward and backward, 19 channels",
            _backward(values.repeat(1, 19, 1, 1), lambda leaf: unwarp(leaf, grid, size)),
            "interpolate, forward and backward",
            _backward(
                values.repeat(1, 19, 1, 1),
                lambda leaf: interpolate(leaf, size=size, mode="bilinear", align_corners=True),
            ),
            f"{2 * 19 * 4 * size[0] * size[1] / 1e6:.3g} MB written",
            None,
        ),
    ]


def _backward(start: Tensor, function: Callable[[Tensor], Tensor]) -> Callable[[], Tensor]:
    def run() -> Tensor:
        leaf = start.clone().requires_grad_()
        function(leaf).sum().backward()
        return leaf.grad

    return run


def _samples() -> list[Case]:
    image = photograph(1024, 2048)
    floats, pyramid = image.float().contiguous(), Pyramid.of(image)
    found = []
    for cells, target in (((64, 128), 1 / 3), ((32, 64), None), ((256, 512), None)):
        grid = deformed(cells)
        written = f"{12 * cells[0] * cells[1] / 1e6:.3g} MB written"
        name = f"sample 2048x1024 -> {cells[0]}x{cells[1]}"

        def plain(grid: Tensor = grid) -> Tensor:
            return grid_sample(floats, grid, align_corners=True, padding_mode="border")

        def averaged(grid: Tensor = grid) -> Tensor:
            return sample(pyramid, grid, antialias=True)

        found.append(
            Case(f"{name}, anti-aliased, pyramid given", averaged, "grid_sample", plain, written, target)
        )
    return [*found, *_other_samples(floats, pyramid), _pyramid(image)]


def _other_samples(floats: Tensor, pyramid: Pyramid) -> list[Case]:
    grid, written = deformed((64, 128)), "0.0983 MB written"
    name = "sample 2048x1024 -> 64x128"

    def plain() -> Tensor:
        return grid_sample(floats, grid, align_corners=True, padding_mode="border")

    return [
        Case(f"{name}, bilinear", lambda: sample(floats, grid), "grid_sample", plain, written, None),
        Case(
            f"{name}, anti-aliased, no pyramid given",
            lambda: sample(floats, grid, antialias=True),
            "grid_sample",
            plain,
            written,
            None,
        ),
        Case(
            f"{name}, anti-aliased, forward and backward to the grid",
            _backward(grid, lambda leaf: sample(pyramid, leaf, antialias=True)),
            "grid_sample, forward and backward to the grid",
            _backward(grid, lambda leaf: grid_sample(floats, leaf, align_corners=True)),
            written,
            None,
        ),
    ]


def _pyramid(image: Tensor) -> Case:
    file = io.BytesIO()
    Image.fromarray(image[0].permute(1, 2, 0).numpy()).save(file, "JPEG", quality=90)
    encoded = file.getvalue()
    return Case(
        "pyramid of a 2048x1024 colour image",
        lambda: Pyramid.of(image),
        "decoding its JPEG (Pillow)",
        lambda: np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")),
        "2.1 MB written",
        None,
    )
