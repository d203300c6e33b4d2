"""What a prediction costs: a view measured on this machine, then bytes and seconds of the whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, sqrt
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from saccade.geometry import Window
from saccade.inference.label_values import OUTPUT_TILE
from saccade.inference.layout import Layout
from saccade.metrics.cost import AVERAGED, count_flops, elastic_flops, sampling_flops
from saccade.networks.evaluation_mode import evaluating
from saccade.rasters import Level, Raster
from saccade.rasters.polygons import BAND_PIXELS
from saccade.rasters.reduce import BLOCK_PIXELS
from saccade.rasters.remote import CACHE_BYTES, traffic
from saccade.runtime.addresses import Address
from saccade.runtime.memory import peak_memory
from saccade.samplers.image_scores import ImageScores
from saccade.samplers.images import SAMPLES_AT_ONCE
from saccade.segmenter import Segmenter
from saccade.sources import MemorySource
from saccade.warp import Pyramid
from saccade.warp.stitch import BLEND_VALUES, BYTES_A_NODE

LARGEST = 1 << 16
"""Samples of the view that is tried; a larger one is reckoned from it."""

REPEATS = 5
MEMORY_MARGIN = 1.25
"""The memory of a large view against that of as many samples in small ones."""


@dataclass(frozen=True)
class ViewCost:
    """One view, from pixels read to scores.

    Attributes:
        flops: operations of sampler and network.
        seconds: on this machine as it is now.
        bytes: beyond the weights, on the device of the networks.
        on_gpu: whether that is a GPU.
    """

    flops: int
    seconds: float
    bytes: int
    on_gpu: bool


def cost_of_view(segmenter: Segmenter, view: tuple[int, int]) -> ViewCost:
    """The memory of a view, measured once for a network and a size, however many images follow.

    Operations and time are left out: counting them takes 80 MB itself.
    """
    known = _KNOWN.setdefault(segmenter.network, {})
    key = (view, segmenter.sampler.thumbnail_size)
    if key not in known:
        known[key] = measure_view(segmenter, view, memory_alone=True)
    return known[key]


_KNOWN: WeakKeyDictionary[nn.Module, dict[tuple[Any, ...], ViewCost]] = WeakKeyDictionary()


def flops_of_view(segmenter: Segmenter, view: tuple[int, int]) -> int:
    """Operations of sampler, reading and network for a view, counted once for a network and a size."""
    known = _COUNTED.setdefault(segmenter.network, {})
    key = (view, segmenter.sampler.thumbnail_size)
    if key not in known:
        tried, factor = _tried(view)
        with evaluating(segmenter) as twin:
            flops = count_flops(_scoring(twin, tried))
        known[key] = round(flops * factor) + _uncounted(segmenter, view)
    return known[key]


_COUNTED: WeakKeyDictionary[nn.Module, dict[tuple[Any, ...], int]] = WeakKeyDictionary()


def _tried(view: tuple[int, int]) -> tuple[tuple[int, int], float]:
    """The view that is tried in the place of a view, and how many times its samples that has."""
    scale = min(1.0, sqrt(LARGEST / (view[0] * view[1])))
    tried = max(1, round(view[0] * scale)), max(1, round(view[1] * scale))
    return tried, view[0] * view[1] / (tried[0] * tried[1])


def _scoring(twin: Segmenter, size: tuple[int, int]) -> Callable[[], object]:
    """Scores a view of a blank image."""
    blank = MemorySource(Pyramid.of(_blank(twin, size)))
    return partial(twin.sampler.score, [twin.view(blank)], size=size)


def measure_view(segmenter: Segmenter, view: tuple[int, int], *, memory_alone: bool = False) -> ViewCost:
    """Scores a blank image: once to count, once to see the memory, a few times for the time."""
    tried, factor = _tried(view)
    with evaluating(segmenter) as twin:
        call = _scoring(twin, tried)
        cost = _memory_of(twin, call) if memory_alone else _measured(twin, call)
    margin = MEMORY_MARGIN if factor > 1 else 1.0
    return replace(
        cost,
        flops=round(cost.flops * factor) + _uncounted(segmenter, view),
        seconds=cost.seconds * factor,
        bytes=round(cost.bytes * factor * margin),
    )


def _blank(segmenter: Segmenter, size: tuple[int, int]) -> Tensor:
    """(1, C, h, w) of one value."""
    if not segmenter.reading.own:
        return torch.full((1, 3, *size), 127, dtype=torch.uint8)
    return segmenter.mean.detach().cpu().expand(1, -1, *size).contiguous()


def measure_patch(segmenter: Segmenter, scores: ImageScores) -> ViewCost:
    """Scores one patch of the image itself, in the middle; ``scores`` of a segmenter in evaluation mode."""
    return _measured(segmenter, scores.score_one)


def _memory_of(segmenter: Segmenter, call: Callable[[], object]) -> ViewCost:
    device = segmenter.mean.device
    with torch.no_grad():
        call()
        used = peak_memory(call, device) or 0
    return ViewCost(0, 0.0, used, device.type == "cuda")


def _measured(segmenter: Segmenter, call: Callable[[], object]) -> ViewCost:
    device = segmenter.mean.device
    with torch.no_grad():
        flops = count_flops(call)
        seconds = min(_seconds(call, device) for _ in range(REPEATS))
        used = peak_memory(call, device) or 0
    return ViewCost(flops, seconds, used, device.type == "cuda")


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _uncounted(segmenter: Segmenter, view: tuple[int, int]) -> int:
    """Operations that torch's counter does not see: the springs of the grid, and reading pixels."""
    channels = segmenter.reading.channels
    read = view[0] * view[1] * channels * AVERAGED
    thumbnail = segmenter.sampler.thumbnail_size
    if thumbnail is not None:
        read += sampling_flops(thumbnail[0] * thumbnail[1], channels, True)
    return read + (elastic_flops(view) if segmenter.sampler.relaxes_springs else 0)


