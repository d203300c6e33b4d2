"""The density that label edges ask for: what the oracle samples by, and what a density net learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saccade.errors import InvalidInput
from saccade.grids import edge_density


@dataclass(frozen=True)
class EdgeTarget:
    """Label edges, weighed by class and blurred (the "optimal edge" density of ICLR 2022, 4.1 and A.6).

    Attributes:
        blur: standard deviation of the Gaussian, in pixels of the density.
        weights: one number >= 0 for each class: an edge counts by the larger weight of its two sides. None
            counts every edge alike, as published.
        ignore_index: pixels of this class make no edges.
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
    """
    present = [count for count in counts if count > 0]
    if not present:
        raise InvalidInput("counts", "at least one class with pixels", list(counts))
    return tuple((min(present) / count) ** 0.5 if count > 0 else 1.0 for count in counts)
