"""Where a sample lies and how far its footprint reaches: shared by the kernels of :func:`saccade.sample`."""

from __future__ import annotations

from saccade.compiled import inlined, kernel

LONGEST = 32.0
"""The longer side of a footprint spans at most this many pixels of the level it is averaged on."""

ROUNDING = 1.0 + 1e-9
"""A footprint this close to the next level counts as on it, so that rounding does not choose levels."""


@inlined
def pixel(position, side):
    """Pixel coordinate of a grid coordinate in [-1, 1], kept inside the image."""
    return min(max((position + 1.0) * 0.5 * (side - 1), 0.0), side - 1.0)


@kernel
def footprint(grid, image, row, column, height, width):
    """(width, height) of a sample's footprint in pixels, as ``saccade.grids.footprints``; at least 1."""
    rows, columns = grid.shape[1], grid.shape[2]
    up, down = max(row - 1, 0), min(row + 1, rows - 1)
    left, right = max(column - 1, 0), min(column + 1, columns - 1)
    across = 0.25 if right - left == 2 else 0.5
    along = 0.25 if down - up == 2 else 0.5
    wide = abs(grid[image, row, right, 0] - grid[image, row, left, 0]) * across
    wide += abs(grid[image, down, column, 0] - grid[image, up, column, 0]) * along
    tall = abs(grid[image, row, right, 1] - grid[image, row, left, 1]) * across
    tall += abs(grid[image, down, column, 1] - grid[image, up, column, 1]) * along
    wide *= width - 1
    tall *= height - 1
    if columns == 1:
        wide += width
    if rows == 1:
        tall += height
    return max(wide, 1.0), max(tall, 1.0)


@kernel
def level_for(wide, tall, levels):
    """The level on which the shorter side spans 2 to 4 pixels and the longer at most ``LONGEST``."""
    short, long = min(wide, tall) * ROUNDING, max(wide, tall)
    level, scale = 0, 1.0
    while level < levels - 1 and (short >= 4.0 * scale or long > LONGEST * scale):
        level += 1
        scale *= 2.0
    return level


@inlined
def interval(centre, length, scale, side):
    """(low, high) of a footprint along one axis, in pixels of a level, clipped to the image."""
    half, finer = max(length, scale) * 0.5, 1.0 / scale
    low, high = centre + 0.5 - half, centre + 0.5 + half
    return max(low, 0.0) * finer, min(high, float(side)) * finer


@kernel
def footprint_to_grid(first, last, grid, sides, size, out):
    """Transpose of :func:`footprint`, rows ``first:last``: adds to ``out`` what ``sides`` asks of the nodes.

    sides: (B, h, w, 2) gradient with respect to each footprint's width and height. out: (B, h, w, 2).
    """
    height, width = size
    rows, columns = grid.shape[1:3]
    for line in range(first, last):
        image, row = line // rows, line % rows
        for column in range(columns):
            for axis in range(2):
                scale = (width - 1.0) if axis == 0 else (height - 1.0)
                total = 0.0
                for other in range(max(column - 1, 0), min(column + 2, columns)):
                    left, right = max(other - 1, 0), min(other + 1, columns - 1)
                    if left < right and (left == column or right == column):
                        rise = grid[image, row, right, axis] - grid[image, row, left, axis]
                        sign = (rise > 0) * 1.0 - (rise < 0) * 1.0
                        share = sign if right == column else -sign
                        total += share * sides[image, row, other, axis] * 0.5 / (right - left)
                for other in range(max(row - 1, 0), min(row + 2, rows)):
                    up, down = max(other - 1, 0), min(other + 1, rows - 1)
                    if up < down and (up == row or down == row):
                        rise = grid[image, down, column, axis] - grid[image, up, column, axis]
                        sign = (rise > 0) * 1.0 - (rise < 0) * 1.0
                        share = sign if down == row else -sign
                        total += share * sides[image, other, column, axis] * 0.5 / (down - up)
                out[image, row, column, axis] += total * scale
