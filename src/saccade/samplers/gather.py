"""How a density becomes a grid: the rule that the deformation sampler and the oracle share."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from saccade.errors import InvalidInput, nearest_name
from saccade.grids import attraction_grid, elastic_grid

RULES = ("elastic", "attraction")


@dataclass(frozen=True)
class Gather:
    """Turns a density into a grid.

    Attributes:
        rule: "elastic", springs that are stiff where the density is high (:func:`saccade.grids.elastic_grid`:
            no limit of distance, never folds), or "attraction", Eq. 2 of ICLR 2022
            (:func:`saccade.attraction_grid`).
        floor: added to the density, as a share of its largest value, so that no place is starved: in (0, 1]
            for "elastic", [0, 1] for "attraction" (0 as published).
        radius: of the attraction, in pixels of the density; default a quarter of its short axis.
        cover: whether the attraction keeps the outermost samples on the image border (False as published).
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
