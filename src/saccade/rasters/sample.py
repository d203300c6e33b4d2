"""Reading a raster at scattered positions: only the tiles, and the level, that the samples need.

What decides the values is the file and the grid alone, never memory, threads, or what is read together. There
are two rules. An image without coarser levels in which every pixel was measured is read as ``saccade.sample``
reads the whole of it in memory, to the bit: blocks of whole tiles are halved as a pyramid halves the image,
the pixels of each sample's level are copied out of them, and the same loops average the copies. Where the
file has levels of its own, or pixels without measurement, a sample is the exact mean over its footprint of
the measured pixels of the coarsest level that is fine enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saccade.errors import InvalidInput
from saccade.geometry import Window
from saccade.rasters._kernels import footprint_sums, footprints_of, means
from saccade.rasters.raster import Level, Raster
from saccade.rasters.reduce import map_windows, validity
from saccade.runtime.threads import run_bands
from saccade.warp._sample_kernels import averaged_patches, bilinear_patches, copy_patches, patches_of
from saccade.warp.halvings import halvings
from saccade.warp.mesh import places_of

if TYPE_CHECKING:
    from torch import Tensor

READING_RULE = 2
"""Rises whenever a file may give other samples than before: it is part of what a resumed run must share."""

BLOCK = 128
"""What is read at once: whole tiles of at least so many pixels a side."""

KEPT_BLOCK = 512
"""The same where the file stays decoded in memory, so that its tiles do not matter."""

LARGEST_BLOCK = 2048
"""Tiles that no power of two divides are joined up to this side until halvings fit; else they are cut."""

LEAST_HALVINGS, MOST_HALVINGS = 3, 6
"""How often a block halves, whatever its tiles. Coarser levels are made of the whole image so halved."""

PATCH_BYTES = 64 << 20
"""Copies of pixels that are held at once."""

SMALLEST_BAND = 1 << 10
"""Samples worth a thread of their own."""


def sample_raster(
    raster: Raster,
    grid: Tensor,
    *,
    antialias: bool = True,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """Samples of ``raster`` at ``grid``, as ``saccade.sample(image, grid, antialias=True)`` takes them.

    Of a file without coarser levels and without a mask they are equal to the bit to those of the whole image
    in memory. With levels each sample is the mean over its own footprint, read from the coarsest level of the
    file that is at least as fine as a level of ``saccade.warp.Pyramid`` would be. Pixels without measurement
    count nowhere (a mask, and values that are not finite); a sample that meets nothing else is the raster's
    ``background``. A tile is
    decoded once, however many samples it serves, and tiles without a sample are not touched.

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
    import torch

    from saccade.grids.validate import require_grid

    require_grid(grid)
    return torch.from_numpy(samples_at(raster, grid.detach().cpu().numpy(), antialias, progress))