WARM = 160 << 20
"""What threads and decoders take once all have run, and compiling the kernels at their first use."""

MARGIN = 1.15
BYTES_A_SAMPLE = 320
PICTURE_BYTES = 120 << 20
POLYGON_BYTES = 160 << 20
BYTES_A_PLACE = 12
"""Of where a sample lies and how dense samples are there, kept to the end for what is written of them."""
TABLE_BYTES, BYTES_A_COLUMN = 40 << 20, 500
"""Of the counts of regions that are open: at least, and more for each column of the image."""
SECONDS_A_PIXEL = 2.5e-9
"""Unwarping, compressing and halving labels, for one thread."""


@dataclass(frozen=True)
class Workload:
    """What the estimate needs to know of a prediction.

    Attributes:
        raster: as 8-bit RGB.
        layout: what is looked at.
        cost: of a view.
        classes: K.
        rows: of labels that are made at once, where they are streamed.
        in_memory: whether the image is read whole.
        png: whether the labels are kept until the end.
        extras: what else is written.
    """

    raster: Raster
    layout: Layout
    cost: ViewCost
    classes: int
    rows: int
    in_memory: bool
    png: bool
    extras: tuple[str, ...] = ()


UNEVEN = 1.02
"""What the same program holds at two starts differs by this factor at most."""


def least_told(needed: int) -> str:
    """``needed`` bytes as the amount that a refusal asks for: given at the next start, it suffices."""
    return f"{ceil(needed * UNEVEN / 10**7) * 10}MB"


def peak_bytes(about: Workload, base: int) -> int:
    """The most RAM that the program will hold: ``base``, what it holds already, and what it adds.

    Reading and scoring, unwarping, and writing the levels follow one another; their largest counts.
    """
    looking = _reading(about) + (0 if about.cost.on_gpu else about.cost.bytes)
    phases = (looking, _banding(about), _finishing(about), _beside(about))
    return base + WARM + round(MARGIN * (_kept(about) + max(phases)))


