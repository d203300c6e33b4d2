"""Learned downsampling: a small net sees a thumbnail and says how densely to look (ICLR 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from saccade.geometry import require_size
from saccade.samplers.base import Glimpses, Sampler, one_view_an_image
from saccade.samplers.density import DensityNet, DensityToGrid


class DeformationSampler(Sampler):
    """Samples to_grid where a density net, looking at a thumbnail, expects something small or hard.

    The method of "Learning to downsample for segmentation of ultra-high resolution images" (ICLR 2022), with
    springs instead of the attraction of its Eq. 2 by default, because they concentrate further, never fold
    and always cover the image. :meth:`published` is the paper's own.

    Args:
        size: (h, w) of the view.
        thumbnail_size: (h_o, w_o) of the thumbnail; default the size (the paper: once or twice).
        density_size: (h_a, w_a) of the density; default the thumbnail's.
        to_grid: how the density becomes a grid.
        net: any module from (B, 3, h_o, w_o) to a density (B, 1, h, w) >= 0; default the paper's
            :class:`DensityNet`. :class:`DensityOf` makes one of any network.

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
        given = self.size if thumbnail_size is None else thumbnail_size
        self.thumbnail_size = require_size(given, "thumbnail_size")
        given = self.thumbnail_size if density_size is None else density_size
        self.density_size = require_size(given, "density_size")
        self.to_grid = DensityToGrid() if to_grid is None else to_grid
        self.net: nn.Module = DensityNet() if net is None else net

    @classmethod
    def published(cls, size: Sequence[int], *, radius: int | None = None) -> DeformationSampler:
        """The paper's own: thumbnail and density of the task's size, attraction without floor or cover."""
        to_grid = DensityToGrid("attraction", floor=0.0, radius=radius, cover=False)
        return cls(size, thumbnail_size=size, to_grid=to_grid)

    def propose(
        self, thumbnail: Tensor | None, labels: Sequence[Tensor] | None, size: tuple[int, int], batch: int
    ) -> Glimpses:
        assert thumbnail is not None  # checked by forward
        density = self.net(thumbnail)
        if density.shape[2:] != self.density_size:
            density = F.interpolate(density, self.density_size, mode="bilinear", align_corners=True)
            density = density / density.sum(dim=(2, 3), keepdim=True)
        return one_view_an_image(self.to_grid(density, size), density)
