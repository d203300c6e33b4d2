"""The one verb: a sampler and a network together segment an image of any size."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saccade.errors import InvalidInput
from saccade.grids import uniform_grid
from saccade.samplers import FoveatedImage, FoveationSampler, Glimpses, Sampler
from saccade.warp import Pyramid, sample, unwarp_labels

ROWS_AT_ONCE = 512
"""Rows of labels at a time, where an image has many views."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Images = Tensor | Pyramid | Sequence[Pyramid]


@dataclass(frozen=True)
class Prediction:
    """What a segmenter says of a batch of images, where it looked.

    Attributes:
        scores: (V, K, h, w) float32, one raster of scores a view.
        views: where the scores belong.
    """

    scores: Tensor
    views: Glimpses


class Segmenter(nn.Module):
    """Sampler + network: looks, reads what it looked at, and scores it.

    Args:
        sampler: decides where to look.
        network: any module from (V, 3, h, w) to scores (V, K, h', w'); scores of another size than the input
            are resized to it.
        antialias: each sample is the mean over its footprint; False takes single pixels, as published.
        mean, std: of the three channels in [0, 1], what images are normalised with; default ImageNet's.

    Examples:
        >>> import saccade, torch
        >>> from saccade.networks import build_network
        >>> network = build_network("small:4", classes=3)
        >>> segmenter = saccade.Segmenter(saccade.UniformSampler((8, 16)), network)
        >>> labels = segmenter.predict(torch.rand(3, 64, 128))
        >>> labels.shape, labels.dtype
        (torch.Size([64, 128]), torch.uint8)
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        sampler: Sampler,
        network: nn.Module,
        *,
        antialias: bool = True,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.sampler, self.network, self.antialias = sampler, network, antialias
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self._layout = _fast_layout(self)
        self.to(memory_format=self._layout)

    def forward(
        self, images: Images, labels: Sequence[Tensor] | None = None, *, size: Sequence[int] | None = None
    ) -> Prediction:
        """Scores where the sampler looked.

        Args:
            images: (B, 3, H, W), uint8 or floating in [0, 1]; or a pyramid of such a batch; or a sequence of
                pyramids of one image each, whose sizes may differ.
            labels: B label maps, for samplers that see labels.
            size: (h, w) of the views; default the sampler's.

        Raises:
            InvalidInput: for images of another shape or type.
        """
        pyramids = as_pyramids(images)
        if isinstance(self.sampler, FoveationSampler):
            return self._foveated(pyramids, self.sampler)
        views = self.look(pyramids, labels, size=size)
        return Prediction(self.score(self.read(pyramids, views.grids, views.image_index)), views)

    def look(
        self,
        pyramids: Sequence[Pyramid],
        labels: Sequence[Tensor] | None = None,
        *,
        size: Sequence[int] | None = None,
    ) -> Glimpses:
        """Where the sampler looks in each image."""
        if isinstance(self.sampler, FoveationSampler):
            return _joined([self.sampler.views(self.foveate(one).found, one.size) for one in pyramids])
        sampler = self.sampler_for(pyramids)
        return sampler(self.thumbnail(pyramids), labels, size=size, batch=len(pyramids))

    def for_image(self, size: tuple[int, int]) -> Segmenter:
        """The same segmenter, weights included, with its sampler's sizes for an image of (H, W)."""
        if not self.sampler.fits:
            return self
        sized = copy.copy(self)
        sized._modules = {**self._modules, "sampler": self.sampler.for_image(size)}
        return sized

    def sampler_for(self, pyramids: Sequence[Pyramid]) -> Sampler:
        """The sampler with its sizes for these images.

        Raises:
            InvalidInput: when sizes follow the proportions of the images, and these differ.
        """
        sampler = self.sampler.for_image(pyramids[0].size)
        if any(self.sampler.for_image(one.size).size != sampler.size for one in pyramids[1:]):
            got = sorted({one.size for one in pyramids})
            raise InvalidInput("images", "of one shape in one call", got, "take them one by one")
        return sampler

    def thumbnail(self, pyramids: Sequence[Pyramid]) -> Tensor | None:
        """(B, 3, h_o, w_o) normalised, each pixel the mean of its share; None where none is wanted."""
        wanted = self.sampler.thumbnail_for(pyramids[0].size)
        if wanted is None:
            return None
        grid = uniform_grid(wanted, device=pyramids[0].device)
        pixels = torch.cat([sample(one, grid, antialias=True) for one in pyramids])
        return self.normalise(pixels, pyramids)

    def read(self, pyramids: Sequence[Pyramid], grids: Tensor, image_index: Tensor) -> Tensor:
        """(V, 3, h, w) normalised pixels at the grids (V, h, w, 2), differentiable with respect to them."""
        images = [pyramids[i] for i in image_index.tolist()]
        pairs = zip(images, grids.to(images[0].device).split(1), strict=True)
        pixels = [sample(image, grid, antialias=self.antialias) for image, grid in pairs]
        return self.normalise(torch.cat(pixels), images)

    def normalise(self, pixels: Tensor, images: Sequence[Pyramid]) -> Tensor:
        """Pixels in the images' units to zero mean and unit variance, float32, where the weights are."""
        scale = 1 / 255 if images[0].dtype == torch.uint8 else 1.0
        pixels = (pixels.to(self.mean.device, torch.float32) * scale - self.mean) / self.std
        return pixels.contiguous(memory_format=self._layout)

    def score(self, pixels: Tensor) -> Tensor:
        """(V, 3, h, w) normalised pixels to scores (V, K, h, w) float32."""
        scores = self.network(pixels).float()
        if scores.shape[2:] != pixels.shape[2:]:
            scores = F.interpolate(scores, pixels.shape[2:], mode="bilinear", align_corners=False)
        return scores

    @torch.no_grad()
    def predict(
        self, images: Images, labels: Sequence[Tensor] | None = None, *, size: Sequence[int] | None = None
    ) -> Tensor:
        """Labels at full resolution.

        Args:
            images: as for :meth:`forward`, or a single image (3, H, W).
            labels: for samplers that see labels; never for a real prediction.
            size: (h, w) of the views; default the sampler's.

        Returns:
            (B, H, W) uint8 (wider integers above 255 classes), (H, W) for a single image. All images of one
            call must be of one size.

        Raises:
            InvalidInput: for images of another shape or type, or of different sizes.
        """
        single = isinstance(images, Tensor) and images.ndim == 3
        pyramids = as_pyramids(images[None] if single else images)  # type: ignore[index,call-overload]
        if len({pyramid.size for pyramid in pyramids}) > 1:
            sizes = sorted({pyramid.size for pyramid in pyramids})
            raise InvalidInput("images", "of one size in one call", sizes, "predict them one by one")
        if isinstance(self.sampler, FoveationSampler):
            full = torch.stack([self._in_bands(one) for one in pyramids])
            return full[0] if single else full
        with evaluating(self):
            found = self(pyramids, labels, size=size)
        full = unwarp_labels(found.scores, found.views.grids, pyramids[0].size)
        return full[0] if single else full

    def foveate(self, pyramid: Pyramid) -> FoveatedImage:
        """One image as a foveation sampler sees it."""
        assert isinstance(self.sampler, FoveationSampler)
        found = self.sampler.look(self.thumbnail([pyramid]), pyramid.size)

        def read(grids: Tensor) -> Tensor:
            pixels = sample(pyramid, grids.to(pyramid.device), antialias=self.antialias)
            return self.normalise(pixels, [pyramid])

        return FoveatedImage(self.sampler, pyramid.size, found, read, self.score)

    def _in_bands(self, pyramid: Pyramid) -> Tensor:
        """(H, W) labels of an image with many views, whose scores are never all in memory."""
        with evaluating(self):
            bands = [band.labels for band in self.foveate(pyramid).bands(ROWS_AT_ONCE)]
        return torch.from_numpy(np.concatenate(bands))

    def _foveated(self, pyramids: Sequence[Pyramid], sampler: FoveationSampler) -> Prediction:
        """Scores of every location, as shares of the classes."""
        images = [self.foveate(one) for one in pyramids]
        rows = [image.row(n) for image in images for n in range(image.found.lattice.shape[0])]
        views = _joined([sampler.views(image.found, image.size) for image in images])
        return Prediction(torch.cat(rows).permute(0, 3, 1, 2), views)


