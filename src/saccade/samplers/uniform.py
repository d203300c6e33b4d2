"""Evenly spaced samples: what everybody does today, and the baseline of every paper."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from saccade.grids import uniform_grid
from saccade.samplers.base import Sampler
from saccade.samplers.glimpses import Glimpses, one_view_an_image
from saccade.samplers.recipe import NoOptions, Recipe, register


class UniformSampler(Sampler):
    """Looks everywhere alike. One glimpse an image, no thumbnail, no weights.

    Args:
        size: (h, w) of the glimpse.

    Examples:
        >>> import saccade
        >>> saccade.UniformSampler((4, 6))(batch=2).grids.shape
        torch.Size([2, 4, 6, 2])
    """

    def propose(
        self, thumbnail: Tensor | None, labels: Sequence[Tensor] | None, size: tuple[int, int], batch: int
    ) -> Glimpses:
        source = thumbnail if thumbnail is not None else None if labels is None else labels[0]
        return one_view_an_image(uniform_grid(size, batch, device=None if source is None else source.device))


@register
class UniformRecipe(Recipe[NoOptions]):
    """Evenly spaced samples: nothing to learn."""

    name = "uniform"

    def build(self) -> UniformSampler:
        return UniformSampler(self.shared.size)
