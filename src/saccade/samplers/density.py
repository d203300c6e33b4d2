"""Densities: networks that predict one, the one that label edges ask for, and how one becomes a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from saccade.errors import InvalidInput, nearest_name
from saccade.grids import attraction_grid, edge_density, elastic_grid

RULES = ("elastic", "attraction")


@dataclass(frozen=True)
class DensityToGrid:
    """Turns a density into a grid.

    Attributes:
        rule: "elastic", springs that are stiff where the density is high (:func:`saccade.grids.elastic_grid`:
            no limit of distance, never folds), or "attraction", Eq. 2 of ICLR 2022
            (:func:`saccade.attraction_grid`).
        floor: added to the density, as a share of its largest value, so that no place is starved: in (0, 1]
            for "elastic", [0, 1] for "attraction" (0 as published).
        radius: of the attraction, in pixels of the density; default a quarter of its short axis.
        cover: whether the attraction keeps the outermost samples on the image border (False as published).

    Examples:
        >>> import torch
        >>> from saccade.samplers import DensityToGrid
        >>> density = torch.full((1, 1, 8, 8), 1 / 64)
        >>> DensityToGrid(rule="attraction", radius=2)(density, (4, 4)).shape
        torch.Size([1, 4, 4, 2])
    """

    rule: str = "elastic"
    floor: float = 0.1
    radius: int | tuple[int, int] | None = None
    cover: bool = True

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            fix = nearest_name(str(self.rule), RULES)
            raise InvalidInput("rule", " or ".join(map(repr, RULES)), repr(self.rule), fix)
        if not 0 <= self.floor <= 1 or (self.floor == 0 and self.rule == "elastic"):
            allowed = "in (0, 1]" if self.rule == "elastic" else "in [0, 1]"
            raise InvalidInput("floor", allowed, self.floor)

    def __call__(self, density: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, 1, h_a, w_a) density >= 0 to (B, h, w, 2); differentiable."""
        if self.rule == "elastic":
            return elastic_grid(density, size, floor=self.floor)
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
        maps = [one.reshape(1, *one.shape[-2:]) for one in labels]
        return torch.cat([edge_density(one, size, **options) for one in maps])  # type: ignore[arg-type]


def rarity_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """Weights that let the edges of rare classes count more: 1 / sqrt(share of the pixels), at most 1.

    Args:
        counts: pixels of each class over the training images; a class that never occurs weighs 1.

    Returns:
        One weight a class, in (0, 1], the rarest class that occurs at 1.

    Raises:
        InvalidInput: when no class has a pixel.

    Examples:
        >>> from saccade.samplers import rarity_weights
        >>> [round(weight, 2) for weight in rarity_weights([9000, 900, 100])]
        [0.11, 0.33, 1.0]
    """
    present = [count for count in counts if count > 0]
    if not present:
        raise InvalidInput("counts", "at least one class with pixels", list(counts))
    return tuple((min(present) / count) ** 0.5 if count > 0 else 1.0 for count in counts)


class DensityNet(nn.Module):
    """The deformation module of ICLR 2022 (3 and appendix A.2): three convolutions, one output, a softmax.

    3x3 convolution, batch norm, ReLU with the given channels, then 1x1 to one channel and a softmax over all
    pixels. He initialisation. Works at any input size. 7 pixels of field of view with the paper's three
    layers; ``dilations`` widen it at no cost.

    Args:
        channels: of the 3x3 layers; the paper's are (24, 24, 3).
        dilations: of the 3x3 layers; the paper's are all 1.

    Examples:
        >>> import torch
        >>> from saccade.samplers import DensityNet
        >>> density = DensityNet().eval()(torch.zeros(1, 3, 8, 16))
        >>> density.shape, round(float(density.detach().sum()), 4)
        (torch.Size([1, 1, 8, 16]), 1.0)
    """

    def __init__(self, channels: Sequence[int] = (24, 24, 3), dilations: Sequence[int] = (1, 1, 1)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, dilation in zip((3, *channels), channels, dilations, strict=False):
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
    """(B, 1, h, w) scores as shares, float32, that sum to 1 over each image."""
    scores = scores.float()
    return scores.flatten(1).softmax(dim=1).view_as(scores)
