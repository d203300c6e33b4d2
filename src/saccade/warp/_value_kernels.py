"""Kernels of :func:`saccade.unwarp`: the source of every pixel, and its value.

The source of a pixel is one int32: a triangle (>= 0), or ``-2 - node`` for a node.
"""

from __future__ import annotations

import math

import numpy as np

from saccade.runtime.kernels import inlined, kernel
from saccade.warp._mesh_kernels import corners, frame, node_of, paint

TILE = 32
BLOCK = 8


@kernel
def bin_nodes(x, y, side, across, down):
    """Nodes (flat x, y in pixels) by bins of ``side`` pixels: where each bin starts, and their numbers."""
    starts = np.zeros(across * down + 1, np.int64)
    places = np.empty(len(x), np.int64)
    for node in range(len(x)):
        place = min(int(y[node] / side), down - 1) * across + min(int(x[node] / side), across - 1)
        places[node] = place
        starts[place + 1] += 1
    for place in range(across * down):
        starts[place + 1] += starts[place]
    order = np.empty(len(x), np.int32)
    at = starts[:-1].copy()
    for node in range(len(x)):
        order[at[places[node]]] = node
        at[places[node]] += 1
    return starts, order


@kernel
def nearest_to(px, py, x, y, starts, order, side, across):
    """The node nearest to one place, searching bins in growing rings."""
    down = (len(starts) - 1) // across
    column, row = min(int(px / side), across - 1), min(int(py / side), down - 1)
    best, nearest = np.inf, -1
    for ring in range(max(across, down) + 1):
        # A ring is at least one bin less than its number away: nothing from there on can be nearer.
        if nearest >= 0 and best <= (max(ring - 1, 0) * side) ** 2:
            break
        for i in range(max(row - ring, 0), min(row + ring, down - 1) + 1):
            # Of the rows between only both ends belong to the ring.
            step = 1 if abs(i - row) == ring else 2 * ring
            for j in range(column - ring, column + ring + 1, max(step, 1)):
                if j < 0 or j >= across:
                    continue
                for slot in range(starts[i * across + j], starts[i * across + j + 1]):
                    node = order[slot]
                    distance = (x[node] - px) ** 2 + (y[node] - py) ** 2
                    if distance < best or (distance == best and node < nearest):
                        best, nearest = distance, node
    return nearest


@inlined
def hopeless(node, rival, cx, cy, hx, hy, x, y):
    """Whether ``rival`` is nearer than ``node`` all over the box (cx, cy) +- (hx, hy)."""
    nx, ny, mx, my = x[node] - cx, y[node] - cy, x[rival] - cx, y[rival] - cy
    n2, m2 = nx * nx + ny * ny, mx * mx + my * my
    if nx == mx and ny == my:
        return node > rival
    # The difference of squared distances is linear over the box, so its least value is at a corner; the
    # margin keeps near ties, which the exact comparison then settles.
    return n2 - m2 - 2.0 * (abs(nx - mx) * hx + abs(ny - my) * hy) > 1e-12 * (n2 + m2 + 1.0)


@kernel
def candidates(top, left, rows, columns, x, y, starts, order, side, across):
    """Numbers of all nodes that may be nearest to a pixel of a tile."""
    down = (len(starts) - 1) // across
    hx, hy = (columns - 1) * 0.5, (rows - 1) * 0.5
    cx, cy = left + hx, top + hy
    rival = nearest_to(cx, cy, x, y, starts, order, side, across)
    radius = math.sqrt((abs(x[rival] - cx) + hx) ** 2 + (abs(y[rival] - cy) + hy) ** 2)
    i0, i1 = int(max(top - radius, 0.0) / side), min(int((top + rows - 1 + radius) / side), down - 1)
    j0, j1 = int(max(left - radius, 0.0) / side), min(int((left + columns - 1 + radius) / side), across - 1)
    most = 0
    for i in range(i0, i1 + 1):
        most += starts[i * across + j1 + 1] - starts[i * across + j0]
    nodes = np.empty(most, np.int32)
    count = 0
    for i in range(i0, i1 + 1):
        for slot in range(starts[i * across + j0], starts[i * across + j1 + 1]):
            node = order[slot]
            if not hopeless(node, rival, cx, cy, hx, hy, x, y):
                nodes[count] = node
                count += 1
    return nodes[:count]


