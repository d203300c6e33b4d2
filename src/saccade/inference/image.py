"""One image from file to file: read where the segmenter looks, labelled band by band, written as it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from saccade.data.classes import ClassTable
from saccade.inference.background import Measured, empty_tiles, may_be_skipped
from saccade.inference.extras import Draw, Extras, Kept
from saccade.inference.files import Job
from saccade.inference.fingerprint import fingerprint
from saccade.inference.layout import Layout
from saccade.inference.mosaic import Band, bands
from saccade.inference.mosaic_kernels import NOTHING
from saccade.inference.options import Look
from saccade.inference.plan import Way, choose_way
from saccade.inference.sinks import PngSink, RasterSink
from saccade.inference.source import MemorySource, RasterSource
from saccade.inference.values import Values
from saccade.inference.views import OwnPatches, TilePatches, own_patches
from saccade.rasters import Raster, Window, as_rgb, open_raster
from saccade.segmenter import Segmenter, evaluating
from saccade.warp import Pyramid


@dataclass(frozen=True)
class Settings:
    """What holds for every image of a run.

    Attributes:
        classes: of the run.
        look: what the user wants.
        trained_shrink: pixels that a sample stood for along an axis in training; None where not known.
        batch: views that go through the networks together.
        resume, overwrite: what is done with what is there already.
        draw: draws the pictures; it comes from a room below.
    """

    classes: ClassTable
    look: Look = field(default_factory=Look)
    trained_shrink: float | None = None
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
    settings: Settings,
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
    with as_rgb(open_raster(job.image)) as raster, evaluating(segmenter):
        segmenter = segmenter.for_image(raster.size)
        way, _ = choose_way(
            raster,
            segmenter,
            settings.look,
            len(classes),
            trained_shrink=settings.trained_shrink,
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
    way: Way,
    kept: Kept,
    job: Job,
    settings: Settings,
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
    raster: Raster, way: Way, job: Job, values: Values, settings: Settings, mark: str
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
    labels[holes] = NOTHING
    if band.scores is not None:
        band.scores[holes] = 0
    return replace(band, labels=labels)
