"""The sampling tensor that true labels ask for: what a boundary net learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saccade.grids import boundary_grid
from saccade.grids.validate import require_finite_number


@dataclass(frozen=True)
class BoundaryTarget:
    """The exact minimiser of the boundary energy of the true labels (ICCV 2019, Eq. 2-3).

    Attributes:
        smoothness: lambda >= 0 of Eq. 2; 1 as published.
        classes: ids of the classes whose boundaries attract; None for all.
        ignore_index: pixels of this class make no boundary.

    Raises:
        InvalidInput: for a smoothness that is negative or not finite.
    """

    smoothness: float = 1.0
    classes: tuple[int, ...] | None = None
    ignore_index: int = 255

    def __post_init__(self) -> None:
        require_finite_number(self.smoothness, "smoothness")

    def __call__(self, labels: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """B label maps, (H, W) or (1, H, W) integer, to (B, 2, h_t, w_t) float32: x and y in [-1, 1].

        The uniform grid where no target class has a boundary.
        """
        grids = [
            boundary_grid(
                one.reshape(1, *one.shape[-2:]), size,
                smoothness=self.smoothness, classes=self.classes, ignore_index=self.ignore_index,
            )
            for one in labels
        ]  # fmt: skip
        return torch.cat(grids).permute(0, 3, 1, 2).contiguous()
