"""Boundary-driven sampling: a network that has seen where boundaries lie says where to look (ICCV 2019)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from saccade.grids.sizes import require_size
from saccade.samplers.base import Sampler, one_view_an_image
from saccade.samplers.boundary_projection import sampling_grid
from saccade.samplers.boundarynet import BoundaryNet
from saccade.samplers.views import Views

OVERVIEW_SIDE = 64
"""Pixels of the overview's shorter side by default, the larger of the paper's two sizes."""


class BoundarySampler(Sampler):
    """Samples lie near the boundaries that an auxiliary net expects, and cover the rest of the image thinly.

    The method of "Efficient segmentation: learning downsampling near semantic boundaries" (ICCV 2019): the
    net predicts a few nodes, the sampling tensor, which is projected onto the covering constraints and
    resized to the view. Here it never folds either.

    Args:
        size: (h, w) of the view.
        overview_size: (h_o, w_o) that the net sees; default 64 pixels on the shorter side, in the shape of
            the view. The paper's are 32 x 32 and 64 x 64, of square images.
        tensor_size: (h_t, w_t) of the sampling tensor, at least 2 each; (8, 8) as published.
        width: features of the net; 256 as published.
        net: any module from (B, 3, h_o, w_o) to a tensor (B, 2, h_t, w_t) of x and y in [-1, 1]; default the
            paper's, of the width.
    """

    def __init__(
        self,
        size: Sequence[int],
        *,
        overview_size: Sequence[int] | None = None,
        tensor_size: Sequence[int] = (8, 8),
        width: int = 256,
        net: nn.Module | None = None,
    ) -> None:
        super().__init__(size)
        given = usual_overview(self.size) if overview_size is None else overview_size
        self.overview_size = require_size(given, "overview_size")
        self.net = BoundaryNet(self.overview_size, tensor_size, width) if net is None else net

    def propose(
        self, overview: Tensor | None, labels: Sequence[Tensor] | None, size: tuple[int, int], batch: int
    ) -> Views:
        assert overview is not None  # checked by forward
        tensor = self.net(overview)
        return one_view_an_image(sampling_grid(tensor.permute(0, 2, 3, 1), size), tensor=tensor)


def usual_overview(size: tuple[int, int], side: int = OVERVIEW_SIDE) -> tuple[int, int]:
    """(rows, columns) with ``side`` on the shorter side, in the shape of ``size`` up to 1 : 4."""
    rows, columns = size
    longer = min(round(side * max(size) / min(size)), 4 * side)
    return (side, longer) if rows <= columns else (longer, side)
