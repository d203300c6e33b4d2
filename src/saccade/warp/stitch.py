"""Labels of a whole image from its patches, strip by strip, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from saccade.errors import InvalidInput, nearest_name
from saccade.geometry import Window
from saccade.runtime.threads import run_bands
from saccade.warp._stitch_kernels import UNLABELLED, add, added, choose, meet
from saccade.warp.mesh import Mesh, MeshRasteriser, as_array

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Patch:
    """The scores of one part of an image.

    Attributes:
        region: the pixels that it covers.
        scores: (K, h, w) float32, a tensor on the CPU or an array.
        grid: (h, w, 2) float32, likewise, where the scores belong, (x, y) in [-1, 1] over the region.
        rows, columns: (region.height,) and (region.width,) float32 > 0; a pixel's scores weigh the product
            of its row's and its column's where patches overlap.

    Examples:
        >>> import torch
        >>> import numpy as np
        >>> from saccade.geometry import Window
        >>> from saccade.grids import uniform_grid
        >>> scores = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])  # two classes on a row of two samples
        >>> from saccade.inference import Patch
        >>> even = np.ones(2, np.float32), np.ones(4, np.float32)
        >>> patch = Patch(Window(0, 2, 0, 4), scores, uniform_grid((1, 2))[0], *even)
        >>> patch.region.size
        (2, 4)
    """

    region: Window
    scores: Tensor | NDArray[np.float32]
    grid: Tensor | NDArray[np.float32]
    rows: NDArray[np.float32]
    columns: NDArray[np.float32]


class Patches(Protocol):
    """All patches of one image; scored only when their rows are wanted, and then once.

    Examples:
        >>> import torch
        >>> from saccade.geometry import Window
        >>> from saccade.grids import uniform_grid
        >>> scores = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])  # two classes on a row of two samples
        >>> from saccade.inference import strips, one_patch
        >>> class TwoHalves:
        ...     size, classes, probabilities = (2, 8), 2, False
        ...     regions = (Window(0, 2, 0, 4), Window(0, 2, 4, 8))
        ...
        ...     def patches(self, numbers):
        ...         return [one_patch(scores, uniform_grid((1, 2))[0], self.regions[n]) for n in numbers]
        >>> next(strips(TwoHalves(), rows=1)).labels.tolist()
        [[0, 0, 1, 1, 0, 0, 1, 1]]
    """

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image."""
        ...

    @property
    def classes(self) -> int:
        """K."""
        ...

    @property
    def regions(self) -> Sequence[Window]:
        """Of every patch, tops never falling. They may overlap, and leave pixels out."""
        ...

    @property
    def probabilities(self) -> bool:
        """Whether scores are probabilities of the classes (softmax has been taken) and not logits."""
        ...

    def patches(self, numbers: Sequence[int]) -> list[Patch]:
        """Scores the patches of these numbers, ascending."""
        ...


def one_patch(scores: Any, grid: Any, region: Window) -> Patch:
    """A patch that weighs the same everywhere.

    Examples:
        >>> import torch
        >>> from saccade.geometry import Window
        >>> from saccade.grids import uniform_grid
        >>> scores = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])  # two classes on a row of two samples
        >>> from saccade.inference import one_patch
        >>> patch = one_patch(scores, uniform_grid((1, 2))[0], Window(0, 2, 0, 4))
        >>> patch.rows.tolist(), patch.columns.tolist()
        ([1.0, 1.0], [1.0, 1.0, 1.0, 1.0])
    """
    return Patch(region, scores, grid, np.ones(region.height, np.float32), np.ones(region.width, np.float32))


BYTES_A_NODE = 30
"""What is kept of each node beside its scores: place, winner, kinds of its triangles."""


def _array(values: Tensor | NDArray[Any], dtype: type[np.floating]) -> NDArray[Any]:
    if isinstance(values, np.ndarray):
        return values.astype(dtype)
    return as_array(values.float() if dtype == np.float32 else values.double())


