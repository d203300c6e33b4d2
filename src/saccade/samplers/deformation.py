"""Learned downsampling: a small net sees a thumbnail and says how densely to look (ICLR 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saccade.errors import InvalidInput, nearest_name
from saccade.geometry import nearest_size, require_size
from saccade.grids import attraction_grid, edge_density, elastic_grid
from saccade.losses import LossConfig, edge_loss
from saccade.networks import build_network
from saccade.samplers.base import Sampler, TrainingSample
from saccade.samplers.glimpses import Glimpses, one_view_an_image
from saccade.samplers.recipe import (
    CHANNELS,
    DILATIONS,
    ELASTIC,
    Augmented,
    AuxiliaryLoss,
    NoOptions,
    Recipe,
    SamplerConfig,
    Targets,
    register,
)

GRIDS = ("elastic", "attraction", *ELASTIC[1:])
SHARES = (1.0, 0.5, 0.0)
"""How far samples may gather in a prediction, where that was drawn in training."""


def evened(density: Tensor, share: Tensor | float) -> Tensor:
    """A density of which a share is kept, and the rest is the same everywhere.

    Args:
        density: (B, 1, h_a, w_a) >= 0.
        share: from 0 (constant, so that samples lie evenly) to 1 (the density as it is), for all images or
            (B,) one for each.

    Returns:
        (B, 1, h_a, w_a); up to its scale the mean of the density over its largest value and of 1, weighed by
        the share.

    Examples:
        >>> import torch
        >>> from saccade.samplers.deformation import evened
        >>> density = torch.tensor([0.0, 2.0]).view(1, 1, 1, 2)
        >>> [evened(density, share).flatten().tolist() for share in (0.0, 0.25, 1.0)]
        [[2.0, 2.0], [1.5, 2.0], [0.0, 2.0]]
    """
    if isinstance(share, float) and share == 1:
        return density
    largest = density.detach().amax(dim=(2, 3), keepdim=True)
    kept = torch.as_tensor(share, dtype=density.dtype, device=density.device).view(-1, 1, 1, 1)
    return kept * density + (1 - kept) * largest


def drawn_shares(count: int, generator: torch.Generator) -> Tensor:
    """(count,) how far the samples of images gather in a step: a third each evenly, fully, and between."""
    share = torch.rand(count, generator=generator)
    kind = torch.randint(3, (count,), generator=generator)
    return torch.where(kind == 2, share, kind.to(share))


@dataclass(frozen=True)
class DensityToGrid:
    """Turns a density into a grid.

    Attributes:
        grid: "elastic", springs that are stiff where the density is high (:func:`saccade.grids.elastic_grid`:
            no limit of distance, never folds), or "attraction", Eq. 2 of ICLR 2022
            (:func:`saccade.attraction_grid`); "elastic_0_1", the springs as runs of version 0.1 knew them.
        floor: added to the density, as a share of its largest value, so that no place is starved: in (0, 1]
            for springs, [0, 1] for "attraction" (0 as published).
        radius: of the attraction, in pixels of the density; default a quarter of its short axis.
        cover: whether the attraction keeps the outermost samples on the image border (False as published).

    Examples:
        >>> import torch
        >>> from saccade.samplers import DensityToGrid
        >>> density = torch.full((1, 1, 8, 8), 1 / 64)
        >>> DensityToGrid(grid="attraction", radius=2)(density, (4, 4)).shape
        torch.Size([1, 4, 4, 2])
    """

    grid: str = "elastic"
    floor: float = 0.1
    radius: int | tuple[int, int] | None = None
    cover: bool = True

    def __post_init__(self) -> None:
        if self.grid not in GRIDS:
            fix = nearest_name(str(self.grid), GRIDS)
            raise InvalidInput("grid", " or ".join(map(repr, GRIDS)), repr(self.grid), fix)
        if not 0 <= self.floor <= 1 or (self.floor == 0 and self.grid in ELASTIC):
            allowed = "in (0, 1]" if self.grid in ELASTIC else "in [0, 1]"
            raise InvalidInput("floor", allowed, self.floor)

    def __call__(self, density: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, 1, h_a, w_a) density >= 0 to (B, h, w, 2); differentiable."""
        if self.grid in ELASTIC:
            return elastic_grid(density, size, floor=self.floor, as_of_0_1=self.grid == "elastic_0_1")
        largest = density.detach().amax(dim=(2, 3), keepdim=True)
        return attraction_grid(density + self.floor * largest, size, radius=self.radius, cover=self.cover)


