"""The oracle: samples where the true labels have edges. It sees the labels, so it is for study only."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from saccade.geometry import require_size
from saccade.samplers.base import Sampler, Views, one_view_an_image
from saccade.samplers.density import EdgeTarget, Gather


class OracleSampler(Sampler):
    """The papers' simulated "optimal edge" (ICLR 2022, 4.1 and A.6). SEES THE TRUE LABELS.

    Its scores are no bound that a real sampler could reach: where it puts its samples tells the network
    where the classes are. It shows what a perfect density would bring with the same network and budget.

    Args:
        size: (h, w) of the view.
        density_size: (h_a, w_a) of the density; default the size.
        target: which edges count how much, and the blur.
        gather: how the density becomes a grid.
    """

    sees_labels = True
    has_density = True

    def __init__(
        self,
        size: Sequence[int],
        *,
        density_size: Sequence[int] | None = None,
        target: EdgeTarget | None = None,
        gather: Gather | None = None,
    ) -> None:
        super().__init__(size)
        given = self.size if density_size is None else density_size
        self.density_size = require_size(given, "density_size")
        self.target = EdgeTarget() if target is None else target
        self.gather = Gather() if gather is None else gather

    def propose(
        self, overview: Tensor | None, labels: Sequence[Tensor] | None, size: tuple[int, int], batch: int
    ) -> Views:
        assert labels is not None  # checked by forward
        density = self.target(labels, self.density_size)
        return one_view_an_image(self.gather(density, size), density)
