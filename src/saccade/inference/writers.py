"""Where the bands of an answer go, and the values that stand for classes there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from saccade.data.classes import ClassTable
from saccade.errors import FileProblem
from saccade.inference.files import Job
from saccade.rasters import Output, Raster, RasterWriter, write_label_png
from saccade.runtime.files import writing
from saccade.warp.stitch import Band


class Values:
    """What the pixels of an output mean.

    Attributes:
        classes: of the run.
        fill_value: the value of an unlabelled pixel: what masks use for ignored pixels, else 255, or
            the highest value that is no class.
    """

    def __init__(self, classes: ClassTable) -> None:
        self.classes = classes
        ignored = classes.file_ignore_index
        free = (value for value in (*range(255, -1, -1), *range(65535, 255, -1)))
        self.fill_value = (
            ignored if ignored is not None else next(v for v in free if v not in classes.indices)
        )

    @cached_property
    def table(self) -> NDArray[Any]:
        """(256,) the value of each id; 255 is the fill value."""
        wide = max(*self.classes.indices, self.fill_value) > 255
        table = np.full(256, self.fill_value, np.uint16 if wide else np.uint8)
        table[: len(self.classes)] = self.classes.indices
        return table

    def of(self, ids: NDArray[np.uint8]) -> NDArray[Any]:
        """Ids as values; not a copy where they are the same."""
        same = self.table.dtype == np.uint8 and (self.table[: len(self.classes)] == self._counting).all()
        return ids if same and self.fill_value == 255 else self.table[ids]

    @property
    def _counting(self) -> NDArray[np.int64]:
        return np.arange(len(self.classes))

    def ids(self, values: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Values as ids; 255 for what is no class."""
        # A look-up for all 16 bits: indices in masks may be sparse and above 255.
        table = np.full(65536, 255, np.uint8)
        table[list(self.classes.indices)] = range(len(self.classes))
        return table[values]

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each value up to the highest class."""
        named = dict(zip(self.classes.indices, self.classes.names, strict=True))
        return tuple(named.get(value, f"value {value}") for value in range(max(self.classes.indices) + 1))

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...] | None:
        """(256) colours of the values; None where a value is above 255."""
        if self.table.dtype != np.uint8:
            return None
        return tuple((int(r), int(g), int(b)) for r, g, b in self.classes.palette)

    def labels_like(self, raster: Raster, tile: int, *, gaps: bool) -> Output:
        """The label output of an image; ``gaps``: some pixels may be unlabelled."""
        nodata = self.fill_value if gaps else None
        return Output.like(
            raster,
            "labels",
            dtype=self.table.dtype.name,
            palette=self.palette,
            names=self.names,
            nodata=nodata,
            tile=tile,
        )


OUTPUT_TILE = 512
"""Rows and columns of a tile of labels on the disk, whatever the memory: a resume may have another."""

SCORE_BAND = 1 << 26
"""Bytes of scores in a row of tiles: with more classes or columns the tiles are lower."""


class Sink(Protocol):
    """Takes the bands of one image from the row ``start`` on.

    Attributes:
        start: the first row that is wanted; all rows are there where it is the height.
        wants_scores: whether bands are to hold scores.
    """

    start: int
    wants_scores: bool

    def put(self, band: Band) -> None: ...

    def finish(self, progress: Callable[[float], None] | None = None) -> None: ...


class PngSink:
    """Keeps the labels in memory and writes them as a PNG in the colours of the classes."""

    start = 0
    wants_scores = False

    def __init__(self, job: Job, size: tuple[int, int], values: Values, *, overwrite: bool) -> None:
        self.job, self.values, self.overwrite = job, values, overwrite
        self.labels: NDArray[np.uint8] = np.empty(size, np.uint8)

    def put(self, band: Band) -> None:
        if band.labels.shape == self.labels.shape:
            self.labels = band.labels
        else:
            self.labels[band.top : band.top + len(band.labels)] = band.labels

    def finish(self, progress: Callable[[float], None] | None = None) -> None:
        palette = self.values.palette
        values = self.values.of(self.labels)
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
        outputs = [(job.labels, values.labels_like(raster, tile, gaps=gaps))]
        if "scores" in job.extras and job.suffix != ".png":
            outputs.append((job.extra("scores"), scores_like(raster, values.classes.names, tile)))
        self._writers: dict[str, RasterWriter] = {}
        try:
            for path, output in outputs:
                if resume and path.exists():
                    continue
                writer = RasterWriter(path, output, overwrite=overwrite, resume=resume)
                self._writers[output.kind] = self._stack.enter_context(writer)
                _require_mark(writer, mark, resume)
            self.start = self._begin(raster.size[0])
        except BaseException:
            self._stack.close()
            raise

    @property
    def wants_scores(self) -> bool:
        return "scores" in self._writers

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

    def put(self, band: Band) -> None:
        if "scores" in self._writers and band.scores is not None:
            self._writers["scores"].append(band.scores)
        if "labels" in self._writers:
            self._writers["labels"].append(self.values.of(band.labels))

    def finish(self, progress: Callable[[float], None] | None = None) -> None:
        for kind in ("scores", "labels"):
            if kind in self._writers:
                self._writers[kind].finish(progress if kind == "labels" else None)

    def __enter__(self) -> RasterSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def _require_mark(writer: RasterWriter, mark: str, resume: bool) -> None:
    """Rows of one output come from one way of looking: what a resume meets must have been made alike, and
    rows that do not say how they were made are not taken for such."""
    card = writer.folder / "made_by"
    if resume and writer.rows_done and not (card.is_file() and card.read_text() == mark):
        fix = "use the same run, image and options, or leave --resume out to start again"
        raise FileProblem(writer.path, "to resume what this run began", "rows of another run or options", fix)
    with writing(writer.path):
        card.write_text(mark)


def scores_like(raster: Raster, names: Sequence[str], tile: int) -> Output:
    """The output of scores: one channel a class, its share of 255."""
    while tile > 16 and tile * raster.size[1] * len(names) > SCORE_BAND:
        tile //= 2
    return Output.like(raster, "scores", dtype="uint8", channels=len(names), names=tuple(names), tile=tile)