@dataclass(frozen=True)
class EdgeTarget:
    """Label edges, weighed by class and blurred (the "optimal edge" density of ICLR 2022, 4.1 and A.6).

    Attributes:
        blur: standard deviation of the Gaussian, in pixels of the density.
        weights: one number >= 0 for each class: an edge counts by the larger weight of its two sides. None
            counts every edge alike, as published.
        ignore_index: pixels of this class make no edges.

    Examples:
        >>> import torch
        >>> from saccade.samplers import EdgeTarget
        >>> labels = torch.zeros(1, 16, 16, dtype=torch.uint8)
        >>> labels[:, :, 8:] = 1
        >>> density = EdgeTarget(weights=(0.5, 1.0))(labels, (8, 8))
        >>> density.shape, round(float(density.sum()), 4)
        (torch.Size([1, 1, 8, 8]), 1.0)
    """

    blur: float = 1.0
    weights: tuple[float, ...] | None = None
    ignore_index: int = 255

    def __post_init__(self) -> None:
        if not self.blur >= 0:
            raise InvalidInput("blur", "at least 0, in pixels of the density", self.blur)

    def __call__(self, labels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """B label maps, (H, W) or (1, H, W) integer, to (B, 1, h_a, w_a) float32, sums to 1 an image."""
        options = {"radius": self.blur, "weights": self.weights, "ignore_index": self.ignore_index}
        maps = [label_map.reshape(1, *label_map.shape[-2:]) for label_map in labels]
        return torch.cat([edge_density(label_map, size, **options) for label_map in maps])  # type: ignore[arg-type]


class DensityNet(nn.Module):
    """The deformation module of ICLR 2022 (3 and appendix A.2): three convolutions, one output, a softmax.

    3x3 convolution, batch norm, ReLU with the given channels, then 1x1 to one channel and a softmax over all
    pixels. He initialisation. Works at any input size. 7 pixels of field of view with the paper's three
    layers; ``dilations`` widen it at no cost.

    Args:
        channels: of the 3x3 layers; the paper's are (24, 24, 3).
        dilations: of the 3x3 layers; the paper's are all 1.
        bands: of the image.

    Examples:
        >>> import torch
        >>> from saccade.samplers import DensityNet
        >>> density = DensityNet().eval()(torch.zeros(1, 3, 8, 16))
        >>> density.shape, round(float(density.detach().sum()), 4)
        (torch.Size([1, 1, 8, 16]), 1.0)
    """

    def __init__(
        self,
        channels: Sequence[int] = (24, 24, 3),
        dilations: Sequence[int] = (1, 1, 1),
        bands: int = 3,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, dilation in zip((bands, *channels), channels, dilations, strict=False):
            kernel = nn.Conv2d(before, after, 3, padding=dilation, dilation=dilation, bias=False)
            layers += [kernel, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels[-1], 1, 1))
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, thumbnail: Tensor) -> Tensor:
        """(B, 3, h, w) normalised image to (B, 1, h, w) float32 density, sums to 1 over each image."""
        return as_density(self.layers(thumbnail))


