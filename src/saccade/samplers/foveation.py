"""Foveation: at every location of an image choose, or blend, how wide to look (arXiv, MICCAI 2020)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from saccade.errors import InvalidInput, nearest_name
from saccade.grids import patch_grids
from saccade.grids.uniform import BORDERS
from saccade.samplers.base import Sampler
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
from saccade.samplers.glimpses import Glimpses, joined
from saccade.samplers.image_scores import ImageScores, TileRequest
from saccade.samplers.images import SampledImage, floating_type, thumbnails
from saccade.warp.stitch import Strip, stitch_lattice

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
        >>> sampler.choose(None, (64, 64)).weights[0].tolist()
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
        estimator: mean, mode, gumbel, reinforce or regret; or a baseline: fixed, random, average, ensemble.
        field: which field of view ``fixed`` takes, from 0.
        reading: "aligned" or "published"; see :class:`saccade.samplers.foveation_choice.Reading`.
        border: what a patch sees beyond the image: reflect, edge or zero (the mean colour).
        stride: between the locations of a prediction, in pixels of the thumbnail; default as many as half the
            smallest field of view holds.
        window: smooth or uniform: the weights of a prediction inside its patch, where predictions overlap.
        channels: of the foveation net.
        bands: of the image.

    Raises:
        InvalidInput: for a bank that does not increase, or another name than those above.

    Examples:
        >>> import saccade, torch
        >>> sampler = saccade.FoveationSampler((16, 16), [16, 32, 64], shrink=8).eval()
        >>> rows, columns = sampler.thumbnail_for((128, 192))
        >>> found = sampler.choose(torch.zeros(1, 3, rows, columns), (128, 192))
        >>> found.weights.shape  # locations, fields of view
        torch.Size([384, 3])
    """

    has_density = True
    chooses_patches = True

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
        bands: int = 3,
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
        self.net = FoveationNet(len(bank), channels, bands) if estimator in LEARNED else None

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

    def choose(self, thumbnail: Tensor | None, size: tuple[int, int]) -> Foveation:
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
        log_probabilities = self.net(thumbnail).detach().cpu().float()
        rows, columns = (torch.from_numpy(lattice.numbers(axis)) for axis in (0, 1))
        here = log_probabilities[0][:, rows][:, :, columns].flatten(1).T
        return Foveation(lattice, choose_in_prediction(here, self.estimator), log_probabilities.exp())

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

    def views(self, foveation: Foveation, size: tuple[int, int]) -> Glimpses:
        """One view a location: the grid of its most probable field."""
        places = foveation.lattice.places.flatten(0, 1)
        chosen = foveation.weights.argmax(1)
        pairs = zip(places.split(256), chosen.split(256), strict=True)
        grids = torch.cat([self.fields_at(some, size, which)[0][:, 0] for some, which in pairs])
        fields = 1 if self.fed(foveation.weights) is not None else len(self.bank)
        samples = len(grids) * fields * self.size[0] * self.size[1]
        index = torch.zeros(len(grids), dtype=torch.int64)
        return Glimpses(grids, index, self.density(foveation), samples=samples)

    def density(self, foveation: Foveation) -> Tensor:
        """(1, 1, h, w) how densely each place is sampled on average, on the thumbnail; sums to 1."""
        areas = torch.tensor([(self.bank[0] / width) ** 2 for width in self.bank])
        if foveation.probabilities is None:
            density = (foveation.weights @ areas).view(1, 1, *foveation.lattice.shape)
        else:
            density = torch.einsum("bdhw,d->bhw", foveation.probabilities, areas)[:, None]
        return density / density.sum()

    def glimpse(
        self,
        images: Sequence[SampledImage],
        labels: Sequence[Tensor] | None = None,
        *,
        size: Sequence[int] | None = None,
        batch: int | None = None,
    ) -> Glimpses:
        """One view a location of each image; ``size`` and ``batch`` are not asked."""
        return joined([self.foveate(image).glimpses() for image in images])

    def score(
        self,
        images: Sequence[SampledImage],
        labels: Sequence[Tensor] | None = None,
        *,
        size: Sequence[int] | None = None,
        batch: int | None = None,
    ) -> tuple[Tensor, Glimpses]:
        """Probabilities (V, K, h, w) at every location, in its smallest field of view."""
        foveated = [self.foveate(image) for image in images]
        rows = [one.row(n) for one in foveated for n in range(one.foveation.lattice.shape[0])]
        return torch.cat(rows).permute(0, 3, 1, 2), joined([one.glimpses() for one in foveated])

    def segment(
        self,
        image: SampledImage,
        labels: Sequence[Tensor] | None = None,
        *,
        size: Sequence[int] | None = None,
    ) -> tuple[Tensor, Tensor | None, Callable[[], Glimpses], int]:
        """Strip by strip, so that the scores of all locations are never in memory."""
        foveated = self.foveate(image)
        strips = [strip.labels for strip in foveated.strips(ROWS_AT_ONCE)]
        return torch.from_numpy(np.concatenate(strips)), None, foveated.glimpses, foveated.classes

    def rows_of(self, image: SampledImage, request: TileRequest) -> FoveatedImage:
        """The whole image; how it would be cut into tiles is not asked."""
        return self.foveate(image)

    def foveate(self, image: SampledImage) -> FoveatedImage:
        """Chooses the fields of view of one image, in memory or on disk."""
        size = self.thumbnail_for(image.size)
        with torch.no_grad():
            thumbnail = None if size is None else thumbnails([image], size).to(floating_type(self))
            return FoveatedImage(self, image, self.choose(thumbnail, image.size))

    def propose(
        self, thumbnail: Tensor | None, labels: Sequence[Tensor] | None, size: tuple[int, int], batch: int
    ) -> Glimpses:
        """Refused: fields of view are in pixels of the image, which a thumbnail does not tell."""
        fix = "put it into a saccade.Segmenter, or call choose(thumbnail, image_size)"
        raise InvalidInput("FoveationSampler", "told the size of the image", "a thumbnail alone", fix)


