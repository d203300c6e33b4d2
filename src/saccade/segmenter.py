"""The one verb: a sampler and a network together segment an image of any size."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from saccade import figures
from saccade.errors import InvalidInput, UsageError
from saccade.geometry import fitted_size, require_size
from saccade.grids import uniform_grid
from saccade.networks.adapters import scores_in
from saccade.networks.evaluation_mode import evaluating
from saccade.rasters.bands import Bands
from saccade.rasters.picture import drawn_as, picture_of
from saccade.samplers import Glimpses, Sampler
from saccade.samplers.image_scores import ImageScores, TileRequest
from saccade.samplers.images import SampledImage, Source, floating_type, read_images, thumbnails
from saccade.sources import AnyImage, Images, MemorySource, Reading, as_pyramids, drawn, is_batch, opened
from saccade.warp import Pyramid, sample, unwarp_labels

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

LEAST_SHARE = 1e-3
"""Of a footprint that must have been measured for its mean to count: less is what rounding leaves."""


class Classes(Protocol):
    """The table of classes of a run: :class:`saccade.data.ClassTable` is one."""

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def colours(self) -> Sequence[Sequence[int]]: ...


@dataclass(frozen=True)
class Prediction:
    """What a segmenter says of a batch of images, where it looked.

    Attributes:
        scores: (V, K, h, w) float32, one raster of scores a view.
        views: where the scores belong.
    """

    scores: Tensor
    views: Glimpses


@dataclass(frozen=True, eq=False)
class Segmentation:
    """One image, segmented. In a notebook it shows the image, its labels and where the samples lie.

    Attributes:
        labels: (H, W) uint8 class ids 0..K-1 at full resolution (wider integers above 255 classes).
        scores: (V, K, h, w) float32 at the nodes of ``glimpses.grids``; None where an image has so many
            glimpses that they are never all in memory (foveation).
        glimpses: where the samples lie: grids (V, h, w, 2), (x, y) in [-1, 1] over the whole image.
        classes: K.
        image: what is drawn: the image, or a thumbnail of one on disk.
        names: of the classes; None where they are not known.
        colours: (K, 3) uint8 of the classes; None where they are not known.
        bands: of the image, and how they are drawn; None for colour.
    """

    labels: Tensor
    scores: Tensor | None
    glimpses: Glimpses
    classes: int
    image: Pyramid
    names: tuple[str, ...] | None = None
    colours: NDArray[np.uint8] | None = None
    bands: Bands | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return int(self.labels.shape[0]), int(self.labels.shape[1])

    @property
    def density(self) -> Tensor | None:
        """(h_a, w_a) float32 >= 0, sums to 1: how densely to sample, as predicted; None without one."""
        density = self.glimpses.density
        return None if density is None else density[0, 0]

    def picture(self, longest: int = 512) -> NDArray[np.uint8]:
        """(h, w, 3) uint8: the image with its longer side at most ``longest`` pixels."""
        grid = uniform_grid(fitted_size(self.size, longest), device=self.image.device)
        if self.bands is not None:
            values = sample(self.image, grid, antialias=True)[0].permute(1, 2, 0)
            return picture_of(values.detach().cpu().numpy(), self.bands)
        white = 1.0 if self.image.dtype == torch.uint8 else 255.0
        pixels = sample(self.image, grid, antialias=True)[0].permute(1, 2, 0) * white
        return pixels.detach().clamp(0, 255).round().to(torch.uint8).cpu().numpy()

    def _repr_html_(self) -> str:
        image = self.picture()
        labels = figures.at_centres(self.labels.cpu().numpy(), image.shape[:2])
        counts = np.bincount(labels.ravel(), minlength=self.classes)[: self.classes]
        palette = figures.class_palette(counts) if self.colours is None else self.colours
        grids = self.glimpses.grids.detach().cpu().numpy()
        samples = figures.samples_on(image, grids.reshape(-1, *grids.shape[2:]))
        names = self.names or tuple(f"class {k}" for k in range(self.classes))
        shown = {"image": image, "labels": figures.overlay(image, labels, palette), "samples": samples}
        present = [(names[k], palette[k]) for k in np.flatnonzero(counts).tolist()]
        return figures.notebook_html(shown, present)


class Segmenter(nn.Module):
    """Sampler + network: looks, reads what it looked at, and scores it.

    Predicting changes no weight, buffer or mode of a module, from any number of threads. ``mean`` and ``std``
    are in the state dict.

    Args:
        sampler: decides where to look.
        network: any module from (V, 3, h, w) to scores (V, K, h', w'), or to a dict, tuple or object that
            holds them (``"out"``, the first, ``.logits``). Scores of another size than the input are resized
            to it; one logit (V, 1, h', w') is two classes, where K is not said to be 1. Half-precision
            networks get pixels of their own type.
        antialias: each sample is the mean over its footprint; False takes single pixels, as published.
        mean, std: of the three channels in [0, 1], what images are normalised with; default ImageNet's. Of
            bands, or of another number of channels than three, in the images' own values.
        classes: K, or the table of classes, whose names and colours segmentations then show; None where it is
            for the network to say.
        bands: that images are read as, in their own values; None for colour of eight bits.

    Attributes:
        run: the :class:`saccade.training.Run` that it was loaded from; None where it was made in code.

    Raises:
        InvalidInput: when sampler and network are none, mean or std are not three numbers in the unit of
            images in [0, 1] or one for each band, or classes are neither K nor a table.

    Examples:
        >>> import saccade, torch
        >>> from saccade.networks import build_network
        >>> network = build_network("small:4", classes=3)
        >>> segmenter = saccade.Segmenter(saccade.UniformSampler((8, 16)), network)
        >>> labels = segmenter.segment(torch.rand(3, 64, 128)).labels
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
        classes: int | Classes | None = None,
        bands: Bands | None = None,
    ) -> None:
        super().__init__()
        _require_parts(sampler, network, classes)
        if bands is not None and bands.mean:
            mean, std = bands.mean, bands.std
        _require_normalisation(mean, std, bands)
        self._reading = Reading(bands, len(mean))
        self.sampler, self.network, self.antialias = sampler, network, antialias
        self.run: Any = None
        self.classes = None if isinstance(classes, int) else classes
        self.num_classes = classes if isinstance(classes, int) or classes is None else len(classes.names)
        self._normalisation = {"mean": tuple(mean), "std": tuple(std)}
        for name, values in self._normalisation.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1))
        self._channels_last = not _is_dilated(self)
        self.to(memory_format=self._layout)

    def _repr_html_(self) -> str:
        """What it is made of, for a notebook."""
        bands = self.reading.bands
        from_run = [] if self.run is None else [("run", self.run.path), ("epoch", self.run.epoch)]
        network = type(self.network).__name__ if self.run is None else self.run.config.network.name
        rows = [
            ("samples", " x ".join(map(str, self.sampler.size)) + " (rows x columns)"),
            ("network", network),
            ("parameters", f"{sum(parameter.numel() for parameter in self.parameters()):,}"),
            ("input", f"{self.reading.channels} channels" if bands is None else ", ".join(bands.names)),
            ("device", str(self.mean.device)),
            *from_run,
        ]
        colours = [] if self.classes is None else list(self.classes.colours)
        names = range(self.num_classes or 0) if self.classes is None else self.classes.names
        table = figures.table_html(
            ("class", "id"),
            [(name, k) for k, name in enumerate(names)],
            dict(zip(map(str, names), colours, strict=False)),
        )
        title = f"Segmenter: {type(self.sampler).__name__} + {type(self.network).__name__}"
        return figures.titled_html(title, figures.table_html(("", ""), rows) + table)

    @property
    def _layout(self) -> torch.memory_format:
        """Channels last makes convolutions up to twice as fast on CPU and GPU; not with dilated ones: their
        weight gradient in bfloat16 on the CPU is NaN in that layout (seen with PyTorch 2.15)."""
        return torch.channels_last if self._channels_last else torch.contiguous_format

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *more: Any) -> None:
        """Checkpoints of 0.1 do not say what images were normalised with: what this one was made with."""
        for name, values in self._normalisation.items():
            state_dict.setdefault(prefix + name, torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1))
        super()._load_from_state_dict(state_dict, prefix, *more)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Segmenter:
        """``mean`` and ``std`` stay float32 in a segmenter of half precision, which would round them."""
        before = {name: getattr(self, name) for name in self._normalisation}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, value in before.items():
            moved = getattr(self, name)
            if moved.is_floating_point() and moved.element_size() < value.element_size():
                setattr(self, name, value.to(moved.device))
        return self

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
            InvalidInput: for images of another shape, type or unit, or a network whose answer is no scores.
        """
        seen = [self.view(pyramid) for pyramid in as_pyramids(images, self.reading)]
        return Prediction(*self.sampler.score(seen, labels, size=size))

    def view(self, source: Pyramid | Source) -> SampledImage:
        """One image as the sampler sees it."""
        source = MemorySource(source) if isinstance(source, Pyramid) else source
        return SampledImage(source, self._normalised, self.score, self.antialias)

    def rows_of(self, source: Source, request: TileRequest) -> ImageScores:
        """Labels and scores of an image of any size, row by row; in evaluation mode, without gradients."""
        return self.sampler.rows_of(self.view(source), request)

    @property
    def reading(self) -> Reading:
        """What images are read as."""
        return self._reading

    @property
    def drawing(self) -> Bands | None:
        """How images of bands are drawn; None for colour."""
        if not self.reading.own:
            return None
        return self.reading.bands or drawn_as(self.mean.flatten().tolist(), self.std.flatten().tolist())

    def for_image(self, size: tuple[int, int]) -> Segmenter:
        """The same segmenter, weights included, with its sampler's sizes for an image of (H, W)."""
        if not self.sampler.fits:
            return self
        sized = copy.copy(self)
        sized._modules = {**self._modules, "sampler": self.sampler.for_image(size)}
        return sized

    def with_size(self, size: Sequence[int]) -> Segmenter:
        """The same segmenter, weights included, with (h, w) samples a glimpse where a call names no other.

        Raises:
            UsageError: where the sampler chooses its own patches, or its sizes follow the images.

        Examples:
            >>> import saccade
            >>> from saccade.networks import build_network
            >>> segmenter = saccade.Segmenter(saccade.UniformSampler((8, 12)), build_network("small:4", 3))
            >>> segmenter.with_size((4, 6)).sampler.size, segmenter.sampler.size
            ((4, 6), (8, 12))
        """
        name = type(self.sampler).__name__
        if self.sampler.chooses_patches:
            raise UsageError(f"{name} chooses its own patches of the image; leave --size out")
        if self.sampler.fits:
            raise UsageError(f"{name} has sizes that follow each image (sampler.fit); leave --size out")
        sampler, sized = copy.copy(self.sampler), copy.copy(self)
        sampler.size = require_size(size)
        sized._modules = {**self._modules, "sampler": sampler}
        return sized

    def thumbnail(self, pyramids: Sequence[Pyramid]) -> Tensor | None:
        """(B, 3, h_o, w_o) normalised, each pixel the mean over its footprint; None where none is wanted."""
        size = self.sampler.thumbnail_for(pyramids[0].size)
        return None if size is None else thumbnails([self.view(pyramid) for pyramid in pyramids], size)

    def read(self, pyramids: Sequence[Pyramid], grids: Tensor, image_index: Tensor) -> Tensor:
        """(V, 3, h, w) normalised pixels at the grids (V, h, w, 2), differentiable with respect to them."""
        images = [self.view(pyramid) for pyramid in pyramids]
        return read_images([images[i] for i in image_index.tolist()], grids, antialias=self.antialias)

    def normalise(self, pixels: Tensor, images: Sequence[Pyramid]) -> Tensor:
        """Pixels in the images' units to zero mean and unit variance, float32, where the weights are."""
        return self._normalised(pixels, MemorySource(images[0]).white)

    def _normalised(self, pixels: Tensor, white: float) -> Tensor:
        pixels = pixels.to(self.mean.device, torch.float32)
        if self.reading.own:
            pixels = self._own_values(pixels)
        else:
            pixels = (pixels * (1 / white) - self.mean) / self.std
        return pixels.contiguous(memory_format=self._layout)

    def _own_values(self, pixels: Tensor) -> Tensor:
        """(V, C, h, w) normalised, of bands (V, C, h, w), or (V, 2 C, h, w) with the share of each sample's
        footprint that was measured: the mean is over that share; 0, the mean of training, without any."""
        count = self.reading.channels
        if pixels.shape[1] == count:
            return (pixels - self.mean) / self.std
        values, valid_shares = pixels[:, :count], pixels[:, count:]
        measured = valid_shares > LEAST_SHARE
        means = values / torch.where(measured, valid_shares, 1.0)
        return torch.where(measured, (means - self.mean) / self.std, 0.0)

    def score(self, pixels: Tensor) -> Tensor:
        """(V, 3, h, w) normalised pixels to scores (V, K, h, w) float32.

        Raises:
            NetworkFault: when the network refuses the pixels, or does not answer with scores of K classes.
        """
        scores = scores_in(self.network, pixels.to(floating_type(self.network)), self.num_classes)
        scores = scores.float()
        if scores.shape[2:] != pixels.shape[2:]:
            scores = F.interpolate(scores, pixels.shape[2:], mode="bilinear", align_corners=False)
        return scores

    @torch.no_grad()
    def segment(
        self, source: AnyImage, labels: Tensor | None = None, *, size: Sequence[int] | None = None
    ) -> Segmentation:
        """One image, at full resolution.

        Args:
            source: a tensor (3, H, W) or (1, 3, H, W), uint8 or floating in [0, 1]; an array (H, W, 3); a PIL
                image; a pyramid of one image; an open raster; or a path, which is opened and closed.
            labels: (H, W) or (1, H, W), for samplers that see labels; never for a real prediction.
            size: (h, w) of the glimpses; default the sampler's.

        Raises:
            InvalidInput: for an image of another shape, type or unit, or a network whose answer is no scores.
            FileProblem: for a file that cannot be read.
        """
        seen = None if labels is None else [_one_map(labels)]
        with opened(source, self.reading) as image, evaluating(self) as twin:
            full, scores, glimpses, count = twin.sampler.segment(twin.view(image), seen, size=size)
            table = self.classes
            return Segmentation(
                full, scores, glimpses(), count, drawn(image),
                None if table is None else tuple(table.names),
                None if table is None else np.asarray(table.colours, np.uint8),
                self.drawing,
            )  # fmt: skip

    @torch.no_grad()
    def predict(
        self,
        images: Images | AnyImage,
        labels: Sequence[Tensor] | None = None,
        *,
        size: Sequence[int] | None = None,
    ) -> Tensor:
        """Labels at full resolution.

        Args:
            images: as for :meth:`forward`, or one image as for :meth:`segment`.
            labels: one an image, for samplers that see labels; never for a real prediction.
            size: (h, w) of the views; default the sampler's.

        Returns:
            (B, H, W) uint8 (wider integers above 255 classes), (H, W) for a single image. All images of one
            call must be of one size.

        Raises:
            InvalidInput: as :meth:`segment`, and for images of different sizes.
            FileProblem: as :meth:`segment`.
        """
        if not is_batch(images):
            return self._labels(images, labels, size)  # type: ignore[arg-type]
        pyramids = as_pyramids(images, self.reading)  # type: ignore[arg-type]
        if len({pyramid.size for pyramid in pyramids}) > 1:
            sizes = sorted({pyramid.size for pyramid in pyramids})
            raise InvalidInput("images", "of one size in one call", sizes, "predict them one by one")
        if len(pyramids) == 1 or self.sampler.chooses_patches:
            each = labels if labels is not None else [None] * len(pyramids)
            pairs = zip(pyramids, each, strict=True)
            return torch.stack([self._labels(pyramid, label_map, size) for pyramid, label_map in pairs])
        with evaluating(self) as twin:
            prediction = twin(pyramids, labels, size=size)
        return unwarp_labels(prediction.scores, prediction.views.grids, pyramids[0].size)

    def _labels(
        self, source: AnyImage, labels: Tensor | Sequence[Tensor] | None, size: Sequence[int] | None
    ) -> Tensor:
        """(H, W) of one image: :meth:`segment` without what a prediction does not ask for."""
        seen = None if labels is None else [_one_map(labels)]
        with opened(source, self.reading) as image, evaluating(self) as twin:
            return twin.sampler.segment(twin.view(image), seen, size=size)[0]


