"""Foveation maps: how wide a run looks, place by place, and how that changed while it learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saccade.report.markup import Figure, figure
from saccade.report.palette import ramp
from saccade.training.foveation_maps import FOLDER

MOST = 6
"""Maps that are shown of a training: the first, the last, and some between."""

WIDTH = 660


def foveation_picture(
    probabilities: NDArray[np.floating], bank: Sequence[float], width: int = WIDTH
) -> NDArray[np.uint8]:
    """The expected field of view, light where it is wide, dark where it is narrow (arXiv 2020, B.4).

    Args:
        probabilities: (D, h, w) of the fields of view.
        bank: their D widths.
        width: of the picture in pixels.

    Returns:
        (rows, width, 3) uint8.
    """
    widths = np.asarray(bank, np.float64)
    span = max(widths[-1] - widths[0], 1e-12)
    expected = np.tensordot((widths - widths[0]) / span, probabilities.astype(np.float64), 1)
    rows = max(1, round(width * expected.shape[0] / expected.shape[1]))
    return np.asarray(Image.fromarray(ramp(expected)).resize((width, rows), Image.Resampling.NEAREST))


def average_width(probabilities: NDArray[np.floating], bank: Sequence[float]) -> float:
    """The mean of the expected field of view over an image, in pixels of the image."""
    return float(np.tensordot(np.asarray(bank), probabilities.astype(np.float64), 1).mean())


def training_figures(root: Path, bank: Sequence[float]) -> tuple[Figure, ...]:
    """One figure for each of at most six epochs at which a run kept its map; none where it kept none."""
    files = sorted((root / FOLDER).glob("epoch_*.npy"))
    if not files:
        return ()
    chosen = sorted({round(n * (len(files) - 1) / max(1, MOST - 1)) for n in range(MOST)})
    shown = []
    for file in [files[n] for n in chosen]:
        maps = np.load(file)
        if len(maps) != len(bank):
            continue
        epoch, mean = int(file.stem.removeprefix("epoch_")), average_width(maps, bank)
        caption = f"after epoch {epoch}: {mean:.0f} pixels wide on average"
        alt = f"expected field of view after epoch {epoch}, {mean:.0f} pixels on average"
        shown.append(figure(f"foveation-{epoch}", caption, alt, foveation_picture(maps, bank)))
    return tuple(shown)
