"""Foveation: at every location of an image choose, or blend, how wide to look (arXiv, MICCAI 2020)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saccade.errors import InvalidInput, nearest_name
from saccade.grids import patch_grids, uniform_grid
from saccade.grids.uniform import BORDERS
from saccade.samplers.base import Glimpses, Sampler
from saccade.samplers.foveation_choice import (
    BLENDS,
    ESTIMATORS,
    LEARNED,
    FoveationNet,
    Reading,
    choose_blindly,
    choose_in_prediction,
)
from saccade.samplers.foveation_lattice import Lattice, thumbnail_size
from saccade.warp import Pyramid
from saccade.warp.stitch import stitch_lattice

RANDOM_SEED = 20201113
"""Of the fields that the random baseline predicts with."""


@dataclass(frozen=True)
class Foveation:
    """Where a sampler looks in one image.

    Attributes:
        lattice: the locations, L of them in its rows and columns.
        weights: (L, D) float32 of the fields of view at each, row by row.
        probabilities: (1, D, h, w) float32 at every pixel of the thumbnail; None where no net was asked.

    Examples:
        >>> import saccade
        >>> sampler = saccade.FoveationSampler((16, 16), [16, 32], shrink=8, estimator="fixed", field=1)
        >>> sampler.look(None, (64, 64)).weights[0].tolist()
        [0.0, 1.0]
    """

    lattice: Lattice
    weights: Tensor
    probabilities: Tensor | None


class FoveationSampler(Sampler):
    """Patches of one size and several fields of view around every location of the image.

    The method of "Foveation for segmentation of ultra-high resolution images" (arXiv 2020; MICCAI 2020): a
    small net looks at a thumbnail and says, at each of its pixels, how likely each field of view is to be the
    best; a network segments the patch that is chosen or blended accordingly. Patches are centred on their
    locations and anti-aliased.

    Args:
        size: (h, w) of every patch.
        bank: D widths of the fields of view in pixels of the image, increasing; heights in proportion.
        shrink: pixels of the image that a pixel of the thumbnail stands for, along an axis.
        estimator: mean, mode, gumbel or reinforce; or one of the baselines fixed, random, average, ensemble.
        field: which field of view ``fixed`` takes, from 0.
        reading: "aligned" or "published"; see :class:`saccade.samplers.foveation_choice.Reading`.
        border: what a patch sees beyond the image: reflect, edge or zero (the mean colour).
        stride: between the locations of a prediction, in pixels of the thumbnail; default as many as half the
            smallest field of view holds.
        window: smooth or uniform: the weights of a prediction inside its patch, where predictions overlap.
        channels: of the foveation net.

    Raises:
        InvalidInput: for a bank that does not increase, or another name than those above.

    Examples:
        >>> import saccade, torch
        >>> sampler = saccade.FoveationSampler((16, 16), [16, 32, 64], shrink=8).eval()
        >>> rows, columns = sampler.thumbnail_for((128, 192))
        >>> found = sampler.look(torch.zeros(1, 3, rows, columns), (128, 192))
        >>> found.weights.shape  # locations, fields of view
        torch.Size([384, 3])
    """

    has_density = True

    def __init__(
        self,
        size: Sequence[int],
        bank: Sequence[int],
        *,
        shrink: int = 16,
        estimator: str = "mode",
        field: int = 0,
        reading: str = "aligned",
        border: str = "reflect",
        stride: int | None = None,
        window: str = "smooth",
        channels: Sequence[int] = (40, 40),
    ) -> None:
        super().__init__(size)
        if not bank or min(bank) < 1 or list(bank) != sorted(set(bank)):
            raise InvalidInput("bank", "fields of view above 0 that increase", list(bank))
        for name, value, allowed in (("estimator", estimator, ESTIMATORS), ("border", border, BORDERS)):
            if value not in allowed:
                fix = nearest_name(str(value), allowed)
                raise InvalidInput(name, "one of " + ", ".join(allowed), repr(value), fix)
        if not 0 <= field < len(bank):
            raise InvalidInput("field", f"from 0 to {len(bank) - 1}, as the bank has {len(bank)}", field)
        self.bank, self.shrink, self.estimator, self.field = tuple(bank), shrink, estimator, field
        self.border, self.window = border, window
        self.fields = tuple((width * self.size[0] / self.size[1], float(width)) for width in bank)
        self.stride = max(1, int(min(self.fields[0]) / 2 / shrink)) if stride is None else stride
        self.reading = Reading(reading, bank, self.size)
        self.net = FoveationNet(len(bank), channels) if estimator in LEARNED else None

    @property
    def learns(self) -> bool:
        """Whether there is a foveation net."""
        return self.net is not None

    def thumbnail_for(self, size: tuple[int, int]) -> tuple[int, int] | None:
        """(h, w) of the thumbnail of an image (H, W); None where no net looks at it."""
        return thumbnail_size(size, self.shrink) if self.learns else None

    def lattice(self, size: tuple[int, int]) -> Lattice:
        """The locations of a prediction; raises InvalidInput where they would leave gaps."""
        return Lattice(size, thumbnail_size(size, self.shrink), self.stride, self.fields[0])

    def look(self, thumbnail: Tensor | None, size: tuple[int, int]) -> Foveation:
        """How wide to look at each location of one image, without any chance.

        Args:
            thumbnail: (1, 3, h, w) normalised, of the size that :meth:`thumbnail_for` tells.
            size: (H, W) of the image.
        """
        lattice = self.lattice(size)
        count = lattice.shape[0] * lattice.shape[1]
        if self.net is None:
            generator = torch.Generator().manual_seed(RANDOM_SEED)
            weights = choose_blindly(count, len(self.bank), self.estimator, self.field, generator)
            return Foveation(lattice, weights, None)
        if thumbnail is None or thumbnail.shape[2:] != lattice.thumbnail:
            got = "none" if thumbnail is None else tuple(thumbnail.shape)
            raise InvalidInput("thumbnail", f"of shape (1, 3, {lattice.thumbnail})", got)
        found = self.net(thumbnail).detach().cpu()
        rows, columns = (torch.from_numpy(lattice.numbers(axis)) for axis in (0, 1))
        here = found[0][:, rows][:, :, columns].flatten(1).T
        return Foveation(lattice, choose_in_prediction(here, self.estimator), found.exp())

    def fed(self, weights: Tensor) -> Tensor | None:
        """(N,) the one field that each location reads; None where every field is read and blended."""
        return None if self.estimator in BLENDS else weights.argmax(1)

    def fields_at(
        self, places: Tensor, size: tuple[int, int], chosen: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Grids of the patches around places (N, 2), (x, y) in [-1, 1], of an image (H, W).

        Returns:
            grids (N, D, h, w, 2) and inside (N, D, h, w) as :func:`saccade.grids.patch_grids` gives them;
            with ``chosen`` (N,) only those fields, D = 1.
        """
        grids, inside = patch_grids(places, self.fields, self.size, size, border=self.border)
        if chosen is None:
            return grids, inside
        every = torch.arange(len(places))
        return grids[every, chosen][:, None], inside[every, chosen][:, None]

    def views(self, found: Foveation, size: tuple[int, int]) -> Glimpses:
        """One view a location: the grid of its most probable field."""
        places = found.lattice.places.flatten(0, 1)
        chosen = found.weights.argmax(1)
        pairs = zip(places.split(256), chosen.split(256), strict=True)
        grids = torch.cat([self.fields_at(some, size, which)[0][:, 0] for some, which in pairs])
        fields = 1 if self.fed(found.weights) is not None else len(self.bank)
        samples = len(grids) * fields * self.size[0] * self.size[1]
        index = torch.zeros(len(grids), dtype=torch.int64)
        return Glimpses(grids, index, self.density(found), samples=samples)

    def density(self, found: Foveation) -> Tensor:
        """(1, 1, h, w) how densely each place is sampled on average, on the thumbnail; sums to 1."""
        shares = torch.tensor([(self.bank[0] / width) ** 2 for width in self.bank])
        if found.probabilities is None:
            density = (found.weights @ shares).view(1, 1, *found.lattice.shape)
        else:
            density = torch.einsum("bdhw,d->bhw", found.probabilities, shares)[:, None]
        return density / density.sum()

    def patches(self, segmenter: Any, source: Any) -> FoveatedImage:
        """What is looked at in one image of any size, on disk or in memory; see docs/predict.md.

        Args:
            segmenter: in evaluation mode, this sampler's.
            source: ``size`` (H, W), and ``sample(grids, antialias=...)`` giving 0..255.
        """

        return of_source(self, segmenter, source)

    def propose(
        self, thumbnail: Tensor | None, labels: Sequence[Tensor] | None, size: tuple[int, int], batch: int
    ) -> Glimpses:
        """Refused: fields of view are in pixels of the image, which a thumbnail does not tell."""
        fix = "put it into a saccade.Segmenter, or call look(thumbnail, image_size)"
        raise InvalidInput("FoveationSampler", "told the size of the image", "a thumbnail alone", fix)


