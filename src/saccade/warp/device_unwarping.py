"""Unwarping where there are no compiled kernels: whole-tensor code for GPUs, equal to the kernels to the bit.

What a kernel does for one triangle, row or pixel after the other is done here for many at once: spans of rows
are listed, spread out to pixels, and what several of them write to one pixel is settled by a minimum or by a
sum of whole numbers, so that no order of threads shows. The expressions are those of the kernels, term by
term, since labels where two scores are nearly equal hang on their rounding. Work goes through strips of the
window, with a bounded number of pixels, pairs of a pixel and a node, and values at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from saccade.errors import InvalidInput
from saccade.warp._mesh_kernels import EDGE, HUGE, MANY, PLAIN, SOLID, THINNEST, TWO
from saccade.warp.mesh import MOST_TRACED, NODES_PER_BIN, Window
from saccade.warp.tensors import label_dtype, pixels, result_dtype, with_area, working_dtype

PIECE = 1 << 20
"""Pixels, pairs or values held at a time."""

TILE = 8
"""Pixels a side that look for their nearest nodes together."""


def unwarp_on_device(
    values: Tensor, grid: Tensor, size: tuple[int, int], place: Window, *, linear: bool
) -> Tensor:
    """As :func:`saccade.unwarp`, of checked arguments, on any device: the same bits as its kernels."""
    drawn, grid = with_area(values, grid.detach())
    if linear:
        working = drawn.to(working_dtype(values.dtype))
        return _Linear.apply(working, grid, size, place).to(result_dtype(values.dtype))
    images = []
    for value, nodes in zip(drawn, grid, strict=True):
        mesh = TensorMesh.of(nodes, size)
        parts = [value.flatten(1).index_select(1, mesh.nearest(strip)) for strip in strips(place)]
        images.append(torch.cat(parts, 1))
    return torch.stack(images).unflatten(2, _shape(place))


def unwarp_labels_on_device(
    scores: Tensor, grid: Tensor, size: tuple[int, int], place: Window, *, linear: bool
) -> Tensor:
    """As :func:`saccade.unwarp_labels`, of checked arguments, on any device: the labels of its kernels."""
    dtype, _ = label_dtype(scores.shape[1])
    drawn, grid = with_area(scores.detach(), grid.detach())
    out = torch.empty((len(grid), *_shape(place)), dtype=dtype, device=scores.device)
    for image, score, nodes in zip(out, drawn, grid, strict=True):
        labels = _Labels(score, TensorMesh.of(nodes, size))
        for strip in strips(place):
            image[strip[0] - place[0] : strip[1] - place[0]] = labels.of(strip, linear).to(dtype)
    return out


def strips(place: Window) -> Iterator[Window]:
    """A window in strips of its rows, at most ``PIECE`` pixels each."""
    top, bottom, left, right = place
    deep = max(1, PIECE // (right - left))
    for row in range(top, bottom, deep):
        yield row, min(row + deep, bottom), left, right


def _shape(place: Window) -> tuple[int, int]:
    return place[1] - place[0], place[3] - place[2]


def _split(counts: Tensor) -> list[slice]:
    """Runs of entries whose ``counts`` add up to about ``PIECE``."""
    piece = (counts.cumsum(0) - counts) // PIECE
    lengths = piece.unique_consecutive(return_counts=True)[1].tolist()
    ends = torch.tensor(lengths).cumsum(0).tolist()
    return [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]


def _spread(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Entry k counts[k] times over: which entry, and 0, 1, ... within it."""
    ends = counts.cumsum(0)
    entry = torch.repeat_interleave(counts)
    return entry, torch.arange(len(entry), device=counts.device) - (ends - counts)[entry]


