"""Regions of equal label as polygons, traced row by row without seams."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np

from saccade.errors import InvalidInput
from saccade.geometry import tile_windows
from saccade.rasters._kernels import NONE, find_all, label_row, ring_length, take_ring, trace_row
from saccade.rasters.raster import Raster

BATCH = 256


@dataclass(frozen=True)
class Polygon:
    """A 4-connected region of one label.

    Attributes:
        label: its class index.
        outer: (n, 2) int64 corners x, y in pixel edges (pixel (i, j) spans x in [j, j + 1], y in [i, i + 1]),
            not repeated at the end, counter-clockwise where y points up.
        holes: the same for each hole, clockwise.
    """

    label: int
    outer: np.ndarray
    holes: tuple[np.ndarray, ...]

    @property
    def area(self) -> int:
        """Pixels."""
        return abs(_twice_area(self.outer)) // 2 - sum(abs(_twice_area(hole)) // 2 for hole in self.holes)

    def filled(self, smallest: float) -> Polygon:
        """Without the holes of fewer pixels."""
        kept = tuple(hole for hole in self.holes if abs(_twice_area(hole)) // 2 >= smallest)
        return self if len(kept) == len(self.holes) else replace(self, holes=kept)


class Tracer:
    """Takes the rows of a label map from the top and gives the polygons that are complete.

    rasterio.features.shapes takes 0.6 of the time, but the whole label map in memory and 25 MiB beside it at
    8192 x 8192; this holds two rows and the open outlines.

    Args:
        width: W.
        skip: labels to leave out.
    """

    def __init__(self, width: int, skip: Collection[int] = ()) -> None:
        self._row = 0
        self._wanted = np.ones(65537, bool)
        self._wanted[[0, *(label + 1 for label in skip)]] = False
        self._above = np.full(width + 2, -1, np.int64)
        self._parts_above = np.zeros(width, np.int64)
        self._parent = np.zeros(width, np.int64)
        self._count = 1
        self._left, self._right = np.full(width + 1, NONE), np.full(width + 1, NONE)
        self._nodes = np.empty((8 * (width + 1), 5), np.int64)
        self._free = np.arange(len(self._nodes))
        self._used = 0
        self._closed = np.empty((2 * (width + 1), 3), np.int64)
        self._rings: list[tuple[int, int, np.ndarray]] = []

    def push(self, rows: np.ndarray) -> Iterator[Polygon]:
        """The next rows (n, W) of labels; what they complete, in an order that does not depend on n."""
        for row in rows:
            self._push_row(row)
            if self._row % BATCH == 0:
                yield from self._complete(last=False)

    def finish(self) -> Iterator[Polygon]:
        """The rest, once all rows were given."""
        self._trace(np.full(len(self._above), -1, np.int64), self._parts_above)
        yield from self._complete(last=True)

    def _push_row(self, labels: np.ndarray) -> None:
        width = len(self._parts_above)
        row = np.full(width + 2, -1, np.int64)
        row[1:-1] = labels
        if self._count + width > len(self._parent):
            self._parent = np.concatenate([self._parent, np.zeros(max(width, len(self._parent)), np.int64)])
        parts = np.empty(width, np.int64)
        self._count = label_row(
            self._above[1:-1], self._parts_above, row[1:-1], parts, self._parent, self._count
        )
        self._trace(row, parts)
        self._above, self._parts_above = row, parts
        self._row += 1

    def _trace(self, row: np.ndarray, parts: np.ndarray) -> None:
        self._reserve(4 * len(self._left))
        ends = self._left, self._right
        state = self._nodes, self._free, self._used, self._closed
        above, parts_above = self._above, self._parts_above
        self._used, rings = trace_row(self._row, above, row, parts_above, parts, self._wanted, *ends, *state)
        for start, part, label in self._closed[:rings].tolist():
            corners = np.empty((ring_length(self._nodes, start), 2), np.int64)
            self._used = take_ring(self._nodes, start, corners, self._free, self._used)
            self._rings += [(part, label, ring) for ring in simple_rings(corners)]

    def _reserve(self, count: int) -> None:
        """Room for ``count`` more nodes."""
        size = len(self._nodes)
        if self._used + count <= size:
            return
        more = max(size, count)
        self._nodes = np.concatenate([self._nodes, np.empty((more, 5), np.int64)])
        self._free = np.concatenate([self._free, np.arange(size, size + more)])

    def _complete(self, last: bool) -> Iterator[Polygon]:
        """Polygons of parts that the last row no longer touches; the numbers of the others start again."""
        alive = np.unique(find_all(self._parent, self._parts_above))
        roots = find_all(self._parent, np.array([part for part, _, _ in self._rings], np.int64))
        done: dict[tuple[int, int], list[np.ndarray]] = {}
        kept = []
        for root, (_, label, corners) in zip(roots.tolist(), self._rings, strict=True):
            if last or alive[min(np.searchsorted(alive, root), len(alive) - 1)] != root:
                done.setdefault((label, root), []).append(corners)
            else:
                kept.append((int(np.searchsorted(alive, root)), label, corners))
        self._rings = kept
        yield from sorted((_polygon(label, rings) for (label, _), rings in done.items()), key=_place)
        self._parts_above = np.searchsorted(alive, find_all(self._parent, self._parts_above))
        self._count = len(alive)
        self._parent[: self._count] = np.arange(self._count)


def simple_rings(ring: np.ndarray) -> list[np.ndarray]:
    """A ring cut where it touches itself: a hole that meets the outline in a corner is a ring of its own."""
    code = ring[:, 1] << 32 | ring[:, 0]
    if len(np.unique(code)) == len(code):
        return [ring]
    rings: list[np.ndarray] = []
    path: list[int] = []
    place: dict[int, int] = {}
    for number, corner in enumerate(code.tolist()):
        if corner in place:
            start = place[corner]
            rings.append(ring[path[start:]])
            for left in path[start:]:
                del place[int(code[left])]
            del path[start:]
        place[corner] = len(path)
        path.append(number)
    return [*rings, ring[path]]


def _polygon(label: int, rings: list[np.ndarray]) -> Polygon:
    """The ring around the most is the outline, the others are holes in it."""
    areas = [_twice_area(ring) for ring in rings]
    outline = max(range(len(rings)), key=lambda number: abs(areas[number]))
    holes = tuple(
        ring[::-1] if area > 0 else ring
        for number, (ring, area) in enumerate(zip(rings, areas, strict=True))
        if number != outline
    )
    return Polygon(label, rings[outline][:: 1 if areas[outline] > 0 else -1], holes)


def _twice_area(ring: np.ndarray) -> int:
    """Twice the area inside, positive where the ring runs counter-clockwise with y up, in these numbers."""
    x, y = ring[:, 0], ring[:, 1]
    last = x[-1] * y[0] - x[0] * y[-1]
    return int(x[:-1] @ y[1:] - x[1:] @ y[:-1] + last)


def _place(polygon: Polygon) -> tuple[int, ...]:
    y, x = polygon.outer[:, 1], polygon.outer[:, 0]
    top = int(y.min())
    return top, int(x[y == top].min()), polygon.label


BAND_PIXELS = 1 << 22


def polygons(
    labels: Raster, *, skip: Collection[int] = (), progress: Callable[[float], None] | None = None
) -> Iterator[Polygon]:
    """The 4-connected regions of equal label of a label raster, largest memory: what is still open.

    Args:
        labels: one channel of class indices.
        skip: indices to leave out, the background for example; the nodata value is always left out.

    Raises:
        InvalidInput: ``labels`` is not one channel of integers.
        FileProblem: the file is damaged.

    Examples:
        >>> import numpy as np
        >>> from saccade.rasters import open_raster, polygons, write_label_png
        >>> labels = np.zeros((8, 8), np.uint8)
        >>> labels[2:4, 2:5] = 1
        >>> write_label_png("labels.png", labels)
        >>> with open_raster("labels.png") as raster:
        ...     print([(polygon.label, polygon.area) for polygon in polygons(raster, skip=[0])])
        [(1, 6)]
    """
    if labels.channels != 1 or labels.dtype.name not in ("uint8", "uint16"):
        raise InvalidInput("labels", "one channel of uint8 or uint16", f"{labels.channels} of {labels.dtype}")
    gaps = () if labels.nodata is None else (int(labels.nodata),)
    tracer = Tracer(labels.size[1], {*skip, *gaps})
    rows = labels.levels[0].tile[0] * max(1, BAND_PIXELS // (labels.levels[0].tile[0] * labels.size[1]))
    windows = list(tile_windows(labels.size, (rows, labels.size[1])))
    for number, window in enumerate(windows):
        yield from tracer.push(labels.read(window)[..., 0])
        if progress is not None:
            progress((number + 1) / len(windows))
    yield from tracer.finish()