@kernel
def nearest_tile(tile, top, left, rows, columns, x, y, starts, order, side, across):
    """Writes the nearest node of every pixel of a tile into ``tile[:rows, :columns]``."""
    nodes = candidates(top, left, rows, columns, x, y, starts, order, side, across)
    xs, ys, far = np.empty(len(nodes)), np.empty(len(nodes)), np.empty(len(nodes))
    for slot in range(len(nodes)):
        xs[slot], ys[slot] = x[nodes[slot]], y[nodes[slot]]
    least, winners = np.empty(BLOCK * BLOCK), np.empty(BLOCK * BLOCK, np.int32)
    across_block, down_block = np.empty(BLOCK * BLOCK), np.empty(BLOCK * BLOCK)
    for i in range(0, rows, BLOCK):
        for j in range(0, columns, BLOCK):
            high, wide = min(BLOCK, rows - i), min(BLOCK, columns - j)
            for pixel in range(BLOCK * BLOCK):
                across_block[pixel] = left + j + pixel % BLOCK
                down_block[pixel] = top + i + pixel // BLOCK
            hx, hy = (wide - 1) * 0.5, (high - 1) * 0.5
            cx, cy = left + j + hx, top + i + hy
            for slot in range(np.uint64(len(nodes))):
                far[slot] = (xs[slot] - cx) ** 2 + (ys[slot] - cy) ** 2
            rival = far.argmin()
            bound = (math.sqrt(far[rival]) + 2.0 * math.sqrt(hx * hx + hy * hy)) ** 2 * (1.0 + 1e-9) + 1e-9
            least[:] = np.inf
            winners[:] = nodes[rival]
            for slot in range(len(nodes)):
                if far[slot] > bound or hopeless(nodes[slot], nodes[rival], cx, cy, hx, hy, x, y):
                    continue
                compete(xs[slot], ys[slot], nodes[slot], across_block, down_block, least, winners)
            for row in range(high):
                for column in range(wide):
                    tile[i + row, j + column] = winners[row * BLOCK + column]


@kernel
def compete(x, y, node, across, down, least, winners):
    """Gives ``node`` at (x, y) the pixels (across, down) of a block to which it is nearer than any before."""
    for pixel in range(np.uint64(BLOCK * BLOCK)):
        distance = (x - across[pixel]) ** 2 + (y - down[pixel]) ** 2
        # Without branches, so that a block of pixels is compared by vector instructions.
        level = (distance == least[pixel]) & (node < winners[pixel])
        closer = (distance < least[pixel]) | level
        least[pixel] = distance if closer else least[pixel]
        winners[pixel] = node if closer else winners[pixel]


@kernel
def nearest_numbers(numbers, top, left, x, y, starts, order, side, across, holes_only):
    """Writes ``-2 - node`` of the nearest node into ``numbers`` (rows, columns); or only where it is -1."""
    rows, columns = numbers.shape
    tile = np.empty((TILE, TILE), np.int32)
    for i in range(0, rows, TILE):
        for j in range(0, columns, TILE):
            high, wide = min(TILE, rows - i), min(TILE, columns - j)
            if holes_only and not np.any(numbers[i : i + high, j : j + wide] == -1):
                continue
            nearest_tile(tile, top + i, left + j, high, wide, x, y, starts, order, side, across)
            for row in range(high):
                for column in range(wide):
                    if not holes_only or numbers[i + row, j + column] == -1:
                        numbers[i + row, j + column] = -2 - tile[row, column]


CHUNK = 1 << 17
"""Pixels whose sources are kept at a time."""


@kernel
def sources(first, last, out, window, mesh, bins, linear, missed):
    """Rows ``first:last`` of ``out`` (rows, columns) int32: the source of each pixel of the window."""
    numbers, top, left = out[first:last], window[0] + first, window[2]
    x, y, heights = mesh
    if linear:
        no_values = np.empty((0, 0))
        numbers[:] = -1
        paint(numbers, no_values, no_values, top, left, x, y, heights)
        if not any_left(numbers):
            return
    if not to_nearest(numbers, top, left, mesh, bins, linear):
        missed[0] = 1


@kernel
def any_left(numbers):
    """Whether a pixel has no triangle."""
    for row in range(len(numbers)):
        least = np.int32(0)
        for place in range(numbers.shape[1]):
            least = min(least, numbers[row, place])
        if least < 0:
            return True
    return False