def _threads() -> int:
    return max(1, torch.get_num_threads())


def _reading(about: Workload) -> int:
    """Decoded blocks on their way, each twice where it is converted, and the boxes of the samples."""
    info = about.raster.info
    pixels = [max(BLOCK_PIXELS, level.tile[0] * level.tile[1]) for level in info.levels]
    blocks = (_threads() + 1) * max(pixels) * (3 + info.channels * info.dtype.itemsize * 2)
    view = about.layout.view[0] * about.layout.view[1]
    samples = max(view, min(SAMPLES_AT_ONCE, view * about.layout.tiling.count[1]))
    bands = info.channels * (2 if info.masked else 1) if info.meaning == "bands" else 3
    elsewhere = 2 * CACHE_BYTES if isinstance(about.raster.path, Address) else 0
    joined = 4 * about.classes * samples if samples > view else 0  # scores of single views beside all of them
    read = samples * BYTES_A_SAMPLE * max(3, bands) // 3
    return (0 if about.in_memory else blocks) + read + joined + elsewhere


def _bytes_a_pixel(raster: Raster) -> int:
    """Of an image that is kept: its pixels, a copy while they are read, and a third for the pyramid."""
    info = raster.info
    if info.meaning != "bands":
        return 7
    values = info.channels * (2 * 4 if info.masked else info.dtype.itemsize)
    return values * 7 // 3


def _kept(about: Workload) -> int:
    """The image where it is kept, decoded files, scores of open tiles, labels for a PNG, and what of
    all samples is written at the end."""
    height, width = about.raster.size
    view = about.layout.view[0] * about.layout.view[1]
    scores = (
        _rows_of_tiles(about) * about.layout.tiling.count[1] * view * ((about.classes + 2) * 4 + BYTES_A_NODE)
    )
    image = height * width * _bytes_a_pixel(about.raster) if about.in_memory else 0
    labels = height * width * (1 + ("uncertainty" in about.extras)) if about.png else 0
    of_all = BYTES_A_PLACE if {"samples", "density"} & set(about.extras) else 0
    if about.png and "scores" in about.extras:
        of_all = 4 * about.classes + BYTES_A_PLACE
    return max(about.raster.info.resident, 0) + image + scores + labels + of_all * about.layout.samples


def _wants_shares(about: Workload) -> bool:
    return "uncertainty" in about.extras or ("scores" in about.extras and not about.png)


def _strip_rows(about: Workload) -> int:
    """Rows of labels that are made at once."""
    at_once = about.png and not _wants_shares(about) and about.layout.mode == "whole"
    return about.raster.size[0] if at_once else min(about.rows, about.raster.size[0])


def _rows_of_tiles(about: Workload) -> int:
    """Rows of tiles that a strip touches at most."""
    (down, _), tile, height = about.layout.tiling.count, about.layout.tiling.tile[0], about.raster.size[0]
    return 1 if down == 1 else min(down, ceil((_strip_rows(about) + tile) * (down - 1) / (height - tile)))


def _banding(about: Workload) -> int:
    """Bands of labels: themselves, as values, those of overlapping tiles, and where they differ."""
    width = about.raster.size[1]
    shares, rows = _wants_shares(about), _strip_rows(about)
    several = 3 if about.layout.mode == "tiles" else 0
    strip = rows * width * (2 + several) + 3 * BLEND_VALUES * 4 * (several > 0)
    if shares:
        strip += rows * width * about.classes * 4 + 5 * BLEND_VALUES * 4
    if about.raster.info.masked:
        strip += rows * width * 2 + (8 << 20)
    waiting = 0 if about.png or rows >= OUTPUT_TILE else 2 * OUTPUT_TILE * width
    return strip + waiting + _threads() * OUTPUT_TILE**2 * 4


