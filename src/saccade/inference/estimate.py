"""Bytes that a prediction holds at its peak, and the seconds that it takes: reckoned before it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from saccade.inference.calibrate import ViewCost
from saccade.inference.layout import Layout
from saccade.inference.look import SAMPLES_AT_ONCE
from saccade.inference.mosaic import BLEND_VALUES
from saccade.inference.painting import BYTES_A_NODE
from saccade.rasters import Level, Raster
from saccade.rasters.pieces import PIECE_PIXELS

STATUS = Path("/proc/self/status")
USUAL_BASE = 700 << 20
WARM = 160 << 20
"""What threads and decoders take once all have run, and compiling the kernels at their first use."""

MARGIN = 1.15
BYTES_A_SAMPLE = 320
PICTURE_BYTES = 120 << 20
POLYGON_BYTES = 160 << 20
SECONDS_A_PIXEL = 2.5e-9
"""Unwarping, compressing and halving labels, for one thread."""


@dataclass(frozen=True)
class Plainly:
    """What the estimate needs to know of a prediction.

    Attributes:
        raster: as 8-bit RGB.
        layout: what is looked at.
        cost: of a view.
        classes: K.
        tile: rows of labels that are written at once, where they are streamed.
        in_memory: whether the image is read whole.
        png: whether the labels are kept until the end.
        extras: what else is written.
    """

    raster: Raster
    layout: Layout
    cost: ViewCost
    classes: int
    tile: int
    in_memory: bool
    png: bool
    extras: tuple[str, ...] = ()


def resident_memory() -> int:
    """Bytes of RAM that this program holds now; a usual value where the system does not say."""
    try:
        return int(STATUS.read_text().split("VmRSS:")[1].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        return USUAL_BASE


def peak_bytes(about: Plainly, base: int) -> int:
    """The most RAM that the program will hold: ``base``, what it holds already, and what it adds.

    Reading and scoring, unwarping, and writing the levels follow one another; their largest counts.
    """
    looking = _reading(about) + (0 if about.cost.on_gpu else about.cost.bytes)
    phases = (looking, _banding(about), _finishing(about), _beside(about))
    return base + WARM + round(MARGIN * (_kept(about) + max(phases)))


def _threads() -> int:
    return max(1, torch.get_num_threads())


def _reading(about: Plainly) -> int:
    """Decoded pieces on their way, each twice where it is converted, and the boxes of the samples."""
    info = about.raster.info
    pixels = [max(PIECE_PIXELS, level.tile[0] * level.tile[1]) for level in info.levels]
    pieces = (_threads() + 1) * max(pixels) * (3 + info.channels * info.dtype.itemsize * 2)
    view = about.layout.view[0] * about.layout.view[1]
    samples = max(view, min(SAMPLES_AT_ONCE, view * about.layout.tiling.count[1]))
    return (0 if about.in_memory else pieces) + samples * BYTES_A_SAMPLE


def _kept(about: Plainly) -> int:
    """The image where it is kept, decoded files, scores of two rows of tiles, and labels for a PNG."""
    height, width = about.raster.size
    view = about.layout.view[0] * about.layout.view[1]
    rows = min(2, about.layout.tiling.count[0])
    scores = rows * about.layout.tiling.count[1] * view * ((about.classes + 2) * 4 + BYTES_A_NODE)
    image = height * width * 7 if about.in_memory else 0
    labels = height * width if about.png else 0
    return max(about.raster.info.resident, 0) + image + scores + labels


def _banding(about: Plainly) -> int:
    """Bands of labels: themselves, as values, those of overlapping tiles, and where they differ."""
    height, width = about.raster.size
    rows = height if about.png else about.tile
    several = 3 if about.layout.mode == "tiles" else 0
    band = rows * width * (2 + several) + 3 * BLEND_VALUES * 4 * (several > 0)
    if "scores" in about.extras and not about.png:
        band += rows * width * about.classes * 4 + 5 * BLEND_VALUES * 4
    if about.raster.info.masked:
        band += rows * width * 2 + (8 << 20)
    return band + _threads() * about.tile**2 * 4


def _finishing(about: Plainly) -> int:
    """Levels are made from four tiles at a time; a PNG is written from two copies."""
    height, width = about.raster.size
    if about.png:
        return 3 * height * width
    tiles = -(-height // about.tile) * -(-width // about.tile)
    channels = 1 + (about.classes if "scores" in about.extras else 0)
    zarr = about.tile * width * 2 if about.raster.path.is_dir() else 0
    return _threads() * about.tile**2 * 8 + tiles * channels * 400 + zarr


def _beside(about: Plainly) -> int:
    pictures = {"samples", "overlay", "density"} & set(about.extras)
    drawn = PICTURE_BYTES if not about.png else 16 * int(np.prod(about.raster.size))
    return (drawn if pictures else 0) + (POLYGON_BYTES if "polygons" in about.extras else 0)


def seconds(about: Plainly, tile_seconds: float) -> float:
    """What the work takes: reading, views, and labels; ``tile_seconds``: for one tile of the file."""
    height, width = about.raster.size
    reading = tiles_read(about) * tile_seconds / _threads()
    writing = height * width * SECONDS_A_PIXEL * (1 + len(about.extras)) / _threads()
    return reading + about.layout.views * about.cost.seconds + writing


def tiles_read(about: Plainly) -> int:
    """Tiles of the file that hold a sample, as if the samples were spread evenly."""
    level = level_read(about)
    rows, columns = level.tile
    tiles = -(-level.size[0] // rows) * -(-level.size[1] // columns)
    twice = 1 if about.raster.info.resident else 1.5  # bent grids look closer here and there
    return min(tiles, round(about.layout.samples * twice)) if not about.in_memory else 1


def level_read(about: Plainly) -> Level:
    """The level that samples of the mean spacing are read from."""
    most = max(1.0, about.layout.shrink / 2)
    return [level for level in about.raster.levels if max(level.downsample) <= most][-1]
