"""Painting the triangles of a mesh: the number of each pixel's triangle, and values linear on it.

Triangles are closed sets of pixel centres; where several hold a pixel, the one of lowest number has it. To
that end they are painted from the last to the first. A pixel's value is computed from its own place and its
triangle alone, never from where a span of pixels starts, so that windows agree bit for bit.

Spans are traced once for all channels: those of some triangles are kept and then drawn channel by channel,
since one pixel's channels lie far apart in memory and would drive each other out of the cache.
"""

from __future__ import annotations

import math

import numpy as np

from saccade.compiled import inlined, kernel
from saccade.warp.lanes import LANES, draw_line
from saccade.warp.triangle_kernels import by_height, corners, reach, slope, weights

TRIANGLES = 256
"""Triangles whose spans are kept before they are drawn."""

SPANS = 8192
"""Spans that are kept, and as many more as one triangle has rows."""


@kernel
def paint(numbers, planes, values, top, left, x, y, heights):
    """Writes the triangle of each pixel into ``numbers``, and values on it into ``planes``; the rest stays.

    numbers: (rows, columns) int32, its first pixel is (top, left) of the image. planes: (C, rows * columns),
    values: (C, nodes), C >= 0. x, y: (h, w) nodes in pixels. heights: (2, h) least and greatest y of a row.
    """
    bottom, cells = top + numbers.shape[0] - 1, x.shape[1] - 1
    spans = np.empty((SPANS + len(numbers), 3), np.int32)
    frames, nodes = np.empty((TRIANGLES, 6)), np.empty((TRIANGLES, 4), np.int64)
    kept = many = 0
    for row in range(x.shape[0] - 2, -1, -1):
        if min(heights[0, row], heights[0, row + 1]) > bottom:
            continue
        if max(heights[1, row], heights[1, row + 1]) < top:
            continue
        for column in range(cells - 1, -1, -1):
            for half in range(1, -1, -1):
                points = corners(x, y, row, column, half)
                y0, y1, y2 = points[1], points[3], points[5]
                if min(y0, min(y1, y2)) > bottom or max(y0, max(y1, y2)) < top:
                    continue
                if not frame(points, frames[kept]):
                    continue
                number = 2 * (row * cells + column) + half
                many = trace_spans(numbers, top, left, points, number, spans, many)
                for corner in range(3):
                    nodes[kept, corner] = node_of(number, cells, corner)
                nodes[kept, 3] = many
                kept += 1
                if kept == TRIANGLES or many > SPANS:
                    draw(planes, values, numbers.shape[1], top, left, spans, frames, nodes[:kept])
                    kept = many = 0
    draw(planes, values, numbers.shape[1], top, left, spans, frames, nodes[:kept])


@inlined
def frame(points, into):
    """A triangle's corner 0 and slopes (x0, y0, b1, c1, b2, c2); False, and nothing, where it is flat."""
    x0, y0, x1, y1, x2, y2 = points
    b1, c1, b2, c2, thin = weights(x0, y0, x1, y1, x2, y2)
    into[0], into[1] = x0, y0
    into[2], into[3], into[4], into[5] = b1, c1, b2, c2
    return not thin


@inlined
def node_of(number, cells, corner):
    """Flat number of corner 0, 1 or 2 of a triangle, in a mesh of ``cells`` cells a row."""
    half, cell = number & 1, number >> 1
    row, column = cell // cells, cell % cells
    if corner == 0:
        return (row + half) * (cells + 1) + column + half
    if corner == 1:
        return (row + half) * (cells + 1) + column + 1 - half
    return (row + 1 - half) * (cells + 1) + column + half


@kernel
def trace_spans(numbers, top, left, points, number, spans, many):
    """Numbers the pixels of a triangle, and adds (row, first column, pixels) of each row to ``spans``.

    Returns how many spans there are then. Rows and columns count from (top, left).
    """
    x0, y0, x1, y1, x2, y2 = points
    rows, columns = numbers.shape
    flat = numbers.ravel()
    xa, ya, xb, yb, xc, yc = by_height(x0, y0, x1, y1, x2, y2)
    ac, ab, bc = slope(xa, ya, xc, yc), slope(xa, ya, xb, yb), slope(xb, yb, xc, yc)
    for line in range(max(math.ceil(ya), top), min(math.floor(yc), top + rows - 1) + 1):
        start, stop = reach(line, xa, ya, xb, yb, xc, yc, ac, ab, bc)
        start, stop = max(start - left, 0), min(stop - left, columns - 1)
        if start > stop:
            continue
        spans[many, 0], spans[many, 1], spans[many, 2] = line - top, start, stop - start + 1
        draw_span(flat, (line - top) * columns + start, stop - start + 1, float(number), 0.0, 0.0, 0.0)
        many += 1
    return many


@kernel
def draw(planes, values, columns, top, left, spans, frames, nodes):
    """Draws values on the spans of some triangles. nodes: (triangles, 4) corners, and where its spans end."""
    for channel in range(len(planes)):
        plane, known = planes[channel], values[channel]
        span = 0
        for triangle in range(len(nodes)):
            x0, y0 = frames[triangle, 0], frames[triangle, 1]
            start = float(known[nodes[triangle, 0]])
            rise1, rise2 = known[nodes[triangle, 1]] - start, known[nodes[triangle, 2]] - start
            across = rise1 * frames[triangle, 2] + rise2 * frames[triangle, 4]
            down = rise1 * frames[triangle, 3] + rise2 * frames[triangle, 5]
            while span < nodes[triangle, 3]:
                row, column, count = spans[span, 0], spans[span, 1], spans[span, 2]
                base = start + (top + row - y0) * down
                draw_span(plane, row * columns + column, count, base, float(left + column), x0, across)
                span += 1


@inlined
def draw_span(flat, at, count, base, place, x0, steep):
    """flat[at + k] = base + ((place + k) - x0) steep for k < count."""
    for done in range(0, count, LANES):
        some = min(count - done, LANES)
        if at + done + LANES <= len(flat):
            draw_line(flat, at + done, some, base, place + done, x0, steep)  # type: ignore[call-arg]
        else:
            for k in range(done, done + some):
                flat[at + k] = base + ((place + k) - x0) * steep
