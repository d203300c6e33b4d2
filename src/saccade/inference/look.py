"""A segmenter looks at regions of an image: each gets a view of its own, as if it were an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saccade.grids import uniform_grid
from saccade.inference.source import Source
from saccade.rasters import Window
from saccade.segmenter import Segmenter
from saccade.warp import Pyramid

SAMPLES_AT_ONCE = 1 << 18
"""Samples read in one go: their boxes and sums take about 300 bytes each."""


@dataclass(frozen=True)
class Looked:
    """What was found in some regions, on the CPU.

    Attributes:
        scores: (V, K, h, w) float32.
        grids: (V, h, w, 2) float32, (x, y) in [-1, 1] over the region that each belongs to.
        density: (V, 1, h_a, w_a) over the region; None where the sampler predicts none.
    """

    scores: Tensor
    grids: Tensor
    density: Tensor | None


@torch.no_grad()
def look(
    segmenter: Segmenter,
    source: Source,
    regions: Sequence[Window],
    *,
    view: Sequence[int] | None = None,
    batch: int = 1,
) -> Looked:
    """One view of each region.

    Args:
        segmenter: in evaluation mode, with a sampler that proposes one view an image.
        source: the image.
        regions: parts of it.
        view: (h, w); default the sampler's.
        batch: views that go through the networks together.
    """
    sampler = segmenter.sampler
    size = sampler.size if view is None else (int(view[0]), int(view[1]))
    samples = max(size[0] * size[1], *(sampler.overview_size or (1, 1)), 1)
    step = max(1, SAMPLES_AT_ONCE // samples)
    parts = [
        _look_at_some(segmenter, source, regions[start : start + step], size, batch)
        for start in range(0, len(regions), step)
    ]
    density = None if parts[0].density is None else torch.cat([p.density for p in parts])  # type: ignore[misc]
    return Looked(torch.cat([p.scores for p in parts]), torch.cat([p.grids for p in parts]), density)


def _look_at_some(
    segmenter: Segmenter, source: Source, regions: Sequence[Window], size: tuple[int, int], batch: int
) -> Looked:
    grids, density = propose(segmenter, source, regions, size, batch)
    pixels = source.sample(whole_image(grids, regions, source.size), antialias=segmenter.antialias)
    scores = [segmenter.score(normalised(segmenter, some)).cpu() for some in pixels.split(batch)]
    return Looked(torch.cat(scores), grids, density)


@torch.no_grad()
def propose(
    segmenter: Segmenter, source: Source, regions: Sequence[Window], size: tuple[int, int], batch: int = 1
) -> tuple[Tensor, Tensor | None]:
    """Where the sampler would look in each region: grids (V, h, w, 2) over the regions, and its density."""
    views = [
        segmenter.sampler(overview, size=size, batch=count)
        for overview, count in _overviews(segmenter, source, regions, batch)
    ]
    found = [view.density.cpu() for view in views if view.density is not None]
    return torch.cat([view.grids for view in views]).cpu(), torch.cat(found) if found else None


def _overviews(
    segmenter: Segmenter, source: Source, regions: Sequence[Window], batch: int
) -> list[tuple[Tensor | None, int]]:
    """Normalised overviews of the regions in batches, or none where the sampler looks blindly."""
    wanted = segmenter.sampler.overview_size
    if wanted is None:
        return [(None, len(regions))]
    grids = uniform_grid(wanted, len(regions))
    pixels = source.sample(whole_image(grids, regions, source.size), antialias=True)
    return [(normalised(segmenter, some), len(some)) for some in pixels.split(batch)]


_BYTES = Pyramid.of(torch.zeros(1, 3, 1, 1, dtype=torch.uint8))


def normalised(segmenter: Segmenter, pixels: Tensor) -> Tensor:
    """Pixels in 0..255 as the networks take them, on their device."""
    return segmenter.normalise(pixels, [_BYTES])


def whole_image(grids: Tensor, regions: Sequence[Window], size: tuple[int, int]) -> Tensor:
    """Grids over regions, (V, h, w, 2), as grids over the whole image of ``size`` (H, W)."""
    if all(region.size == size for region in regions):
        return grids
    out = torch.empty_like(grids)
    for moved, grid, region in zip(out, grids.double(), regions, strict=True):
        sides = torch.tensor([region.width - 1, region.height - 1], dtype=torch.float64)
        corner = torch.tensor([region.left, region.top], dtype=torch.float64)
        full = torch.tensor([max(size[1] - 1, 1), max(size[0] - 1, 1)], dtype=torch.float64)
        moved.copy_((((grid + 1) / 2 * sides + corner) / full * 2 - 1).clamp(-1, 1))
    return out
