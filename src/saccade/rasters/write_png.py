"""PNG from stored tiles: for outputs that fit in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from saccade.rasters.output import Output
from saccade.rasters.tiles import TileStore


def write_png(path: Path, levels: Sequence[TileStore], output: Output) -> None:
    """Level 0 as a palette image, or as grey of 8 or 16 bits."""
    store = levels[0]
    image = Image.fromarray(np.concatenate([store.band(row) for row in range(store.count[0])]))
    table = output.colour_table()
    if table is not None:
        image.putpalette(table.tobytes())
    image.save(path, format="PNG")
