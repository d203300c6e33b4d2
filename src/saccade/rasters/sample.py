"""Reading a raster at scattered positions: only the tiles, and the level, that the samples need."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from saccade.geometry import Window
from saccade.grids.validate import require_grid
from saccade.rasters._kernels import footprint_boxes, footprint_sums, means
from saccade.rasters.raster import Level, Raster
from saccade.rasters.reduce import map_windows, validity
from saccade.runtime.threads import run_bands
from saccade.warp.mesh import pixels as pixel_places

BLOCK = 128


def sample_raster(
    raster: Raster,
    grid: Tensor,
    *,
    antialias: bool = True,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """Samples of ``raster`` at ``grid``, as ``saccade.sample(image, grid, antialias=True)`` takes them.

    Each sample is the mean over its own footprint, read from the coarsest level of the file that is at least
    as fine as a level of ``saccade.warp.Pyramid`` would be. A tile is decoded once, however many samples it
    serves, and tiles without a sample are not touched. Pixels without measurement count nowhere; a sample
    that meets nothing else is the raster's ``background``.

    Args:
        grid: (B, h, w, 2), (x, y) in [-1, 1]; every one of the B grids reads this raster.
        antialias: False reads single pixels of level 0, bilinear, as ``saccade.sample(image, grid)``.
        progress: called with the share done, 0 to 1.

    Returns:
        (B, C, h, w) float32, on the CPU, in the raster's own values.

    Raises:
        InvalidInput: ``grid`` is not as above, or the raster holds palette indices (use ``as_rgb``).
        FileProblem: the file is damaged.

    Examples:
        >>> import numpy as np
        >>> from PIL import Image
        >>> import saccade
        >>> from saccade.rasters import open_raster, sample_raster
        >>> Image.new("RGB", (640, 480), (10, 20, 30)).save("photo.png")
        >>> with open_raster("photo.png") as raster:
        ...     print(sample_raster(raster, saccade.uniform_grid((2, 2)))[0, :, 0, 0].tolist())
        [10.0, 20.0, 30.0]
    """
    require_grid(grid)
    boxes, scale = _boxes(grid.detach().cpu(), raster.size) if antialias else _pixels(grid, raster.size)
    sums = np.zeros((len(boxes), raster.channels + 1))
    chosen = _levels(raster, scale)
    used = np.unique(chosen)
    for done, number in enumerate(used.tolist()):
        here = np.flatnonzero(chosen == number)
        share = None if progress is None else _share(progress, done, len(used))
        _add_level(raster, number, boxes[here], here, sums, share)
    batch, height, width, _ = grid.shape
    out = means(sums, np.dtype(np.float32), raster.info.background).reshape(batch, height, width, -1)
    return torch.from_numpy(np.ascontiguousarray(out.transpose(0, 3, 1, 2)))


def _boxes(grid: Tensor, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(n, 4) y0, y1, x0, x1 of each sample's box in pixel edges of level 0, and (n,) the downsampling of the
    level that would average it in memory."""
    places = grid.to(torch.float64).contiguous().numpy()
    boxes, scales = np.empty((*places.shape[:3], 4)), np.empty(places.shape[:3])
    lines = places.shape[0] * places.shape[1]
    run_bands(footprint_boxes, lines, places, size, max(size).bit_length(), boxes, scales)
    return boxes.reshape(-1, 4), scales.ravel()


def _pixels(grid: Tensor, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """As ``_boxes``, for bilinear samples: the mean over a box of one pixel's size is just that."""
    x, y = pixel_places(grid.detach().cpu(), size).reshape(-1, 2).numpy().T
    boxes = np.stack([y, y + 1, x, x + 1], 1)
    return boxes, np.ones(len(boxes))


def _levels(raster: Raster, scale: np.ndarray) -> np.ndarray:
    """(n,) the coarsest level whose pixels span at most ``scale`` pixels of level 0."""
    steps = np.array([max(level.downsample) for level in raster.levels])
    steps[0] = 0.0
    scales, which = np.unique(scale, return_inverse=True)
    return np.array([int(np.flatnonzero(steps <= limit * 1.01)[-1]) for limit in scales])[which]


def _add_level(
    raster: Raster,
    number: int,
    boxes: np.ndarray,
    here: np.ndarray,
    sums: np.ndarray,
    progress: Callable[[float], None] | None,
) -> None:
    level = raster.levels[number]
    boxes = _on_level(boxes, level)
    block = _block_size(level)
    sample, home = _meetings(boxes, block, -(-level.size[1] // block[1]))
    order = np.lexsort((sample, home))
    sample, home = sample[order], home[order]
    starts = np.flatnonzero(np.diff(home, prepend=-1))
    members = {
        _window(int(home[start]), block, level.size): sample[start:end]
        for start, end in zip(starts, [*starts[1:], len(home)], strict=True)
    }

    def work(window: Window, pixels: np.ndarray) -> np.ndarray:
        valid, masked = validity(raster, window, number, pixels)
        inside = members[window]
        parts = np.zeros((len(inside), sums.shape[1]))
        footprint_sums(pixels, valid, masked, window.top, window.left, boxes[inside], parts)
        return parts

    def add(window: Window, parts: np.ndarray) -> None:
        sums[here[members[window]]] += parts

    map_windows(raster, number, list(members), work, add, progress=progress)


def _on_level(boxes: np.ndarray, level: Level) -> np.ndarray:
    """Boxes in pixel edges of the level, each at least a hair wide and inside it."""
    down, across = level.downsample
    boxes = boxes / [down, down, across, across]
    height, width = level.size
    low = np.minimum(boxes[:, ::2], [height - 1e-3, width - 1e-3])
    high = np.maximum(np.minimum(boxes[:, 1::2], [height, width]), low + 1e-3)
    return np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], 1)


def _block_size(level: Level) -> tuple[int, int]:
    """Whole tiles of at least ``BLOCK`` pixels a side: what is read at once."""
    rows, columns = level.tile
    return rows * max(1, BLOCK // rows), columns * max(1, BLOCK // columns)


def _meetings(boxes: np.ndarray, block: tuple[int, int], across: int) -> tuple[np.ndarray, np.ndarray]:
    """Which box meets which block: two arrays, the box and the block's number, row by row."""
    top, left = (boxes[:, 0] // block[0]).astype(np.int64), (boxes[:, 2] // block[1]).astype(np.int64)
    bottom = (np.ceil(boxes[:, 1]) - 1).astype(np.int64) // block[0]
    right = (np.ceil(boxes[:, 3]) - 1).astype(np.int64) // block[1]
    columns = right - left + 1
    count = (bottom - top + 1) * columns
    sample = np.repeat(np.arange(len(boxes)), count)
    step = np.arange(len(sample)) - np.repeat(np.cumsum(count) - count, count)
    row, column = top[sample] + step // columns[sample], left[sample] + step % columns[sample]
    return sample, row * across + column


def _window(number: int, block: tuple[int, int], size: tuple[int, int]) -> Window:
    across = -(-size[1] // block[1])
    top, left = number // across * block[0], number % across * block[1]
    return Window(top, min(top + block[0], size[0]), left, min(left + block[1], size[1]))


def _share(progress: Callable[[float], None], done: int, count: int) -> Callable[[float], None]:
    return lambda part: progress((done + part) / count)
