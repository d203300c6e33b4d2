"""The views of an image, from memory or disk: one of the whole, one a tile, or the sampler's own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import torch
from torch import Tensor

from saccade.errors import UsageError
from saccade.geometry import Tiling, Window
from saccade.grids import uniform_grid
from saccade.rasters import Raster, sample_raster
from saccade.samplers import Glimpses
from saccade.segmenter import Segmenter
from saccade.warp import Pyramid, sample
from saccade.warp.stitch import Patch, one_patch


class Source(Protocol):
    """An RGB image that can be sampled anywhere.

    Attributes:
        size: (H, W).
    """

    @property
    def size(self) -> tuple[int, int]: ...

    def sample(self, grids: Tensor, *, antialias: bool) -> Tensor:
        """(V, 3, h, w) float32 in 0..255, on the CPU, at grids (V, h, w, 2) over the whole image."""
        ...


class MemorySource:
    """An image in memory with its pyramid: what :meth:`saccade.Segmenter.predict` reads, to the bit."""

    def __init__(self, pyramid: Pyramid) -> None:
        self.pyramid = pyramid

    @property
    def size(self) -> tuple[int, int]:
        return self.pyramid.size

    def sample(self, grids: Tensor, *, antialias: bool) -> Tensor:
        return torch.cat([sample(self.pyramid, grid, antialias=antialias) for grid in grids.split(1)])


class RasterSource:
    """A raster on disk: only the tiles, and the level, that the samples need."""

    def __init__(self, raster: Raster) -> None:
        self.raster = raster

    @property
    def size(self) -> tuple[int, int]:
        return self.raster.size

    def sample(self, grids: Tensor, *, antialias: bool) -> Tensor:
        return sample_raster(self.raster, grids, antialias=antialias)


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
    samples = max(size[0] * size[1], *(sampler.thumbnail_size or (1, 1)), 1)
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
        segmenter.sampler(thumbnail, size=size, batch=count)
        for thumbnail, count in _thumbnails(segmenter, source, regions, batch)
    ]
    found = [view.density.cpu() for view in views if view.density is not None]
    return torch.cat([view.grids for view in views]).cpu(), torch.cat(found) if found else None


def _thumbnails(
    segmenter: Segmenter, source: Source, regions: Sequence[Window], batch: int
) -> list[tuple[Tensor | None, int]]:
    """Normalised thumbnails of the regions in batches, or none where the sampler looks blindly."""
    wanted = segmenter.sampler.thumbnail_size
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


OnLook = Callable[[Sequence[Window], Looked], None]
"""Told of regions and what was found there."""


class TilePatches:
    """Tiles, each with a view of its own.

    Args:
        segmenter: in evaluation mode, with a sampler that proposes one view an image.
        source: the image.
        tiling: where the tiles are; a single one is the whole image.
        classes: K.
        view: (h, w) of each view.
        skip: tiles to leave out.
        batch: views that go through the networks together; never tiles of two rows, so that what goes
            together does not depend on where the work began.
        on_look: told of what was found.
    """

    shares = False

    def __init__(
        self,
        segmenter: Segmenter,
        source: Source,
        tiling: Tiling,
        classes: int,
        *,
        view: tuple[int, int],
        skip: Collection[Window] = (),
        batch: int = 1,
        on_look: OnLook | None = None,
    ) -> None:
        self.segmenter, self.source, self.tiling, self.classes = segmenter, source, tiling, classes
        self.view, self.batch, self.on_look = view, batch, on_look
        self.size = tiling.size
        self.regions = [region for region in tiling.windows if region not in set(skip)]

    def look(self, numbers: Sequence[int]) -> list[Patch]:
        regions = [self.regions[n] for n in numbers]
        rows = [list(row) for _, row in groupby(regions, key=lambda region: region.top)]
        return [patch for row in rows for patch in self._look_at_row(row)]

    def _look_at_row(self, regions: list[Window]) -> list[Patch]:
        found = look(self.segmenter, self.source, regions, view=self.view, batch=self.batch)
        if self.on_look is not None:
            self.on_look(regions, found)
        return [
            Patch(
                region,
                found.scores[n],
                found.grids[n],
                self.tiling.weights(region.top, 0),
                self.tiling.weights(region.left, 1),
            )
            for n, region in enumerate(regions)
        ]


class OwnPatches:
    """The patches of a sampler that chooses them itself, from the plain numbers that it gives.

    Args:
        chosen: what the sampler's ``patches(segmenter, source)`` returned: see docs/predict.md.
        size: (H, W) of the image.
        classes: K.
    """

    def __init__(self, chosen: Any, size: tuple[int, int], classes: int) -> None:
        self.chosen, self.size, self.classes = chosen, size, classes
        self.regions = [Window(*(int(side) for side in region)) for region in chosen.regions]
        self.shares = bool(getattr(chosen, "shares", False))

    def look(self, numbers: Sequence[int]) -> list[Patch]:
        scores, grids = self.chosen.look(list(numbers))
        triples = zip(scores.float().cpu(), grids.cpu(), numbers, strict=True)
        return [one_patch(score, grid, self.regions[n]) for score, grid, n in triples]

    def seen(self) -> Glimpses:
        """Where it looked, over the whole image.

        Raises:
            UsageError: when the sampler does not tell.
        """
        if not hasattr(self.chosen, "seen"):
            raise UsageError("this run's sampler does not tell where it looks; leave samples and density out")
        views: Glimpses = self.chosen.seen()
        return views


def own_patches(segmenter: Segmenter, source: Source, classes: int) -> OwnPatches | None:
    """The patches of a sampler that proposes many views an image and says so by a method
    ``patches(segmenter, source)``; None for one that proposes one view of whatever it is shown."""
    choose: Any = getattr(segmenter.sampler, "patches", None)
    return None if choose is None else OwnPatches(choose(segmenter, source), source.size, classes)


def chooses_patches(segmenter: Segmenter) -> bool:
    """Whether the sampler has a method ``patches``."""
    return hasattr(segmenter.sampler, "patches")
