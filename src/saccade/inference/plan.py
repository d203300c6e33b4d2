"""What a prediction will cost: pixels, operations, memory and time, and why; nothing is predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from saccade import figures
from saccade.errors import InvalidInput, UsageError
from saccade.inference.budget import budget_of, layout_within
from saccade.inference.estimate import (
    ViewCost,
    Workload,
    cost_of_view,
    least_told,
    level_read,
    measure_patch,
    measure_view,
    of_a_tile,
    peak_bytes,
    seconds,
    tiles_read,
)
from saccade.inference.files import labels_suffix
from saccade.inference.label_values import OUTPUT_TILE
from saccade.inference.layout import Layout, lay_out
from saccade.inference.options import SamplingOptions
from saccade.metrics.cost import unwarping_flops
from saccade.networks.evaluation_mode import evaluating
from saccade.rasters import Raster
from saccade.runtime.memory import resident_memory
from saccade.runtime.progress import clock
from saccade.samplers.image_scores import TileRequest
from saccade.segmenter import Segmenter
from saccade.sources import READ_WHOLE, RasterSource, is_read_whole
from saccade.training.scores_by_size import expected_score

STRIP_ROWS = (OUTPUT_TILE, 256, 128, 64)
"""Rows of labels that are made at once: fewer where memory is short."""


@dataclass(frozen=True)
class ExecutionPlan:
    """How an image is gone through, within the memory that there is; the answer is the same to the bit.

    Attributes:
        layout: what is looked at.
        in_memory: whether the image is read whole and kept with its pyramid.
        rows: of a strip of labels.
        png: whether the labels stay in memory until they are written.
    """

    layout: Layout
    in_memory: bool
    rows: int = OUTPUT_TILE
    png: bool = False


@dataclass(frozen=True)
class Rung:
    """A budget that the run was trained for, and what a view of it takes on this machine.

    Attributes:
        size: (h, w) samples.
        gflops: 10^9 operations of sampler, reading and network.
        seconds: of these.
        miou: that the run scores there on the validation images; None where that is not known.
    """

    size: tuple[int, int]
    gflops: float
    seconds: float
    miou: float | None = None

    def __str__(self) -> str:
        rows, columns = self.size
        cost = f"{self.gflops:,.2f} GFLOPs, {self.seconds * 1000:,.0f} ms"
        score = "" if self.miou is None else f", mIoU {self.miou:.3f} on val"
        return f"--size {rows}x{columns}: {rows * columns:,} samples, {cost} a view{score}"


@dataclass(frozen=True)
class Plan:
    """What is foreseen for one image.

    Attributes:
        execution: how it is gone through.
        size: (H, W) of the image.
        views: how many; tiles that turn out to be empty are not taken off.
        pixels: samples that the segmentation network sees.
        gflops: 10^9 operations of sampler, reading, network and unwarping.
        memory_bytes: RAM of the program at its peak, everything in it.
        gpu_bytes: memory of the GPU, weights included; 0 where none is used.
        seconds: on this machine as it is now.
        format: extension of the labels.
        reasons: why, one line each.
        path: of the image.
        notices: what was done to the image on the way, and a view that was not trained for, one line each.
        remote_bytes: that come from elsewhere, for a file that is not here; None for one that is.
        ladder: budgets to choose from, the smallest first; none where the run was trained for one.
        miou: that views of this size score on the validation images; None where that is not known.
    """

    execution: ExecutionPlan
    size: tuple[int, int]
    views: int
    pixels: int
    gflops: float
    memory_bytes: int
    gpu_bytes: int
    seconds: float
    format: str
    reasons: tuple[str, ...]
    path: Path = Path()
    notices: tuple[str, ...] = ()
    ladder: tuple[Rung, ...] = ()
    miou: float | None = None
    remote_bytes: int | None = None

    def lines(self) -> list[str]:
        """The same for people."""
        views = f"{self.views} view{'s' if self.views > 1 else ''}"
        share = self.pixels / (self.size[0] * self.size[1])
        gpu = f", and {self.gpu_bytes / 1e6:,.0f} MB of the GPU's" if self.gpu_bytes else ""
        return [
            f"{self.path}: {self.size[0]} x {self.size[1]} pixels (rows x columns)",
            f"  pixels   {self.pixels:,} in {views}, {share:.3%} of the image",
            f"  work     {self.gflops:{',.1f' if self.gflops >= 100 else '.3g'}} GFLOPs",
            f"  memory   {self.memory_bytes / 1e6:,.0f} MB at the peak{gpu}",
            f"  time     {'about ' + clock(self.seconds) if self.seconds >= 1 else 'less than 1 s'}",
            *([] if self.remote_bytes is None else [f"  network  about {self.remote_bytes / 1e6:,.1f} MB"]),
            f"  labels   {self.format}",
            *([] if self.miou is None else [f"  quality  mIoU {self.miou:.3f} on the validation images"]),
            *(f"  budget   {rung}" for rung in self.ladder),
            *(f"  why      {reason}" for reason in self.reasons),
            *(f"  notice   {notice}" for notice in self.notices),
        ]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        first, *rest = self.lines()
        rows = [line.split(maxsplit=1) for line in rest]
        return figures.titled_html(first, figures.table_html(("", "foreseen"), rows))

    def to_json(self) -> dict[str, Any]:
        """Plain values; sizes are [rows, columns]."""
        layout = self.execution.layout
        return {
            "path": str(self.path),
            "size": list(self.size),
            "mode": layout.mode,
            "view": list(layout.view),
            "tile": list(layout.tiling.tile),
            "views": self.views,
            "pixels": self.pixels,
            "gflops": self.gflops,
            "memory_bytes": self.memory_bytes,
            "gpu_bytes": self.gpu_bytes,
            "seconds": self.seconds,
            "remote_bytes": self.remote_bytes,
            "format": self.format,
            "reasons": list(self.reasons),
            "notices": list(self.notices),
            "miou": self.miou,
            "ladder": [{**asdict(rung), "size": list(rung.size)} for rung in self.ladder],
        }


def choose_execution(
    raster: Raster,
    segmenter: Segmenter,
    sampling: SamplingOptions,
    classes: int,
    *,
    training_downsampling: float | None = None,
    suffix: str | None = None,
    extras: tuple[str, ...] = (),
    cost: ViewCost | None = None,
    base: int | None = None,
    layout: Layout | None = None,
) -> tuple[ExecutionPlan, Workload]:
    """How to go through an image, as fast as the memory allows, and what that takes.

    Args:
        raster: as 8-bit RGB.
        segmenter: with its sampler's sizes for this image.
        sampling: what the user wants.
        classes: K.
        training_downsampling: pixels that a sample stood for along an axis in training.
        suffix: extension of the labels; default what fits the image.
        extras: what else is written.
        cost: of a view; measured here where ``sampling`` has a memory limit and none is given.
        base: bytes that the program holds already; default what it holds now.
        layout: what is looked at, where that is known already.

    Raises:
        InvalidInput: when the wishes do not fit the image, or the memory does not suffice.
    """
    if layout is None:
        layout = layout_for(raster, segmenter, sampling, training_downsampling, classes)
    if cost is None:
        no_cost = ViewCost(0, 0.0, 0, False)
        cost = no_cost if sampling.memory is None else cost_of_view(segmenter, layout.view)
    base = resident_memory() if base is None else base
    pixels = raster.size[0] * raster.size[1]
    png = (suffix or labels_suffix(raster)) == ".png" and pixels <= READ_WHOLE
    executions = [
        ExecutionPlan(layout, is_read_whole(raster), png=png),
        ExecutionPlan(layout, False, png=png),
    ]
    executions += [] if png else [ExecutionPlan(layout, False, rows) for rows in STRIP_ROWS[1:]]
    least = None
    for execution in executions:
        about = Workload(
            raster, layout, cost, classes, execution.rows, execution.in_memory, execution.png, extras
        )
        peak = peak_bytes(about, base)
        if sampling.memory is None or peak <= sampling.memory:
            return execution, about
        least = peak if least is None else min(least, peak)
    assert least is not None
    raise _too_little(sampling.memory or 0, least, raster)


def layout_for(
    raster: Raster,
    segmenter: Segmenter,
    sampling: SamplingOptions,
    training_downsampling: float | None,
    classes: int,
) -> Layout:
    """What is looked at; a sampler that chooses its own patches looks at the whole image.

    Raises:
        UsageError: when it is told how closely to look, which is for it to choose.
        InvalidInput: for a budget that is below the least that the image takes.
    """
    if segmenter.sampler.chooses_patches:
        if sampling != SamplingOptions(overlap=sampling.overlap, memory=sampling.memory, skip=sampling.skip):
            name = type(segmenter.sampler).__name__
            way_out = "leave --mode, --size, --tile and budgets but --memory out"
            raise UsageError(f"{name} chooses its own patches of the image; {way_out}")
        sampling = replace(sampling, mode="whole")
    if budget_of(sampling) is not None:
        return layout_within(raster, segmenter, sampling, training_downsampling, classes)
    sampler = segmenter.sampler
    return lay_out(raster.info, sampling, sampler.size, training_downsampling, sampler.sizes)


def _too_little(memory: int, needed: int, raster: Raster) -> InvalidInput:
    expected = f"at least {least_told(needed)} for {raster.path}"
    return InvalidInput("--memory", expected, f"{memory // 10**6}MB", "or try a smaller --size, or --tile")


def make_plan(
    raster: Raster,
    segmenter: Segmenter,
    sampling: SamplingOptions,
    classes: int,
    *,
    training_downsampling: float | None = None,
    extras: tuple[str, ...] = (),
    known: Mapping[tuple[int, int], float] | None = None,
) -> Plan:
    """Foresees a prediction. A blank view is scored a few times and one tile of the file is read, to know
    what they take here.

    Args:
        raster: as 8-bit RGB.
        segmenter: on the device where it would run.
        sampling, classes, training_downsampling, extras: as for :func:`choose_execution`.
        known: mIoU on validation images by (h, w) of a view.

    Raises:
        InvalidInput: when the wishes do not fit the image, or the memory does not suffice.
        FileProblem: when the image is damaged.
    """
    segmenter = segmenter.for_image(raster.size)
    own = segmenter.sampler.chooses_patches
    layout = layout_for(raster, segmenter, sampling, training_downsampling, classes)
    cost_of_view(segmenter, layout.view)  # as a prediction within a memory begins
    base = resident_memory()  # before counting and timing, which hold 150 MB more
    with evaluating(segmenter) as twin:
        request = TileRequest(layout.tiling, classes, layout.view)
        scores = twin.rows_of(RasterSource(raster), request)
        cost = measure_patch(twin, scores) if own else measure_view(segmenter, layout.view)
    options: dict[str, Any] = {"training_downsampling": training_downsampling, "extras": extras, "cost": cost}
    options |= {"layout": layout, "base": base}
    execution, about = choose_execution(raster, segmenter, sampling, classes, **options)
    views = scores.count
    flops = views * cost.flops + unwarping_flops(raster.size, classes)
    weights = sum(t.numel() * t.element_size() for t in segmenter.state_dict().values())
    memory = peak_bytes(about, base)
    tile_seconds, tile_bytes = of_a_tile(about)
    duration = seconds(about, tile_seconds) + (views - layout.views) * cost.seconds
    if sampling.seconds is not None and layout.foreseen is not None:
        duration = layout.foreseen
    return Plan(
        execution,
        raster.size,
        views,
        views * layout.view[0] * layout.view[1],
        flops / 1e9,
        memory,
        weights + cost.bytes if cost.on_gpu else 0,
        duration,
        labels_suffix(raster),
        (*_why(layout, own, views), *_reading_reasons(about), *_writing_reasons(execution, raster)),
        raster.path,
        (*raster.notices, *layout.notices),
        _ladder(segmenter, known or {}),
        None if own else expected_score(known or {}, layout.view),
        tile_bytes,
    )


def _ladder(segmenter: Segmenter, scores: Mapping[tuple[int, int], float]) -> tuple[Rung, ...]:
    sizes = segmenter.sampler.sizes
    costs = [(size, measure_view(segmenter, size)) for size in (sizes.ladder() if sizes else ())]
    return tuple(Rung(size, cost.flops / 1e9, cost.seconds, scores.get(size)) for size, cost in costs)


def _why(layout: Layout, own: bool, views: int) -> tuple[str, ...]:
    if own:
        return (f"{views} patches, which the sampler chooses itself",)
    count = layout.tiling.count
    tiles = f"{count[0]} x {count[1]} tiles that overlap by {layout.tiling.overlap:.1%} or more"
    return (*layout.reasons, *((tiles,) if layout.mode == "tiles" else ()))


def _reading_reasons(about: Workload) -> tuple[str, ...]:
    if about.in_memory:
        return ("read: the image whole, kept in memory",)
    level, kept = level_read(about), about.raster.info.resident
    number = about.raster.levels.index(level)
    where = f"level {number}, 1/{level.downsample[0]:.3g}, about {tiles_read(about):,} of its tiles"
    return (f"read: {where}" + (f"; {kept / 1e6:.0f} MB stay decoded" if kept else ""),)


def _writing_reasons(execution: ExecutionPlan, raster: Raster) -> tuple[str, ...]:
    if execution.png:
        return ("write: a PNG, from memory",)
    side = OUTPUT_TILE
    return (f"write: rows of tiles of {side} x {side}, resumable, {labels_suffix(raster)}",)
