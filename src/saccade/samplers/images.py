"""An image as a sampler sees it: normalised pixels wherever it asks, and the scores of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor, nn

from saccade.geometry import Window
from saccade.grids import uniform_grid


class Source(Protocol):
    """An RGB image that can be sampled anywhere.

    Attributes:
        size: (H, W).
        white: the value of full brightness: 255, or 1.
    """

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def white(self) -> float: ...

    def sample(self, grids: Tensor, *, antialias: bool) -> Tensor:
        """(V, 3, h, w) floating in 0..white at grids (V, h, w, 2), (x, y) in [-1, 1] over the whole image."""
        ...


@dataclass(frozen=True)
class SampledImage:
    """One image, or a part of it, as a sampler sees it: normalised pixels where it asks, and their scores.

    Attributes:
        source: the image.
        normalise: pixels (V, 3, h, w) in 0..white, and white, to what the networks take, where they are.
        score: normalised pixels (V, 3, h, w) to scores (V, K, h, w) float32.
        antialias: whether a sample is the mean over its footprint.
        region: the pixels that count as the image; None for all.
    """

    source: Source
    normalise: Callable[[Tensor, float], Tensor]
    score: Callable[[Tensor], Tensor]
    antialias: bool
    region: Window | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of what counts as the image."""
        return self.source.size if self.region is None else self.region.size

    def part(self, region: Window) -> SampledImage:
        """A region of the whole image, as if that were the image."""
        return replace(self, region=None if region.size == self.source.size else region)

    def read(self, grids: Tensor) -> Tensor:
        """(V, 3, h, w) normalised pixels at grids (V, h, w, 2), (x, y) in [-1, 1] over what counts."""
        return read_images([self] * len(grids), grids, antialias=self.antialias)


SAMPLES_AT_ONCE = 1 << 18
"""Samples read in one go: their footprints and sums take about 300 bytes each."""


def read_images(images: Sequence[SampledImage], grids: Tensor, *, antialias: bool) -> Tensor:
    """(V, 3, h, w) normalised pixels: grid v, (V, h, w, 2), over image v; differentiable.

    Neighbours of one source are read together, so that a file decodes what they share once.
    """
    parts, start = [], 0
    for _, group in groupby(images, key=lambda image: id(image.source)):
        some = list(group)
        first, count = some[0], len(some)
        whole = over_source(grids[start : start + count], some)
        parts.append(first.normalise(first.source.sample(whole, antialias=antialias), first.source.white))
        start += count
    if len(parts) == 1:
        return parts[0]
    channels_last = parts[0].is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.cat(parts).contiguous(memory_format=layout)


def over_source(grids: Tensor, images: Sequence[SampledImage]) -> Tensor:
    """Grids over parts of one source, (V, h, w, 2), as grids over all of it."""
    if all(image.region is None for image in images):
        return grids
    size, out = images[0].source.size, torch.empty_like(grids, device="cpu")
    full = torch.tensor([max(size[1] - 1, 1), max(size[0] - 1, 1)], dtype=torch.float64)
    for moved, grid, image in zip(out, grids.cpu().double(), images, strict=True):
        region = Window.full(size) if image.region is None else image.region
        sides = torch.tensor([region.width - 1, region.height - 1], dtype=torch.float64)
        corner = torch.tensor([region.left, region.top], dtype=torch.float64)
        moved.copy_((((grid + 1) / 2 * sides + corner) / full * 2 - 1).clamp(-1, 1))
    return out


def thumbnails(images: Sequence[SampledImage], size: tuple[int, int]) -> Tensor:
    """(B, 3, h_o, w_o) normalised thumbnails, each pixel the mean over its footprint.

    A large one is read in strips, each with a row more on either side, because a footprint is known from the
    neighbours of its sample: the pixels are those of one reading.
    """
    rows = max(1, SAMPLES_AT_ONCE // size[1])
    if rows >= size[0] or len(images) > 1:
        return read_images(images, uniform_grid(size, len(images)), antialias=True)
    grid, strips = uniform_grid(size), []
    for top in range(0, size[0], rows):
        first, last = max(0, top - 1), min(size[0], top + rows + 1)
        strip = read_images(images, grid[:, first:last], antialias=True)
        strips.append(strip[:, :, top - first : top - first + min(rows, size[0] - top)])
    return torch.cat(strips, dim=2)


def floating_type(module: nn.Module) -> torch.dtype:
    """What a module computes in: the type of its first floating weight; float32 where it has none."""
    return next((weight.dtype for weight in module.parameters() if weight.is_floating_point()), torch.float32)