def _finishing(about: Workload) -> int:
    """Levels are made from four tiles at a time; a PNG is written from two copies."""
    height, width = about.raster.size
    if about.png:
        return 3 * height * width
    tiles = -(-height // OUTPUT_TILE) * -(-width // OUTPUT_TILE)
    channels = 1 + (about.classes if "scores" in about.extras else 0) + ("uncertainty" in about.extras)
    return _threads() * OUTPUT_TILE**2 * 8 + tiles * channels * 400


def _beside(about: Workload) -> int:
    pictures = {"samples", "overlay", "density"} & set(about.extras)
    drawn = PICTURE_BYTES if not about.png else 16 * int(np.prod(about.raster.size))
    traced = POLYGON_BYTES if "polygons" in about.extras else 0
    width, counted = about.raster.size[1], 0
    if "table" in about.extras:
        counted = TABLE_BYTES + 2 * max(BAND_PIXELS, OUTPUT_TILE * width) + BYTES_A_COLUMN * width
    joined = 2 * BYTES_A_PLACE * about.layout.samples if {"samples", "density"} & set(about.extras) else 0
    packed = 0
    if about.png and "scores" in about.extras:
        packed = about.layout.samples * (2 * about.classes + BYTES_A_PLACE)
    return max((drawn if pictures else 0) + max(traced, counted, joined), packed)


def seconds(about: Workload, tile_seconds: float) -> float:
    """What the work takes: reading, views, and labels; ``tile_seconds``: for one tile of the file."""
    height, width = about.raster.size
    reading = tiles_read(about) * tile_seconds / _threads()
    writing = height * width * SECONDS_A_PIXEL * (1 + len(about.extras)) / _threads()
    return reading + about.layout.views * about.cost.seconds + writing


def tiles_read(about: Workload) -> int:
    """Tiles of the file that hold a sample, as if the samples were spread evenly."""
    level = level_read(about)
    tiles = tiles_of(level)
    twice = 1 if about.raster.info.resident else 1.5  # bent grids look closer here and there
    return min(tiles, round(about.layout.samples * twice)) if not about.in_memory else 1


def tiles_of(level: Level) -> int:
    """Tiles of the file in a level."""
    return -(-level.size[0] // level.tile[0]) * -(-level.size[1] // level.tile[1])


def level_read(about: Workload) -> Level:
    """The level that samples of the mean spacing are read from."""
    most = max(1.0, about.layout.shrink / 2)
    return [level for level in about.raster.levels if max(level.downsample) <= most][-1]


PROBES = 5
"""Tiles of a file elsewhere that are read to know what one takes."""


def of_a_tile(about: Workload) -> tuple[float, int | None]:
    """Seconds that reading one tile of the level takes here, nothing where the image is decoded whole; and of
    a file elsewhere the bytes of all that will be read, by those of a few tiles."""
    address = about.raster.path
    if about.raster.info.resident:
        return 0.0, None
    level = level_read(about)
    if not isinstance(address, Address):
        return min(_read_tile(about, level, 1, 2) for _ in range(2)), None
    count = min(PROBES, min(_tiles_across(level)))
    seen = traffic(address)
    opening = seen.bytes
    reads = [_read_tile(about, level, part, count + 1) for part in range(1, count + 1)]
    tiles = tiles_of(level) if about.in_memory else tiles_read(about)
    return min(reads), opening + round((seen.bytes - opening) / count * tiles)


def _tiles_across(level: Level) -> tuple[int, int]:
    return -(-level.size[0] // level.tile[0]), -(-level.size[1] // level.tile[1])


def _read_tile(about: Workload, level: Level, part: int, parts: int) -> float:
    """Seconds for the tile at ``part`` of ``parts`` of the way from one corner to the other."""
    places = [
        (part * side // parts // step * step) for side, step in zip(level.size, level.tile, strict=True)
    ]
    top, left = places
    bottom, right = min(top + level.tile[0], level.size[0]), min(left + level.tile[1], level.size[1])
    start = time.perf_counter()
    about.raster.read(Window(top, bottom, left, right), about.raster.levels.index(level))
    return time.perf_counter() - start
