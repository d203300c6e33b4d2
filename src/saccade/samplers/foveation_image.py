"""One image seen through a foveation sampler: its patches are read, scored and put together as needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saccade.grids import uniform_grid
from saccade.samplers.foveation import Foveation, FoveationSampler
from saccade.samplers.views import Views
from saccade.warp import Pyramid
from saccade.warp.patchwork import patchwork

READ_AT_ONCE = 1 << 18
"""Pixels of an overview that are read in one go."""

TOGETHER = 16
"""Patches that go through the network together."""


@dataclass(frozen=True)
class LabelBand:
    """Rows of an answer.

    Attributes:
        top: the first row.
        labels: (rows, W) uint8 class ids.
        shares: (rows, W, K) uint8, of 255; None where not asked for.
    """

    top: int
    labels: NDArray[np.uint8]
    shares: NDArray[np.uint8] | None


@dataclass(frozen=True)
class FoveatedImage:
    """Scores and labels of one image.

    Attributes:
        sampler: in evaluation mode.
        size: (H, W).
        found: where the sampler looks in it.
        read: grids (V, h, w, 2) to normalised pixels (V, 3, h, w).
        score: normalised pixels to scores (V, K, h, w).
    """

    sampler: FoveationSampler
    size: tuple[int, int]
    found: Foveation
    read: Callable[[Tensor], Tensor]
    score: Callable[[Tensor], Tensor]

    shares = True
    """Scores are shares of the classes: softmax was taken."""

    @property
    def regions(self) -> Tensor:
        """(L, 4) top, bottom, left, right of the pixels that the prediction of each location covers."""
        (top, bottom), (left, right) = (self.found.lattice.covered(axis) for axis in (0, 1))
        down, across = np.stack([top, bottom + 1], 1)[:, None], np.stack([left, right + 1], 1)[None]
        shape = len(top), len(left), 2
        both = np.broadcast_to(down, shape), np.broadcast_to(across, shape)
        return torch.from_numpy(np.concatenate(both, 2)).flatten(0, 1)

    def row(self, number: int) -> Tensor:
        """(C, h, w, K) float32 shares of the classes in the smallest fields of a row of locations.

        What goes through the network together depends on the row alone.
        """
        columns = self.found.lattice.shape[1]
        weights = self.found.weights[number * columns : (number + 1) * columns]
        pairs = zip(self.found.lattice.places[number].split(TOGETHER), weights.split(TOGETHER), strict=True)
        return torch.cat([self.scores(some, weight).permute(0, 2, 3, 1) for some, weight in pairs])

    @torch.no_grad()
    def scores(self, places: Tensor, weights: Tensor) -> Tensor:
        """(N, K, h, w) shares around places (N, 2), fed with weights (N, D)."""
        sampler = self.sampler
        grids, inside = sampler.fields_at(places, self.size, sampler.fed(weights))
        pixels = self.read(grids.flatten(0, 1))
        if sampler.border == "zero":
            pixels = pixels * inside.flatten(0, 1)[:, None].to(pixels.device)
        return shares_of(sampler, pixels.unflatten(0, grids.shape[:2]), weights, self.score).cpu()

    def bands(self, rows: int, *, start: int = 0, shares: bool = False) -> Iterator[LabelBand]:
        """The answer from row ``start`` on, in bands of ``rows`` rows; only their patches are in memory."""
        lattice = self.found.lattice
        first, last = lattice.covered(0)
        down, across = lattice.centres(0), lattice.centres(1)
        held: dict[int, Tensor] = {}
        for top in range(start, self.size[0], rows):
            bottom = min(top + rows, self.size[0])
            wanted = np.flatnonzero((first < bottom) & (last >= top)).tolist()
            held = {n: held[n] if n in held else self.row(n) for n in wanted}
            labels, mean = patchwork(
                torch.stack([held[n] for n in wanted]), down[wanted], across, lattice.field,
                (top, bottom), self.size[1], window=self.sampler.window, shares=shares,
            )  # fmt: skip
            yield LabelBand(top, labels, mean)

    def seen(self) -> Views:
        """Where the sampler looks, over the whole image."""
        return self.sampler.views(self.found, self.size)


def of_source(sampler: FoveationSampler, segmenter: Any, source: Any) -> FoveatedImage:
    """An image that is sampled where it lies: see :meth:`saccade.FoveationSampler.patches`."""
    like = [Pyramid.of(torch.zeros(1, 3, 1, 1, dtype=torch.uint8))]

    def read(grids: Tensor, antialias: bool = segmenter.antialias) -> Tensor:
        normal: Tensor = segmenter.normalise(source.sample(grids, antialias=antialias), like)
        return normal

    overview = None
    wanted = sampler.overview_of(source.size)
    if wanted is not None:
        strips = uniform_grid(wanted).split(max(1, READ_AT_ONCE // wanted[1]), dim=1)
        overview = torch.cat([read(strip, True) for strip in strips], dim=2)
    with torch.no_grad():
        found = sampler.look(overview, source.size)
    return FoveatedImage(sampler, source.size, found, read, segmenter.score)


def blend(pixels: Tensor, weights: Tensor) -> Tensor:
    """The patches that are fed, (N, c, h, w): the weighted sum of (N, D, c, h, w); of one alone, that."""
    if pixels.shape[1] == 1:
        return pixels[:, 0]
    with torch.autocast(pixels.device.type, enabled=False):
        return torch.einsum("ndchw,nd->nchw", pixels, weights.to(pixels))


def shares_of(
    sampler: FoveationSampler, pixels: Tensor, weights: Tensor, score: Callable[[Tensor], Tensor]
) -> Tensor:
    """(N, K, h, w) shares of the classes in the smallest field, of patches (N, D, 3, h, w), D = 1 where one
    was chosen."""
    weights = weights.to(pixels.device)
    if sampler.estimator != "ensemble":
        scores = score(blend(pixels, weights)).float()
        return sampler.reading(scores, weights).softmax(1)
    count, fields = pixels.shape[:2]
    scores = score(pixels.flatten(0, 1)).float()
    each = torch.eye(fields, device=pixels.device).repeat(count, 1)
    return sampler.reading(scores, each).softmax(1).unflatten(0, (count, fields)).mean(1)
