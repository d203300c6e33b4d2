"""Where the bands of an answer go: into memory and a PNG, or row by row onto the disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from saccade.errors import FileProblem
from saccade.inference.files import Job
from saccade.inference.mosaic import Band
from saccade.inference.values import Values
from saccade.rasters import Output, Raster, RasterWriter, write_label_png
from saccade.rasters.outputs import writing

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
        tile: int = 512,
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
    """Rows of one output come from one way of looking: what a resume meets must have been made alike."""
    card = writer.folder / "made_by"
    if resume and writer.rows_done and card.is_file() and card.read_text() != mark:
        fix = "use the same run, image and options, or leave --resume out to start again"
        raise FileProblem(writer.path, "to resume what this run began", "rows of another run or options", fix)
    with writing(writer.path):
        card.write_text(mark)


def scores_like(raster: Raster, names: Sequence[str], tile: int) -> Output:
    """The output of scores: one channel a class, its share of 255."""
    while tile > 16 and tile * raster.size[1] * len(names) > SCORE_BAND:
        tile //= 2
    return Output.like(raster, "scores", dtype="uint8", channels=len(names), names=tuple(names), tile=tile)