@dataclass(frozen=True)
class TensorMesh:
    """Nodes of one grid: x, y (nodes,) float64, in pixels of an image of ``size`` (H, W); (h, w) of them."""

    x: Tensor
    y: Tensor
    size: tuple[int, int]
    shape: tuple[int, int]

    @classmethod
    def of(cls, grid: Tensor, size: tuple[int, int]) -> TensorMesh:
        """The mesh of one grid (h, w, 2)."""
        places = pixels(grid, size).flatten(0, 1)
        x, y = places[:, 0].contiguous(), places[:, 1].contiguous()
        return cls(x, y, size, (int(grid.shape[0]), int(grid.shape[1])))

    @property
    def device(self) -> torch.device:
        return self.x.device

    def covers(self) -> bool:
        """Whether the triangles cover the image: the outermost nodes on its border, and an area to cover."""
        height, width = self.size
        x, y = self.x.view(self.shape), self.y.view(self.shape)
        ends = ((y[0], 0), (y[-1], height - 1), (x[:, 0], 0), (x[:, -1], width - 1))
        return min(self.size) > 1 and all(bool((nodes == border).all()) for nodes, border in ends)

    @cached_property
    def corners(self) -> Tensor:
        """(T, 3) node numbers of the triangles, 2 a cell, in the order that settles folds."""
        node = torch.arange(len(self.x), device=self.device).view(self.shape)
        a, b, c, d = node[:-1, :-1], node[:-1, 1:], node[1:, :-1], node[1:, 1:]
        return torch.stack([torch.stack([a, b, c], -1), torch.stack([d, c, b], -1)], 2).view(-1, 3)

    @cached_property
    def everything(self) -> Tensor:
        """Numbers of all triangles."""
        return torch.arange(len(self.corners), device=self.device)

    @cached_property
    def frames(self) -> tuple[Tensor, Tensor]:
        """(T, 6) corner 0 and the slopes of the others' weights, x0, y0, b1, c1, b2, c2; which are flat."""
        (x0, x1, x2), (y0, y1, y2) = self.x[self.corners].unbind(1), self.y[self.corners].unbind(1)
        ux, uy, vx, vy = x1 - x0, y1 - y0, x2 - x0, y2 - y0
        twice = ux * vy - vx * uy
        flat = twice.abs() <= THINNEST * (ux * ux + uy * uy + vx * vx + vy * vy)
        return torch.stack([x0, y0, vy / twice, -vx / twice, -uy / twice, ux / twice], 1), flat

    @cached_property
    def sides(self) -> Tensor:
        """(T, 9) corners from top to bottom, xa, ya, xb, yb, xc, yc, and columns a row along ac, ab, bc."""
        y, order = self.y[self.corners].sort(dim=1, stable=True)
        (xa, xb, xc), (ya, yb, yc) = self.x[self.corners].gather(1, order).unbind(1), y.unbind(1)
        slopes = [_slope(xa, ya, xc, yc), _slope(xa, ya, xb, yb), _slope(xb, yb, xc, yc)]
        return torch.stack([xa, ya, xb, yb, xc, yc, *slopes], 1)

    def owners(self, place: Window, some: Tensor) -> Tensor:
        """(pixels,) of a window: the lowest of the triangles ``some`` that holds each; T where none does."""
        top, bottom, left, right = place
        wide = right - left
        out = torch.full(((bottom - top) * wide,), len(self.corners), device=self.device)
        some = some[~self.frames[1][some]]
        first = self.sides[some, 1].ceil().clamp(min=top).long()
        lines = (self.sides[some, 5].floor().clamp(max=bottom - 1).long() - first + 1).clamp(min=0)
        some, first, lines = (part[lines > 0] for part in (some, first, lines))
        for run in _split(lines) if len(some) else ():
            triangle, line = _spread(lines[run])
            line += first[run][triangle]
            triangle = some[run][triangle]
            start, stop = _reach(line.double(), self.sides[triangle].unbind(1))
            start, stop = (start - left).clamp(min=0), (stop - left).clamp(max=wide - 1)
            counts = (stop - start + 1).clamp(min=0)
            at = (line - top) * wide + start
            for spans in _split(counts):
                span, place_in = _spread(counts[spans])
                out.scatter_reduce_(0, at[spans][span] + place_in, triangle[spans][span], "amin")
        return out

    @cached_property
    def bins(self) -> tuple[Tensor, Tensor, Tensor, float]:
        """Nodes by square bins: where each begins, the numbers in them, sums of counts, pixels a side."""
        height, width = self.size
        side = max(1.0, math.sqrt(height * width * NODES_PER_BIN / len(self.x)))
        across, down = int((width - 1) / side) + 1, int((height - 1) / side) + 1
        column, row = (self.x / side).long().clamp(max=across - 1), (self.y / side).long().clamp(max=down - 1)
        sorted_bins, order = (row * across + column).sort(stable=True)
        starts = torch.searchsorted(sorted_bins, torch.arange(across * down + 1, device=self.device))
        sums = starts.diff().view(down, across).cumsum(0).cumsum(1)
        return starts, order, torch.nn.functional.pad(sums, (1, 0, 1, 0)), side

    def nearest(self, place: Window, wanted: Tensor | None = None) -> Tensor:
        """(pixels,) of a window: the node nearest to each, the lowest of equals; or of those ``wanted``."""
        top, _, left, _ = place
        rows, columns = _shape(place)
        down, across = -(-rows // TILE), -(-columns // TILE)
        tiles = torch.arange(down * across, device=self.device)
        if wanted is not None:
            padded = wanted.new_zeros(down * TILE, across * TILE)
            padded[:rows, :columns] = wanted.view(rows, columns)
            tiles = tiles[padded.view(down, TILE, across, TILE).any(3).any(1).flatten()]
        within = torch.arange(TILE * TILE, device=self.device)
        y = top + (tiles // across * TILE)[:, None] + within // TILE
        x = left + (tiles % across * TILE)[:, None] + within % TILE
        found = torch.zeros(down * across, TILE * TILE, dtype=torch.int64, device=self.device)
        found[tiles] = self._nearest_in_tiles(x.double(), y.double())
        image = found.view(down, across, TILE, TILE).transpose(1, 2).reshape(down * TILE, across * TILE)
        numbers = image[:rows, :columns].flatten()
        return numbers if wanted is None else numbers[wanted]

    def _nearest_in_tiles(self, x: Tensor, y: Tensor) -> Tensor:
        """(tiles, pixels) numbers of the nodes nearest to the pixels (tiles, pixels) of square tiles."""
        starts, order, sums, side = self.bins
        down, across = sums.shape[0] - 1, sums.shape[1] - 1
        centre_x, centre_y = x.mean(1), y.mean(1)
        half = (TILE - 1) / 2 * math.sqrt(2)

        def block(low_x: Tensor, high_x: Tensor, low_y: Tensor, high_y: Tensor) -> tuple[Tensor, ...]:
            """First and last bins (left, right, upper, lower) that places belong to, and nodes in them."""
            j0, j1 = (bound.div(side).floor().clamp(0, across - 1).long() for bound in (low_x, high_x))
            i0, i1 = (bound.div(side).floor().clamp(0, down - 1).long() for bound in (low_y, high_y))
            held = sums[i1 + 1, j1 + 1] - sums[i0, j1 + 1] - sums[i1 + 1, j0] + sums[i0, j0]
            return j0, j1, i0, i1, held

        # How far a block of bins around a tile must reach to hold a node: no pixel's nearest is further away
        # than that node, and the way across the tile.
        far = torch.full_like(centre_x, side)
        for _ in range(2 * max(self.size).bit_length()):
            held = block(centre_x - far, centre_x + far, centre_y - far, centre_y + far)[-1]
            if bool((held > 0).all()):
                break
            far = torch.where(held > 0, far, 2 * far)
        bound = (far + side + TILE) * math.sqrt(2) + 2 * half
        j0, j1, i0, i1, held = block(centre_x - bound, centre_x + bound, centre_y - bound, centre_y + bound)
        out = torch.empty(x.shape, dtype=torch.int64, device=x.device)
        for run in _split(held) if len(held) else ():
            tile, line = _spread((i1 - i0 + 1)[run])
            first = (i0[run][tile] + line) * across
            begin = starts[first + j0[run][tile]]
            slot, step = _spread(starts[first + j1[run][tile] + 1] - begin)
            tile, node = tile[slot], order[begin[slot] + step]
            away = torch.hypot(self.x[node] - centre_x[run][tile], self.y[node] - centre_y[run][tile])
            least = away.new_full((len(held[run]),), math.inf).scatter_reduce_(0, tile, away, "amin")
            near = away <= (least + 2 * half)[tile] * (1 + 1e-9) + 1e-9
            out[run] = self._compete(tile[near], node[near], x[run], y[run])
        return out

    def _compete(self, tile: Tensor, node: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """(tiles, pixels) the nearest of the candidates (tile, node); distances are those of the kernels."""
        least = torch.full_like(x, math.inf)
        winner = torch.full(x.shape, len(self.x), device=x.device)
        some = max(1, PIECE // (TILE * TILE))
        pairs = list(zip(tile.split(some), node.split(some), strict=True))
        for tiles, nodes in pairs:
            least.scatter_reduce_(
                0, tiles[:, None].expand(-1, x.shape[1]), self._squared(tiles, nodes, x, y), "amin"
            )
        for tiles, nodes in pairs:
            wins = self._squared(tiles, nodes, x, y) == least[tiles]
            numbers = torch.where(wins, nodes[:, None], len(self.x))
            winner.scatter_reduce_(0, tiles[:, None].expand_as(numbers), numbers, "amin")
        return winner

    def _squared(self, tile: Tensor, node: Tensor, x: Tensor, y: Tensor) -> Tensor:
        across, down = self.x[node][:, None] - x[tile], self.y[node][:, None] - y[tile]
        return across * across + down * down


def _slope(xa: Tensor, ya: Tensor, xb: Tensor, yb: Tensor) -> Tensor:
    """Columns a row along edges that go down; 0 for level ones, where it is not used."""
    return torch.where(yb > ya, (xb - xa) / (yb - ya), 0.0)


def _crossing(y: Tensor, xa: Tensor, ya: Tensor, xb: Tensor, yb: Tensor, steep: Tensor) -> Tensor:
    """Where edges from (xa, ya) down to (xb, yb) meet the rows ``y``; exact at both ends."""
    return torch.where(y == ya, xa, torch.where(y == yb, xb, xa + (y - ya) * steep))


def _reach(y: Tensor, sides: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """First and last pixel of rows ``y`` inside triangles, as ``reach`` of the kernels."""
    xa, ya, xb, yb, xc, yc, ac, ab, bc = sides
    one = _crossing(y, xa, ya, xc, yc, ac)
    upper, lower = _crossing(y, xa, ya, xb, yb, ab), _crossing(y, xb, yb, xc, yc, bc)
    other = torch.where(y < yb, upper, torch.where(y == yb, xb, lower))
    return (torch.minimum(one, other) - EDGE).ceil().long(), (torch.maximum(one, other) + EDGE).floor().long()


class _Linear(torch.autograd.Function):
    """Values (B, C, h, w) float32 or float64 -> (B, C, rows, columns) of the window."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, grid: Tensor, size: tuple[int, int], place: Window) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.size, ctx.place = size, place
        out = values.new_empty((*values.shape[:2], *_shape(place)))
        for image, value, nodes in zip(out, values.detach(), grid, strict=True):
            mesh = TensorMesh.of(nodes, size)
            for strip in strips(place):
                rows = slice(strip[0] - place[0], strip[1] - place[0])
                _interpolate(image[:, rows], value.flatten(1), mesh, strip)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (grid,), (gradient,) = ctx.saved_tensors, gradients
        nodes = grid.shape[1] * grid.shape[2]
        out = torch.zeros(*gradient.shape[:2], nodes, dtype=torch.float64, device=gradient.device)
        for total, share, one in zip(out, gradient, grid, strict=True):
            mesh = TensorMesh.of(one, ctx.size)
            for strip in strips(ctx.place):
                rows = slice(strip[0] - ctx.place[0], strip[1] - ctx.place[0])
                _hand_back(total, share[:, rows], mesh, strip)
        return out.view(*gradient.shape[:2], *grid.shape[1:3]).to(gradient.dtype), None, None, None


def _sources(mesh: TensorMesh, strip: Window) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where the pixels of a strip have their values from.

    Returns:
        The corners of their triangles (pixels, 3), or their nearest node thrice; the way (x, y) from corner
        0, (pixels, 2) float64; b1, c1, b2, c2 (pixels, 4), zeros without a triangle; and which have none.
    """
    top, _, left, right = strip
    number = mesh.owners(strip, mesh.everything)
    alone = number == len(mesh.corners)
    number = number.clamp(max=len(mesh.corners) - 1)
    corners, frames = mesh.corners[number], mesh.frames[0][number]
    if bool(alone.any()):
        corners[alone] = mesh.nearest(strip, alone)[:, None]
        frames[alone] = 0.0
    pixel = torch.arange(len(number), device=number.device)
    place = torch.stack([left + pixel % (right - left), top + pixel // (right - left)], 1)
    return corners, place.double() - frames[:, :2], frames[:, 2:], alone


def _interpolate(out: Tensor, values: Tensor, mesh: TensorMesh, strip: Window) -> None:
    """Values (C, nodes) on the pixels of a strip, into ``out`` (C, rows, columns)."""
    corners, way, slopes, alone = _sources(mesh, strip)
    (x, y), (b1, c1, b2, c2) = way.unbind(1), slopes.unbind(1)
    some = max(1, PIECE // len(corners))
    for channels, known in zip(out.split(some), values.split(some), strict=True):
        start, one, two = (known[:, corner] for corner in corners.unbind(1))
        rise1, rise2 = (one - start).double(), (two - start).double()
        across, down = rise1 * b1 + rise2 * b2, rise1 * c1 + rise2 * c2
        drawn = ((start + y * down) + x * across).to(out.dtype)
        channels.copy_(torch.where(alone, start, drawn).view(channels.shape))


def _hand_back(total: Tensor, gradient: Tensor, mesh: TensorMesh, strip: Window) -> None:
    """The transpose: adds to ``total`` (C, nodes) what the pixels of a strip ask of the nodes."""
    corners, way, slopes, _ = _sources(mesh, strip)
    (x, y), (b1, c1, b2, c2) = way.unbind(1), slopes.unbind(1)
    one, two = x * b1 + y * c1, x * b2 + y * c2
    some = max(1, PIECE // len(corners))
    for channels, share in zip(total.split(some), gradient.flatten(1).split(some), strict=True):
        for corner, weight in zip(corners.unbind(1), (1 - one - two, one, two), strict=True):
            channels.index_add_(1, corner, share * weight)


class _Labels:
    """Classes of one image: score (K, h, w) at the nodes of a mesh.

    Raises:
        InvalidInput: when a score is NaN.
    """

    def __init__(self, scores: Tensor, mesh: TensorMesh) -> None:
        self.mesh, self.scores = mesh, scores.flatten(1)
        if bool(self.scores.isnan().any()):
            raise InvalidInput("scores", "numbers", "NaN among them", "find where the network makes them")
        self.best = self._kept(self.scores).argmax(0)

    def of(self, strip: Window, linear: bool) -> Tensor:
        """(rows, columns) int64 of a strip."""
        if not linear:
            return self.best[self.mesh.nearest(strip)].view(_shape(strip))
        if self._traced:
            return self._trace(strip)
        out = torch.zeros(_shape(strip), dtype=torch.int64, device=self.best.device)
        holes = ~self._paint(out, strip, self.mesh.everything)
        if bool(holes.any()):
            out.view(-1)[holes] = self.best[self.mesh.nearest(strip, holes)]
        return out

    @staticmethod
    def _kept(scores: Tensor) -> Tensor:
        """Scores kept finite, float64: as the kernels read them."""
        wide = scores.double() if scores.element_size() > 2 else scores.float()
        return wide.clamp(-HUGE, HUGE).double()

    def _at(self, classes: Tensor, nodes: Tensor) -> Tensor:
        return self._kept(self.scores[classes, nodes])

    @cached_property
    def ordered(self) -> Tensor:
        """(T, 3) corners A, B, C of each triangle by their numbers in the grid."""
        return self.mesh.corners.sort(dim=1).values

    @cached_property
    def kinds(self) -> Tensor:
        """(T,) one class, two classes and nothing else, or more that may win."""
        three = self.best[self.ordered]
        ka, kb, kc = three.unbind(1)
        kinds = torch.full_like(ka, PLAIN)
        kinds[(ka != kb) & (ka != kc) & (kb != kc)] = MANY
        mixed = (((ka != kb) | (ka != kc)) & (kinds == PLAIN)).nonzero()[:, 0]
        classes = torch.arange(len(self.scores), device=ka.device)[:, None]
        for some in mixed.split(max(1, PIECE // (4 * len(self.scores)))):
            mine, other = ka[some], torch.where(ka[some] == kb[some], kc[some], kb[some])
            corners = self.ordered[some].unbind(1)
            open_ = (classes != mine) & (classes != other)
            open_ &= ~self._beaten(mine, corners) & ~self._beaten(other, corners)
            kinds[some] = torch.where(open_.any(0), MANY, TWO)
        return kinds

    def _beaten(self, rival: Tensor, corners: tuple[Tensor, ...]) -> Tensor:
        """(K, n) whether class ``rival`` (n,) wins over each class all over triangles of these corners."""
        margins = [self._at(rival, node) - self._kept(self.scores[:, node]) for node in corners]
        least = torch.minimum(margins[0], torch.minimum(margins[1], margins[2]))
        classes = torch.arange(len(self.scores), device=rival.device)[:, None]
        return (least > 0) | ((least == 0) & (rival < classes))

    @cached_property
    def _traced(self) -> bool:
        return self.mesh.covers() and bool((self.kinds == MANY).double().mean() < MOST_TRACED)

    @cached_property
    def many(self) -> Tensor:
        return (self.kinds == MANY).nonzero()[:, 0]

    @cached_property
    def folded(self) -> Tensor:
        """(H,) rows that a triangle turned over, or nearly flat, meets."""
        mesh, height = self.mesh, self.mesh.size[0]
        (xa, xb, xc), (ya, yb, yc) = mesh.x[self.ordered].unbind(1), mesh.y[self.ordered].unbind(1)
        ux, uy, vx, vy = xb - xa, yb - ya, xc - xa, yc - ya
        turn = 1 - 2 * (mesh.everything % 2)
        sound = (ux * vy - vx * uy) * turn > SOLID * (ux * ux + uy * uy + vx * vx + vy * vy)
        sound |= ((ux == 0) & (uy == 0)) | ((vx == 0) & (vy == 0)) | ((ux == vx) & (uy == vy))
        sound |= ((ux == 0) & (vx == 0)) | ((uy == 0) & (vy == 0))
        low = torch.minimum(ya, torch.minimum(yb, yc))[~sound].long()
        high = (torch.maximum(ya, torch.maximum(yb, yc))[~sound].long() + 2).clamp(max=height)
        steps = torch.zeros(height + 1, dtype=torch.int64, device=mesh.device)
        steps.index_add_(0, low, torch.ones_like(low)).index_add_(0, high, -torch.ones_like(high))
        return steps[:-1].cumsum(0) > 0

    def _trace(self, strip: Window) -> Tensor:
        """Labels of a strip by the steps between classes, summed along the rows."""
        top, bottom, left, _ = strip
        (rows, wide), (xp, yp, xq, yq, change) = _shape(strip), self._segments
        last_row = self.mesh.size[0] - 1
        last = torch.where(yp >= last_row, last_row, yp.ceil() - 1).clamp(max=bottom - 1).long()
        first = yq.ceil().clamp(min=top).long()
        lines = (last - first + 1).clamp(min=0)
        out = torch.zeros(rows * wide, dtype=torch.int32, device=lines.device)
        for run in _split(lines) if len(lines) else ():
            segment, line = _spread(lines[run])
            line += first[run][segment]
            steep = _slope(xq, yq, xp, yp)
            xa, ya, xb, yb, down = (part[run][segment] for part in (xq, yq, xp, yp, steep))
            column = (_crossing(line.double(), xa, ya, xb, yb, down).ceil().long() - left).clamp(min=0)
            here = column < wide
            out.index_add_(0, ((line - top) * wide + column)[here], change[run][segment][here])
        labels = out.view(rows, wide).cumsum(1, dtype=torch.int32).long()
        self._paint(labels, strip, self.many)
        turned = self.folded[top:bottom]
        if bool(turned.any()):
            painted = labels.clone()
            self._paint(painted, strip, self.mesh.everything)
            labels = torch.where(turned[:, None], painted, labels)
        return labels

    @cached_property
    def _segments(self) -> tuple[Tensor, ...]:
        """The borders between classes: from (xp, yp) up to (xq, yq), and the step right of each."""
        left = torch.arange(len(self.mesh.x), device=self.best.device).view(self.mesh.shape)[:, 0]
        ones = torch.ones_like(left[1:])
        # The left border of the mesh starts each row from class 0, the value that the sums start from.
        found = [*self._along_edges(left[:-1], left[1:], ones, 0 * ones)]
        two, many = (self.kinds == TWO).nonzero()[:, 0], self.many
        found.append(self._between_two(two))
        a, b, c = self.ordered[many].unbind(1)
        forward = 1 - 2 * (many % 2)
        for start, stop, turn in ((a, b, forward), (b, c, forward), (a, c, -forward)):
            found += self._along_edges(start, stop, turn, self.best[a])
        xp, yp, xq, yq, change = (torch.cat(parts) for parts in zip(*found, strict=True))
        # Always walked from the top: the same edge met from either of its triangles gives the same crossings.
        up = yp >= yq
        xp, xq, yp, yq = (torch.where(up, *pair) for pair in ((xp, xq), (xq, xp), (yp, yq), (yq, yp)))
        change = torch.where(up, change, -change).int()
        kept = (yp != yq) & (yq < self.mesh.size[0] - 1)
        return xp[kept], yp[kept], xq[kept], yq[kept], change[kept]

    def _turn(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """The points at which edges from nodes A to nodes B, of higher number, change class."""
        x, y, p, q = self.mesh.x, self.mesh.y, self.best[a], self.best[b]
        before, after = self._at(p, a) - self._at(q, a), self._at(q, b) - self._at(p, b)
        share = before / (before + after)
        return x[a] + share * (x[b] - x[a]), y[a] + share * (y[b] - y[a])

    def _along_edges(self, a: Tensor, b: Tensor, forward: Tensor, inside: Tensor) -> list[tuple[Tensor, ...]]:
        """Steps along edges from A to B (back where ``forward`` is -1) of triangles counted as one class."""
        x, y, ka, kb = self.mesh.x, self.mesh.y, self.best[a], self.best[b]
        xm, ym = self._turn(a, b)
        mixed = ka != kb
        xm, ym = torch.where(mixed, xm, x[b]), torch.where(mixed, ym, y[b])
        first, second = ka != inside, mixed & (kb != inside)
        return [
            tuple(part[first] for part in (x[a], y[a], xm, ym, (inside - ka) * forward)),
            tuple(part[second] for part in (xm, ym, x[b], y[b], (inside - kb) * forward)),
        ]

    def _between_two(self, some: Tensor) -> tuple[Tensor, ...]:
        """The one segment between the two classes of each triangle."""
        a, b, c = self.ordered[some].unbind(1)
        ka, kb, kc = self.best[a], self.best[b], self.best[c]
        lone_a, lone_b = kb == kc, (ka == kc) & (kb != kc)

        def pick(if_a: Tensor, if_b: Tensor, if_c: Tensor) -> Tensor:
            return torch.where(lone_a, if_a, torch.where(lone_b, if_b, if_c))

        xp, yp = self._turn(pick(a, b, a), pick(b, c, c))
        xq, yq = self._turn(pick(a, a, b), pick(c, b, c))
        change = pick(ka, kb, kc) - pick(kb, ka, ka)
        return xp, yp, xq, yq, change * (1 - 2 * (some % 2))

    def _paint(self, out: Tensor, strip: Window, some: Tensor) -> Tensor:
        """Paints triangles into ``out`` (rows, columns); returns which pixels (flat) one of them holds."""
        owner = self.mesh.owners(strip, some)
        held = owner < len(self.mesh.corners)
        number = owner.clamp(max=len(self.mesh.corners) - 1)
        labels = self.best[self.mesh.corners[number, 0]]
        mixed = (held & (self.kinds[number] != PLAIN)).nonzero()[:, 0]
        if len(mixed):
            labels[mixed] = self._mixed(number[mixed], mixed, strip)
        out.copy_(torch.where(held, labels, out.flatten()).view(out.shape))
        return held

    def _mixed(self, number: Tensor, pixel: Tensor, strip: Window) -> Tensor:
        """(n,) the class that wins at each pixel (its number in a strip) in a triangle of several."""
        labels = torch.empty_like(number)
        number, order = number.sort()
        triangles, counts = number.unique_consecutive(return_counts=True)
        some = max(1, PIECE // (8 * len(self.scores)))
        start = 0
        for part, pixels_of in zip(triangles.split(some), counts.split(some), strict=True):
            stop = start + int(pixels_of.sum())
            at = order[start:stop]
            labels[at] = self._compete(part, torch.repeat_interleave(pixels_of), pixel[at], strip)
            start = stop
        return labels

    def _compete(self, triangles: Tensor, which: Tensor, pixel: Tensor, strip: Window) -> Tensor:
        """(pixels,) the class of highest score; ``which`` of the ``triangles`` (n,) each pixel lies in."""
        corners = self.mesh.corners[triangles].unbind(1)
        classes = torch.arange(len(self.scores), device=pixel.device)[:, None]
        winners = [self.best[node] for node in corners]
        out = torch.stack([self._beaten(rival, corners) for rival in winners]).any(0)
        for rival in winners:
            out &= classes != rival
        count = (~out).sum(0)
        slots = torch.where(out, len(self.scores), classes).sort(0).values[: int(count.max())]
        # Where a triangle has fewer, its first again: an equal score never wins over it.
        slots = torch.where(slots == len(self.scores), slots[0], slots)
        base, one, two = (self._at(slots, node.expand_as(slots)) for node in corners)
        rise1, rise2 = one - base, two - base
        x0, y0, b1, c1, b2, c2 = self.mesh.frames[0][triangles].unbind(1)
        across, down = rise1 * b1 + rise2 * b2, rise1 * c1 + rise2 * c2
        wide = strip[3] - strip[2]
        x, y = strip[2] + pixel % wide - x0[which], strip[0] + pixel // wide - y0[which]

        def plane(slot: int) -> Tensor:
            return base[slot][which] + y * down[slot][which]

        winner = torch.zeros_like(pixel)
        most = plane(0) + x * across[0][which]
        for slot in range(1, len(slots)):
            value = plane(slot) + x * across[slot][which]
            winner, most = torch.where(value > most, slot, winner), torch.maximum(most, value)
        # Of two the difference decides, as where kernels look for the place at which it changes sign.
        second = (plane(1) - plane(0)) + x * (across[1] - across[0])[which] > 0
        winner = torch.where((count == 2)[which], second.long(), winner)
        return slots[winner, which]
