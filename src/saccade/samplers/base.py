"""What every sampler is: a module that proposes glimpses of images and labels them from the scores there."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import ceil
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from saccade.errors import InvalidInput, UsageError
from saccade.geometry import Fit, SizeRange, Tiling, Window, require_size
from saccade.grids import uniform_grid
from saccade.samplers.images import (
    SAMPLES_AT_ONCE,
    SampledImage,
    floating_type,
    over_source,
    read_images,
    thumbnails,
)
from saccade.warp import Pyramid, unwarp_labels
from saccade.warp.stitch import Band, Patch, RasterisedPatch, bands, blend


@dataclass(frozen=True)
class Glimpses:
    """Where to look in a batch of images.

    Attributes:
        grids: (V, h, w, 2) float32, (x, y) in [-1, 1]; one grid a glimpse.
        image_index: (V,) int64 in [0, B): the image that each glimpse belongs to.
        density: (B, 1, h_a, w_a) float32 >= 0, sums to 1 over each image: what the sampler predicts of how
            densely to look, on its own raster; None where a sampler predicts none.
        tensor: (B, 2, h_t, w_t) float32, x and y: the few nodes that a boundary net predicts, before they
            are projected and resized to the grids; None for other samplers.
        samples: read for these glimpses; None where that is one a node of the grids, which it is not where
            one is blended from several fields.

    Raises:
        InvalidInput: when the shapes do not fit together.

    Examples:
        >>> import saccade
        >>> glimpses = saccade.UniformSampler((4, 6))(batch=2)
        >>> glimpses.grids.shape, glimpses.image_index.tolist(), glimpses.density
        (torch.Size([2, 4, 6, 2]), [0, 1], None)
    """

    grids: Tensor
    image_index: Tensor
    density: Tensor | None = None
    tensor: Tensor | None = None
    samples: int | None = None

    def __post_init__(self) -> None:
        if self.grids.ndim != 4 or self.grids.shape[-1] != 2:
            raise InvalidInput("grids", "of shape (V, h, w, 2)", tuple(self.grids.shape))
        if self.image_index.shape != self.grids.shape[:1]:
            raise InvalidInput("image_index", f"of shape ({len(self.grids)},)", tuple(self.image_index.shape))

    @property
    def samples_read(self) -> int:
        """How many samples of the images are read for all glimpses."""
        return self.grids[..., 0].numel() if self.samples is None else self.samples

    @property
    def size(self) -> tuple[int, int]:
        """(h, w): rows and columns of samples in each glimpse."""
        return self.grids.shape[1], self.grids.shape[2]


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
    def bands(self, rows: int, *, start: int = 0, scores: bool = False) -> Iterator[Band]:
        """Labels from row ``start`` on, in bands of ``rows`` rows; with ``scores`` the probabilities too."""

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


class TrainingSample(Protocol):
    """What a sampler may ask of an image that is trained on: :class:`saccade.data.Sample` is one.

    Attributes:
        stem: its name.
        pyramid: of the image, (1, 3, H, W).
        labels: (1, H, W) uint8 class ids, ignored pixels 255.
        varied: a part of the image that was chosen by chance: what is computed of it holds only once.
        size: (H, W).
    """

    @property
    def stem(self) -> str: ...

    @property
    def pyramid(self) -> Pyramid: ...

    @property
    def labels(self) -> Tensor: ...

    @property
    def varied(self) -> bool: ...

    @property
    def size(self) -> tuple[int, int]: ...


SIZE_NAMES = ("size", "thumbnail_size", "density_size")


class Sampler(nn.Module, ABC):
    """Decides where to look.

    Attributes:
        size: (h, w), rows and columns of samples in a glimpse, where the call names no other.
        thumbnail_size: (h_o, w_o) of the thumbnail that the sampler sees; None where it sees none.
        sees_labels: True for samplers that use the true labels; they serve studies, never a prediction.
        has_density: True for samplers whose views come with a density.
        chooses_patches: True for samplers that cut an image into patches of their own; others propose one
            glimpse of the whole image, or of each tile as if that were the image.
        relaxes_springs: True where grids are elastic: operations that torch's counter does not see.
        fits: which of the sizes follow the proportions of each image, by their attribute ("size").
        sizes: those that it was trained for together with its network; None where that is ``size`` alone.

    Examples:
        >>> import saccade
        >>> from saccade.samplers import Sampler, Glimpses
        >>> from saccade.samplers.base import one_view_an_image
        >>> class MiddleSampler(Sampler):
        ...     def propose(self, thumbnail, labels, size, batch):
        ...         return one_view_an_image(saccade.uniform_grid(size, batch) / 2)
        >>> MiddleSampler((2, 2))(batch=1).grids.amax().item()
        0.5
    """

    thumbnail_size: tuple[int, int] | None = None
    sees_labels: bool = False
    has_density: bool = False
    chooses_patches: bool = False
    relaxes_springs: bool = False
    sizes: SizeRange | None = None

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__()
        self.size = require_size(size)
        self.fits: dict[str, Fit] = {}

    def follow_images(self) -> None:
        """From now on every size is (short side, long side), and follows the proportions of each image."""
        sizes = {name: getattr(self, name, None) for name in SIZE_NAMES}
        self.fits = {name: Fit(*size) for name, size in sizes.items() if size is not None}

    def for_image(self, size: tuple[int, int]) -> Self:
        """The same sampler, weights included, with its sizes for an image of (H, W)."""
        if not self.fits:
            return self
        sized = copy.copy(self)
        sized.fits = {}
        for name, fit in self.fits.items():
            setattr(sized, name, fit.of(size))
        return sized

    def thumbnail_for(self, size: tuple[int, int]) -> tuple[int, int] | None:
        """(h_o, w_o) of the thumbnail of an image (H, W); None where the sampler looks blindly."""
        return self.for_image(size).thumbnail_size

    def for_images(self, images: Sequence[SampledImage]) -> Sampler:
        """The sampler with its sizes for these images.

        Raises:
            InvalidInput: when sizes follow the proportions of the images, and these differ.
        """
        sampler = self.for_image(images[0].size)
        if any(self.for_image(image.size).size != sampler.size for image in images[1:]):
            got = sorted({image.size for image in images})
            raise InvalidInput("images", "of one shape in one call", got, "take them one by one")
        return sampler

    def glimpse(
        self,
        images: Sequence[SampledImage],
        labels: Sequence[Tensor] | None = None,
        *,
        size: Sequence[int] | None = None,
        batch: int | None = None,
    ) -> Glimpses:
        """Where the samples of these images lie.

        Args:
            images: B of them, or parts of them.
            labels: B label maps, for samplers that see them.
            size: (h, w) of the glimpses; default the sampler's.
            batch: images that go through the sampler together; default all.
        """
        sampler = self.for_images(images)
        thumbnail_size = sampler.thumbnail_for(images[0].size)
        if thumbnail_size is None:
            return sampler(None, labels, size=size, batch=len(images))
        thumbnail = thumbnails(images, thumbnail_size).to(floating_type(self))
        if batch is None or batch >= len(images):
            return sampler(thumbnail, labels, size=size, batch=len(images))
        return joined([sampler(part, None, size=size, batch=len(part)) for part in thumbnail.split(batch)])

    def score(
        self,
        images: Sequence[SampledImage],
        labels: Sequence[Tensor] | None = None,
        *,
        size: Sequence[int] | None = None,
        batch: int | None = None,
    ) -> tuple[Tensor, Glimpses]:
        """Scores (V, K, h, w) where the samples lie, and where that is; arguments as for :meth:`glimpse`."""
        glimpses = self.glimpse(images, labels, size=size, batch=batch)
        seen = [images[i] for i in glimpses.image_index.tolist()]
        pixels = read_images(seen, glimpses.grids, antialias=images[0].antialias)
        scores = [images[0].score(some) for some in pixels.split(batch or len(pixels))]
        return scores[0] if len(scores) == 1 else torch.cat(scores), glimpses

    def segment(
        self,
        image: SampledImage,
        labels: Sequence[Tensor] | None = None,
        *,
        size: Sequence[int] | None = None,
    ) -> tuple[Tensor, Tensor | None, Callable[[], Glimpses], int]:
        """A whole image: labels (H, W), scores (V, K, h, w) where kept, its glimpses when asked, and K."""
        scores, glimpses = self.score([image], labels, size=size)
        full = unwarp_labels(scores, glimpses.grids.to(scores.device), image.size)[0]
        return full, scores, lambda: glimpses, scores.shape[1]

    def rows_of(self, image: SampledImage, request: TileRequest) -> ImageScores:
        """Labels and scores of an image of any size, row by row."""
        return TiledScores(self, image, request)

    @abstractmethod
    def propose(
        self, thumbnail: Tensor | None, labels: Sequence[Tensor] | None, size: tuple[int, int], batch: int
    ) -> Glimpses:
        """Glimpses of ``batch`` images; arguments are checked by :meth:`forward`."""

    def forward(
        self,
        thumbnail: Tensor | None = None,
        labels: Sequence[Tensor] | None = None,
        *,
        size: Sequence[int] | None = None,
        batch: int | None = None,
    ) -> Glimpses:
        """Proposes where to look.

        Args:
            thumbnail: (B, 3, h_o, w_o) float32, normalised as the network's input is; needed where
                ``thumbnail_size`` is set.
            labels: B label maps (H, W) or (1, H, W) of class ids; needed where ``sees_labels``.
            size: (h, w) of the glimpses; default :attr:`size`. Need not be the size of training.
            batch: B, where neither thumbnail nor labels tell it.

        Returns:
            The glimpses, at least one for each image.

        Raises:
            InvalidInput: when what the sampler needs is missing or has the wrong shape.
        """
        glimpse_size = self.size if size is None else require_size(size)
        if self.thumbnail_size is not None and (thumbnail is None or thumbnail.ndim != 4):
            got = "none" if thumbnail is None else tuple(thumbnail.shape)
            raise InvalidInput("thumbnail", f"of shape (B, 3, {self.thumbnail_size})", got)
        if self.sees_labels and labels is None:
            fix = "evaluate it, or train another sampler for prediction"
            raise InvalidInput("labels", f"given, as {type(self).__name__} sees the true labels", "none", fix)
        if batch is None:
            batch = len(thumbnail) if thumbnail is not None else len(labels) if labels is not None else 1
        return self.propose(thumbnail, labels, glimpse_size, batch)


def one_view_an_image(
    grids: Tensor, density: Tensor | None = None, *, tensor: Tensor | None = None
) -> Glimpses:
    """Glimpses of a downsampler: grid b, (B, h, w, 2), belongs to image b."""
    return Glimpses(grids, torch.arange(len(grids), device=grids.device), density, tensor)


def joined(glimpses: Sequence[Glimpses]) -> Glimpses:
    """The glimpses of several images, or batches of them, as those of one batch."""
    if len(glimpses) == 1:
        return glimpses[0]
    index, images = [], 0
    for some in glimpses:
        index.append(some.image_index.cpu() + images)
        images += int(some.image_index.max()) + 1
    grids = torch.cat([some.grids for some in glimpses])
    densities = [some.density for some in glimpses if some.density is not None]
    alike = len(densities) == len(glimpses) and len({density.shape[1:] for density in densities}) == 1
    samples = sum(some.samples_read for some in glimpses)
    return Glimpses(grids, torch.cat(index), torch.cat(densities) if alike else None, samples=samples)


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

    def bands(self, rows: int, *, start: int = 0, scores: bool = False) -> Iterator[Band]:
        return bands(self, rows, start=start, scores=scores)

    def score_one(self) -> None:
        self.patches([len(self.regions) // 2])


class TiledScores(PatchScores):
    """One glimpse of each tile; a single tile is the whole image.

    Args:
        sampler: in evaluation mode, with its sizes for the image.
        image: the image.
        request: where the tiles are, and what is kept of them.
    """

    def __init__(self, sampler: Sampler, image: SampledImage, request: TileRequest) -> None:
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