@kernel
def to_nearest(numbers, top, left, mesh, bins, holes_only):
    """Numbers the nearest node of all pixels, or of those left; False if there are no bins to find it by."""
    starts, order, side, across = bins
    if len(order) == 0:
        return False
    x, y = mesh[0].ravel(), mesh[1].ravel()
    nearest_numbers(numbers, top, left, x, y, starts, order, side, across, holes_only)
    return True


@kernel
def fill_holes(numbers, planes, values):
    """Gives each pixel whose source is a node that node's values."""
    flat = numbers.ravel()
    for channel in range(len(planes)):
        for place in range(len(flat)):
            if flat[place] < 0:
                planes[channel, place] = values[channel, -2 - flat[place]]


@kernel
def interpolated(first, last, values, out, window, mesh, bins, missed):
    """Rows ``first:last`` of ``out`` (C, rows, columns): values (C, nodes), linear on each triangle.

    missed[0] becomes 1 where a pixel is in no triangle and there are no bins to find its nearest node by.
    """
    columns, left = out.shape[2], window[2]
    x, y, heights = mesh
    deep = max(1, CHUNK // columns)
    scratch = np.empty((min(deep, last - first), columns), np.int32)
    planes = out.reshape(len(out), out.shape[1] * columns)
    for start in range(first, last, deep):
        stop, top = min(start + deep, last), window[0] + start
        numbers, part = scratch[: stop - start], planes[:, start * columns : stop * columns]
        numbers[:] = -1
        paint(numbers, part, values, top, left, x, y, heights)
        if any_left(numbers):
            if not to_nearest(numbers, top, left, mesh, bins, True):
                missed[0] = 1
                return
            fill_holes(numbers, part, values)


@kernel
def gathered(first, last, values, strides, out, window, mesh, bins):
    """Rows ``first:last`` of ``out`` (C, rows, columns): the nearest node's value, of any type, as bits.

    values: flat, with ``strides`` of (channel, row, column).
    """
    columns, wide = out.shape[2], mesh[0].shape[1]
    deep = max(1, CHUNK // columns)
    scratch = np.empty((min(deep, last - first), columns), np.int32)
    for start in range(first, last, deep):
        numbers = scratch[: min(deep, last - start)]
        to_nearest(numbers, window[0] + start, window[2], mesh, bins, False)
        for channel in range(len(out)):
            for line in range(len(numbers)):
                for column in range(columns):
                    node = -2 - numbers[line, column]
                    row = node // wide
                    at = channel * strides[0] + row * strides[1] + (node - row * wide) * strides[2]
                    out[channel, start + line, column] = values[at]


@kernel
def scattered(first, last, numbers, gradient, out, window, mesh):
    """Channels ``first:last`` of the gradient with respect to the values: out (C, nodes) float64, zeros.

    numbers: (rows, columns) sources; gradient: (C, rows, columns). One order of summation, so one result.
    """
    columns = numbers.shape[1]
    held = np.empty(6)
    for row in range(len(numbers)):
        column = 0
        while column < columns:
            number = numbers[row, column]
            stop = column + 1
            while stop < columns and numbers[row, stop] == number:
                stop += 1
            if number < 0:
                for channel in range(first, last):
                    for place in range(column, stop):
                        out[channel, -2 - number] += gradient[channel, row, place]
            else:
                _hand_back(first, last, number, row, column, stop, gradient, out, window, mesh, held)
            column = stop


@kernel
def _hand_back(first, last, number, row, column, stop, gradient, out, window, mesh, held):
    """Adds the gradient of the pixels ``column:stop`` of a row to the corners of their triangle."""
    x, y, _ = mesh
    cells = x.shape[1] - 1
    cell = number >> 1
    frame(corners(x, y, cell // cells, cell % cells, number & 1), held)
    x0, down = held[0], window[0] + row - held[1]
    n0, n1, n2 = node_of(number, cells, 0), node_of(number, cells, 1), node_of(number, cells, 2)
    for channel in range(first, last):
        total = moment = 0.0
        for place in range(column, stop):
            share = gradient[channel, row, place]
            # On a run the weights are linear in x: two sums give all three corners their gradient.
            total += share
            moment += share * (window[2] + place - x0)
        one = moment * held[2] + total * down * held[3]
        two = moment * held[4] + total * down * held[5]
        out[channel, n0] += total - one - two
        out[channel, n1] += one
        out[channel, n2] += two
