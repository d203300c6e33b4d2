"""A budget in GFLOPs or seconds: the layout of an image that spends it, and how a job shares its seconds.

Operations are counted. Seconds are measured: the image is predicted on the side, at its least and at a few
budgets more, and what lies between them is interpolated; what the next images really take corrects it.
"""

from __future__ import annotations

import io
import time
from bisect import bisect_left
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import ceil, floor, log10, prod, sqrt
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from PIL import Image
from torch import nn

from saccade.errors import InvalidInput, SaccadeError
from saccade.geometry import Tiling
from saccade.inference.estimate import Workload, flops_of_view, measure_view, of_a_tile, seconds
from saccade.inference.label_values import OUTPUT_TILE
from saccade.inference.layout import MOST_SAMPLES, Layout, lay_out
from saccade.inference.options import SamplingOptions
from saccade.metrics.cost import unwarping_flops
from saccade.networks.evaluation_mode import evaluating
from saccade.rasters import Raster, open_raster
from saccade.samplers.image_scores import TileRequest
from saccade.segmenter import Segmenter
from saccade.sources import PyramidRaster, is_read_whole, source_of_raster

SPENT = 0.98
"""Of a budget: where so much of it is spent, no better layout is looked for."""
KEPT = 0.95
"""A layout that spends less than this of a budget says why."""
TRIES = 16
STEP = 4.0
"""A budget is looked for in steps of at most so many times the samples."""
RUNS_AT_MOST = 1 << 24
"""Pixels of an image that is predicted on the side; the seconds of a larger one are reckoned from parts."""
MEASURED = 3
"""Budgets at which an image is predicted on the side, at least; the others lie between them."""


class BeyondBudget(InvalidInput):
    """A budget that is below the least that an image takes.

    Args:
        option: "--gflops" or "--seconds".
        least: what suffices, in its unit.
        got: the budget.
        why: which view takes the least.
    """

    def __init__(self, option: str, least: float, got: float, why: str) -> None:
        self.least = least
        super().__init__(option, f"at least {least:g}, the nearest that is possible", f"{got:g}", why)


def budget_of(sampling: SamplingOptions) -> tuple[str, float] | None:
    """The option that is a budget to be reckoned, and how much of it; None where there is none."""
    limits = {"--gflops": sampling.gflops, "--seconds": sampling.seconds}
    return next(((option, value) for option, value in limits.items() if value is not None), None)


def layout_within(
    raster: Raster,
    segmenter: Segmenter,
    sampling: SamplingOptions,
    training_downsampling: float | None,
    classes: int,
) -> Layout:
    """The layout of most samples that costs no more than ``--gflops`` or ``--seconds``; by seconds none
    finer than the run is good for, unless tiles are asked for.

    Args:
        raster: as 8-bit RGB.
        segmenter: with its sampler's sizes for this image, on the device where it would run.
        sampling: with one of the two budgets.
        training_downsampling: pixels that a sample stood for along an axis in training.
        classes: K.

    Raises:
        BeyondBudget: where the smallest view that the run was trained for costs more; of a run for one size,
            a view of a quarter of its samples.
    """
    budget = budget_of(sampling)
    assert budget is not None
    option, limit = budget
    sampler, bare = segmenter.sampler, replace(sampling, gflops=None, seconds=None)

    def laid(samples: int) -> Layout:
        options = replace(bare, pixels=samples)
        return lay_out(raster.info, options, sampler.size, training_downsampling, sampler.sizes)

    def cost(layout: Layout) -> float:
        if option == "--gflops":
            return gflops_of(raster, segmenter, layout, classes)
        return Timing.of(segmenter).seconds(raster, segmenter, layout, classes)

    low = laid(_least(raster, segmenter, bare))
    if cost(low) > limit:
        why = f"{raster.path} in {low.views} view{'s' if low.views > 1 else ''} of {_named(low.view)}"
        raise BeyondBudget(option, _rounded_up(cost(low)), limit, f"that is {why}")
    pixels = raster.size[0] * raster.size[1]
    most = min(pixels, max(low.samples, _good_for(raster, segmenter, sampling, training_downsampling)))
    fitting = _search(laid, cost, limit, low, most)
    if most == pixels:
        fitting = _fuller(fitting, cost, limit)
    spent, unit = cost(fitting), option.removeprefix("--")
    reason = f"{option} {limit:g}: {spent:.3g} {unit} for {fitting.samples:,} samples"
    left = f"no layout spends all of {option}"
    if most < pixels:
        left = "time is left: more samples than the run is good for are taken by --mode tiles alone"
    notices = fitting.notices if spent >= KEPT * limit else (*fitting.notices, left)
    return replace(fitting, reasons=(reason, *fitting.reasons), notices=notices, foreseen=spent)


