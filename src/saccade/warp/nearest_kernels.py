"""The nearest node to each pixel, exactly, a tile of pixels at a time.

In a tile only nodes that beat the one nearest to its centre, ``m``, somewhere in the tile can be nearest
anywhere in it. |p - n|^2 - |p - m|^2 is linear in p, so the corners decide. Nodes are found through square
bins. The same pruning is done again on blocks of the tile, and the few that are left compete for each pixel,
all pixels of a block at once in vector registers; of equally near nodes the lowest number wins.
"""

from __future__ import annotations

import math

import numpy as np

from saccade.compiled import inlined, kernel

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
    best, found = np.inf, -1
    for ring in range(max(across, down) + 1):
        if found >= 0 and best <= (max(ring - 1, 0) * side) ** 2:
            break
        for i in range(max(row - ring, 0), min(row + ring, down - 1) + 1):
            step = 1 if abs(i - row) == ring else 2 * ring
            for j in range(column - ring, column + ring + 1, max(step, 1)):
                if j < 0 or j >= across:
                    continue
                for slot in range(starts[i * across + j], starts[i * across + j + 1]):
                    node = order[slot]
                    distance = (x[node] - px) ** 2 + (y[node] - py) ** 2
                    if distance < best or (distance == best and node < found):
                        best, found = distance, node
    return found


@inlined
def hopeless(node, rival, cx, cy, hx, hy, x, y):
    """Whether ``rival`` is nearer than ``node`` all over the box (cx, cy) +- (hx, hy)."""
    nx, ny, mx, my = x[node] - cx, y[node] - cy, x[rival] - cx, y[rival] - cy
    n2, m2 = nx * nx + ny * ny, mx * mx + my * my
    if nx == mx and ny == my:
        return node > rival
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
    found = np.empty(most, np.int32)
    count = 0
    for i in range(i0, i1 + 1):
        for slot in range(starts[i * across + j0], starts[i * across + j1 + 1]):
            node = order[slot]
            if not hopeless(node, rival, cx, cy, hx, hy, x, y):
                found[count] = node
                count += 1
    return found[:count]


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
