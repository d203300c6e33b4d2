"""Areas of classes and the places of errors, counted over every pixel of an image, block by block."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.rasters.raster import Raster
from saccade.rasters.reduce import blocks
from saccade.viewer.gallery import Legend, Opened
from saccade.viewer.planes import as_bytes, verdicts

MOST_CELLS = 256
"""Cells along the longer side in which errors are counted."""
LEAST_CELL = 32
MOST_PLACES = 200


@dataclass(frozen=True)
class Tally:
    """What was counted.

    Attributes:
        labels, truth: (256,) pixels of each value; None without them.
        confusion: (256, 256) rows true, columns predicted; None without both.
        places: the cells with most wrong pixels, none beside another: (x, y, side, wrong pixels), worst
            first.
    """

    labels: NDArray[np.int64] | None = None
    truth: NDArray[np.int64] | None = None
    confusion: NDArray[np.int64] | None = None
    places: tuple[tuple[float, float, int, int], ...] = ()

    def to_json(self, legend: Legend) -> dict[str, Any]:
        """Pixels of each value that occurs, and IoU where the truth is known."""
        rows: dict[str, dict[str, Any]] = {}
        for name in ("labels", "truth"):
            counts = getattr(self, name)
            if counts is not None:
                for value in np.flatnonzero(counts).tolist():
                    rows.setdefault(str(value), {})[name] = int(counts[value])
        if self.confusion is not None:
            known = np.array([value not in legend.unknown for value in range(256)])
            table = self.confusion[known]  # rows whose truth is known
            hits = np.zeros(256, np.int64)
            hits[known] = np.diagonal(self.confusion)[known]
            union = self.confusion.sum(1) * known + table.sum(0) - hits
            for text, row in rows.items():
                if known[int(text)] and union[int(text)]:
                    row["iou"] = round(float(hits[int(text)] / union[int(text)]), 4)
        return {
            "values": rows,
            "places": [[round(x, 1), round(y, 1), side, wrong] for x, y, side, wrong in self.places],
            "compared": self.confusion is not None,
        }


def count(
    labels: Raster | None,
    truth: Raster | None,
    legend: Legend,
    progress: Callable[[float], bool] = lambda share: True,
) -> Tally | None:
    """Counts every pixel of level 0 of either or both; None where ``progress`` (of the share done) said
    False."""
    first = labels if labels is not None else truth
    assert first is not None
    height, width = first.size
    side = max(LEAST_CELL, 1 << (-(-max(height, width) // MOST_CELLS) - 1).bit_length())
    cells = np.zeros((-(-height // side), -(-width // side)), np.int64)
    confusion = np.zeros(1 << 16, np.int64)
    counts = {"labels": np.zeros(256, np.int64), "truth": np.zeros(256, np.int64)}
    planes = {"labels": labels, "truth": truth}
    windows = list(blocks(first.levels[0]))
    for number, window in enumerate(windows):
        if not progress(number / len(windows)):
            return None
        read = {
            name: as_bytes(raster.read(window)[..., 0])
            for name, raster in planes.items()
            if raster is not None
        }
        if len(read) < 2:
            for name, values in read.items():
                counts[name] += np.bincount(values.ravel(), minlength=256)
            continue
        pairs = read["truth"].astype(np.uint16) * 256 + read["labels"]
        confusion += np.bincount(pairs.ravel(), minlength=1 << 16)
        verdict = verdicts(read["truth"], read["labels"], legend.unknown, legend.background)
        wrong = (verdict == 1) | (verdict == 2)
        if wrong.any():
            rows, columns = np.nonzero(wrong)
            where = (rows + window.top) // side * cells.shape[1] + (columns + window.left) // side
            cells += np.bincount(where, minlength=cells.size).reshape(cells.shape)
    if labels is None or truth is None:
        return Tally(None if labels is None else counts["labels"], None if truth is None else counts["truth"])
    table = confusion.reshape(256, 256)
    return Tally(table.sum(0), table.sum(1), table, worst_places(cells, side, first.size))


def worst_places(
    cells: NDArray[np.int64], side: int, size: tuple[int, int]
) -> tuple[tuple[float, float, int, int], ...]:
    """The centres of the cells with most wrong pixels, from the most; a cell beside one that is taken is
    not."""
    order = np.argsort(-cells, axis=None, kind="stable")
    marked = np.zeros((cells.shape[0] + 2, cells.shape[1] + 2), bool)
    places: list[tuple[float, float, int, int]] = []
    for place in order[: MOST_PLACES * 20]:
        row, column = divmod(int(place), cells.shape[1])
        wrong = int(cells[row, column])
        if wrong == 0 or len(places) == MOST_PLACES:
            break
        if marked[row : row + 3, column : column + 3].any():
            continue
        marked[row + 1, column + 1] = True
        x, y = column * side + side / 2, row * side + side / 2
        places.append((min(x, size[1] - 1.0), min(y, size[0] - 1.0), side, wrong))
    return tuple(places)


def estimated(opened: Opened) -> dict[str, dict[str, int]]:
    """About how many pixels each value has, by the coarsest level; nothing of files of one level."""
    rows: dict[str, dict[str, int]] = {}
    for name, raster in (("labels", opened.labels), ("truth", opened.truth)):
        if raster is None or len(raster.levels) == 1:
            continue
        level = raster.levels[-1]
        each = raster.size[0] * raster.size[1] / (level.size[0] * level.size[1])
        counts = np.bincount(as_bytes(raster.read(level=len(raster.levels) - 1)).ravel(), minlength=256)
        for value in np.flatnonzero(counts).tolist():
            rows.setdefault(str(value), {})[name] = round(float(counts[value] * each))
    return rows


class Tallies:
    """Counts images in the background, one at a time, those asked for last first; keeps what it counted."""

    def __init__(self, use: Callable[[int], Any]) -> None:
        """``use(number)`` is a context that gives the :class:`Opened` image."""
        self._use = use
        self._states: dict[int, dict[str, Any]] = {}
        self._wanted: list[int] = []
        self._news = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def state(self, number: int) -> dict[str, Any]:
        """What is known of an image: {"state": "counting", "share": 0.4}, "counted" with what, or
        "failed"."""
        with self._news:
            if number not in self._states:
                self._states[number] = {"state": "counting", "share": 0.0}
                self._wanted.append(number)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, daemon=True)
                    self._thread.start()
                self._news.notify_all()
            return dict(self._states[number])

    def close(self) -> None:
        with self._news:
            self._closed = True
            self._news.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: bool(self._wanted) or self._closed)
                if self._closed:
                    return
                number = self._wanted.pop()
            try:
                with self._use(number) as opened:
                    state = self._count(number, opened)
            except Exception as problem:  # told to the page
                state = {"state": "failed", "why": next(iter(str(problem).splitlines()), "")}
            with self._news:
                self._states[number] = state

    def _count(self, number: int, opened: Opened) -> dict[str, Any]:
        legend = opened.legend or Legend.guessed(None, False)

        def progress(share: float) -> bool:
            with self._news:
                self._states[number]["share"] = round(share, 3)
                return not self._closed

        if opened.labels is None and opened.truth is None:
            return {"state": "counted", "values": {}, "places": [], "compared": False}
        with self._news:
            self._states[number]["values"] = estimated(opened)
        tally = count(opened.labels, opened.truth, legend, progress)
        if tally is None:
            return {"state": "failed", "why": "stopped"}
        return {"state": "counted", **tally.to_json(legend)}