def _least(raster: Raster, segmenter: Segmenter, sampling: SamplingOptions) -> int:
    """Samples of an image in the fewest and smallest views that the run is good for."""
    sizes, size = segmenter.sampler.sizes, segmenter.sampler.size
    area = size[0] * size[1] / MOST_SAMPLES if sizes is None else sizes.smallest[0] * sizes.smallest[1]
    views = 1
    if sampling.tile is not None:
        down, across = Tiling(raster.size, sampling.tile, sampling.overlap).count
        views = down * across
    return min(ceil(area) * views, raster.size[0] * raster.size[1])


def _good_for(
    raster: Raster, segmenter: Segmenter, sampling: SamplingOptions, training_downsampling: float | None
) -> int:
    """Samples of an image beyond which a budget in seconds does not go by itself: a time is what may be
    taken at most, and finer than in training a network labels worse. All pixels for other budgets."""
    sampler = segmenter.sampler
    if sampling.seconds is None or sampling.mode != "auto" or sampling.tile is not None:
        return raster.size[0] * raster.size[1]
    usual = lay_out(
        raster.info, replace(sampling, seconds=None), sampler.size, training_downsampling, sampler.sizes
    )
    growth = MOST_SAMPLES
    if sampler.sizes is not None:
        growth = prod(sampler.sizes.largest) / prod(sampler.size)
    return int(growth * usual.samples)


