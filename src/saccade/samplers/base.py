"""What every sampler is: a module that proposes glimpses of images and labels them from the scores there."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from saccade.errors import InvalidInput
from saccade.geometry import Fit, SizeRange, require_size
from saccade.samplers.glimpses import Glimpses, joined
from saccade.samplers.glimpses import one_view_an_image as one_view_an_image  # as plug-ins name it
from saccade.samplers.image_scores import ImageScores, TiledScores, TileRequest
from saccade.samplers.image_scores import PatchScores as PatchScores  # as plug-ins name it
from saccade.samplers.images import (
    SampledImage,
    floating_type,
    read_images,
    thumbnails,
)
from saccade.warp import Pyramid, unwarp_labels


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
        **more: Tensor,
    ) -> Glimpses:
        """Proposes where to look.

        Args:
            thumbnail: (B, 3, h_o, w_o) float32, normalised as the network's input is; needed where
                ``thumbnail_size`` is set.
            labels: B label maps (H, W) or (1, H, W) of class ids; needed where ``sees_labels``.
            size: (h, w) of the glimpses; default :attr:`size`. Need not be the size of training.
            batch: B, where neither thumbnail nor labels tell it.
            more: what a sampler takes besides, handed to :meth:`propose`.

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
        return self.propose(thumbnail, labels, glimpse_size, batch, **more)
