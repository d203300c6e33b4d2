"""What of an image is looked at: the whole of it as one view, or tiles, and how many samples each has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, sqrt

from saccade.errors import InvalidInput
from saccade.geometry import SizeRange, Tiling
from saccade.inference.options import SamplingOptions
from saccade.rasters import RasterInfo

TOO_FAR = 2.0
"""A view that shrinks the image more than this times as much as in training shrinks it too far."""

USUAL_SHRINK = 16.0
"""Pixels a sample stands for along an axis, where a run does not tell: 1024 x 2048 in 64 x 128."""

MOST_SAMPLES = 4.0
"""A single view has at most this many times the samples of the views in training."""

LEAST_ACROSS = 4
"""Samples that the scale leaves along an axis at least, or its pixels where they are fewer: a single one
shows nothing of what lies across a strip."""


@dataclass(frozen=True)
class Layout:
    """What is looked at.

    Attributes:
        tiling: the tiles; one of the image's size where the whole image is one view.
        view: (h, w) samples of each view.
        reasons: one line each.
        notices: what the user should know of it, one line each.
        foreseen: of a budget in GFLOPs or seconds, what it takes of it; None where there is none.
    """

    tiling: Tiling
    view: tuple[int, int]
    reasons: tuple[str, ...]
    notices: tuple[str, ...] = ()
    foreseen: float | None = None

    @property
    def mode(self) -> str:
        return "whole" if self.tiling.tile == self.tiling.size else "tiles"

    @property
    def views(self) -> int:
        down, across = self.tiling.count
        return down * across

    @property
    def samples(self) -> int:
        return self.views * self.view[0] * self.view[1]

    @property
    def shrink(self) -> float:
        """Pixels of the image that a sample stands for along an axis, on average."""
        return sqrt(self.tiling.tile[0] * self.tiling.tile[1] / (self.view[0] * self.view[1]))


def lay_out(
    info: RasterInfo,
    sampling: SamplingOptions,
    trained: tuple[int, int],
    training_downsampling: float | None,
    sizes: SizeRange | None = None,
) -> Layout:
    """The layout for an image.

    Args:
        info: of the image.
        sampling: by the user.
        trained: (h, w) of the views in training.
        training_downsampling: pixels that a sample of such a view stood for along an axis in training; None
            where not known.
        sizes: of the views in training, where they are a range: as far as it goes one view may go, and a
            notice tells of views beyond it.

    Raises:
        InvalidInput: for a physical spacing of an image that does not know its scale.
    """
    layout = _lay_out(info, sampling, trained, training_downsampling, sizes)
    beyond = outside(layout.view, sizes)
    return replace(layout, notices=(*layout.notices, beyond)) if beyond else layout


def outside(view: tuple[int, int], sizes: SizeRange | None) -> str:
    """A line about a view that the run was not trained for, with the nearest that it was; "" where it was."""
    if sizes is None or view in sizes:
        return ""
    near = "x".join(map(str, sizes.nearest(view)))
    what = f"a view of {view[0]} x {view[1]} is outside of the {sizes} that the run was trained for"
    return f"{what}; the nearest is {near}"


def _lay_out(
    info: RasterInfo,
    sampling: SamplingOptions,
    trained: tuple[int, int],
    training_downsampling: float | None,
    sizes: SizeRange | None,
) -> Layout:
    size = info.levels[0].size
    shrink = _shrink_of(info, sampling)
    view = sampling.size or trained
    whole, why = _is_whole(size, sampling, view, shrink, training_downsampling, _reach(trained, sizes))
    if whole:
        requested = view if shrink is None else _view_of(size, shrink, sampling.pixels, 1)
        if shrink is not None:
            view = _view_of(size, shrink, sampling.pixels, LEAST_ACROSS)
        return _layout(Tiling(size, size, sampling.overlap), view, requested, why)
    if shrink is None:
        shrink = training_downsampling or USUAL_SHRINK
    tile, view = _tile(size, sampling, view, shrink)
    tiling = Tiling(size, tile, sampling.overlap)
    if sampling.size is None:  # a tile that the image cuts keeps its scale
        cut = [max(1, round(v * kept / t)) for v, kept, t in zip(view, tiling.tile, tile, strict=True)]
        few = [min(LEAST_ACROSS, v, kept) for v, kept in zip(view, tiling.tile, strict=True)]
        view = (max(cut[0], few[0]), max(cut[1], few[1]))
        return _layout(tiling, view, (cut[0], cut[1]), why)
    return _layout(tiling, view, view, why)


@dataclass(frozen=True)
class _Reach:
    """How far one view of a whole image may go.

    Attributes:
        samples: at most; None for :data:`MOST_SAMPLES` times those of the view.
        shrink: by how much more the smallest view of training shrank than its usual one.
    """

    samples: int | None = None
    shrink: float = 1.0


def _reach(trained: tuple[int, int], sizes: SizeRange | None) -> _Reach:
    if sizes is None:
        return _Reach()
    least, most = (rows * columns for rows, columns in (sizes.smallest, sizes.largest))
    return _Reach(most, sqrt(trained[0] * trained[1] / least))


def _layout(tiling: Tiling, view: tuple[int, int], request: tuple[int, int], why: tuple[str, ...]) -> Layout:
    """With a notice where a thin image keeps more samples across than ``request``, by the scale."""
    thin = f"{_says(tiling.tile, view)}: the scale would leave {request[0]} x {request[1]}"
    return Layout(tiling, view, (*why, _says(tiling.tile, view)), (thin,) if view != request else ())


def _view_of(size: tuple[int, int], shrink: float, most: int | None, least: int) -> tuple[int, int]:
    """(h, w) of one view of the whole image; at most ``most`` samples, an axis at least ``least`` of them or
    its pixels where ``most`` allows it."""
    few = min(least, size[0]), min(least, size[1])
    if most is None:
        return max(few[0], round(size[0] / shrink)), max(few[1], round(size[1] / shrink))
    rows = max(1, min(max(few[0], int(size[0] / shrink)), most // few[1]))
    return rows, max(1, min(size[1], most // rows))


def _shrink_of(info: RasterInfo, sampling: SamplingOptions) -> float | None:
    size = info.levels[0].size
    if sampling.pixels is not None:
        return max(1.0, sqrt(size[0] * size[1] / sampling.pixels))
    if sampling.spacing is None:
        return None
    scale = info.pixel_size
    if scale is None:
        what, fix = sampling.spacing.option, "use --pixels or --size"
        raise InvalidInput(
            what, "given for an image that knows its scale", f"{info.path}, which does not", fix
        )
    y, x = scale.microns if sampling.spacing.unit == "micron" else scale.metres
    return max(1.0, sampling.spacing.length / sqrt(y * x))


def _is_whole(
    size: tuple[int, int],
    sampling: SamplingOptions,
    view: tuple[int, int],
    shrink: float | None,
    training_downsampling: float | None,
    reach: _Reach,
) -> tuple[bool, tuple[str, ...]]:
    if sampling.mode != "auto":
        return sampling.mode == "whole", (f"--mode {sampling.mode}",)
    if sampling.tile is not None:
        return False, ("tiles, because --tile was given",)
    if shrink is not None:
        samples, limit = size[0] * size[1] / shrink**2, MOST_SAMPLES * view[0] * view[1]
        most = f"{MOST_SAMPLES:g} times the {view[0]} x {view[1]} of a view"
        if reach.samples is not None:
            limit, most = reach.samples + 0.5, f"the {reach.samples:,} of the largest view in training"
        if samples <= limit:
            return True, (f"one view: {samples:,.0f} samples are at most {most}",)
        return False, (f"tiles: {samples:,.0f} samples are more than {most}",)
    one_view = sqrt(size[0] * size[1] / (view[0] * view[1]))
    usual = (training_downsampling or USUAL_SHRINK) * reach.shrink
    up_to = "up to " if reach.shrink > 1 else ""
    in_training = f"{up_to}{usual:.3g} in training" if training_downsampling else f"{usual:g}, as is usual"
    if one_view <= TOO_FAR * usual:
        return True, (f"one view: a sample stands for {one_view:.3g} pixels along an axis ({in_training})",)
    return False, (
        f"tiles: in one view a sample would stand for {one_view:.3g} pixels along an axis ({in_training})",
    )


def _tile(
    size: tuple[int, int], sampling: SamplingOptions, view: tuple[int, int], shrink: float
) -> tuple[tuple[int, int], tuple[int, int]]:
    """(rows, columns) of a tile, and (h, w) of its view."""
    if sampling.tile is not None:
        has_scale = sampling.pixels is not None or sampling.spacing is not None
        if has_scale:
            view = max(1, round(sampling.tile[0] / shrink)), max(1, round(sampling.tile[1] / shrink))
        return sampling.tile, view
    tile = ceil(view[0] * shrink), ceil(view[1] * shrink)
    while sampling.pixels is not None and tile != size:
        down, across = Tiling(size, tile, sampling.overlap).count
        if down * across * view[0] * view[1] <= max(sampling.pixels, view[0] * view[1]):
            break
        tile = min(ceil(tile[0] * 1.05), size[0]), min(ceil(tile[1] * 1.05), size[1])
    return tile, view


def _says(tile: tuple[int, int], view: tuple[int, int]) -> str:
    return f"{view[0]} x {view[1]} samples for {tile[0]} x {tile[1]} pixels"