def _with_area(
    scores: NDArray[np.float32], grid: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """As :func:`saccade.warp.tensors.with_area`, of one patch (K, h, w) and (h, w, 2)."""
    for axis, place in ((0, 1), (1, 0)):
        if grid.shape[axis] == 1:
            scores, grid = scores.repeat(2, axis + 1), grid.repeat(2, axis)
            first, last = np.moveaxis(grid, axis, 0)
            first[..., place], last[..., place] = -1.0, 1.0
    return scores, grid


class RasterisedPatch:
    """Labels and scores of a patch, window by window, in pixels of the image.

    What comes out is that of :func:`saccade.unwarp_labels` and :func:`saccade.unwarp`, to the bit.
    """

    def __init__(self, patch: Patch) -> None:
        self.patch, self.region, self.classes = patch, patch.region, len(patch.scores)
        scores, grid = _with_area(_array(patch.scores, np.float32), _array(patch.grid, np.float64))
        self._rasteriser = MeshRasteriser(np.ascontiguousarray(scores), Mesh.of(grid, patch.region.size))

    def labels(self, window: Window) -> NDArray[np.uint8]:
        """(rows, columns) uint8 class ids; the window lies inside the region.

        Raises:
            InvalidInput: when a score is NaN.
        """
        out = np.empty(window.size, np.uint8)
        self._rasteriser.label(out, self._place(window), UNLABELLED)
        return out

    def scores(self, window: Window) -> NDArray[np.float32]:
        """(K, rows, columns) float32; the window lies inside the region."""
        out = np.empty((self.classes, *window.size), np.float32)
        self._rasteriser.interpolate(out, self._place(window))
        return out

    def _place(self, window: Window) -> tuple[int, int, int, int]:
        local = window.shifted(-self.region.top, -self.region.left)
        return local.top, local.bottom, local.left, local.right


CELL = 256
"""Columns whose differences are settled together."""

BLEND_VALUES = 1 << 22
"""Interpolated scores in memory at once."""


@dataclass(frozen=True)
class Strip:
    """Full-width rows of an answer.

    Attributes:
        top: the first row.
        labels: (rows, W) uint8 class ids; 255 where there is no patch.
        scores: (rows, W, K) uint8, each class's share of 255; None where not asked for.

    Examples:
        >>> import numpy as np
        >>> from saccade.inference import Strip
        >>> strip = Strip(top=512, labels=np.zeros((256, 2048), np.uint8))
        >>> strip.top + len(strip.labels)  # where the next begins
        768
    """

    top: int
    labels: NDArray[np.uint8]
    scores: NDArray[np.uint8] | None = None


def strips(
    patches: Patches,
    rows: int,
    *,
    start: int = 0,
    scores: bool = False,
) -> Iterator[Strip]:
    """The answer from row ``start`` on, in strips of ``rows`` rows (the last may have fewer), with ``scores``
    the probabilities too.

    Examples:
        >>> import torch
        >>> from saccade.geometry import Window
        >>> from saccade.grids import uniform_grid
        >>> scores = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])  # two classes on a row of two samples
        >>> from saccade.inference import strips, one_patch
        >>> class Whole:
        ...     size, classes, probabilities, regions = (3, 4), 2, False, (Window(0, 3, 0, 4),)
        ...
        ...     def patches(self, numbers):
        ...         return [one_patch(scores, uniform_grid((1, 2))[0], self.regions[n]) for n in numbers]
        >>> [(strip.top, strip.labels.tolist()) for strip in strips(Whole(), rows=2)]
        [(0, [[0, 0, 1, 1], [0, 0, 1, 1]]), (2, [[0, 0, 1, 1]])]
    """
    height, width = patches.size
    held: dict[int, RasterisedPatch] = {}
    ends = np.array([(region.top, region.bottom) for region in patches.regions]).reshape(-1, 2)
    for top in range(start, height, rows):
        window = Window(top, min(top + rows, height), 0, width)
        touching = np.flatnonzero((ends[:, 0] < window.bottom) & (ends[:, 1] > top)).tolist()
        held = {n: held[n] for n in touching if n in held}
        missing = [n for n in touching if n not in held]
        if missing:
            held |= dict(zip(missing, map(RasterisedPatch, patches.patches(missing)), strict=True))
        here = [held[n] for n in touching]
        yield Strip(top, labels_of(here, window), probabilities_of(here, window, patches) if scores else None)
        del here  # what the next strip does not touch is free before that scores its own


def labels_of(patches: list[RasterisedPatch], window: Window) -> NDArray[np.uint8]:
    """(rows, columns) uint8 class ids of a window."""
    if len(patches) == 1 and patches[0].region.intersection(window) == window:
        return patches[0].labels(window)
    out = np.full(window.size, UNLABELLED, np.uint8)
    differ = np.zeros(window.size, np.bool_)
    for patch in patches:
        part = patch.region.intersection(window)
        if part is not None:
            place = part.shifted(-window.top, -window.left).slices
            run_bands(meet, part.height, out[place], differ[place], patch.labels(part))
    if differ.any():
        _settle(out, differ, patches, window)
    return out


def _settle(
    out: NDArray[np.uint8], differ: NDArray[np.bool_], patches: list[RasterisedPatch], window: Window
) -> None:
    """Gives the pixels on which patches differ the class of the highest sum."""
    for left in range(0, window.width, CELL):
        cell = differ[:, left : left + CELL]
        lines, columns = np.flatnonzero(cell.any(1)), np.flatnonzero(cell.any(0))
        if not len(lines):
            continue
        across = Window(
            int(lines[0]), int(lines[-1]) + 1, left + int(columns[0]), left + int(columns[-1]) + 1
        )
        for part in _thin(across, patches[0].classes):
            total, _ = blend(patches, part.shifted(window.top, window.left))
            run_bands(choose, part.height, out[part.slices], differ[part.slices], total, smallest=64)


def _thin(window: Window, classes: int) -> Iterator[Window]:
    """Rows of a window, few enough that the scores of all classes fit."""
    rows = max(1, BLEND_VALUES // (classes * window.width))
    for top in range(window.top, window.bottom, rows):
        yield Window(top, min(top + rows, window.bottom), window.left, window.right)


def blend(patches: list[RasterisedPatch], window: Window) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The weighted sum of scores (K, rows, columns) and of weights (rows, columns), float32, of a window."""
    total = np.zeros((patches[0].classes, *window.size), np.float32)
    weights = np.zeros(window.size, np.float32)
    for patch in patches:
        part = patch.region.intersection(window)
        if part is None:
            continue
        local = part.shifted(-patch.region.top, -patch.region.left)
        rows, columns = patch.patch.rows[local.slices[0]], patch.patch.columns[local.slices[1]]
        place = part.shifted(-window.top, -window.left).slices
        arguments = (total[:, place[0], place[1]], weights[place], patch.scores(part), rows, columns)
        run_bands(add, part.height, *arguments, smallest=64)
    return total, weights


def probabilities_of(here: list[RasterisedPatch], window: Window, patches: Patches) -> NDArray[np.uint8]:
    """(rows, columns, K) uint8: each class's share of 255 in the patches that are ``here``; 0 without one."""
    import torch

    out = np.zeros((*window.size, patches.classes), np.uint8)
    step = max(1, BLEND_VALUES // (patches.classes * window.height))
    if not here:
        return out
    for left in range(0, window.width, step):
        part = Window(window.top, window.bottom, left, min(left + step, window.width))
        total, weights = blend(here, part)
        mean = torch.from_numpy(total / np.maximum(weights, 1e-30))
        part_of_all = (mean if patches.probabilities else mean.softmax(0)) * torch.from_numpy(weights > 0)
        out[:, left : part.right] = (part_of_all * 255).round_().to(torch.uint8).permute(1, 2, 0).numpy()
    return out


WINDOWS = ("smooth", "uniform")


def stitch_lattice(
    patches: Tensor,
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    field: tuple[float, float],
    strip: tuple[int, int],
    width: int,
    *,
    window: str = "smooth",
    probabilities: bool = False,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Labels of a strip of rows: the class of the highest weighted sum of the patches that cover a pixel.

    Patch (i, j) covers the pixels within half a field of (rows[i], columns[j]); its scores lie in the middle
    of h x w equal cells of the field and are interpolated linearly between them (beyond the outermost, those
    alone). ``smooth`` weighs them by the product of cos^2 along both axes, from 1 in the middle of a field to
    0.001 at its edge; ``uniform`` all alike. The sum over the patches runs in their order, so a pixel does
    not depend on the strip.

    Args:
        patches: (R, C, h, w, K) float32, probabilities of the classes; K up to 255.
        rows, columns: (R,), (C,) float64 pixel coordinates of the middles, rising.
        field: (rows, columns) in pixels that a patch covers.
        strip: (top, bottom) rows of the image; every patch that covers one of them must be given.
        width: W of the image.
        window: "smooth" or "uniform".
        probabilities: return the mean shares too.

    Returns:
        labels (bottom - top, W) uint8, the lowest of equal classes, 255 where there is no patch; and the
        probabilities (bottom - top, W, K) uint8, of 255, or None.

    Raises:
        InvalidInput: for another window, or more than 255 classes.
    """
    if window not in WINDOWS:
        raise InvalidInput("window", " or ".join(WINDOWS), repr(window), nearest_name(str(window), WINDOWS))
    classes, height = patches.shape[4], strip[1] - strip[0]
    if classes > UNLABELLED:
        raise InvalidInput("classes", f"at most {UNLABELLED}", classes)
    labels = np.empty((height, width), np.uint8)
    mean = np.empty((height if probabilities else 0, width, classes), np.uint8)
    held = np.ascontiguousarray(patches.float().numpy())
    middles = np.ascontiguousarray(rows, np.float64), np.ascontiguousarray(columns, np.float64)
    run_bands(added, height, strip[0], held, middles, field, window == "uniform", labels, mean)
    return labels, mean if probabilities else None


def stitch_lattice_reference(
    patches: Tensor,
    rows: Sequence[float],
    columns: Sequence[float],
    field: tuple[float, float],
    size: tuple[int, int],
    *,
    window: str = "smooth",
) -> Tensor:
    """The twin: (K, H, W) float64, the mean of the probabilities of a whole image, in plain PyTorch."""
    import torch

    down = [_spread(middle, field[0], patches.shape[2], size[0], window) for middle in rows]
    across = [_spread(middle, field[1], patches.shape[3], size[1], window) for middle in columns]
    total = torch.zeros(patches.shape[4], *size, dtype=torch.float64)
    weights = torch.zeros(size, dtype=torch.float64)
    for i, (vertical, high) in enumerate(down):
        for j, (horizontal, wide) in enumerate(across):
            total += vertical @ patches[i, j].double().permute(2, 0, 1) @ horizontal.T
            weights += high[:, None] * wide
    return total / weights


def _spread(middle: float, field: float, cells: int, pixels: int, window: str) -> tuple[Tensor, Tensor]:
    """(pixels, cells) weighted interpolation along an axis, and (pixels,) the weights."""
    import torch

    offset = (torch.arange(pixels, dtype=torch.float64) - middle) / field
    weight = (offset.abs() <= 0.5 + 1e-12).double()
    if window == "smooth":
        weight = weight * (torch.pi * offset).cos().square().clamp_min(1e-3)
    place = ((offset + 0.5) * cells - 0.5).clamp(0, cells - 1)
    tent = (1 - (place[:, None] - torch.arange(cells)).abs()).clamp_min(0)
    return weight[:, None] * tent, weight


Band, bands = Strip, strips
"""As 0.1 named them."""