def _joined(views: Sequence[Glimpses]) -> Glimpses:
    """The views of several images as those of one batch."""
    index = torch.cat([torch.full((len(one.grids),), n) for n, one in enumerate(views)])
    grids = torch.cat([one.grids for one in views])
    densities = [one.density for one in views if one.density is not None]
    alike = len({density.shape for density in densities}) == 1
    samples = sum(one.samples_read for one in views)
    return Glimpses(grids, index, torch.cat(densities) if alike else None, samples=samples)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every part is in the mode it was in, frozen parts too."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def _fast_layout(module: nn.Module) -> torch.memory_format:
    """Channels last, which makes convolutions up to twice as fast on CPU and GPU; not with dilated ones:
    their weight gradient in bfloat16 on the CPU is NaN in that layout (seen with PyTorch 2.15)."""
    dilated = any(max(m.dilation) > 1 for m in module.modules() if isinstance(m, nn.Conv2d))
    return torch.contiguous_format if dilated else torch.channels_last


def as_pyramids(images: Images) -> list[Pyramid]:
    """One pyramid of one image (1, 3, H, W) for each image.

    Raises:
        InvalidInput: when an image has not three channels, or is neither uint8 nor floating.
    """
    if isinstance(images, Tensor):
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
            expected = "of shape (B, 3, H, W)"
            raise InvalidInput("images", expected, tuple(images.shape), "repeat a grey channel, drop alpha")
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise InvalidInput("images", "uint8, or floating in [0, 1]", images.dtype)
        return [Pyramid.of(image[None]) for image in images]
    pyramids = [images] if isinstance(images, Pyramid) else list(images)
    if not pyramids or any(one.channels != 3 or one.batch != 1 for one in pyramids):
        got = [(one.batch, one.channels, *one.size) for one in pyramids]
        raise InvalidInput("images", "one or more pyramids of one image (1, 3, H, W) each", got)
    return pyramids