def _require_parts(sampler: object, network: object, classes: object) -> None:
    if not isinstance(sampler, Sampler):
        raise InvalidInput("sampler", "one of saccade.samplers", type(sampler).__name__)
    if not isinstance(network, nn.Module):
        fix = "wrap functions in a module, and make an object of a class"
        raise InvalidInput("network", "a torch.nn.Module", repr(network)[:80], fix)
    counted = isinstance(classes, int) and not isinstance(classes, bool) and classes > 0
    if not counted and not hasattr(classes, "names") and classes is not None:
        fix = "give len(names), or saccade.data.ClassTable for names and colours"
        raise InvalidInput("classes", "the number of classes, or their table", repr(classes)[:80], fix)


def _require_normalisation(mean: Sequence[float], std: Sequence[float], bands: Bands | None) -> None:
    try:
        centres, spreads = [float(value) for value in mean], [float(value) for value in std]
    except (TypeError, ValueError):
        centres, spreads = [], []
    got, fix = f"{mean} and {std}", ""
    if bands is not None or len(centres) != 3:
        count = len(centres) if bands is None else len(bands.names)
        numbers = len(centres) == len(spreads) == count > 0 and np.isfinite([*centres, *spreads]).all()
        if not numbers or not min(spreads) > 0:
            raise InvalidInput("mean and std", f"{count or 3} numbers each, std above 0", got)
        return
    if max(centres, default=0) > 1:
        fix = "divide both by 255: images are brought to [0, 1] first"
    if (
        len(centres) != 3
        or len(spreads) != 3
        or not min(spreads) > 0
        or not all(0 <= m <= 1 for m in centres)
    ):
        expected = "three numbers each, of red, green and blue in [0, 1], std above 0"
        raise InvalidInput("mean and std", expected, got, fix)


def _one_map(labels: Tensor | Sequence[Tensor]) -> Tensor:
    """(H, W) of the label map of one image, given as (H, W), (1, H, W) or a list of one."""
    labels = labels if isinstance(labels, Tensor) else labels[0]
    return labels.reshape(labels.shape[-2:])


def _is_dilated(module: nn.Module) -> bool:
    return any(max(m.dilation) > 1 for m in module.modules() if isinstance(m, nn.Conv2d))
