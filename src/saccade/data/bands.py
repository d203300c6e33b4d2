"""The bands that the images of a data set are read as, and what is known of their values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data.options import DataOptions, Limits
from saccade.errors import Fault, FileProblem, InvalidInput
from saccade.rasters import RasterInfo, open_raster
from saccade.rasters.bands import ALL, COLOUR, Bands, steps_of
from saccade.rasters.picture import percentiles, with_picture
from saccade.runtime.threads import in_order

MOST_VALUES, LEAST_VALUES, LARGEST_SHARE = 1 << 20, 64, 4096
"""Pixels that percentiles are taken of: of all images together, and of one at least and at most."""


@dataclass(frozen=True)
class BandFacts:
    """What was seen of the bands of one image, or of several together.

    Attributes:
        count: (C,) pixels that were measured.
        mean: (C,) of these.
        squares: (C,) sum of their squared distances from the mean.
        values: (n, C) float32, some of the pixels, spread evenly; NaN where one was not measured.
    """

    count: NDArray[np.float64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    values: NDArray[np.float32]

    @classmethod
    def of(cls, pixels: NDArray[Any], bands: int, some: int) -> BandFacts:
        """Of an image (H, W, C), or (H, W, 2 C) with the shares that were measured."""
        flat = pixels.reshape(-1, pixels.shape[2])
        step = max(1, len(flat) // some)
        picked = flat[step // 2 :: step][:some].astype(np.float32)
        count, mean, squares = np.zeros(bands), np.zeros(bands), np.zeros(bands)
        if flat.shape[1] == 2 * bands:
            picked = np.where(picked[:, bands:] > 0, picked[:, :bands], np.float32(np.nan))
        for band in range(bands):
            column = flat[:, band]
            if flat.shape[1] == 2 * bands:
                column = column[flat[:, bands + band] > 0]
            if column.size:
                count[band], mean[band] = column.size, column.mean(dtype=np.float64)
                squares[band] = np.square(column - mean[band], dtype=np.float64).sum()
        return cls(count, mean, squares, picked)

    @classmethod
    def together(cls, facts: Iterable[BandFacts]) -> BandFacts:
        """Of several images, each pixel counting once (Chan, Golub and LeVeque 1979)."""
        some = list(facts)
        count = np.sum([one.count for one in some], axis=0)
        sums = np.sum([one.count * one.mean for one in some], axis=0)
        mean = np.divide(sums, count, out=np.zeros_like(sums), where=count > 0)
        squares = np.sum([one.squares + one.count * (one.mean - mean) ** 2 for one in some], axis=0)
        return cls(count, mean, squares, np.concatenate([one.values for one in some]))


def scaled(bands: Bands, facts: Iterable[BandFacts], options: DataOptions) -> Bands:
    """The bands with what they are normalised with, by ``data.scale``, and what is drawn of them.

    Args:
        bands: which.
        facts: of the images that are trained on.
        options: how the data is read.

    Raises:
        InvalidInput: for a scale of another number of bands, or a picture of bands that there are not.
    """
    seen = BandFacts.together(facts)
    low, high = percentiles(seen.values)
    limits = options.limits
    if limits is not None or options.scale == "percentiles":
        pairs = list(zip(low, high, strict=True)) if limits is None else _each(limits, bands)
        mean = tuple((a + b) / 2 for a, b in pairs)
        std = tuple((b - a) / 2 for a, b in pairs)
    else:
        deviation = np.sqrt(seen.squares / np.maximum(seen.count, 1))
        mean = tuple(seen.mean.tolist())
        std = tuple(spread if spread > 0 else 1.0 for spread in deviation.tolist())
    known = replace(bands, mean=mean, std=std, low=low, high=high, step=steps_of(seen.values))
    return with_picture(known, options.picture_words)


def _each(limits: Limits, bands: Bands) -> Limits:
    count = len(bands.names)
    if len(limits) not in (1, count):
        expected = f"one LOW,HIGH for all {count} bands, or one for each ({', '.join(bands.names)})"
        raise InvalidInput("data.scale", expected, f"{len(limits)}")
    return limits * count if len(limits) == 1 else limits


def is_photograph(info: RasterInfo) -> bool:
    """Whether a file is colours or grey of eight bits, or of a kind that is only known as colours."""
    if info.meaning in ("palette", "cmyk") or info.premultiplied or info.profile is not None:
        return True
    return info.meaning != "bands" and info.dtype == np.uint8


def chosen_bands(images: Sequence[RasterInfo], options: DataOptions) -> tuple[Bands | None, list[Fault]]:
    """The bands that the images of a data set are read as, None for colours of eight bits, and the images
    that are otherwise.

    With neither ``data.bands`` nor ``data.scale`` photographs are taken as ever, and of files that are none
    all bands as they are.
    """
    words = options.band_words
    if not images or words == COLOUR or options.scale == "imagenet" or options.value_range is not None:
        return None, []
    if words is None and options.scale is None:
        photographs = [info for info in images if is_photograph(info)]
        others = [info for info in images if info.meaning == "bands"]
        if photographs and not others:
            return None, []  # grey and colours of eight and sixteen bits are mixed: all become eight
        if photographs:
            expected = f"colour of eight bits, as {photographs[0].path.name}"
            found = "{}; say data.bands=colour to take three bands of each as colour"
            return None, [Fault(info.path, expected, found.format(_told(info))) for info in others]
    first = images[0]
    try:
        bands = Bands.of(first, _colours(first) if words is None else words)
    except FileProblem as problem:
        return None, [_as_fault(problem)]
    faults = []
    for info in images[1:]:
        try:
            bands.places_in(info, like=first.path.name)
        except FileProblem as problem:
            faults.append(_as_fault(problem))
    return bands, faults


def _colours(info: RasterInfo) -> str:
    """Of a colour file its colours, of any other all bands."""
    if info.meaning != "rgb" or info.channels - info.alpha == 3:
        return ALL
    return ",".join(str(place + 1) for place in info.colours or (0, 1, 2))


def _told(info: RasterInfo) -> str:
    return f"{info.channels} band{'s' if info.channels > 1 else ''} of {info.dtype}"


def _as_fault(problem: FileProblem) -> Fault:
    fix = f"; {problem.fix}" if problem.fix else ""
    return Fault(problem.path, problem.expected, f"{problem.got}{fix}")


def image_infos(images: Iterable[Path]) -> list[RasterInfo]:
    """What files say of themselves; those that cannot be opened are left out, and told elsewhere."""

    def info(path: Path) -> RasterInfo | None:
        try:
            with open_raster(path, place=False) as raster:
                return raster.info
        except FileProblem:
            return None

    return [each for each in in_order(info, list(images)) if each is not None]


def scale_faults(bands: Bands, facts: Sequence[tuple[Path, BandFacts]]) -> list[Fault]:
    """Images whose values are of another unit than those of most: counts among reflectances."""
    if len(facts) < 2:
        return []
    each = [percentiles(fact.values) for _, fact in facts]
    low, high = (tuple(np.median([pair[n] for pair in each], axis=0).tolist()) for n in (0, 1))
    steps = tuple(map(median_low, zip(*(steps_of(fact.values) for _, fact in facts), strict=True)))
    usual = replace(bands, low=low, high=high, step=steps)
    faults = []
    for path, fact in facts:
        try:
            usual.require_scale(path, fact.values, like="most images")
        except FileProblem as problem:
            faults.append(_as_fault(problem))
    return faults