def _search(
    laid: Callable[[int], Layout], cost: Callable[[Layout], float], limit: float, low: Layout, most: int
) -> Layout:
    """The layout of most samples within a limit: upwards in steps until it is passed, then between."""
    few, best, above, high = low.samples, low, most + 1, None
    for _ in range(TRIES):
        if cost(best) >= SPENT * limit or above - few <= max(1, few // 400):
            break
        if high is None:
            tried = min(most, ceil(few * min(STEP, max(1.2, limit / cost(best)))))
        else:
            share = (limit - cost(best)) / max(high - cost(best), 1e-30)
            tried = few + round((above - few) * min(0.9, max(0.1, share)))
            tried = min(max(few + 1, tried), above - 1)
        layout = laid(tried)
        if cost(layout) <= limit:
            few, best = tried, layout if layout.samples >= best.samples else best
            if few >= most:
                break
        else:
            above, high = tried, cost(layout)
    return best


def _fuller(layout: Layout, cost: Callable[[Layout], float], limit: float) -> Layout:
    """Tiles come in whole numbers: what they leave of a budget makes each view finer, up to twice."""
    if layout.mode != "tiles" or cost(layout) >= SPENT * limit:
        return layout
    tile, view = layout.tiling.tile, layout.view

    def scaled(samples: int) -> Layout:
        scale = sqrt(samples / (view[0] * view[1]))
        rows, columns = (
            min(most, max(side, int(side * scale))) for side, most in zip(view, tile, strict=True)
        )
        return replace(layout, view=(rows, columns))

    most = min(2 * view[0] * view[1], tile[0] * tile[1])

    def of_view(samples: int) -> Layout:
        return scaled(min(samples, most))

    return _search(lambda all_: of_view(all_ // layout.views), cost, limit, layout, most * layout.views)


def _rounded_up(value: float) -> float:
    """Three digits, of which the last is rounded up: an amount that suffices."""
    unit = 10.0 ** (floor(log10(value)) - 2) if value > 0 else 1.0
    return ceil(value / unit) * unit


def _named(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def gflops_of(raster: Raster, segmenter: Segmenter, layout: Layout, classes: int) -> float:
    """10^9 operations of sampler, reading, network and unwarping."""
    flops = layout.views * flops_of_view(segmenter, layout.view) + unwarping_flops(raster.size, classes)
    return flops / 1e9


@dataclass
class Timing:
    """What images take with a segmenter on this machine.

    Attributes:
        points: by the size of an image and its mode, (samples, seconds) that were measured, fewest first.
        spent: seconds that the measuring took.
        clock: seconds since whenever.
    """

    points: dict[Any, list[tuple[int, float]]] = field(default_factory=dict)
    spent: float = 0.0
    clock: Callable[[], float] = time.perf_counter

    @classmethod
    def of(cls, segmenter: Segmenter) -> Timing:
        """The one of a segmenter, which lives as long as its network."""
        return _TIMINGS.setdefault(segmenter.network, cls())

    def seconds(self, raster: Raster, segmenter: Segmenter, layout: Layout, classes: int) -> float:
        """From the file to its labels: measured, or between what was."""
        points = self.points.setdefault((raster.size, layout.mode, str(segmenter.mean.device)), [])
        inside = points and points[0][0] <= layout.samples <= points[-1][0]
        if len(points) < MEASURED or not inside:
            known = [samples for samples, _ in points]
            if layout.samples not in known:
                if not points:
                    self._measure(
                        raster, segmenter, layout, classes
                    )  # whatever is compiled or cached at first
                elapsed = self._measure(raster, segmenter, layout, classes)
                points.insert(bisect_left(known, layout.samples), (layout.samples, elapsed))
        return float(np.interp(layout.samples, [at for at, _ in points], [elapsed for _, elapsed in points]))

    def _measure(self, raster: Raster, segmenter: Segmenter, layout: Layout, classes: int) -> float:
        start = self.clock()
        if raster.size[0] * raster.size[1] > RUNS_AT_MOST:
            reckoned = _reckoned(raster, segmenter, layout, classes)
        else:
            _run(raster, segmenter, layout, classes)
            reckoned = self.clock() - start
        self.spent += self.clock() - start
        return reckoned


_TIMINGS: WeakKeyDictionary[nn.Module, Timing] = WeakKeyDictionary()


def _run(raster: Raster, segmenter: Segmenter, layout: Layout, classes: int) -> None:
    """Opens, reads, labels and packs an image; nothing is kept."""
    if raster.info.resident and not isinstance(raster, PyramidRaster):
        with suppress(SaccadeError), open_raster(raster.path) as anew:  # bands may be of several files
            anew.read()
    packed = io.BytesIO()
    with evaluating(segmenter) as twin:
        request = TileRequest(layout.tiling, classes, layout.view)
        scores = twin.rows_of(source_of_raster(raster, whole=is_read_whole(raster)), request)
        for strip in scores.strips(OUTPUT_TILE):
            Image.fromarray(np.asarray(strip.labels, np.uint8)).save(packed, "PNG")


def _reckoned(raster: Raster, segmenter: Segmenter, layout: Layout, classes: int) -> float:
    cost = measure_view(segmenter, layout.view)
    about = Workload(raster, layout, cost, classes, OUTPUT_TILE, False, False)
    return seconds(about, of_a_tile(about)[0])


@dataclass
class Pace:
    """What each image of a job is given, by what those before it took.

    Attributes:
        sampling: what the user wants of each image.
        count: images of the job.
        total: seconds for all of them; None where each has its own.
        clock: seconds since whenever.
    """

    sampling: SamplingOptions
    count: int
    total: float | None = None
    clock: Callable[[], float] = time.perf_counter

    def __post_init__(self) -> None:
        self._start, self._done = self.clock(), 0
        self._factor, self._learned = 1.0, False

    def next(self) -> SamplingOptions:
        """For the next image: seconds as they will be foreseen, not as they will be taken."""
        seconds = self.sampling.seconds
        if self.total is not None:
            left = self.total - (self.clock() - self._start)
            seconds = max(1e-3, left / max(1, self.count - self._done))
        return self.sampling if seconds is None else replace(self.sampling, seconds=seconds / self._factor)

    def least(self, beyond: BeyondBudget) -> SamplingOptions | None:
        """For an image that takes more than it is given now: its least, which the others make up for; None
        where that is more than it was ever given.

        Raises:
            InvalidInput: when that is more than the total has for all, with the nearest that is possible.
        """
        if self.total is None:
            possible = beyond.least <= (self.sampling.seconds or 0.0)
            return replace(self.sampling, seconds=beyond.least) if possible else None
        needed = beyond.least * self._factor * (self.count - self._done)
        if self._done == 0 and needed > self.total:
            nearest = (
                f"at least {_rounded_up(needed):g}, the nearest that is possible for {self.count} images"
            )
            raise InvalidInput("--total-seconds", nearest, f"{self.total:g}", beyond.fix)
        return replace(self.sampling, seconds=beyond.least)

    def took(self, foreseen: float | None, seconds: float) -> None:
        """An image is over, in so many seconds; ``foreseen`` is None where it gave no labels."""
        if foreseen:
            ratio = min(4.0, max(0.25, seconds / foreseen))
            self._factor += (ratio - self._factor) * (LEARNED if self._learned else 1.0)
            self._learned = True
        self._done += 1


LEARNED = 0.3
"""How much of what an image took over what was foreseen corrects the next one."""
