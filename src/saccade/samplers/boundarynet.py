"""The auxiliary network of ICCV 2019: two stacked U-Nets that predict where samples lie."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saccade.errors import InvalidInput
from saccade.grids import uniform_grid
from saccade.grids.sizes import require_size

DEEPEST = 4
"""About how many pixels the shorter side of the first U-Net's deepest level has."""

SECOND_DEPTH = 2
"""How often the second U-Net halves: 8, 4, 2 with the paper's tensor."""


class BoundaryNet(nn.Module):
    """A sampling tensor from an overview: the double U-Net of ICCV 2019, Fig. 6.

    3x3 convolution, batch norm and ReLU once in each block, padded, ``width`` features in all layers but the
    first (a quarter) and the last (two). The first U-Net halves the overview until its shorter side is about
    4 pixels, so its depth follows the overview, and comes up again to the tensor's size; the second has
    always the same depth. The figure does not say where the first one ends: coming up to the overview's size
    instead would cost ten times as many operations. The output is added to the uniform grid and to a tensor
    that is learned for all images (as in the paper's program), so a fresh net looks uniformly.

    Args:
        overview_size: (h_o, w_o) that the depth is chosen for; other sizes are taken too.
        tensor_size: (h_t, w_t) of the output, at least 2 each; (8, 8) as published.
        width: features; 256 as published.

    Raises:
        InvalidInput: for sizes that are no pairs of whole numbers, or too small.
    """

    even: Tensor

    def __init__(
        self, overview_size: Sequence[int], tensor_size: Sequence[int] = (8, 8), width: int = 256
    ) -> None:
        super().__init__()
        self.tensor_size = require_size(tensor_size, "tensor_size")
        if min(self.tensor_size) < 2 or width < 1:
            got = f"{self.tensor_size} and {width}"
            raise InvalidInput("tensor_size and width", "at least 2 x 2 nodes and 1 feature", got)
        halvings, rises = _depth(require_size(overview_size, "overview_size"), self.tensor_size)
        self.first = _UNet(3, width, halvings, rises, stem=max(1, width // 4))
        self.second = _UNet(width, width, SECOND_DEPTH, SECOND_DEPTH)
        self.head = nn.Conv2d(width, 2, 1)
        for part in self.head.parameters():
            nn.init.zeros_(part)
        self.usual = nn.Parameter(torch.zeros(1, 2, *self.tensor_size))
        self.register_buffer("even", uniform_grid(self.tensor_size).permute(0, 3, 1, 2), persistent=False)

    def forward(self, overview: Tensor) -> Tensor:
        """(B, 3, h, w) normalised image to (B, 2, h_t, w_t) float32: x and y of each node, about [-1, 1]."""
        features = self.first(overview)
        if features.shape[2:] != self.tensor_size:
            features = F.adaptive_avg_pool2d(features, self.tensor_size)
        return self.even + self.usual + self.head(self.second(features)).float()


def _depth(overview: tuple[int, int], tensor: tuple[int, int]) -> tuple[int, int]:
    """How often the first U-Net halves, and how often it doubles again to be at least the tensor's size."""
    halvings = max(1, round(min(overview) / DEEPEST).bit_length() - 1)
    sides = [overview]
    for _ in range(halvings):
        sides.append(tuple(-(-side // 2) if side > 3 else side for side in sides[-1]))  # type: ignore[arg-type]
    large = [level for level, size in enumerate(sides) if size[0] >= tensor[0] and size[1] >= tensor[1]]
    return halvings, halvings - max(large, default=0)


class _UNet(nn.Module):
    """Halves ``halvings`` times and comes up ``rises`` of them, with a skip at each level it comes up to."""

    def __init__(
        self, channels: int, width: int, halvings: int, rises: int, *, stem: int | None = None
    ) -> None:
        super().__init__()
        widths = [width if stem is None else stem] + [width] * halvings
        self.down = nn.ModuleList(map(_block, [channels, *widths[:-1]], widths))
        skips = widths[halvings - rises : halvings]
        self.up = nn.ModuleList(_block(skip + width, width) for skip in skips)

    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else _halved(x))
            kept.append(x)
        start = len(kept) - 1 - len(self.up)
        for block, skip in zip(reversed(self.up), reversed(kept[start:-1]), strict=True):
            x = F.interpolate(x, size=skip.shape[2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([skip, x], dim=1))
        return x


def _block(before: int, after: int) -> nn.Sequential:
    kernel = nn.Conv2d(before, after, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(kernel.weight, nonlinearity="relu")
    return nn.Sequential(kernel, nn.BatchNorm2d(after), nn.ReLU(inplace=True))


def _halved(x: Tensor) -> Tensor:
    """Half as many rows and columns, of an odd number the larger half; never fewer than two, because batch
    norm of a single image needs a spread."""
    kernel = [2 if side > 3 else 1 for side in x.shape[2:]]
    return F.max_pool2d(x, kernel, ceil_mode=True)