READ_AT_ONCE = 1 << 18
"""Pixels of a thumbnail that are read in one go."""

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
            labels, mean = stitch_lattice(
                torch.stack([held[n] for n in wanted]), down[wanted], across, lattice.field,
                (top, bottom), self.size[1], window=self.sampler.window, shares=shares,
            )  # fmt: skip
            yield LabelBand(top, labels, mean)

    def seen(self) -> Glimpses:
        """Where the sampler looks, over the whole image."""
        return self.sampler.views(self.found, self.size)


def of_source(sampler: FoveationSampler, segmenter: Any, source: Any) -> FoveatedImage:
    """An image that is sampled where it lies: see :meth:`saccade.FoveationSampler.patches`."""
    like = [Pyramid.of(torch.zeros(1, 3, 1, 1, dtype=torch.uint8))]

    def read(grids: Tensor, antialias: bool = segmenter.antialias) -> Tensor:
        normal: Tensor = segmenter.normalise(source.sample(grids, antialias=antialias), like)
        return normal

    thumbnail = None
    wanted = sampler.thumbnail_for(source.size)
    if wanted is not None:
        strips = uniform_grid(wanted).split(max(1, READ_AT_ONCE // wanted[1]), dim=1)
        thumbnail = torch.cat([read(strip, True) for strip in strips], dim=2)
    with torch.no_grad():
        found = sampler.look(thumbnail, source.size)
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
