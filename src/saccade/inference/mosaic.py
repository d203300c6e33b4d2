"""Labels of a whole image from its patches, band by band, in bounded memory.

Where patches overlap their scores are added, each by its weight, and the highest sum wins. Where all patches
agree on the class so does the sum, so the scores are interpolated only where they differ. A pixel depends
on nothing but the patches that hold it: not on how the image is cut into bands, nor on the order of work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from saccade.inference.mosaic_kernels import NOTHING, add, choose, meet
from saccade.inference.painting import PaintedPatch
from saccade.inference.patches import Patches
from saccade.rasters import Window
from saccade.warp.bands import run_bands

CELL = 256
"""Columns whose differences are settled together."""

BLEND_VALUES = 1 << 22
"""Interpolated scores in memory at once."""


@dataclass(frozen=True)
class Band:
    """Full-width rows of an answer.

    Attributes:
        top: the first row.
        labels: (rows, W) uint8 class ids; 255 where nobody looked.
        scores: (rows, W, K) uint8, each class's share of 255; None where not asked for.
    """

    top: int
    labels: NDArray[np.uint8]
    scores: NDArray[np.uint8] | None = None


def bands(
    patches: Patches,
    rows: int,
    *,
    start: int = 0,
    scores: bool = False,
    on_patches: Callable[[int], None] | None = None,
) -> Iterator[Band]:
    """The answer from row ``start`` on, in bands of ``rows`` rows (the last may have fewer).

    Args:
        scores: give them too.
        on_patches: called with the number of patches that have been scored since the last call.
    """
    chosen: Any = getattr(patches, "chosen", None)
    if chosen is not None and hasattr(chosen, "bands"):  # patches on a lattice are added up without a mesh
        found = chosen.bands(rows, start=start, shares=scores)
        yield from (Band(one.top, one.labels, one.shares) for one in found)
        return
    height, width = patches.size
    held: dict[int, PaintedPatch] = {}
    ends = np.array([(region.top, region.bottom) for region in patches.regions]).reshape(-1, 2)
    for top in range(start, height, rows):
        window = Window(top, min(top + rows, height), 0, width)
        wanted = np.flatnonzero((ends[:, 0] < window.bottom) & (ends[:, 1] > top)).tolist()
        held = {n: held[n] for n in wanted if n in held}
        missing = [n for n in wanted if n not in held]
        if missing:
            held |= dict(zip(missing, map(PaintedPatch, patches.look(missing)), strict=True))
            if on_patches is not None:
                on_patches(len(missing))
        here = [held[n] for n in wanted]
        yield Band(top, labels_of(here, window), shares_of(here, window, patches) if scores else None)


def labels_of(patches: list[PaintedPatch], window: Window) -> NDArray[np.uint8]:
    """(rows, columns) uint8 class ids of a window."""
    if len(patches) == 1 and patches[0].region.intersection(window) == window:
        return patches[0].labels(window)
    out = np.full(window.size, NOTHING, np.uint8)
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
    out: NDArray[np.uint8], differ: NDArray[np.bool_], patches: list[PaintedPatch], window: Window
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


def blend(patches: list[PaintedPatch], window: Window) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
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


def shares_of(here: list[PaintedPatch], window: Window, patches: Patches) -> NDArray[np.uint8]:
    """(rows, columns, K) uint8: each class's share of 255 in the patches that are ``here``; 0 without one."""
    out = np.zeros((*window.size, patches.classes), np.uint8)
    step = max(1, BLEND_VALUES // (patches.classes * window.height))
    if not here:
        return out
    for left in range(0, window.width, step):
        part = Window(window.top, window.bottom, left, min(left + step, window.width))
        total, weights = blend(here, part)
        mean = torch.from_numpy(total / np.maximum(weights, 1e-30))
        shares = (mean if patches.shares else mean.softmax(0)) * torch.from_numpy(weights > 0)
        out[:, left : part.right] = (shares * 255).round_().to(torch.uint8).permute(1, 2, 0).numpy()
    return out
