"""Evenly spaced samples: what everybody does today, and the baseline of every paper."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from saccade.grids import uniform_grid
from saccade.samplers.base import Sampler, Views, one_view_an_image


class UniformSampler(Sampler):
    """Looks everywhere alike. One view an image, no overview, no weights.

    Args:
        size: (h, w) of the view.
    """

    def propose(
        self, overview: Tensor | None, labels: Sequence[Tensor] | None, size: tuple[int, int], batch: int
    ) -> Views:
        given = overview if overview is not None else None if labels is None else labels[0]
        return one_view_an_image(uniform_grid(size, batch, device=None if given is None else given.device))