class DensityOf(nn.Module):
    """Any network with one output, as a net of densities: a softmax of its scores over all pixels.

    Args:
        network: from (B, 3, h, w) to (B, 1, h', w').

    Examples:
        >>> import torch
        >>> from saccade.networks import build_network
        >>> from saccade.samplers import DensityOf
        >>> DensityOf(build_network("small:4", classes=1)).eval()(torch.zeros(1, 3, 8, 16)).shape
        torch.Size([1, 1, 8, 16])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, thumbnail: Tensor) -> Tensor:
        """(B, 3, h, w) normalised image to (B, 1, h', w') float32 density, sums to 1 over each image."""
        return as_density(self.network(thumbnail))


def as_density(scores: Tensor) -> Tensor:
    """(B, 1, h, w) scores as a density, float32, that sums to 1 over each image."""
    scores = scores.float()
    return scores.flatten(1).softmax(dim=1).view_as(scores)


class DeformationSampler(Sampler):
    """Samples gather where a density net, looking at a thumbnail, expects something small or hard.

    The method of "Learning to downsample for segmentation of ultra-high resolution images" (ICLR 2022), with
    springs instead of the attraction of its Eq. 2 by default, because they concentrate further, never fold
    and always cover the image. :meth:`published` is the paper's own.

    Args:
        size: (h, w) of the glimpse.
        thumbnail_size: (h_o, w_o) of the thumbnail; default the size (the paper: once or twice).
        density_size: (h_a, w_a) of the density; default the thumbnail's.
        to_grid: how the density becomes a grid.
        net: any module from (B, 3, h_o, w_o) to a density (B, 1, h, w) >= 0; default the paper's
            :class:`DensityNet`. :class:`DensityOf` makes one of any network.

    Attributes:
        shares: by (h, w) how far samples gather there, 0 (evenly) to 1; a glimpse takes that of the size
            nearest to its own, 1 where there is none.

    Examples:
        >>> import saccade, torch
        >>> sampler = saccade.DeformationSampler((8, 16)).eval()
        >>> glimpses = sampler(torch.zeros(1, 3, *sampler.thumbnail_size))
        >>> glimpses.grids.shape, round(float(glimpses.density.detach().sum()), 4)
        (torch.Size([1, 8, 16, 2]), 1.0)
    """

    has_density = True

    def __init__(
        self,
        size: Sequence[int],
        *,
        thumbnail_size: Sequence[int] | None = None,
        density_size: Sequence[int] | None = None,
        to_grid: DensityToGrid | None = None,
        net: nn.Module | None = None,
    ) -> None:
        super().__init__(size)
        self.thumbnail_size = require_size(
            self.size if thumbnail_size is None else thumbnail_size, "thumbnail_size"
        )
        self.density_size = require_size(
            self.thumbnail_size if density_size is None else density_size, "density_size"
        )
        self.to_grid = DensityToGrid() if to_grid is None else to_grid
        self.relaxes_springs = self.to_grid.grid in ELASTIC
        self.net: nn.Module = DensityNet() if net is None else net
        self.shares: dict[tuple[int, int], float] = {}

    @classmethod
    def published(cls, size: Sequence[int], *, radius: int | None = None) -> DeformationSampler:
        """The paper's own: thumbnail and density of the task's size, attraction without floor or cover."""
        to_grid = DensityToGrid("attraction", floor=0.0, radius=radius, cover=False)
        return cls(size, thumbnail_size=size, to_grid=to_grid)

    def propose(
        self,
        thumbnail: Tensor | None,
        labels: Sequence[Tensor] | None,
        size: tuple[int, int],
        batch: int,
        share: Tensor | None = None,
    ) -> Glimpses:
        """As :meth:`Sampler.propose`; ``share`` (B,) in the place of :attr:`shares`."""
        assert thumbnail is not None  # checked by forward
        density = self.net(thumbnail)
        if density.shape[2:] != self.density_size:
            density = F.interpolate(density, self.density_size, mode="bilinear", align_corners=True)
            density = density / density.sum(dim=(2, 3), keepdim=True)
        chosen = self.shares[nearest_size(self.shares, size)] if self.shares else 1.0
        gathered = evened(density, chosen if share is None else share)
        return one_view_an_image(self.to_grid(gathered, size), density)


class EdgeDensityLoss(AuxiliaryLoss):
    """The density should be high where labels change (ICLR 2022, 3).

    Args:
        target: the density that labels ask for.
        kind: of :func:`saccade.losses.edge_loss`.
        weight: that the loss is multiplied with.
    """

    def __init__(self, target: EdgeTarget, kind: str, weight: float) -> None:
        self.targets, self.kind, self.weight = Targets(target), kind, weight

    def __call__(
        self, batch: Sequence[TrainingSample], glimpses: Glimpses, augmentation: Augmented
    ) -> Tensor:
        assert glimpses.density is not None  # only samplers that predict one get this loss
        target = augmentation.flip(self.targets(batch, glimpses.density.shape[2:]))
        return self.weight * edge_loss(glimpses.density, target.to(glimpses.density.device), self.kind)


@register
class DeformationRecipe(Recipe[NoOptions]):
    """A density net learns from the edges of labels; its options are all in the section ``sampler``."""

    name = "deformation"
    shared_options = ("net", "gather")
    first_stage_epochs = 5

    @property
    def draws_shares(self) -> bool:
        return self.shared.gather == "drawn"

    def check(self) -> None:
        layers = (self.shared.channels, self.shared.dilations)
        if self.shared.net is not None and layers != (CHANNELS, DILATIONS):
            fix = "give sampler.net=null for the net that has them"
            raise InvalidInput("sampler.channels and sampler.dilations", "left out", layers, fix)

    def build(self) -> DeformationSampler:
        options = self.shared
        return DeformationSampler(
            options.size,
            thumbnail_size=options.thumbnail,
            density_size=options.density,
            to_grid=to_grid_of(options),
            net=density_net(options, self.bands),
        )

    def auxiliary_loss(self, loss: LossConfig, class_names: Sequence[str]) -> EdgeDensityLoss:
        return EdgeDensityLoss(edge_target_of(self.shared), loss.edge, loss.edge_weight)


def to_grid_of(options: SamplerConfig) -> DensityToGrid:
    """How the options ask for a density to become a grid."""
    return DensityToGrid(options.grid, options.floor, options.radius, options.cover)


def edge_target_of(options: SamplerConfig) -> EdgeTarget:
    """The density that label edges ask for; "rarity" must have been resolved to numbers by then."""
    weights = None if isinstance(options.edge_weights, str) else options.edge_weights
    return EdgeTarget(options.blur, weights)


def density_net(options: SamplerConfig, bands: int = 3) -> nn.Module:
    """The paper's three convolutions, or the network of that name with one output, of images of ``bands``."""
    if options.net is None:
        return DensityNet(options.channels, options.dilations, bands)
    return DensityOf(build_network(options.net, 1, channels=bands))
