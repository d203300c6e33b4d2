"""Where the rows of an answer go, and what is written beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from math import ceil
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saccade.errors import FileProblem, UsageError
from saccade.figures import Picture, density_picture, overlay, samples_on
from saccade.geometry import Window, fitted_size
from saccade.inference.files import ZONES, Job
from saccade.inference.label_values import OUTPUT_TILE, Values
from saccade.inference.objects import UNLABELLED_DOUBT, ObjectChoice, TableWriter, uncertainty_of
from saccade.inference.zones import Zone
from saccade.rasters import (
    Output,
    Raster,
    RasterWriter,
    open_raster,
    thumbnail,
    write_label_png,
    write_polygons,
)
from saccade.rasters.array import ArrayRaster
from saccade.rasters.bands import Bands
from saccade.rasters.journal import Packed, TilePacker
from saccade.rasters.picture import PictureRaster
from saccade.runtime.files import finished_file, writing
from saccade.samplers.image_scores import ImageScores
from saccade.warp.stitch import Strip

SCORE_STRIP = 1 << 26
"""Bytes of scores in a row of tiles: with more classes or columns the tiles are lower."""


class Sink(Protocol):
    """Takes the strips of one image from the row ``start`` on.

    Attributes:
        start: the first row that is wanted; all rows are there where it is the height.
        wants_scores: whether strips are to hold scores.
    """

    start: int
    wants_scores: bool

    def put(self, strip: Strip) -> None: ...

    def finish(self, progress: Callable[[float], None] | None = None) -> None: ...


class PngSink:
    """Keeps the labels in memory and writes them as a PNG in the colours of the classes; and, where it is
    asked for, their uncertainty in grey."""

    start = 0

    def __init__(self, job: Job, size: tuple[int, int], values: Values, *, overwrite: bool) -> None:
        self.job, self.values, self.overwrite = job, values, overwrite
        self.labels: NDArray[np.uint8] = np.empty(size, np.uint8)
        self.wants_scores = "uncertainty" in job.extras
        self.uncertainty = np.empty(size, np.uint8) if self.wants_scores else None

    def put(self, strip: Strip) -> None:
        if self.uncertainty is not None and strip.scores is not None:
            doubt = uncertainty_of(strip.scores, strip.labels)
            self.uncertainty[strip.top : strip.top + len(doubt)] = doubt
        if strip.labels.shape == self.labels.shape:
            self.labels = strip.labels
        else:
            self.labels[strip.top : strip.top + len(strip.labels)] = strip.labels

    def finish(self, progress: Callable[[float], None] | None = None) -> None:
        palette = self.values.palette
        values = self.values.of(self.labels)
        if self.uncertainty is not None:
            with finished_file(self.job.extra("uncertainty"), overwrite=self.overwrite) as temporary:
                Image.fromarray(self.uncertainty).save(temporary, format="PNG")
        write_label_png(self.job.labels, values, palette, overwrite=self.overwrite)


class RasterSink:
    """Writes labels, and scores where they are wanted, as rasters; a killed run goes on from what is there.

    Use it in a ``with`` statement; what was written stays for a resume unless ``finish`` was called.
    """

    def __init__(
        self,
        job: Job,
        raster: Raster,
        values: Values,
        *,
        gaps: bool,
        mark: str,
        tile: int = OUTPUT_TILE,
        overwrite: bool = False,
        resume: bool = False,
    ) -> None:
        self.values, self._stack = values, ExitStack()
        outputs = {"labels": (job.labels, values.labels_like(raster, tile, gaps=gaps))}
        if "scores" in job.extras and job.suffix != ".png":
            outputs["scores"] = job.extra("scores"), scores_like(raster, values.classes.names, tile)
        if "uncertainty" in job.extras:
            grey = uncertainty_like(raster, tile, gaps=gaps)
            outputs["uncertainty"] = job.extra("uncertainty"), grey
        self._writers: dict[str, RasterWriter] = {}
        try:
            for name, (path, output) in outputs.items():
                if resume and path.exists():
                    continue
                writer = RasterWriter(path, output, overwrite=overwrite, resume=resume)
                self._writers[name] = self._stack.enter_context(writer)
                _require_mark(writer, mark, resume)
            self.start = self._begin(raster.size[0])
        except BaseException:
            self._stack.close()
            raise

    @property
    def wants_scores(self) -> bool:
        return bool({"scores", "uncertainty"} & set(self._writers))

    def _begin(self, height: int) -> int:
        """The first row that some output lacks, at the start of a tile of all; they all begin there."""
        writers = list(self._writers.values())
        done = min((writer.rows_done for writer in writers), default=height)
        if done < height:
            # Tiles are powers of two apart, so a row of the largest begins a row of every other.
            step = max(writer.output.tile for writer in writers)
            done = done // step * step
        for writer in writers:
            if writer.rows_done > done:
                writer.rewind(done)
        return done

    @property
    def rows_done(self) -> int:
        """Rows of pixels that are safe on the disk in every output."""
        return min((writer.rows_done for writer in self._writers.values()), default=0)

    @property
    def outputs(self) -> dict[str, Output]:
        """What is written, by its kind."""
        return {name: writer.output for name, writer in self._writers.items()}

    def put(self, strip: Strip) -> None:
        for name, writer in self._writers.items():
            writer.append(pixels_of(name, strip, self.values))

    def put_packed(self, rows: Mapping[str, Sequence[Sequence[Packed]]]) -> None:
        """The next rows of tiles of each output, packed elsewhere by :class:`PackedRows`."""
        for name, writer in self._writers.items():
            for row in rows[name]:
                writer.append_packed(row)

    def finish(self, progress: Callable[[float], None] | None = None) -> None:
        for name in ("scores", "uncertainty", "labels"):
            if name in self._writers:
                self._writers[name].finish(progress if name == "labels" else None)

    def __enter__(self) -> RasterSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def pixels_of(name: str, strip: Strip, values: Values) -> NDArray[Any]:
    """What an output of this kind holds of a strip: (rows, W), scores (rows, W, K)."""
    if name == "labels":
        return values.of(strip.labels)
    assert strip.scores is not None
    return strip.scores if name == "scores" else uncertainty_of(strip.scores, strip.labels)


class PackedRows:
    """Rows of tiles of several outputs, packed where the strips are made, to be written elsewhere.

    Args:
        outputs: by their kind; the first row of the first strip begins a row of tiles of each.
        values: what the pixels of labels mean.
    """

    def __init__(self, outputs: Mapping[str, Output], values: Values) -> None:
        self.values = values
        self._packers = {name: TilePacker(output, output.size) for name, output in outputs.items()}
        self._waiting: dict[str, list[NDArray[Any]]] = {name: [] for name in outputs}
        self.rows: dict[str, list[list[Packed]]] = {name: [] for name in outputs}

    def put(self, strip: Strip, *, last: bool) -> None:
        """The next rows; ``last``: those at the bottom of the image, which may be no whole row of tiles."""
        for name, packer in self._packers.items():
            pixels, side = pixels_of(name, strip, self.values), packer.output.tile
            waiting = self._waiting[name]
            waiting.append(pixels[..., None] if pixels.ndim == 2 else pixels)
            if not last and sum(map(len, waiting)) < side:
                waiting[-1] = waiting[-1].copy()
                continue
            rows = waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
            whole = len(rows) if last else len(rows) // side * side
            for top in range(0, whole, side):
                self.rows[name].append(packer.packed_row(rows[top : min(top + side, whole)]))
            self._waiting[name] = [rows[whole:].copy()] if whole < len(rows) else []


def _require_mark(writer: RasterWriter, mark: str, resume: bool) -> None:
    """Rows of one output come from one way of looking: what a resume meets must have been made alike, and
    rows that do not say how they were made are not taken for such."""
    manifest = writer.folder / "made_by"
    if resume and writer.rows_done and not (manifest.is_file() and manifest.read_text() == mark):
        fix = "use the same run, image and options, or leave --resume out to start again"
        raise FileProblem(writer.path, "to resume what this run began", "rows of another run or options", fix)
    with writing(writer.path):
        manifest.write_text(mark)


def scores_like(raster: Raster, names: Sequence[str], tile: int) -> Output:
    """The output of scores: one channel a class, its share of 255."""
    while tile > 16 and tile * raster.size[1] * len(names) > SCORE_STRIP:
        tile //= 2
    return Output.like(raster, "scores", dtype="uint8", channels=len(names), names=tuple(names), tile=tile)


def uncertainty_like(raster: Raster, tile: int, *, gaps: bool) -> Output:
    """The output of the uncertainty: 0 to 254, and 255 where there is no label."""
    nodata = UNLABELLED_DOUBT if gaps else None
    return Output.like(raster, "scores", names=("uncertainty",), nodata=nodata, tile=tile)


PICTURE_SIDE = 2048
"""The longer side of pictures of images whose labels are not a PNG."""

NO_DENSITY = "this run's sampler predicts no density; leave density out of --save"


@dataclass
class Extras:
    """Writes the extras of one image once its labels are there; use it in a ``with`` statement.

    Labels that were streamed to a file are opened once for all extras.

    Attributes:
        raster: the image as 8-bit RGB.
        scores: of it.
        job: what is written where.
        values: what the pixels of the labels mean.
        overwrite: replace what is there.
        labels: (H, W) uint8 class ids, 255 unlabelled, where they are in memory.
        uncertainty: (H, W) uint8 of them, where it is in memory.
        choice: which objects are written.
        bands: that pictures of the image show; None where its bands are its colours.
        zones: whose areas are written.
    """

    raster: Raster
    scores: ImageScores
    job: Job
    values: Values
    overwrite: bool
    labels: NDArray[np.uint8] | None = None
    uncertainty: NDArray[np.uint8] | None = None
    choice: ObjectChoice = field(default_factory=ObjectChoice)
    bands: Bands | None = None
    zones: Sequence[Zone] = ()
    _written: Raster | None = field(default=None, init=False)

    def save(self, name: str) -> None:
        """Writes one of the extras."""
        png = self.job.suffix == ".png"
        if name == "polygons":
            self._polygons()
        elif name == "table":
            self._tables()
        elif name == ZONES:
            self._table_writer().write_zones(
                self.job.extra(ZONES), self._label_raster(), self.zones, overwrite=self.overwrite
            )
        elif name == "uncertainty":
            pass  # written with the labels, row by row
        elif name == "scores":
            if png:
                self._scores_npz()
        elif name == "density" and not png:
            self._density_raster()
        else:
            self._picture(name)

    def __enter__(self) -> Extras:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._written is not None:
            self._written.close()

    def _label_raster(self) -> Raster:
        """The labels as values: in memory, or the file that they were streamed to."""
        if self._written is None:
            if self.labels is None:
                self._written = open_raster(self.job.labels)
            else:
                self._written = ArrayRaster(self.job.labels, self.values.of(self.labels))
        return self._written

    def _polygons(self) -> None:
        write_polygons(
            self.job.extra("polygons"),
            self._label_raster(),
            names=self.values.names,
            palette=self.values.palette,
            skip={self.values.fill_value, *self.choice.left_out(self.values.classes)},
            smallest=ceil(self.choice.least.pixels(self.raster)),
            fill=self.choice.fill.pixels(self.raster),
            simplify=self.choice.simplify.pixels(self.raster),
            origin=self.raster.info.origin,
            overwrite=self.overwrite,
        )

    def _table_writer(self) -> TableWriter:
        name, classes = self.job.image.name, self.values.classes
        return TableWriter(self.raster, name, classes, self.values.fill_value, self.choice)

    def _tables(self) -> None:
        with ExitStack() as stack:
            doubt: Raster | None = None
            if self.uncertainty is not None:
                doubt = ArrayRaster(self.job.extra("uncertainty"), self.uncertainty)
            elif "uncertainty" in self.job.extras:
                doubt = stack.enter_context(open_raster(self.job.extra("uncertainty")))
            files = self.job.extra("classes"), self.job.extra("objects")
            labels = self._label_raster()
            self._table_writer().write(*files, labels, doubt, overwrite=self.overwrite)

    def _scores_npz(self) -> None:
        """Scores (K, h, w) float16 and their grid (h, w, 2): with ``size`` all that :func:`saccade.unwarp`
        needs to give them at any resolution. Of tiles: (V, K, h, w), (V, h, w, 2), and regions (V, 4)."""
        nodes = self.scores.nodes()
        kept = [node.scores[0].numpy() for node in nodes.values()]
        shape = kept[0].shape if kept else (len(self.values.classes), 0, 0)
        scores = np.empty((len(kept), *shape), np.float16)
        for place, values in zip(scores, kept, strict=True):
            place[:] = values
        grids = np.concatenate([np.empty((0, *shape[1:], 2), np.float32), *(n.grid for n in nodes.values())])
        size = np.array(self.raster.size)
        arrays: dict[str, Any] = {"scores": scores, "grid": grids, "size": size}
        if [region.size for region in nodes] == [self.raster.size]:
            arrays = {"scores": scores[0], "grid": grids[0], "size": size}
        else:
            arrays["regions"] = np.array([(r.top, r.bottom, r.left, r.right) for r in nodes]).reshape(-1, 4)
        path = self.job.extra("scores")
        with finished_file(path, overwrite=self.overwrite) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)

    def _density_raster(self) -> None:
        views = self.scores.glimpses()
        if views.density is None:
            raise UsageError(NO_DENSITY)
        array = views.density[0, 0].numpy().astype(np.float32)
        scale = [full / small for full, small in zip(self.raster.size, array.shape, strict=True)]
        like = Output.like(self.raster, "density", dtype="float32")
        place: dict[str, Any] = {"size": array.shape}
        if like.pixel_size is not None:
            y, x = like.pixel_size.y * scale[0], like.pixel_size.x * scale[1]
            place["pixel_size"] = replace(like.pixel_size, y=y, x=x)
        if like.transform is not None:
            a, b, c, d, e, f = like.transform
            place["transform"] = (a * scale[1], b * scale[0], c, d * scale[1], e * scale[0], f)
        with RasterWriter(
            self.job.extra("density"), replace(like, **place), overwrite=self.overwrite
        ) as writer:
            writer.append(array)
            writer.finish()

    def _picture(self, name: str) -> None:
        """Writes STEM_NAME.png for one of "overlay", "samples", "density"."""
        picture = self._draw(name)
        with finished_file(self.job.extra(name), overwrite=self.overwrite) as temporary:
            Image.fromarray(picture).save(temporary, format="PNG")

    def _draw(self, name: str) -> Picture:
        size = self.raster.size if self.labels is not None else fitted_size(self.raster.size, PICTURE_SIDE)
        if name == "density":
            density = self.scores.glimpses().density
            if density is None:
                raise UsageError(NO_DENSITY)
            return density_picture(density[0, 0].numpy(), size)
        raster = self.raster if self.bands is None else PictureRaster(self.raster, self.bands)
        image = raster.read() if self.labels is not None else thumbnail(raster, size)
        if name == "samples":
            return samples_on(image, self.scores.glimpses().grids.flatten(0, 1).numpy())
        labels = self.labels if self.labels is not None else self._small_labels(size)
        return overlay(image, labels, np.asarray(self.values.classes.colours, np.uint8))

    def _small_labels(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """(h, w) class ids at the centres of the pixels of a picture, read a few rows at a time."""
        raster = self._label_raster()
        fine = [n for n, level in enumerate(raster.levels) if level.size >= size]
        level = fine[-1] if fine else 0
        full = raster.levels[level].size
        lines, columns = (
            ((np.arange(n) + 0.5) * whole / n).astype(int) for n, whole in zip(size, full, strict=True)
        )
        step = max(1, (1 << 24) // full[1])
        rows = [
            raster.read(Window(int(some[0]), int(some[-1]) + 1, 0, full[1]), level)[..., 0][
                np.ix_(some - some[0], columns)
            ]
            for some in np.array_split(lines, ceil(full[0] / step))
            if len(some)
        ]
        return self.values.ids(np.concatenate(rows))
