"""One image from file to file: read where the samples lie, labelled strip by strip, written as it goes."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from saccade import __version__
from saccade.data.classes import ClassTable
from saccade.data.region import Region
from saccade.errors import FileProblem
from saccade.geometry import Window
from saccade.inference.emptiness import Measured, empty_tiles, may_be_skipped, with_gaps
from saccade.inference.estimate import Workload
from saccade.inference.files import Job, ListedJob, remove_unfinished
from saccade.inference.label_values import Values
from saccade.inference.layout import Layout
from saccade.inference.objects import ObjectChoice
from saccade.inference.options import SamplingOptions
from saccade.inference.plan import ExecutionPlan, choose_execution
from saccade.inference.region import RegionPart, region_part
from saccade.inference.writers import Extras, PngSink, RasterSink
from saccade.inference.zones import Zone, zones_on
from saccade.networks.evaluation_mode import evaluating
from saccade.rasters import Raster, RGBRaster
from saccade.rasters.bands import Bands
from saccade.rasters.journal import Output, Packed
from saccade.rasters.open import split_image_number
from saccade.rasters.remote import state_of
from saccade.rasters.sample import READING_RULE
from saccade.runtime.addresses import Address
from saccade.samplers.image_scores import ImageScores, TileRequest
from saccade.segmenter import Segmenter
from saccade.sources import AnyImage, opened_raster, source_of_raster
from saccade.warp.stitch import Strip

VIEWS_TOGETHER = 1
"""Views that go through the networks at once: another number of them would round a score another way. A CPU
gains nothing by more; whether a GPU does was not measured."""


@dataclass(frozen=True)
class PredictionConfig:
    """What holds for every image of a run.

    Attributes:
        classes: of the run.
        sampling: what the user wants.
        training_downsampling: pixels that a sample stood for along an axis in training; None where not known.
        value_range: the sample values of black and white; None: by the rule of ``saccade.rasters.as_rgb``.
        resume, overwrite: what is done with what is there already.
        choice: which objects are written as polygons and in tables.
        region: where alone there are labels; None: everywhere.
        zones: a vector file, in whose polygons areas are counted.

    Examples:
        >>> from saccade.data import open_data
        >>> from saccade.testing import make_fake
        >>> data = open_data(make_fake("folder", "leaves"))
        >>> from saccade.inference import SamplingOptions, PredictionConfig
        >>> config = PredictionConfig(data.classes, sampling=SamplingOptions(mode="tiles"), overwrite=True)
        >>> config.sampling.mode, config.overwrite
        ('tiles', True)
    """

    classes: ClassTable
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    training_downsampling: float | None = None
    value_range: tuple[float, float] | None = None
    resume: bool = False
    overwrite: bool = False
    choice: ObjectChoice = field(default_factory=ObjectChoice)
    region: Region | None = None
    zones: Path | None = None


def fingerprint(
    segmenter: Segmenter,
    image: Path,
    raster: Raster,
    layout: Layout,
    settings: PredictionConfig,
    part: RegionPart | None = None,
) -> str:
    """A hash of all that decides an answer, so that nothing is resumed under another.

    The weights and the plain options of every module, the file (name, size, time; of a folder those of all
    its files) and how its values are taken, the layout, the classes, the rule by which pixels are read, the
    versions of this package and of PyTorch, the views that go through the networks together, and the kind of
    device. Memory, threads and the height of strips are no part of it: they change nothing.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted((segmenter.state_dict() | dict(segmenter.named_buffers())).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    about = {
        "modules": _plain_options(segmenter),
        "image": [image.name, *_identity(split_image_number(image)[0])],
        "values": [
            raster.limits if isinstance(raster, RGBRaster) else _bands(segmenter),
            raster.info.masked,
            raster.info.background,
            [level.size for level in raster.levels],
        ],
        "layout": [str(layout.tiling), layout.view, settings.sampling.skip],
        "classes": settings.classes.as_dict(),
        "batch": VIEWS_TOGETHER,
        "device": segmenter.mean.device.type,
        "rules": [READING_RULE, __version__, torch.__version__],
    }
    if part is not None:
        rings = [[ring.tolist() for ring in rings] for rings in part.area.polygons]
        about["region"] = [str(part.window), rings]
    digest.update(json.dumps(about, sort_keys=True).encode())
    return digest.hexdigest()


def _bands(segmenter: Segmenter) -> Any:
    """Which bands, and the scale that they are normalised with."""
    bands = segmenter.reading.bands
    return segmenter.reading.channels if bands is None else bands.to_dict()


def _plain_options(segmenter: Segmenter) -> list[str]:
    """What modules are told beside their weights, as far as it is plain values."""
    return [
        f"{name} {type(module).__qualname__} {key}={value!r}"
        for name, module in segmenter.named_modules()
        for key, value in sorted(vars(module).items())
        if not key.startswith("_") and key != "training" and _is_plain(value)
    ]


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    plain = value is None or isinstance(value, bool | int | float | str)
    # By its fields: what a use has cached beside them is no option.
    return plain or (is_dataclass(value) and all(_is_plain(getattr(value, f.name)) for f in fields(value)))


def _identity(image: Path) -> list[list[str | int]]:
    """Name, bytes and time of a file; of every file of a folder, whose own time tells little."""
    if isinstance(image, Address):
        return [[str(image), state_of(image)]]
    files = sorted(p for p in image.rglob("*") if p.is_file()) if image.is_dir() else [image]
    states = [(path.relative_to(image.parent).as_posix(), path.stat()) for path in files]
    return [[name, state.st_size, state.st_mtime_ns] for name, state in states]


@dataclass(frozen=True)
class Done:
    """What is told of an image that was labelled.

    Attributes:
        notices: what was done to it when it was read.
        layout: what was looked at.
        labels: where the labels are.
        skipped: tiles that were left out as empty.

    Examples:
        >>> from pathlib import Path
        >>> from saccade.geometry import Tiling
        >>> from saccade.inference import Done
        >>> from saccade.inference.layout import Layout
        >>> layout = Layout(Tiling((1024, 2048), (1024, 2048), 0.125), view=(64, 128), reasons=())
        >>> done = Done(notices=(), layout=layout, labels=Path("labels/leaf.png"))
        >>> done.layout.mode, done.layout.shrink
        ('whole', 16.0)
    """

    notices: tuple[str, ...]
    layout: Layout
    labels: Path
    skipped: int = 0


@torch.no_grad()
def predict_image(
    segmenter: Segmenter,
    job: Job | ListedJob,
    settings: PredictionConfig,
    *,
    on_progress: Callable[[float], None] | None = None,
    elsewhere: RowsElsewhere | None = None,
) -> Done:
    """Labels one image and writes everything that the job asks for.

    Args:
        segmenter: on the device where it is to run.
        job: the image and its outputs.
        settings: of the run.
        on_progress: called with the share that is done, 0 to 1.
        elsewhere: who makes the rows of what is written tile by tile, where that is not this program.

    Raises:
        FileProblem: when the image cannot be read, or an output cannot be written.
        InvalidInput: when the wishes do not fit the image.

    Examples:
        >>> import saccade
        >>> from saccade.networks import build_network
        >>> sampler, network = saccade.UniformSampler((8, 12)), build_network("small:4", classes=3)
        >>> segmenter = saccade.Segmenter(sampler, network)
        >>> from saccade.data import open_data
        >>> from saccade.testing import make_fake
        >>> data = open_data(make_fake("folder", "leaves"))
        >>> from pathlib import Path
        >>> from saccade.inference import Job, PredictionConfig, predict_image
        >>> job = Job(Path("leaves/images/image_000000.png"), Path("labels.png"))
        >>> done = predict_image(segmenter, job, PredictionConfig(data.classes))
        >>> done.layout.mode, done.layout.samples, saccade.rasters.image_size(done.labels)
        ('whole', 96, (16, 24))
    """
    before = _state(job.image)
    with opened_image(segmenter, job, settings) as image:
        _write(image, elsewhere, on_progress or (lambda share: None), before)
        remove_unfinished(image.job)
        layout, part = image.execution.layout, image.part
        notices = (*image.raster.notices, *layout.notices, *([part.notice] if part else []))
        if settings.zones is not None and not image.zones:
            notices += (f"no polygon of {settings.zones} meets it: no zone is counted",)
        return Done(notices, layout, image.job.labels, image.skipped)


@dataclass(frozen=True)
class OpenedImage:
    """An image of which any rows can be labelled.

    Attributes:
        raster: the image, or the part that a region asks for, as the networks see it.
        part: of a region.
        scores: of it; nothing is scored yet.
        execution: how it is gone through.
        job: what is written.
        settings: of the run.
        fingerprint: of all that decides the answer, when it is asked for: it takes all weights.
        skipped: how many tiles are left out as empty.
        zones: in which classes are counted.
        drawing: the bands that pictures of it show.
    """

    raster: Raster
    part: RegionPart | None
    scores: ImageScores
    execution: ExecutionPlan
    job: Job
    settings: PredictionConfig
    fingerprint: Callable[[], str]
    skipped: int
    zones: tuple[Zone, ...] = ()
    drawing: Bands | None = None

    @cached_property
    def mark(self) -> str:
        """The fingerprint; what is written tile by tile, or by others, is guarded with it."""
        return self.fingerprint()

    @cached_property
    def values(self) -> Values:
        """What the pixels of its labels mean."""
        return Values(self.settings.classes)

    def strips(self, rows: int, start: int, *, scores: bool) -> Iterator[Strip]:
        """Labels from row ``start`` on, in strips of ``rows`` rows, without those that get none."""
        gaps = _gaps(self.raster, self.settings, self.part)
        for strip in self.scores.strips(rows, start=start, scores=scores):
            yield with_gaps(strip, gaps, self.raster)


RowsElsewhere = Callable[[OpenedImage, int, dict[str, Output]], Iterator[dict[str, list[list[Packed]]]]]
"""Called with an image, the first row that is wanted and the outputs; gives rows of tiles in their order."""


@contextmanager
def opened_image(
    segmenter: Segmenter, job: Job | ListedJob, settings: PredictionConfig
) -> Iterator[OpenedImage]:
    """Opens an image and decides how it is gone through; arguments and errors as :func:`predict_image`."""
    limits, reading = settings.value_range, segmenter.reading
    with ExitStack() as stack:
        opened = opened_raster(job.image, value_range=limits, reading=reading)
        whole = stack.enter_context(opened)
        raster, part = region_part(whole, settings.region)
        segmenter = segmenter.for_image(raster.size)
        twin = stack.enter_context(evaluating(segmenter))
        job = job.for_raster(whole)
        settings.choice.check(raster)  # refused before the work, not after it
        zones = [] if settings.zones is None else zones_on(settings.zones, raster)
        execution, _ = _choose(raster, segmenter, settings, job.suffix, job.extras)
        source = source_of_raster(raster, whole=execution.in_memory)
        skip = _skipped(raster, execution.layout, settings, part)
        scores = twin.rows_of(source, _request(segmenter, execution, job, settings, skip))
        mark = partial(fingerprint, segmenter, job.image, whole, execution.layout, settings, part)
        drawing = segmenter.drawing
        yield OpenedImage(
            raster, part, scores, execution, job, settings, mark, len(skip), tuple(zones), drawing
        )


@torch.no_grad()
def predict_array(
    segmenter: Segmenter,
    image: AnyImage,
    settings: PredictionConfig,
    *,
    on_progress: Callable[[float], None] | None = None,
) -> NDArray[np.integer]:
    """The labels that :func:`predict_image` would write, (H, W), the indices of the data set, in memory; of
    a region those of the part of the image around it.

    Args:
        segmenter: on the device where it is to run.
        image: a path, an array (H, W, 3), or what else :meth:`Segmenter.segment` takes.
        settings: of the run.
        on_progress: called with the share that is done, 0 to 1.

    Raises:
        FileProblem: when the image cannot be read.
        InvalidInput: when the wishes do not fit the image, or it is of another shape, type or unit.
    """
    limits, reading = settings.value_range, segmenter.reading
    with opened_raster(image, value_range=limits, reading=reading) as whole:
        raster, part = region_part(whole, settings.region)
        segmenter = segmenter.for_image(raster.size)
        execution, _ = _choose(raster, segmenter, settings, suffix=".png")
        skip = _skipped(raster, execution.layout, settings, part)
        source = source_of_raster(raster, whole=execution.in_memory)
        gaps = _gaps(raster, settings, part)
        labels = np.empty(raster.size, np.uint8)
        with evaluating(segmenter) as twin:
            scores = twin.rows_of(source, _request(segmenter, execution, None, settings, skip))
            for strip in scores.strips(execution.rows):
                rows = with_gaps(strip, gaps, raster)
                labels[strip.top : strip.top + len(strip.labels)] = rows.labels
                if on_progress is not None:
                    on_progress(min(1.0, (strip.top + execution.rows) / raster.size[0]))
    return Values(settings.classes).of(labels)


def _choose(
    raster: Raster,
    segmenter: Segmenter,
    settings: PredictionConfig,
    suffix: str,
    extras: tuple[str, ...] = (),
) -> tuple[ExecutionPlan, Workload]:
    return choose_execution(
        raster, segmenter, settings.sampling, len(settings.classes),
        training_downsampling=settings.training_downsampling, suffix=suffix, extras=extras,
    )  # fmt: skip


def _request(
    segmenter: Segmenter,
    execution: ExecutionPlan,
    job: Job | None,
    settings: PredictionConfig,
    skip: Sequence[Window],
) -> TileRequest:
    """The tiles, and what of them the extras of a job need afterwards."""
    extras = () if job is None else job.extras
    scores = job is not None and "scores" in extras and job.suffix == ".png"
    return TileRequest(
        execution.layout.tiling,
        len(settings.classes),
        execution.layout.view,
        tuple(skip),
        VIEWS_TOGETHER,
        keep_grids=bool({"samples", "density"} & set(extras)),
        keep_scores=scores,
    )


def _skipped(
    raster: Raster, layout: Layout, settings: PredictionConfig, part: RegionPart | None
) -> list[Window]:
    """Tiles that need not be looked at: empty ones, and those outside of a region."""
    if layout.mode != "tiles":
        return []
    empty = empty_tiles(raster, layout.tiling.windows) if settings.sampling.skip else []
    outside = part.outside(layout.tiling.windows) if part is not None and part.has_outside else []
    return list(dict.fromkeys([*empty, *outside]))


def _gaps(raster: Raster, settings: PredictionConfig, part: RegionPart | None) -> list[Measured | RegionPart]:
    """What says which pixels get no label."""
    gaps: list[Measured | RegionPart] = []
    if settings.sampling.skip and raster.info.masked:
        gaps.append(Measured(raster))
    if part is not None and part.has_outside:
        gaps.append(part)
    return gaps


def _state(image: Path) -> tuple[int, int] | None:
    """Bytes and time of a file; None of what is none here, and of folders, which may be long."""
    path = split_image_number(image)[0]
    if isinstance(path, Address):
        return None
    with suppress(OSError, ValueError):
        state = path.stat()
        if stat.S_ISREG(state.st_mode):
            return state.st_size, state.st_mtime_ns
    return None


def _require_same(image: Path, before: tuple[int, int] | None) -> None:
    """Labels of an image that was half the one and half the other are of neither."""
    if before is not None and _state(image) != before:
        fix = "predict it again, without --resume, when it is whole"
        raise FileProblem(image, "a file that stays as it is", "one that changed while it was read", fix)


def _write(
    image: OpenedImage,
    elsewhere: RowsElsewhere | None,
    tell: Callable[[float], None],
    before: tuple[int, int] | None,
) -> None:
    raster, execution, job, settings = image.raster, image.execution, image.job, image.settings
    height, values = raster.size[0], image.values
    with _sink(image) as sink:
        if elsewhere is not None and isinstance(sink, RasterSink):
            for rows_of_tiles in elsewhere(image, sink.start, sink.outputs):
                sink.put_packed(rows_of_tiles)
                tell(0.9 * sink.rows_done / height)
        else:
            at_once = execution.png and not sink.wants_scores and execution.layout.mode == "whole"
            rows = height if at_once else execution.rows  # of tiles, all would be held together
            for strip in image.strips(rows, sink.start, scores=sink.wants_scores):
                sink.put(strip)
                tell(0.9 * min(strip.top + rows, height) / height)
        _require_same(job.image, before)
        sink.finish(lambda share: tell(0.9 + 0.1 * share))
        overwrite = settings.overwrite or settings.resume
        labels, doubt = (sink.labels, sink.uncertainty) if isinstance(sink, PngSink) else (None, None)
        chosen = settings.choice, image.drawing, image.zones
        with Extras(raster, image.scores, job, values, overwrite, labels, doubt, *chosen) as extras:
            for name in job.extras:
                extras.save(name)


@contextmanager
def _sink(image: OpenedImage) -> Iterator[PngSink | RasterSink]:
    """A PNG is kept in memory until it is written, whatever else is streamed."""
    raster, job, settings, values = image.raster, image.job, image.settings, image.values
    if image.execution.png:
        overwrite = settings.overwrite or settings.resume
        yield PngSink(job, raster.size, values, overwrite=overwrite)
        return
    has_outside = image.part is not None and image.part.has_outside
    gaps = has_outside or (settings.sampling.skip and may_be_skipped(raster))
    again = {"overwrite": settings.overwrite, "resume": settings.resume}
    with RasterSink(job, raster, values, gaps=gaps, mark=image.mark, **again) as sink:
        yield sink
