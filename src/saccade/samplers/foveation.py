"""Foveation: at every location of an image choose, or blend, how wide to look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from saccade.errors import InvalidInput, nearest_name
from saccade.grids import patch_grids
from saccade.grids.patches import BORDERS
from saccade.samplers.base import Sampler
from saccade.samplers.foveation_choice import (
    BLENDS,
    ESTIMATORS,
    LEARNED,
    choose_blindly,
    choose_in_prediction,
)
from saccade.samplers.foveation_lattice import Lattice, overview_size
from saccade.samplers.foveation_net import FoveationNet
from saccade.samplers.foveation_reading import Reading
from saccade.samplers.views import Views

if TYPE_CHECKING:
    from saccade.samplers.foveation_image import FoveatedImage

RANDOM_SEED = 20201113
"""Of the fields that the random baseline predicts with."""


@dataclass(frozen=True)
class Foveation:
    """Where a sampler looks in one image.

    Attributes:
        lattice: the locations, L of them in its rows and columns.
        weights: (L, D) float32 of the fields of view at each, row by row.
        probabilities: (1, D, h, w) float32 at every pixel of the overview; None where no net was asked.
    """

    lattice: Lattice
    weights: Tensor
    probabilities: Tensor | None


class FoveationSampler(Sampler):
    """Patches of one size and several fields of view around every location of the image.

    The method of "Foveation for segmentation of ultra-high resolution images" (arXiv 2020; MICCAI 2020): a
    small net looks at an overview and says, at each of its pixels, how likely each field of view is to be the
    best; a network segments the patch that is chosen or blended accordingly. Patches are centred on their
    locations and anti-aliased.

    Args:
        size: (h, w) of every patch.
        bank: D widths of the fields of view in pixels of the image, increasing; heights in proportion.
        shrink: pixels of the image that a pixel of the overview stands for, along an axis.
        estimator: mean, mode, gumbel or reinforce; or one of the baselines fixed, random, average, ensemble.
        field: which field of view ``fixed`` takes, from 0.
        reading: "aligned" or "published"; see :class:`saccade.samplers.foveation_reading.Reading`.
        border: what a patch sees beyond the image: reflect, edge or zero (the mean colour).
        stride: between the locations of a prediction, in pixels of the overview; default as many as half the
            smallest field of view holds.
        window: smooth or uniform: the weights of a prediction inside its patch, where predictions overlap.
        channels: of the foveation net.

    Raises:
        InvalidInput: for a bank that does not increase, or another name than those above.
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

    def overview_of(self, size: tuple[int, int]) -> tuple[int, int] | None:
        """(h, w) of the overview of an image (H, W); None where no net looks at it."""
        return overview_size(size, self.shrink) if self.learns else None

    def lattice(self, size: tuple[int, int]) -> Lattice:
        """The locations of a prediction; raises InvalidInput where they would leave gaps."""
        return Lattice(size, overview_size(size, self.shrink), self.stride, self.fields[0])

    def look(self, overview: Tensor | None, size: tuple[int, int]) -> Foveation:
        """How wide to look at each location of one image, without any chance.

        Args:
            overview: (1, 3, h, w) normalised, of the size that :meth:`overview_of` tells.
            size: (H, W) of the image.
        """
        lattice = self.lattice(size)
        count = lattice.shape[0] * lattice.shape[1]
        if self.net is None:
            generator = torch.Generator().manual_seed(RANDOM_SEED)
            weights = choose_blindly(count, len(self.bank), self.estimator, self.field, generator)
            return Foveation(lattice, weights, None)
        if overview is None or overview.shape[2:] != lattice.overview:
            got = "none" if overview is None else tuple(overview.shape)
            raise InvalidInput("overview", f"of shape (1, 3, {lattice.overview})", got)
        found = self.net(overview).detach().cpu()
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

    def views(self, found: Foveation, size: tuple[int, int]) -> Views:
        """One view a location: the grid of its most probable field."""
        places = found.lattice.places.flatten(0, 1)
        chosen = found.weights.argmax(1)
        pairs = zip(places.split(256), chosen.split(256), strict=True)
        grids = torch.cat([self.fields_at(some, size, which)[0][:, 0] for some, which in pairs])
        fields = 1 if self.fed(found.weights) is not None else len(self.bank)
        samples = len(grids) * fields * self.size[0] * self.size[1]
        index = torch.zeros(len(grids), dtype=torch.int64)
        return Views(grids, index, self.density(found), samples=samples)

    def density(self, found: Foveation) -> Tensor:
        """(1, 1, h, w) how densely each place is sampled on average, on the overview; sums to 1."""
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
        from saccade.samplers.foveation_image import of_source

        return of_source(self, segmenter, source)

    def propose(
        self, overview: Tensor | None, labels: Sequence[Tensor] | None, size: tuple[int, int], batch: int
    ) -> Views:
        """Refused: fields of view are in pixels of the image, which an overview does not tell."""
        fix = "put it into a saccade.Segmenter, or call look(overview, image_size)"
        raise InvalidInput("FoveationSampler", "told the size of the image", "an overview alone", fix)
