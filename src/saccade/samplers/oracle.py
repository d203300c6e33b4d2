"""The oracle: samples where the true labels have edges. It sees the labels, so it is for study only."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from saccade.geometry import require_size
from saccade.samplers.base import Sampler
from saccade.samplers.deformation import DensityToGrid, EdgeTarget, edge_target_of, to_grid_of
from saccade.samplers.glimpses import Glimpses, one_view_an_image
from saccade.samplers.recipe import ELASTIC, NoOptions, Recipe, register


class OracleSampler(Sampler):
    """The papers' simulated "optimal edge" (ICLR 2022, 4.1 and A.6). SEES THE TRUE LABELS.

    Its scores are no bound that a real sampler could reach: where it puts its samples tells the network
    where the classes are. It shows what a perfect density would bring with the same network and budget.

    Args:
        size: (h, w) of the glimpse.
        density_size: (h_a, w_a) of the density; default the size.
        target: which edges count how much, and the blur.
        to_grid: how the density becomes a grid.

    Examples:
        >>> import saccade, torch
        >>> labels = torch.zeros(1, 64, 64, dtype=torch.uint8)
        >>> labels[:, 40:48, 40:48] = 1
        >>> glimpses = saccade.OracleSampler((16, 16))(labels=[labels])
        >>> uniform, oracle = (saccade.sample(labels[:, None], grid, mode="nearest").sum().item()
        ...                    for grid in (saccade.uniform_grid((16, 16)), glimpses.grids))
        >>> oracle > uniform  # more samples in the small object
        True
    """

    sees_labels = True
    has_density = True

    def __init__(
        self,
        size: Sequence[int],
        *,
        density_size: Sequence[int] | None = None,
        target: EdgeTarget | None = None,
        to_grid: DensityToGrid | None = None,
    ) -> None:
        super().__init__(size)
        self.density_size = require_size(self.size if density_size is None else density_size, "density_size")
        self.target = EdgeTarget() if target is None else target
        self.to_grid = DensityToGrid() if to_grid is None else to_grid
        self.relaxes_springs = self.to_grid.grid in ELASTIC

    def propose(
        self, thumbnail: Tensor | None, labels: Sequence[Tensor] | None, size: tuple[int, int], batch: int
    ) -> Glimpses:
        assert labels is not None  # checked by forward
        density = self.target(labels, self.density_size)
        return one_view_an_image(self.to_grid(density, size), density)


@register
class OracleRecipe(Recipe[NoOptions]):
    """Sees the labels; nothing to learn."""

    name = "oracle"
    sees_labels = True

    def build(self) -> OracleSampler:
        options = self.shared
        return OracleSampler(
            options.size,
            density_size=options.density,
            target=edge_target_of(options),
            to_grid=to_grid_of(options),
        )
