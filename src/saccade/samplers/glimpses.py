"""Glimpses: where to look in a batch of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saccade.errors import InvalidInput


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