ROWS_AT_ONCE = 512
"""Rows of labels at a time, where the image is labelled whole."""

TOGETHER = 16
"""Patches that go through the network together."""


class FoveatedImage(ImageScores):
    """Scores and labels of one image.

    Args:
        sampler: in evaluation mode.
        image: the image.
        foveation: where the sampler looks in it.

    Examples:
        >>> import saccade, torch
        >>> from saccade.networks import build_network
        >>> sampler = saccade.FoveationSampler((8, 8), [8, 16], shrink=4)
        >>> segmenter = saccade.Segmenter(sampler, build_network("small:4", classes=2)).eval()
        >>> image = segmenter.view(saccade.Pyramid.of(torch.rand(1, 3, 64, 96)))
        >>> with torch.no_grad():
        ...     foveated = sampler.foveate(image)
        ...     probabilities = foveated.row(0)
        >>> foveated.count, probabilities.shape  # locations; those of a row, patches of 8 x 8, two classes
        (384, torch.Size([24, 8, 8, 2]))
    """

    def __init__(self, sampler: FoveationSampler, image: SampledImage, foveation: Foveation) -> None:
        self.sampler, self.image, self.foveation = sampler, image, foveation
        self.size = image.size
        self._classes = 0

    @property
    def count(self) -> int:
        rows, columns = self.foveation.lattice.shape
        return rows * columns

    @property
    def classes(self) -> int:
        """K, once something was scored."""
        return self._classes

    @property
    def regions(self) -> Tensor:
        """(L, 4) top, bottom, left, right of the pixels that the prediction of each location covers."""
        (top, bottom), (left, right) = (self.foveation.lattice.covered(axis) for axis in (0, 1))
        down, across = np.stack([top, bottom + 1], 1)[:, None], np.stack([left, right + 1], 1)[None]
        shape = len(top), len(left), 2
        both = np.broadcast_to(down, shape), np.broadcast_to(across, shape)
        return torch.from_numpy(np.concatenate(both, 2)).flatten(0, 1)

    def row(self, number: int) -> Tensor:
        """(C, h, w, K) float32 probabilities of the classes in the smallest fields of a row of locations.

        What goes through the network together depends on the row alone.
        """
        columns = self.foveation.lattice.shape[1]
        weights = self.foveation.weights[number * columns : (number + 1) * columns]
        places = self.foveation.lattice.places[number]
        pairs = zip(places.split(TOGETHER), weights.split(TOGETHER), strict=True)
        return torch.cat([self.scores(some, weight).permute(0, 2, 3, 1) for some, weight in pairs])

    @torch.no_grad()
    def scores(self, places: Tensor, weights: Tensor) -> Tensor:
        """(N, K, h, w) probabilities around places (N, 2), fed with weights (N, D)."""
        sampler = self.sampler
        grids, inside = sampler.fields_at(places, self.size, sampler.fed(weights))
        pixels = self.image.read(grids.flatten(0, 1))
        if sampler.border == "zero":
            pixels = pixels * inside.flatten(0, 1)[:, None].to(pixels)
        pixels = pixels.unflatten(0, grids.shape[:2])
        probabilities = probabilities_of(sampler, pixels, weights, self.image.score).cpu()
        self._classes = probabilities.shape[1]
        return probabilities

    def score_one(self) -> None:
        middle = self.count // 2
        places = self.foveation.lattice.places.flatten(0, 1)
        self.scores(places[middle : middle + 1], self.foveation.weights[middle : middle + 1])

    def strips(self, rows: int, *, start: int = 0, scores: bool = False) -> Iterator[Strip]:
        """Bands of ``rows`` rows from row ``start`` on; only their patches are in memory."""
        lattice = self.foveation.lattice
        first, last = lattice.covered(0)
        down, across = lattice.centres(0), lattice.centres(1)
        held: dict[int, Tensor] = {}
        for top in range(start, self.size[0], rows):
            bottom = min(top + rows, self.size[0])
            touching = np.flatnonzero((first < bottom) & (last >= top)).tolist()
            held = {n: held[n] if n in held else self.row(n) for n in touching}
            labels, mean = stitch_lattice(
                torch.stack([held[n] for n in touching]), down[touching], across, lattice.field,
                (top, bottom), self.size[1], window=self.sampler.window, probabilities=scores,
            )  # fmt: skip
            yield Strip(top, labels, mean)

    def glimpses(self) -> Glimpses:
        """Where the sampler looks, over the whole image."""
        return self.sampler.views(self.foveation, self.size)


def blend(pixels: Tensor, weights: Tensor) -> Tensor:
    """The patches that are fed, (N, c, h, w): the weighted sum of (N, D, c, h, w); of one alone, that."""
    if pixels.shape[1] == 1:
        return pixels[:, 0]
    with torch.autocast(pixels.device.type, enabled=False):
        return torch.einsum("ndchw,nd->nchw", pixels, weights.to(pixels))


def probabilities_of(
    sampler: FoveationSampler, pixels: Tensor, weights: Tensor, score: Callable[[Tensor], Tensor]
) -> Tensor:
    """(N, K, h, w) probabilities in the smallest field, of patches (N, D, 3, h, w), D = 1 where one
    was chosen."""
    weights = weights.to(pixels.device)
    if sampler.estimator != "ensemble":
        scores = score(blend(pixels, weights)).float()
        return sampler.reading(scores, weights).softmax(1)
    count, fields = pixels.shape[:2]
    scores = score(pixels.flatten(0, 1)).float()
    each = torch.eye(fields, device=pixels.device).repeat(count, 1)
    return sampler.reading(scores, each).softmax(1).unflatten(0, (count, fields)).mean(1)
