"""Labels and scores of one image of any size, row by row: of tiles, or of patches that a sampler chooses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import ceil
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from saccade.errors import UsageError
from saccade.geometry import Tiling, Window
from saccade.grids import uniform_grid
from saccade.samplers.glimpses import Glimpses
from saccade.samplers.images import SAMPLES_AT_ONCE, SampledImage, over_source
from saccade.warp.stitch import Patch, RasterisedPatch, Strip, blend, strips


class ImageScores(ABC):
    """Labels and scores of one image, for any of its rows; nothing is scored before its rows are wanted.

    Attributes:
        size: (H, W).
        count: how many glimpses there are.
    """

    size: tuple[int, int]

    @property
    @abstractmethod
    def count(self) -> int: ...

    @abstractmethod
    def strips(self, rows: int, *, start: int = 0, scores: bool = False) -> Iterator[Strip]:
        """Labels from row ``start`` on, in strips of ``rows`` rows; with ``scores`` the probabilities too."""

    @abstractmethod
    def score_one(self) -> None:
        """Scores one glimpse, as a measurement of what that takes."""

    @abstractmethod
    def glimpses(self) -> Glimpses:
        """Where the samples lie, over the whole image, and the density of all of it."""

    def nodes(self) -> dict[Window, RegionScores]:
        """Scores and grid of every region.

        Raises:
            UsageError: where there are too many to be kept.
        """
        raise UsageError("scores of a sampler that chooses its own patches are kept by rasters alone")


@dataclass(frozen=True)
class RegionScores:
    """The glimpse of one region, on the CPU.

    Attributes:
        scores: (1, K, h, w) float32; (0, K, h, w) where they were not kept.
        grid: (1, h, w, 2) float32, (x, y) in [-1, 1] over the region.
        density: (1, 1, h_a, w_a) over the region; None where the sampler predicts none.
    """

    scores: Tensor
    grid: Tensor
    density: Tensor | None


@dataclass(frozen=True)
class TileRequest:
    """How an image is cut into glimpses by a sampler that proposes one of whatever it is shown.

    Attributes:
        tiling: the tiles; a single one is the whole image.
        classes: K.
        view: (h, w) of each glimpse.
        skip: tiles to leave out.
        batch: glimpses that go through the networks together; never tiles of two rows, so that what goes
            together does not depend on where the work began.
        keep_grids, keep_scores: whether they are kept for :meth:`ImageScores.glimpses` and ``nodes``.
    """

    tiling: Tiling
    classes: int
    view: tuple[int, int]
    skip: tuple[Window, ...] = ()
    batch: int = 1
    keep_grids: bool = False
    keep_scores: bool = False


class Scoring(Protocol):
    """What tiles are scored by: :class:`saccade.samplers.Sampler` is one."""

    @property
    def thumbnail_size(self) -> tuple[int, int] | None: ...

    def glimpse(self, images: Sequence[SampledImage], *, size: Sequence[int] | None = None) -> Glimpses: ...

    def score(
        self, images: Sequence[SampledImage], *, size: Sequence[int] | None = None, batch: int | None = None
    ) -> tuple[Tensor, Glimpses]: ...


class PatchScores(ImageScores):
    """Scores of patches that each lie on a grid over a region of the image: see :mod:`saccade.warp.stitch`.

    A sampler that cuts an image into patches of its own gives one from :meth:`Sampler.rows_of`, with
    ``size``, ``classes`` (K), ``regions`` (tops never falling), ``patches`` and ``glimpses``.
    """

    classes: int
    regions: Sequence[Window]
    probabilities: bool = False
    """Whether scores are probabilities of the classes (softmax has been taken) and not logits."""

    @abstractmethod
    def patches(self, numbers: Sequence[int]) -> list[Patch]:
        """Scores the patches of these numbers, ascending."""

    @property
    def count(self) -> int:
        return len(self.regions)

    def strips(self, rows: int, *, start: int = 0, scores: bool = False) -> Iterator[Strip]:
        return strips(self, rows, start=start, scores=scores)

    def score_one(self) -> None:
        self.patches([len(self.regions) // 2])


class TiledScores(PatchScores):
    """One glimpse of each tile; a single tile is the whole image.

    Args:
        sampler: in evaluation mode, with its sizes for the image.
        image: the image.
        request: where the tiles are, and what is kept of them.
    """

    def __init__(self, sampler: Scoring, image: SampledImage, request: TileRequest) -> None:
        self.sampler, self.image, self.request = sampler, image, request
        self.size, self.classes = request.tiling.size, request.classes
        skip = set(request.skip)
        self.regions = [region for region in request.tiling.windows if region not in skip]
        self._kept: dict[Window, RegionScores] = {}

    def patches(self, numbers: Sequence[int]) -> list[Patch]:
        """Scores the tiles of these numbers, ascending."""
        regions = [self.regions[n] for n in numbers]
        rows = [list(row) for _, row in groupby(regions, key=lambda region: region.top)]
        scored = {region: region_scores for row in rows for region, region_scores in self._score(row).items()}
        weights = self.request.tiling.weights
        return [
            Patch(
                region,
                region_scores.scores[0],
                region_scores.grid[0],
                weights(region.top, 0),
                weights(region.left, 1),
            )
            for region, region_scores in scored.items()
        ]

    @torch.no_grad()
    def _score(self, regions: Sequence[Window]) -> dict[Window, RegionScores]:
        """The glimpses of some tiles of one row, few at a time so that their footprints fit."""
        view, request = self.request.view, self.request
        samples = max(view[0] * view[1], *(self.sampler.thumbnail_size or (1, 1)), 1)
        step = max(1, SAMPLES_AT_ONCE // samples)
        scored: dict[Window, RegionScores] = {}
        for start in range(0, len(regions), step):
            some = regions[start : start + step]
            parts = [self.image.part(region) for region in some]
            scores, glimpses = self.sampler.score(parts, size=view, batch=request.batch)
            scored |= dict(zip(some, _by_region(scores, glimpses), strict=True))
        self._keep(scored)
        return scored

    def _keep(self, scored: dict[Window, RegionScores]) -> None:
        if self.request.keep_grids or self.request.keep_scores:
            for region, region_scores in scored.items():
                scores = region_scores.scores
                if not self.request.keep_scores:  # a part of them would hold all
                    scores = scores.new_empty(0, *scores.shape[1:])
                self._kept[region] = replace(region_scores, scores=scores)

    @torch.no_grad()
    def nodes(self) -> dict[Window, RegionScores]:
        """Every region; what an earlier run scored is proposed again, without the network."""
        for region in self.regions:
            if region not in self._kept:
                glimpses = self.sampler.glimpse([self.image.part(region)], size=self.request.view)
                self._kept[region] = _by_region(glimpses.grids.new_empty(0, 0, 0, 0), glimpses)[0]
        return {region: self._kept[region] for region in self.regions}

    def glimpses(self) -> Glimpses:
        """One grid of all samples over the whole image, and the density of all of it."""
        nodes = self.nodes()
        if not nodes:
            return Glimpses(torch.zeros(1, 1, 1, 2), torch.zeros(1, dtype=torch.int64))
        grids = torch.cat([region_scores.grid for region_scores in nodes.values()])
        full = over_source(grids, [self.image.part(region) for region in nodes])
        density = self._density(nodes)
        shown = None if density is None else density[None, None]
        return Glimpses(full.flatten(0, 1)[None], torch.zeros(1, dtype=torch.int64), shown)

    def _density(self, nodes: dict[Window, RegionScores]) -> Tensor | None:
        """(h, w) float32 density of the whole image on one raster: 1 on average over each region."""
        known = {
            region: region_scores.density
            for region, region_scores in nodes.items()
            if region_scores.density is not None
        }
        if not known:
            return None
        region, first = next(iter(known.items()))
        if len(known) == 1 and region.size == self.size:
            return first[0, 0]
        steps = region.height / first.shape[2], region.width / first.shape[3]
        rows, columns = (ceil(full / step) for full, step in zip(self.size, steps, strict=True))
        patches = [self._density_patch(region, density, steps) for region, density in known.items()]
        return _by_rows(patches, (rows, columns))

    def _density_patch(self, region: Window, density: Tensor, steps: tuple[float, float]) -> Patch:
        rows, columns = density.shape[2:]
        top, left = int(region.top / steps[0]), int(region.left / steps[1])
        where = Window(top, top + rows, left, left + columns)
        down, across = (
            self.request.tiling.weights(start, axis)[((np.arange(count) + 0.5) * side / count).astype(int)]
            for start, axis, count, side in (
                (region.top, 0, rows, region.height),
                (region.left, 1, columns, region.width),
            )
        )
        return Patch(where, density[0] * (rows * columns), uniform_grid((rows, columns))[0], down, across)


def _by_region(scores: Tensor, glimpses: Glimpses) -> list[RegionScores]:
    """The glimpses of a batch one by one, on the CPU."""
    scores, grids = scores.cpu(), glimpses.grids.cpu()
    densities = None if glimpses.density is None else glimpses.density.cpu()
    return [
        RegionScores(scores[n : n + 1], grids[n : n + 1], None if densities is None else densities[n : n + 1])
        for n in range(len(grids))
    ]


def _by_rows(patches: list[Patch], size: tuple[int, int]) -> Tensor:
    """Blended values (h, w) of patches of one class each."""
    out, rasterised = torch.zeros(size), [RasterisedPatch(patch) for patch in patches]
    for top in range(0, size[0], 256):
        window = Window(top, min(top + 256, size[0]), 0, size[1])
        here = [patch for patch in rasterised if patch.region.intersection(window)]
        if here:
            total, weights = blend(here, window)
            out[window.slices] = torch.from_numpy(total[0] / np.maximum(weights, 1e-30))
    return out
