"""Boundary-driven sampling: a network that has seen where boundaries lie places the samples (ICCV 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saccade.errors import InvalidInput, all_at_least, at_least, nearest_name
from saccade.geometry import require_size
from saccade.grids import boundary_grid, resize_grid, unfold_grid, uniform_grid
from saccade.grids.uniform import even_positions
from saccade.grids.validate import require_finite_number
from saccade.losses import LossConfig
from saccade.samplers.base import Sampler, TrainingSample
from saccade.samplers.glimpses import Glimpses, one_view_an_image
from saccade.samplers.recipe import Augmented, AuxiliaryLoss, Recipe, Targets, TrainingData, register

DEEPEST = 4
"""About how many pixels the shorter side of the first U-Net's deepest level has."""

SECOND_DEPTH = 2
"""How often the second U-Net halves: 8, 4, 2 with the paper's tensor."""


class BoundaryNet(nn.Module):
    """A sampling tensor from a thumbnail: the double U-Net of ICCV 2019, Fig. 6.

    3x3 convolution, batch norm and ReLU once in each block, padded, ``width`` features in all layers but the
    first (a quarter) and the last (two). The first U-Net halves the thumbnail until its shorter side is about
    4 pixels, so its depth follows the thumbnail, and comes up again to the tensor's size; the second has
    always the same depth. The figure does not say where the first one ends: coming up to the thumbnail's size
    instead would cost ten times as many operations. The output is added to the uniform grid and to a tensor
    that is learned for all images (as in the paper's program), so a fresh net looks uniformly.

    Args:
        thumbnail_size: (h_o, w_o) that the depth is chosen for; other sizes are taken too.
        tensor_size: (h_t, w_t) of the output, at least 2 each; (8, 8) as published.
        width: features; 256 as published.
        bands: of the image.

    Raises:
        InvalidInput: for sizes that are no pairs of whole numbers, or too small.

    Examples:
        >>> import torch
        >>> from saccade.samplers import BoundaryNet
        >>> BoundaryNet((32, 32), width=8).eval()(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 2, 8, 8])
    """

    def __init__(
        self,
        thumbnail_size: Sequence[int],
        tensor_size: Sequence[int] = (8, 8),
        width: int = 256,
        bands: int = 3,
    ) -> None:
        super().__init__()
        self.tensor_size = require_size(tensor_size, "tensor_size")
        if min(self.tensor_size) < 2 or width < 1:
            got = f"{self.tensor_size} and {width}"
            raise InvalidInput("tensor_size and width", "at least 2 x 2 nodes and 1 feature", got)
        halvings, rises = _depth(require_size(thumbnail_size, "thumbnail_size"), self.tensor_size)
        self.first = _UNet(bands, width, halvings, rises, stem=max(1, width // 4))
        self.second = _UNet(width, width, SECOND_DEPTH, SECOND_DEPTH)
        self.head = nn.Conv2d(width, 2, 1)
        for part in self.head.parameters():
            nn.init.zeros_(part)
        self.usual = nn.Parameter(torch.zeros(1, 2, *self.tensor_size))

    def forward(self, thumbnail: Tensor) -> Tensor:
        """(B, 3, h, w) normalised image to (B, 2, h_t, w_t) float32: x and y of each node, about [-1, 1]."""
        features = self.first(thumbnail)
        if features.shape[2:] != self.tensor_size:
            features = F.adaptive_avg_pool2d(features, self.tensor_size)
        even = uniform_grid(self.tensor_size, device=thumbnail.device).permute(0, 3, 1, 2)
        return even + self.usual + self.head(self.second(features)).float()


def _depth(thumbnail: tuple[int, int], tensor: tuple[int, int]) -> tuple[int, int]:
    """How often the first U-Net halves, and how often it doubles again to be at least the tensor's size."""
    halvings = max(1, round(min(thumbnail) / DEEPEST).bit_length() - 1)
    sides = [thumbnail]
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


ROUNDS = 200
"""Rounds of smoothing before the whole grid is drawn back; a few suffice as a rule."""

_ROUNDING = 2.0**-20


def sampling_grid(nodes: Tensor, size: Sequence[int]) -> Tensor:
    """A grid of ``size`` from the few nodes of a sampling tensor: covering, then free of folds, then resized.

    Args:
        nodes: (B, h_t, w_t, 2) floating, (x, y), wherever the network puts them; h_t, w_t >= 2.
        size: (h, w) of the grid.

    Returns:
        (B, h, w, 2) float32 that covers the image and does not fold; differentiable. Nodes that already
        cover, and whose cells a bilinear map does not fold, come back as they are, resized.
    """
    grid = resize_grid(untangled(covering(nodes.float())), size)
    return unfold_grid(grid)


def covering(nodes: Tensor) -> Tensor:
    """The nearest nodes that satisfy the covering constraints (ICCV 2019, Eq. 3).

    Args:
        nodes: (B, h, w, 2), (x, y).

    Returns:
        (B, h, w, 2) in [-1, 1].
    """
    x, y = nodes.clamp(-1, 1).unbind(dim=-1)
    rows, columns = nodes.shape[1:3]
    ends_x, ends_y = _ends(columns, nodes), _ends(rows, nodes)[:, None]
    x = torch.where(ends_x == 0, x, ends_x)
    y = torch.where(ends_y == 0, y, ends_y)
    return torch.stack([x, y], dim=-1)


def _ends(count: int, like: Tensor) -> Tensor:
    """(count,) -1 and 1 at the ends, 0 between."""
    position = even_positions(count, device=like.device, dtype=like.dtype)
    return torch.where(position.abs() == 1, position, 0)


def untangled(grid: Tensor) -> Tensor:
    """``grid`` with nodes smoothed where a cell folds, and only there.

    A bilinear map of a cell does not fold where all four corners turn the right way (its determinant is
    linear across the cell, so a finer grid within does not fold either). The nodes of a cell that does are
    moved half the way to the mean of their neighbours, those on the border along it, until no cell is left.
    What that cannot mend within some rounds is drawn towards the uniform grid as a whole.

    Args:
        grid: (B, h, w, 2) that covers, (x, y) in [-1, 1]; h, w >= 2.

    Returns:
        (B, h, w, 2); the same values where nothing folds. Differentiable.
    """
    for _ in range(ROUNDS):
        with torch.no_grad():
            marked = _nodes_of(_folding(grid))
        if not marked.any():
            return grid
        grid = torch.where(marked[..., None], torch.lerp(grid, _neighbours(grid), 0.5), grid)
    return _drawn_back(grid)


def _drawn_back(grid: Tensor) -> Tensor:
    """Blended with the uniform grid just so far that no corner turns over, by both ways to cut a cell."""
    return unfold_grid(unfold_grid(grid).flip(2) * _MIRROR.to(grid)).flip(2) * _MIRROR.to(grid)


_MIRROR = torch.tensor([-1.0, 1.0])


def _folding(grid: Tensor) -> Tensor:
    """(B, h - 1, w - 1) bool: cells with a corner that is turned over, beyond rounding."""
    across, down = grid.diff(dim=2), grid.diff(dim=1)
    sides = ((across[:, :-1], down[:, :, :-1]), (across[:, :-1], down[:, :, 1:]),
             (across[:, 1:], down[:, :, :-1]), (across[:, 1:], down[:, :, 1:]))  # fmt: skip
    areas = torch.stack([u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0] for u, v in sides])
    return (areas < -_ROUNDING).any(dim=0)


def _nodes_of(cells: Tensor) -> Tensor:
    """(B, h, w) bool: the corners of marked cells."""
    nodes = torch.nn.functional.pad(cells, (0, 1, 0, 1))
    for rows, columns in ((1, 0), (0, 1), (1, 1)):
        nodes = nodes | torch.nn.functional.pad(cells, (columns, 1 - columns, rows, 1 - rows))
    return nodes


def _neighbours(grid: Tensor) -> Tensor:
    """(B, h, w, 2) mean of each node's neighbours; at a border those along it, and corners stay."""
    x, y = grid.unbind(dim=-1)
    return covering(torch.stack([_mean_of_four(x), _mean_of_four(y)], dim=-1))


def _mean_of_four(values: Tensor) -> Tensor:
    """(B, h, w): what lies beyond a border is taken as the node itself flipped about the border."""
    padded = torch.nn.functional.pad(values[:, None], (1, 1, 1, 1), mode="reflect")[:, 0]
    return (padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]) / 4


