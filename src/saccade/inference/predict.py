"""One image from file to file: read where the samples lie, labelled band by band, written as it goes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from saccade.data.classes import ClassTable
from saccade.geometry import Window
from saccade.inference.extras import Draw, Extras, Kept
from saccade.inference.files import Job
from saccade.inference.options import Layout, Look
from saccade.inference.plan import ExecutionPlan, choose_execution
from saccade.inference.regions import MemorySource, OwnPatches, RasterSource, TilePatches, own_patches
from saccade.inference.writers import PngSink, RasterSink, Values
from saccade.rasters import Raster, as_rgb, open_raster, thumbnail
from saccade.rasters.open import split_image_number
from saccade.segmenter import Segmenter, evaluating
from saccade.warp import Pyramid
from saccade.warp._stitch_kernels import UNLABELLED
from saccade.warp.stitch import Band, bands

LOOK_SIDE = 1024
"""The longer side of the thumbnail on which emptiness is judged."""

MASK_SIDE = 4096
"""Pixels without measurement are known to this many places along the longer side, or exactly."""

MASK_PIECE = 1 << 21
"""Pixels of a mask that are read at once."""

GLASS_BRIGHTEST, GLASS_COLOUR = 205, 18
"""Glass: every channel at least so bright, and the channels no further apart."""


def may_be_skipped(raster: Raster) -> bool:
    """Whether an image may hold what need not be looked at: a raster with a mask, or a slide."""
    return raster.info.masked or is_microscopy(raster)


def is_microscopy(raster: Raster) -> bool:
    """Whether the file gives its scale in microns: on a map, white is snow and not glass."""
    return raster.pixel_size is not None and raster.pixel_size.unit == "micron"


def empty_tiles(raster: Raster, tiles: Sequence[Window]) -> list[Window]:
    """The tiles in which nothing was measured, or where a slide shows glass alone.

    Judged on a thumbnail of at most 1024 pixels: a tile is left out only when every pixel of the thumbnail
    that it meets, and those around it, is empty.
    """
    if not may_be_skipped(raster):
        return []
    empty = _empty(raster)
    down, across = (full / small for full, small in zip(raster.size, empty.shape, strict=True))

    def is_empty(tile: Window) -> bool:
        rows = slice(max(0, int(tile.top / down) - 1), int(np.ceil(tile.bottom / down)) + 1)
        columns = slice(max(0, int(tile.left / across) - 1), int(np.ceil(tile.right / across)) + 1)
        return bool(empty[rows, columns].all())

    return [tile for tile in tiles if is_empty(tile)]


def _empty(raster: Raster) -> NDArray[np.bool_]:
    """Where the thumbnail shows nothing."""
    scale = max(1.0, max(raster.size) / LOOK_SIDE)
    small = (max(1, int(raster.size[0] / scale)), max(1, int(raster.size[1] / scale)))
    empty = np.zeros(small, np.bool_)
    if raster.info.masked:
        empty |= ~Measured(raster).rows(Window.full(small), small)
    if is_microscopy(raster):
        pixels = thumbnail(raster, small)
        empty |= (pixels.min(2) >= GLASS_BRIGHTEST) & (np.ptp(pixels, 2) <= GLASS_COLOUR)
    return empty


class Measured:
    """Where a raster was measured, read from a level that is cheap."""

    def __init__(self, raster: Raster) -> None:
        self.raster = raster
        fine = [n for n, level in enumerate(raster.levels) if max(level.size) >= MASK_SIDE]
        self.level = fine[-1] if fine else 0

    def rows(self, window: Window, size: tuple[int, int]) -> NDArray[np.bool_]:
        """(rows, columns) of a window of the image at ``size``: True where its centre was measured."""
        full = self.raster.levels[self.level].size
        lines = ((np.arange(window.top, window.bottom) + 0.5) * full[0] / size[0]).astype(int)
        columns = ((np.arange(window.left, window.right) + 0.5) * full[1] / size[1]).astype(int)
        part = Window(int(lines[0]), int(lines[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
        if part.height * part.width > MASK_PIECE and max(window.size) > 1:
            return np.concatenate([self.rows(half, size) for half in _halves(window)], int(_is_wide(window)))
        valid = self.raster.valid(part, self.level)
        if valid.shape == window.size:
            return valid
        return valid[np.ix_(lines - part.top, columns - part.left)]


def _is_wide(window: Window) -> bool:
    return window.width >= window.height


def _halves(window: Window) -> tuple[Window, Window]:
    if _is_wide(window):
        middle = (window.left + window.right) // 2
        return (
            Window(window.top, window.bottom, window.left, middle),
            Window(window.top, window.bottom, middle, window.right),
        )
    middle = (window.top + window.bottom) // 2
    return (
        Window(window.top, middle, window.left, window.right),
        Window(middle, window.bottom, window.left, window.right),
    )


def fingerprint(segmenter: Segmenter, image: Path, layout: Layout, look: Look, classes: ClassTable) -> str:
    """A hash of the weights, the image (name, size, time), what is looked at, and the classes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(segmenter.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    status = split_image_number(image)[0].stat()
    about = [image.name, status.st_size, status.st_mtime_ns, str(layout.tiling), layout.view, look.skip]
    digest.update(json.dumps([*about, classes.as_dict()]).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class PredictionConfig:
    """What holds for every image of a run.

    Attributes:
        classes: of the run.
        look: what the user wants.
        training_downsampling: pixels that a sample stood for along an axis in training; None where not known.
        value_range: the sample values of black and white; None: by the rule of ``saccade.rasters.as_rgb``.
        batch: views that go through the networks together.
        resume, overwrite: what is done with what is there already.
        draw: draws the pictures; it comes from a room below.
    """

    classes: ClassTable
    look: Look = field(default_factory=Look)
    training_downsampling: float | None = None
    value_range: tuple[float, float] | None = None
    batch: int = 1
    resume: bool = False
    overwrite: bool = False
    draw: Draw | None = None


@dataclass(frozen=True)
class Done:
    """What is told of an image that was labelled.

    Attributes:
        notices: what was done to it when it was read.
        layout: what was looked at.
        skipped: tiles that were left out as empty.
    """

    notices: tuple[str, ...]
    layout: Layout
    skipped: int = 0


@torch.no_grad()
def predict_image(
    segmenter: Segmenter,
    job: Job,
    settings: PredictionConfig,
    *,
    on_progress: Callable[[float], None] | None = None,
) -> Done:
    """Labels one image and writes everything that the job asks for.

    Args:
        segmenter: on the device where it is to run.
        job: the image and its outputs.
        settings: of the run.
        on_progress: called with the share that is done, 0 to 1.

    Raises:
        FileProblem: when the image cannot be read, or an output cannot be written.
        InvalidInput: when the wishes do not fit the image.
    """
    classes = settings.classes
    with as_rgb(open_raster(job.image), value_range=settings.value_range) as raster, evaluating(segmenter):
        segmenter = segmenter.for_image(raster.size)
        way, _ = choose_execution(
            raster,
            segmenter,
            settings.look,
            len(classes),
            training_downsampling=settings.training_downsampling,
            suffix=job.suffix,
            extras=job.extras,
        )
        source = _in_memory(raster) if way.in_memory else RasterSource(raster)
        skip = _skipped(raster, way.layout) if settings.look.skip else []
        kept = Kept(job.extras, job.suffix)
        patches = own_patches(segmenter, source, len(classes)) or TilePatches(
            segmenter,
            source,
            way.layout.tiling,
            len(classes),
            view=way.layout.view,
            skip=skip,
            batch=settings.batch,
            on_look=kept.keep,
        )
        mark = fingerprint(segmenter, job.image, way.layout, settings.look, classes)
        _write(raster, patches, way, kept, job, settings, mark, on_progress or (lambda share: None))
        return Done(raster.notices, way.layout, len(skip))


def _in_memory(raster: Raster) -> MemorySource:
    image = torch.from_numpy(np.ascontiguousarray(raster.read()))
    return MemorySource(Pyramid.of(image.permute(2, 0, 1)[None]))


def _skipped(raster: Raster, layout: Layout) -> list[Window]:
    return empty_tiles(raster, layout.tiling.windows) if layout.mode == "tiles" else []


def _write(
    raster: Raster,
    patches: TilePatches | OwnPatches,
    way: ExecutionPlan,
    kept: Kept,
    job: Job,
    settings: PredictionConfig,
    mark: str,
    tell: Callable[[float], None],
) -> None:
    values, height = Values(settings.classes), raster.size[0]
    with _sink(raster, way, job, values, settings, mark) as sink:
        rows = height if way.png else way.tile
        gaps = Measured(raster) if settings.look.skip and raster.info.masked else None
        for band in bands(patches, rows, start=sink.start, scores=sink.wants_scores):
            sink.put(band if gaps is None else _with_gaps(band, gaps, raster))
            tell(0.9 * min(band.top + rows, height) / height)
        sink.finish(lambda share: tell(0.9 + 0.1 * share))
        overwrite = settings.overwrite or settings.resume
        extras = Extras(raster, patches, kept, job, values, overwrite, settings.draw)
        for name in job.extras:
            extras.save(name, sink.labels if isinstance(sink, PngSink) else None)


@contextmanager
def _sink(
    raster: Raster, way: ExecutionPlan, job: Job, values: Values, settings: PredictionConfig, mark: str
) -> Iterator[PngSink | RasterSink]:
    """A PNG is kept in memory until it is written, whatever else is streamed."""
    if way.png:
        overwrite = settings.overwrite or settings.resume
        yield PngSink(job, raster.size, values, overwrite=overwrite)
        return
    gaps = settings.look.skip and may_be_skipped(raster)
    again = {"overwrite": settings.overwrite, "resume": settings.resume}
    with RasterSink(job, raster, values, gaps=gaps, tile=way.tile, mark=mark, **again) as sink:
        yield sink


def _with_gaps(band: Band, measured: Measured, raster: Raster) -> Band:
    window = Window(band.top, band.top + len(band.labels), 0, raster.size[1])
    holes = ~measured.rows(window, raster.size)
    if not holes.any():
        return band
    labels = band.labels.copy()
    labels[holes] = UNLABELLED
    if band.scores is not None:
        band.scores[holes] = 0
    return replace(band, labels=labels)
