"""Learned downsampling: a small net sees an overview and says how densely to look (ICLR 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from saccade.geometry import require_size
from saccade.samplers.base import Sampler, Views, one_view_an_image
from saccade.samplers.density import DensityNet, Gather


class DeformationSampler(Sampler):
    """Samples gather where a density net, looking at an overview, expects something small or hard.

    The method of "Learning to downsample for segmentation of ultra-high resolution images" (ICLR 2022), with
    springs instead of the attraction of its Eq. 2 by default, because they concentrate further, never fold
    and always cover the image. :meth:`published` is the paper's own.

    Args:
        size: (h, w) of the view.
        overview_size: (h_o, w_o) of the overview; default the size (the paper: once or twice).
        density_size: (h_a, w_a) of the density; default the overview's.
        gather: how the density becomes a grid.
        net: any module from (B, 3, h_o, w_o) to a density (B, 1, h, w) >= 0; default the paper's
            :class:`DensityNet`. :class:`DensityOf` makes one of any network.
    """

    has_density = True

    def __init__(
        self,
        size: Sequence[int],
        *,
        overview_size: Sequence[int] | None = None,
        density_size: Sequence[int] | None = None,
        gather: Gather | None = None,
        net: nn.Module | None = None,
    ) -> None:
        super().__init__(size)
        given = self.size if overview_size is None else overview_size
        self.overview_size = require_size(given, "overview_size")
        given = self.overview_size if density_size is None else density_size
        self.density_size = require_size(given, "density_size")
        self.gather = Gather() if gather is None else gather
        self.net: nn.Module = DensityNet() if net is None else net

    @classmethod
    def published(cls, size: Sequence[int], *, radius: int | None = None) -> DeformationSampler:
        """The paper's own: overview and density of the task's size, attraction without floor or cover."""
        gather = Gather("attraction", floor=0.0, radius=radius, cover=False)
        return cls(size, overview_size=size, gather=gather)

    def propose(
        self, overview: Tensor | None, labels: Sequence[Tensor] | None, size: tuple[int, int], batch: int
    ) -> Views:
        assert overview is not None  # checked by forward
        density = self.net(overview)
        if density.shape[2:] != self.density_size:
            density = F.interpolate(density, self.density_size, mode="bilinear", align_corners=True)
            density = density / density.sum(dim=(2, 3), keepdim=True)
        return one_view_an_image(self.gather(density, size), density)