@dataclass(frozen=True)
class BoundaryTarget:
    """The exact minimiser of the boundary energy of the true labels (ICCV 2019, Eq. 2-3).

    Attributes:
        smoothness: lambda >= 0 of Eq. 2; 1 as published.
        classes: ids of the classes whose boundaries attract; None for all.
        ignore_index: pixels of this class make no boundary.

    Raises:
        InvalidInput: for a smoothness that is negative or not finite.

    Examples:
        >>> import torch
        >>> from saccade.samplers import BoundaryTarget
        >>> labels = torch.zeros(1, 32, 32, dtype=torch.uint8)
        >>> labels[:, :, 16:] = 1
        >>> BoundaryTarget(smoothness=1.0)(labels, (8, 8)).shape
        torch.Size([1, 2, 8, 8])
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
                label_map.reshape(1, *label_map.shape[-2:]), size,
                smoothness=self.smoothness, classes=self.classes, ignore_index=self.ignore_index,
            )
            for label_map in labels
        ]  # fmt: skip
        return torch.cat(grids).permute(0, 3, 1, 2).contiguous()


THUMBNAIL_SIDE = 64
"""Pixels of the thumbnail's shorter side by default, the larger of the paper's two sizes."""


class BoundarySampler(Sampler):
    """Samples lie near the boundaries that an auxiliary net expects, and cover the rest of the image thinly.

    The method of "Efficient segmentation: learning downsampling near semantic boundaries" (ICCV 2019): the
    net predicts a few nodes, the sampling tensor, which is projected onto the covering constraints and
    resized to the glimpse. Here it never folds either.

    Args:
        size: (h, w) of the glimpse.
        thumbnail_size: (h_o, w_o) that the net sees; default 64 pixels on the shorter side, in the shape of
            the glimpse. The paper's are 32 x 32 and 64 x 64, of square images.
        tensor_size: (h_t, w_t) of the sampling tensor, at least 2 each; (8, 8) as published.
        width: features of the net; 256 as published.
        net: any module from (B, 3, h_o, w_o) to a tensor (B, 2, h_t, w_t) of x and y in [-1, 1]; default the
            paper's, of the width.
        bands: of the image, where no net is given.

    Examples:
        >>> import saccade, torch
        >>> sampler = saccade.BoundarySampler((16, 24), width=8).eval()
        >>> sampler(torch.zeros(1, 3, *sampler.thumbnail_size)).grids.shape
        torch.Size([1, 16, 24, 2])
    """

    def __init__(
        self,
        size: Sequence[int],
        *,
        thumbnail_size: Sequence[int] | None = None,
        tensor_size: Sequence[int] = (8, 8),
        width: int = 256,
        net: nn.Module | None = None,
        bands: int = 3,
    ) -> None:
        super().__init__(size)
        self.thumbnail_size = require_size(
            usual_thumbnail(self.size) if thumbnail_size is None else thumbnail_size, "thumbnail_size"
        )
        self.net = BoundaryNet(self.thumbnail_size, tensor_size, width, bands) if net is None else net

    def propose(
        self, thumbnail: Tensor | None, labels: Sequence[Tensor] | None, size: tuple[int, int], batch: int
    ) -> Glimpses:
        assert thumbnail is not None  # checked by forward
        tensor = self.net(thumbnail)
        return one_view_an_image(sampling_grid(tensor.permute(0, 2, 3, 1), size), tensor=tensor)


def usual_thumbnail(size: tuple[int, int], side: int = THUMBNAIL_SIDE) -> tuple[int, int]:
    """(rows, columns) with ``side`` on the shorter side, in the shape of ``size`` up to 1 : 4."""
    rows, columns = size
    longer = min(round(side * max(size) / min(size)), 4 * side)
    return (side, longer) if rows <= columns else (longer, side)


class SamplingTensorLoss(AuxiliaryLoss):
    """Squared distance of the nodes from those of the exact grid (ICCV 2019, 3.1).

    Mean over nodes and images, positions in [-1, 1]. The net is compared before its nodes are projected.
    """

    def __init__(self, target: BoundaryTarget) -> None:
        self.targets = Targets(target)

    def __call__(
        self, batch: Sequence[TrainingSample], glimpses: Glimpses, augmentation: Augmented
    ) -> Tensor:
        assert glimpses.tensor is not None  # only samplers that predict one get this loss
        target = augmentation.flip(self.targets(batch, glimpses.tensor.shape[2:]))
        target = target * (1 - 2 * augmentation.flipped.to(target))[:, :, None, None]
        return (glimpses.tensor - target.to(glimpses.tensor)).square().sum(dim=1).mean()


@dataclass(frozen=True)
class BoundaryConfig:
    """The section ``boundary``: options of boundary-driven sampling (ICCV 2019).

    Attributes:
        smoothness: lambda of the energy that the true grids minimise; 1 as published.
        tensor: (rows, columns) of the grid that the net predicts, stretched to ``sampler.size``.
        width: features of the auxiliary net's layers; 256 as published.
        classes: names of the classes whose boundaries attract (a boundary is where one meets any other
            class); default all.
    """

    smoothness: float = 1.0
    tensor: tuple[int, int] = (8, 8)
    width: int = 64
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        at_least("boundary.smoothness", self.smoothness, 0)
        all_at_least("boundary.tensor", self.tensor, 2)
        at_least("boundary.width", self.width, 1)


def target_classes(options: BoundaryConfig, names: Sequence[str]) -> tuple[int, ...] | None:
    """Ids of ``boundary.classes``; None for all.

    Raises:
        InvalidInput: for a name that is no class of the data, or no name at all.
    """
    if options.classes is None:
        return None
    if not options.classes:
        raise InvalidInput("boundary.classes", "at least one class, or null for all", "none")
    for name in options.classes:
        if name not in names:
            allowed, fix = ", ".join(names), nearest_name(name, names)
            raise InvalidInput("boundary.classes", f"classes of the data ({allowed})", repr(name), fix)
    return tuple(names.index(name) for name in options.classes)


@register
class BoundaryRecipe(Recipe[BoundaryConfig]):
    """The net learns first, from the exact grids of the labels; the segmentation network follows."""

    name = "boundary"
    options_class = BoundaryConfig
    variant = "staged"
    first_stage_epochs = 60

    def build(self) -> BoundarySampler:
        return BoundarySampler(
            self.shared.size,
            thumbnail_size=self.shared.thumbnail,
            tensor_size=self.own.tensor,
            width=self.own.width,
            bands=self.bands,
        )

    def resolve(self, data: TrainingData, member: BoundaryConfig | None = None) -> BoundaryConfig:
        target_classes(self.own, data.classes.names)
        return self.own

    def auxiliary_loss(self, loss: LossConfig, class_names: Sequence[str]) -> SamplingTensorLoss:
        classes = target_classes(self.own, class_names)
        return SamplingTensorLoss(BoundaryTarget(self.own.smoothness, classes))
