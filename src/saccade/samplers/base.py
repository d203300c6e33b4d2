"""What every sampler is: a module that proposes glimpses of a batch of images."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from saccade.errors import InvalidInput
from saccade.geometry import Fit, require_size
from saccade.warp import Pyramid


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


SIZES = ("size", "thumbnail_size", "density_size")


class Sampler(nn.Module, ABC):
    """Decides where to look.

    Attributes:
        size: (h, w), rows and columns of samples in a glimpse, where the call names no other.
        thumbnail_size: (h_o, w_o) of the thumbnail that the sampler sees; None where it sees none.
        sees_labels: True for samplers that use the true labels; they serve studies, never a prediction.
        has_density: True for samplers whose views come with a density.
        fits: which of the sizes follow the proportions of each image, by their attribute ("size").

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

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__()
        self.size = require_size(size)
        self.fits: dict[str, Fit] = {}

    def follow_images(self) -> None:
        """From now on every size is (short side, long side), and follows the proportions of each image."""
        given = {name: getattr(self, name, None) for name in SIZES}
        self.fits = {name: Fit(*size) for name, size in given.items() if size is not None}

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
        wanted = self.size if size is None else require_size(size)
        if self.thumbnail_size is not None and (thumbnail is None or thumbnail.ndim != 4):
            got = "none" if thumbnail is None else tuple(thumbnail.shape)
            raise InvalidInput("thumbnail", f"of shape (B, 3, {self.thumbnail_size})", got)
        if self.sees_labels and labels is None:
            fix = "evaluate it, or train another sampler for prediction"
            raise InvalidInput("labels", f"given, as {type(self).__name__} sees the true labels", "none", fix)
        if batch is None:
            batch = len(thumbnail) if thumbnail is not None else len(labels) if labels is not None else 1
        return self.propose(thumbnail, labels, wanted, batch)


def one_view_an_image(
    grids: Tensor, density: Tensor | None = None, *, tensor: Tensor | None = None
) -> Glimpses:
    """Glimpses of a downsampler: grid b, (B, h, w, 2), belongs to image b."""
    return Glimpses(grids, torch.arange(len(grids), device=grids.device), density, tensor)