def samples_at(
    raster: Raster,
    grid: np.ndarray,
    antialias: bool = True,
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """As :func:`sample_raster`, of an array (B, h, w, 2) within [-1, 1], without torch."""
    if raster.info.meaning == "palette":
        raise InvalidInput("raster", "of colours or bands", f"palette indices ({raster.path})", "use as_rgb")
    if raster.info.masked or (antialias and len(raster.levels) > 1):
        return _means(raster, grid, antialias, None, progress)
    samples = _sampled(raster, grid, antialias, progress)
    if raster.dtype.kind == "f":
        gaps = ~np.isfinite(samples).all(1).ravel()
        if gaps.any():
            repaired = _means(raster, grid, antialias, np.flatnonzero(gaps), None)
            there = gaps.reshape(len(grid), 1, *grid.shape[1:3])
            samples = np.where(there, repaired, samples)
    return samples


@dataclass(frozen=True)
class _Patches:
    """The pixels that each of n samples is made of, on the pyramid that the whole image would have.

    Attributes:
        parts: (n, 5) int32: level, first row, first column, rows and columns there.
        size: (H, W) of the image.
    """

    parts: np.ndarray
    size: tuple[int, int]

    @classmethod
    def of(cls, places: np.ndarray, size: tuple[int, int], antialias: bool) -> _Patches:
        parts = np.empty((*places.shape[:3], 5), np.int32)
        lines = places.shape[0] * places.shape[1]
        run_bands(patches_of, lines, size, max(size).bit_length(), antialias, places, parts)
        return cls(parts.reshape(-1, 5), size)

    @property
    def levels(self) -> np.ndarray:
        return self.parts[:, 0]

    @property
    def pixels(self) -> np.ndarray:
        """(n,) how many pixels each has."""
        return self.parts[:, 3].astype(np.int64) * self.parts[:, 4]

    def footprints(self, numbers: np.ndarray) -> np.ndarray:
        """(len(numbers), 4) int64: first and last + 1 row, first and last + 1 column on level 0."""
        level, top, left, rows, columns = self.parts[numbers].astype(np.int64).T
        bottom = np.minimum((top + rows) << level, self.size[0])
        right = np.minimum((left + columns) << level, self.size[1])
        return np.stack([top << level, bottom, left << level, right], 1)


def _sampled(
    raster: Raster, grid: np.ndarray, antialias: bool, progress: Callable[[float], None] | None
) -> np.ndarray:
    """(B, C, h, w) as the whole image in memory would give them."""
    places = np.ascontiguousarray(grid, np.float64)
    patches = _Patches.of(places, raster.size, antialias)
    dtype = _working(raster.dtype)
    out = np.empty((len(grid), raster.channels, *grid.shape[1:3]), _computed(dtype))
    average = averaged_patches if antialias else bilinear_patches
    groups = list(_groups(patches, raster.channels * dtype.itemsize, raster.levels[0].tile[0]))
    for done, numbers in enumerate(groups):
        share = None if progress is None else _share(progress, done, len(groups))
        values, starts = _copied(raster, patches, numbers, dtype, share)
        arguments = (numbers, values, starts, raster.size, max(raster.size).bit_length(), places, out)
        run_bands(average, len(numbers), *arguments, smallest=SMALLEST_BAND)
    return out.astype(np.float32, copy=False)


def _working(dtype: np.dtype) -> np.dtype:
    """The type of the pyramid of an image of ``dtype``."""
    return dtype if dtype in (np.uint8, np.float64) else np.dtype(np.float32)


def _computed(dtype: np.dtype) -> np.dtype:
    """The type of averages over a pyramid of ``dtype``."""
    return np.dtype(np.float64) if dtype == np.float64 else np.dtype(np.float32)


def _groups(patches: _Patches, pixel_bytes: int, tile_rows: int) -> Iterator[np.ndarray]:
    """Numbers of samples that are read together: all, or by rows of tiles where their copies are many."""
    numbers = np.arange(len(patches.parts))
    if patches.pixels.sum() * pixel_bytes > PATCH_BYTES:
        footprints = patches.footprints(numbers)
        numbers = np.lexsort((footprints[:, 2], footprints[:, 0] // max(tile_rows, BLOCK)))
    held = np.cumsum(patches.pixels[numbers]) * pixel_bytes // PATCH_BYTES
    yield from np.split(numbers, np.flatnonzero(np.diff(held)) + 1)


def _copied(
    raster: Raster,
    patches: _Patches,
    numbers: np.ndarray,
    dtype: np.dtype,
    progress: Callable[[float], None] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of the samples ``numbers`` one sample after the other, flat, and where each begins."""
    parts = np.ascontiguousarray(patches.parts[numbers])
    ends = np.cumsum(patches.pixels[numbers]) * raster.channels
    starts = np.concatenate([[0], ends[:-1]])
    values = np.empty(int(ends[-1]), dtype)
    block, most = _blocks(raster)
    sums = _Coarse(raster, most, dtype) if (parts[:, 0] > most).any() else None
    windows, members = _windows(patches.footprints(numbers), parts[:, 0], block, most, raster.size)

    def work(window: Window, pixels: np.ndarray) -> None:
        inside = members[window]
        deepest = int(parts[inside, 0].max())
        levels = halvings(np.ascontiguousarray(pixels, dtype), window.size, 0, min(deepest, most))
        for level, halved in enumerate(levels):
            corner = window.top >> level, window.left >> level
            copy_patches(halved, level, *corner, parts, starts, inside, values)
        if sums is not None and deepest > most:
            sums.put(window, levels[-1])

    map_windows(raster, 0, windows, work, lambda window, nothing: None, progress=progress)
    if sums is not None:
        everyone = np.arange(len(numbers))
        for level, halved in sums.levels(int(parts[:, 0].max())):
            copy_patches(halved, level, 0, 0, parts, starts, everyone, values)
    return values, starts


class _Coarse:
    """The whole image at the coarsest level that blocks give, where they were read, and levels above."""

    def __init__(self, raster: Raster, level: int, dtype: np.dtype) -> None:
        self.size, self.level = raster.size, level
        rows, columns = (((side - 1) >> level) + 1 for side in raster.size)
        self.pixels = np.zeros((rows, columns, raster.channels), dtype)

    def put(self, window: Window, pixels: np.ndarray) -> None:
        top, left = window.top >> self.level, window.left >> self.level
        self.pixels[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels

    def levels(self, last: int) -> Iterator[tuple[int, np.ndarray]]:
        above = halvings(self.pixels, self.size, self.level, last)
        return enumerate(above[1:], self.level + 1)


def _blocks(raster: Raster) -> tuple[tuple[int, int], int]:
    """Rows and columns of a block, and how often a block halves without cutting a pixel of a level."""
    kept = raster.info.resident > 0
    block = [_block_side(*sides, kept) for sides in zip(raster.levels[0].tile, raster.size, strict=True)]
    halvings = [
        MOST_HALVINGS if side >= whole else (side & -side).bit_length() - 1
        for side, whole in zip(block, raster.size, strict=True)
    ]
    return (block[0], block[1]), min(*halvings, MOST_HALVINGS)


def _block_side(tile: int, whole: int, kept: bool) -> int:
    if kept:
        return min(KEPT_BLOCK, whole)
    if tile >= whole:
        return whole
    side = tile
    while side < BLOCK or side % (1 << LEAST_HALVINGS):
        side *= 2
    if side > max(LARGEST_BLOCK, tile):
        step = 1 << MOST_HALVINGS
        side = -(-max(tile, BLOCK) // step) * step
    return min(side, whole)


def _windows(
    footprints: np.ndarray, levels: np.ndarray, block: tuple[int, int], most: int, size: tuple[int, int]
) -> tuple[list[Window], dict[Window, np.ndarray]]:
    """The part of each block that samples need, whole pixels of their levels, and which samples those are."""
    across = -(-size[1] // block[1])
    sample, home = _meetings(footprints, block, across)
    order = np.lexsort((sample, home))
    sample, home = sample[order], home[order]
    starts = np.flatnonzero(np.diff(home, prepend=-1))
    step = 1 << np.minimum(np.maximum.reduceat(levels[sample].astype(np.int64), starts), most)
    low = np.minimum.reduceat(footprints[sample][:, ::2], starts) // step[:, None] * step[:, None]
    high = -(-np.maximum.reduceat(footprints[sample][:, 1::2], starts) // step[:, None]) * step[:, None]
    corner = np.stack([home[starts] // across * block[0], home[starts] % across * block[1]], 1)
    low = np.maximum(low, corner)
    high = np.minimum(np.minimum(high, corner + block), size)
    windows = [
        Window(int(top), int(bottom), int(left), int(right))
        for (top, left), (bottom, right) in zip(low, high, strict=True)
    ]
    return windows, dict(zip(windows, np.split(sample, starts[1:]), strict=True))


def _means(
    raster: Raster,
    grid: np.ndarray,
    antialias: bool,
    numbers: np.ndarray | None,
    progress: Callable[[float], None] | None,
) -> np.ndarray:
    """(B, C, h, w) means over footprints on levels of the file; only of the samples ``numbers``, others 0."""
    footprints, scale = _footprints(grid, raster.size) if antialias else _pixels(grid, raster.size)
    sums = np.zeros((len(footprints), raster.channels + 1))
    chosen = _levels(raster, scale)
    box_numbers = np.arange(len(footprints)) if numbers is None else numbers
    used = np.unique(chosen[box_numbers])
    for done, number in enumerate(used.tolist()):
        here = box_numbers[chosen[box_numbers] == number]
        share = None if progress is None else _share(progress, done, len(used))
        _add_level(raster, number, footprints[here], here, sums, share)
    batch, height, width, _ = grid.shape
    out = means(sums, np.dtype(np.float32), raster.info.background).reshape(batch, height, width, -1)
    return np.ascontiguousarray(out.transpose(0, 3, 1, 2))


def _footprints(grid: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(n, 4) y0, y1, x0, x1 of each sample's box in pixel edges of level 0, and (n,) the downsampling of the
    level that would average it in memory."""
    places = np.ascontiguousarray(grid, np.float64)
    footprints, scales = np.empty((*places.shape[:3], 4)), np.empty(places.shape[:3])
    lines = places.shape[0] * places.shape[1]
    run_bands(footprints_of, lines, places, size, max(size).bit_length(), footprints, scales)
    return footprints.reshape(-1, 4), scales.ravel()


def _pixels(grid: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """As ``_footprints``, for bilinear samples: the mean over a box of one pixel's size is just that."""
    x, y = places_of(grid, size).reshape(-1, 2).T
    footprints = np.stack([y, y + 1, x, x + 1], 1)
    return footprints, np.ones(len(footprints))


def _levels(raster: Raster, scale: np.ndarray) -> np.ndarray:
    """(n,) the coarsest level whose pixels span at most ``scale`` pixels of level 0."""
    steps = np.array([max(level.downsample) for level in raster.levels])
    steps[0] = 0.0
    scales, which = np.unique(scale, return_inverse=True)
    return np.array([int(np.flatnonzero(steps <= limit * 1.01)[-1]) for limit in scales])[which]


def _add_level(
    raster: Raster,
    number: int,
    footprints: np.ndarray,
    here: np.ndarray,
    sums: np.ndarray,
    progress: Callable[[float], None] | None,
) -> None:
    level = raster.levels[number]
    footprints = _on_level(footprints, level)
    block = _block_size(level)
    sample, home = _meetings(footprints, block, -(-level.size[1] // block[1]))
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
        footprint_sums(pixels, valid, masked, window.top, window.left, footprints[inside], parts)
        return parts

    def add(window: Window, parts: np.ndarray) -> None:
        sums[here[members[window]]] += parts

    map_windows(raster, number, list(members), work, add, progress=progress)


def _on_level(footprints: np.ndarray, level: Level) -> np.ndarray:
    """Boxes in pixel edges of the level, each at least a hair wide and inside it."""
    down, across = level.downsample
    footprints = footprints / [down, down, across, across]
    height, width = level.size
    low = np.minimum(footprints[:, ::2], [height - 1e-3, width - 1e-3])
    high = np.maximum(np.minimum(footprints[:, 1::2], [height, width]), low + 1e-3)
    return np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], 1)


def _block_size(level: Level) -> tuple[int, int]:
    """Whole tiles of at least ``BLOCK`` pixels a side: what is read at once."""
    rows, columns = level.tile
    return rows * max(1, BLOCK // rows), columns * max(1, BLOCK // columns)


def _meetings(footprints: np.ndarray, block: tuple[int, int], across: int) -> tuple[np.ndarray, np.ndarray]:
    """Which box meets which block: two arrays, the box and the block's number, row by row."""
    top, left = (
        (footprints[:, 0] // block[0]).astype(np.int64),
        (footprints[:, 2] // block[1]).astype(np.int64),
    )
    bottom = (np.ceil(footprints[:, 1]) - 1).astype(np.int64) // block[0]
    right = (np.ceil(footprints[:, 3]) - 1).astype(np.int64) // block[1]
    columns = right - left + 1
    count = (bottom - top + 1) * columns
    sample = np.repeat(np.arange(len(footprints)), count)
    step = np.arange(len(sample)) - np.repeat(np.cumsum(count) - count, count)
    row, column = top[sample] + step // columns[sample], left[sample] + step % columns[sample]
    return sample, row * across + column


def _window(number: int, block: tuple[int, int], size: tuple[int, int]) -> Window:
    across = -(-size[1] // block[1])
    top, left = number // across * block[0], number % across * block[1]
    return Window(top, min(top + block[0], size[0]), left, min(left + block[1], size[1]))


def _share(progress: Callable[[float], None], done: int, count: int) -> Callable[[float], None]:
    return lambda part: progress((done + part) / count)
