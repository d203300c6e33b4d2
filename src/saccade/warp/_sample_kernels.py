"""Kernels of :func:`saccade.sample`: bilinear, nearest and anti-aliased, forward and backward.

Level 0 is flat with any strides of (batch, row, column, channel). Positions are float64, whatever the grid.
A batch of one image serves every grid: grid ``b`` reads image ``b % images``.
"""

from __future__ import annotations

import math

import numpy as np

from saccade.runtime.kernels import inlined, kernel

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
    # [-1, 1] spans the centres of the outermost pixels: one less than there are pixels.
    wide *= width - 1
    tall *= height - 1
    # A single sample has no neighbour to be told its width by: it stands for the whole side.
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
    # The mean over a box as wide as a pixel is bilinear interpolation; a narrower one would be the nearest
    # pixel nearly everywhere.
    half, finer = max(length, scale) * 0.5, 1.0 / scale
    # Centres count from the middle of the first pixel, edges from its border: half a pixel apart.
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
                # The transpose gathers: each node asks which footprints it is part of, so that rows can go to
                # threads.
                for other in range(max(column - 1, 0), min(column + 2, columns)):
                    left, right = max(other - 1, 0), min(other + 1, columns - 1)
                    if left < right and (left == column or right == column):
                        rise = grid[image, row, right, axis] - grid[image, row, left, axis]
                        # The slope of the absolute value, 0 where it has none: neither side is right there.
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


@kernel
def bilinear(first, last, base, strides, images, size, grid, out):
    """Rows ``first:last`` (over batch x grid rows) of ``out`` (B, C, h, w), between four pixels each."""
    height, width = size
    channels, rows, columns = out.shape[1:]
    for line in range(first, last):
        image, row = line // rows, line % rows
        start = image % images * strides[0]
        for column in range(columns):
            x = pixel(grid[image, row, column, 0], width)
            y = pixel(grid[image, row, column, 1], height)
            left, top = int(x), int(y)
            fx, fy = x - left, y - top
            at = start + top * strides[1] + left * strides[2]
            # The last pixel stands beside itself: its share is 0 there, but what lies behind it may be no
            # memory.
            across = strides[2] if left < width - 1 else 0
            down = strides[1] if top < height - 1 else 0
            for channel in range(channels):
                upper = base[at] + fx * (float(base[at + across]) - base[at])
                lower = base[at + down] + fx * (float(base[at + down + across]) - base[at + down])
                out[image, channel, row, column] = upper + fy * (lower - upper)
                at += strides[3]


@kernel
def bilinear_to_grid(first, last, base, strides, images, size, grid, gradient, out):
    """Rows ``first:last`` of the gradient with respect to ``grid``: out (B, h, w, 2)."""
    height, width = size
    channels, rows, columns = gradient.shape[1:]
    for line in range(first, last):
        image, row = line // rows, line % rows
        start = image % images * strides[0]
        for column in range(columns):
            x = pixel(grid[image, row, column, 0], width)
            y = pixel(grid[image, row, column, 1], height)
            # On the last pixel the slope to its left: a cell beyond the border would have none.
            left, top = min(int(x), max(width - 2, 0)), min(int(y), max(height - 2, 0))
            fx, fy = x - left, y - top
            at = start + top * strides[1] + left * strides[2]
            across = strides[2] if left < width - 1 else 0
            down = strides[1] if top < height - 1 else 0
            to_x = to_y = 0.0
            for channel in range(channels):
                nw, ne = float(base[at]), float(base[at + across])
                sw, se = float(base[at + down]), float(base[at + down + across])
                share = gradient[image, channel, row, column]
                to_x += share * ((1 - fy) * (ne - nw) + fy * (se - sw))
                to_y += share * ((1 - fx) * (sw - nw) + fx * (se - ne))
                at += strides[3]
            out[image, row, column, 0] = to_x * 0.5 * (width - 1)
            out[image, row, column, 1] = to_y * 0.5 * (height - 1)


@kernel
def bilinear_to_image(first, last, size, grid, gradient, out):
    """Planes ``first:last`` (over images x channels) of the gradient with respect to the image.

    out: (images, H, W, C), zeros at the start. A plane belongs to one thread, so sums have one order.
    """
    height, width = size
    images, channels = out.shape[0], out.shape[3]
    batch, _, rows, columns = gradient.shape
    for plane in range(first, last):
        source, channel = plane // channels, plane % channels
        for image in range(source, batch, images):
            for row in range(rows):
                for column in range(columns):
                    x = pixel(grid[image, row, column, 0], width)
                    y = pixel(grid[image, row, column, 1], height)
                    left, top = int(x), int(y)
                    fx, fy = x - left, y - top
                    right, below = min(left + 1, width - 1), min(top + 1, height - 1)
                    share = gradient[image, channel, row, column]
                    out[source, top, left, channel] += share * (1 - fx) * (1 - fy)
                    out[source, top, right, channel] += share * fx * (1 - fy)
                    out[source, below, left, channel] += share * (1 - fx) * fy
                    out[source, below, right, channel] += share * fx * fy


@kernel
def nearest(first, last, base, strides, images, size, grid, out):
    """Rows ``first:last`` of ``out`` (B, C, h, w): the nearest pixel; halves go to the even one."""
    height, width = size
    channels, rows, columns = out.shape[1:]
    for line in range(first, last):
        image, row = line // rows, line % rows
        start = image % images * strides[0]
        for column in range(columns):
            # Halves to even, as grid_sample of PyTorch rounds them.
            x = int(np.rint(pixel(grid[image, row, column, 0], width)))
            y = int(np.rint(pixel(grid[image, row, column, 1], height)))
            at = start + y * strides[1] + x * strides[2]
            for channel in range(channels):
                out[image, channel, row, column] = base[at]
                at += strides[3]


TAPS = int(LONGEST) + 2
"""The most pixels of a level that one side of a footprint touches."""


@inlined
def cover(low, high, shares, before):
    """The pixels that an interval touches, first and count; and into ``shares`` how much of each.

    Only the outermost are touched in part, so only they are written: ``shares`` holds ones but for the ends
    of the last call, which counted ``before`` pixels (1 where there was none).
    """
    shares[before - 1] = 1.0
    first, stop = int(low), math.ceil(high)
    count = stop - first
    head = first + 1.0 - low
    shares[0] = head
    shares[count - 1] = (head if count == 1 else 1.0) - (stop - high)
    return first, count


@kernel
def level_lines(levels, level, image, base, strides, rest, channels):
    """Where an image starts on a level, and the steps there to the next row, column and channel."""
    if level == 0:
        return image * strides[0], strides[1], strides[2], strides[3]
    lines = levels[level, 2] * channels
    return levels[level, 0] + image * levels[level, 1] * lines, lines, channels, 1


@kernel
def columns_of(values, start, steps, down, rows, columns, channels, sums):
    """sums[j * channels + c]: column j, channel c of a box of pixels, rows weighted by ``down``."""
    lines, over, step = steps
    many = columns * channels
    sums[:many] = 0
    if step == 1 and over == channels:
        # Unsigned places: a signed one might be negative, count from the end, and keep the loop from vectors.
        for i in range(rows):
            weight, place = down[i], np.uint64(start + i * lines)
            for k in range(np.uint64(many)):
                sums[k] += weight * values[place + k]
        return
    for i in range(rows):
        at = 0
        for j in range(columns):
            place = start + i * lines + j * over
            for _ in range(channels):
                sums[at] += down[i] * values[place]
                place += step
                at += 1


@inlined
def across_box(sums, across, columns, channels, channel):
    """One channel of the sums of a box, columns weighted by ``across``."""
    total, at = across[0] * sums[channel], np.uint64(channel)
    for column in range(np.uint64(1), np.uint64(columns)):
        at += np.uint64(channels)
        total += across[column] * sums[at]
    return total


@kernel
def averaged(first, last, base, strides, images, rest, levels, grid, out):
    """Rows ``first:last`` of ``out`` (B, C, h, w): the mean of the image over each sample's footprint.

    levels: (levels, 3) as ``saccade.warp.pyramid.level_table``.
    """
    height, width = levels[0, 1], levels[0, 2]
    channels, rows, columns = out.shape[1:]
    across, down = np.ones(TAPS, out.dtype), np.ones(TAPS, out.dtype)
    many = high = 1
    sums = np.empty(TAPS * channels, out.dtype)
    for line in range(first, last):
        image, row = line // rows, line % rows
        source = image % images
        for column in range(columns):
            wide, tall = footprint(grid, image, row, column, height, width)
            level = level_for(wide, tall, len(levels))
            scale = float(1 << level)
            x0, x1 = interval(pixel(grid[image, row, column, 0], width), wide, scale, width)
            y0, y1 = interval(pixel(grid[image, row, column, 1], height), tall, scale, height)
            left, many = cover(x0, x1, across, many)
            top, high = cover(y0, y1, down, high)
            start, lines, over, step = level_lines(levels, level, source, base, strides, rest, channels)
            start += top * lines + left * over
            if level == 0:
                columns_of(base, start, (lines, over, step), down, high, many, channels, sums)
            else:
                columns_of(rest, start, (lines, over, step), down, high, many, channels, sums)
            share = 1.0 / ((x1 - x0) * (y1 - y0))
            for channel in range(channels):
                out[image, channel, row, column] = across_box(sums, across, many, channels, channel) * share


@kernel
def patches_of(first, last, size, levels, antialias, grid, out):
    """Rows ``first:last`` (over batch x grid rows): the pixels that each sample is made of.

    levels: of the pyramid. out: (B, h, w, 5) level, then the first row, first column, rows and columns there.
    """
    height, width = size
    rows, columns = grid.shape[1:3]
    for line in range(first, last):
        image, row = line // rows, line % rows
        for column in range(columns):
            x = pixel(grid[image, row, column, 0], width)
            y = pixel(grid[image, row, column, 1], height)
            patch = out[image, row, column]
            if antialias:
                wide, tall = footprint(grid, image, row, column, height, width)
                level = level_for(wide, tall, levels)
                scale = float(1 << level)
                x0, x1 = interval(x, wide, scale, width)
                y0, y1 = interval(y, tall, scale, height)
                patch[0], patch[1], patch[2] = level, int(y0), int(x0)
                patch[3], patch[4] = math.ceil(y1) - int(y0), math.ceil(x1) - int(x0)
            else:
                patch[0], patch[1], patch[2] = 0, int(y), int(x)
                patch[3], patch[4] = min(2, height - int(y)), min(2, width - int(x))


@kernel
def copy_patches(pixels, level, top, left, patches, starts, members, out):
    """Copies of a window of one level, whose corner lies at (top, left) there, what patches hold of it.

    pixels: (h, w, C). patches: (n, 5) as ``patches_of``; only ``members`` are copied, those of ``level``.
    out: flat; patch n begins at ``starts[n]`` and holds its rows one after the other, channels last.
    """
    height, width, channels = pixels.shape
    for n in members:
        if patches[n, 0] != level:
            continue
        above, before, columns = patches[n, 1] - top, patches[n, 2] - left, patches[n, 4]
        lines = columns * channels
        low, high = max(before, 0), min(before + columns, width)
        for row in range(max(above, 0), min(above + patches[n, 3], height)):
            at = starts[n] + (row - above) * lines + (low - before) * channels
            for column in range(low, high):
                for channel in range(channels):
                    out[at] = pixels[row, column, channel]
                    at += 1


@kernel
def averaged_patches(first, last, numbers, values, starts, size, levels, grid, out):
    """``averaged`` of the samples ``numbers[first:last]`` from copies of their pixels: equal to the bit.

    values: flat. levels: how many the pyramid has.
    """
    height, width = size
    channels, rows, columns = out.shape[1:]
    across, down = np.ones(TAPS, out.dtype), np.ones(TAPS, out.dtype)
    many = high = 1
    sums = np.empty(TAPS * channels, out.dtype)
    for at in range(first, last):
        image, line = numbers[at] // (rows * columns), numbers[at] % (rows * columns)
        row, column = line // columns, line % columns
        wide, tall = footprint(grid, image, row, column, height, width)
        scale = float(1 << level_for(wide, tall, levels))
        x0, x1 = interval(pixel(grid[image, row, column, 0], width), wide, scale, width)
        y0, y1 = interval(pixel(grid[image, row, column, 1], height), tall, scale, height)
        _, many = cover(x0, x1, across, many)
        _, high = cover(y0, y1, down, high)
        columns_of(values, starts[at], (many * channels, channels, 1), down, high, many, channels, sums)
        share = 1.0 / ((x1 - x0) * (y1 - y0))
        for channel in range(channels):
            out[image, channel, row, column] = across_box(sums, across, many, channels, channel) * share


@kernel
def bilinear_patches(first, last, numbers, values, starts, size, levels, grid, out):
    """``bilinear`` of the samples ``numbers[first:last]`` from copies of their pixels: equal to the bit."""
    height, width = size
    channels, rows, columns = out.shape[1:]
    for at in range(first, last):
        image, line = numbers[at] // (rows * columns), numbers[at] % (rows * columns)
        row, column = line // columns, line % columns
        x = pixel(grid[image, row, column, 0], width)
        y = pixel(grid[image, row, column, 1], height)
        left, top = int(x), int(y)
        fx, fy = x - left, y - top
        across = channels if left < width - 1 else 0
        down = channels + across if top < height - 1 else 0
        place = starts[at]
        for channel in range(channels):
            upper = values[place] + fx * (float(values[place + across]) - values[place])
            lower = values[place + down] + fx * (float(values[place + down + across]) - values[place + down])
            out[image, channel, row, column] = upper + fy * (lower - upper)
            place += 1


@kernel
def averaged_to_grid(first, last, base, strides, images, rest, levels, grid, gradient, out, sides):
    """Rows ``first:last`` of the gradient with respect to each sample's place and to its footprint.

    out, sides: (B, h, w, 2); the gradient by position (x, y) in [-1, 1], and by width and height in pixels.
    An edge that moves outwards adds the mean along it less the mean of the box. An edge that the border clips
    does not move, nor does a footprint held at its least length.
    """
    height, width = levels[0, 1], levels[0, 2]
    channels, rows, columns = gradient.shape[1:]
    across, down = np.ones(TAPS, gradient.dtype), np.ones(TAPS, gradient.dtype)
    many = high = 1
    one = np.ones(1, gradient.dtype)
    room = TAPS * channels
    sums = np.empty(room, gradient.dtype)
    first_row, last_row = np.empty(room, gradient.dtype), np.empty(room, gradient.dtype)
    for line in range(first, last):
        image, row = line // rows, line % rows
        source = image % images
        for column in range(columns):
            wide, tall = footprint(grid, image, row, column, height, width)
            level = level_for(wide, tall, len(levels))
            scale = float(1 << level)
            x0, x1 = interval(pixel(grid[image, row, column, 0], width), wide, scale, width)
            y0, y1 = interval(pixel(grid[image, row, column, 1], height), tall, scale, height)
            left, many = cover(x0, x1, across, many)
            top, high = cover(y0, y1, down, high)
            start, lines, over, step = level_lines(levels, level, source, base, strides, rest, channels)
            start += top * lines + left * over
            values, steps = base if level == 0 else rest, (lines, over, step)
            columns_of(values, start, steps, down, high, many, channels, sums)
            columns_of(values, start, steps, one, 1, many, channels, first_row)
            columns_of(values, start + (high - 1) * lines, steps, one, 1, many, channels, last_row)
            mean = at_left = at_right = at_top = at_bottom = 0.0
            for channel in range(channels):
                share = gradient[image, channel, row, column]
                mean += share * across_box(sums, across, many, channels, channel)
                at_left += share * sums[channel]
                at_right += share * sums[(many - 1) * channels + channel]
                at_top += share * across_box(first_row, across, many, channels, channel)
                at_bottom += share * across_box(last_row, across, many, channels, channel)
            long, deep = x1 - x0, y1 - y0
            mean /= long * deep
            by_left = (mean - at_left / deep) / (long * scale) if x0 > 0.0 else 0.0
            by_right = (at_right / deep - mean) / (long * scale) if x1 * scale < width else 0.0
            by_top = (mean - at_top / long) / (deep * scale) if y0 > 0.0 else 0.0
            by_bottom = (at_bottom / long - mean) / (deep * scale) if y1 * scale < height else 0.0
            out[image, row, column, 0] = (by_left + by_right) * 0.5 * (width - 1)
            out[image, row, column, 1] = (by_top + by_bottom) * 0.5 * (height - 1)
            sides[image, row, column, 0] = (by_right - by_left) * 0.5 if wide > scale else 0.0
            sides[image, row, column, 1] = (by_bottom - by_top) * 0.5 if tall > scale else 0.0


@kernel
def averaged_to_image(first, last, images, levels, grid, gradient, base, rest):
    """Planes ``first:last`` (over images x channels) of the gradient with respect to the levels.

    base: flat gradient of level 0 (channels last), rest: of the levels above; zeros at the start.
    """
    height, width = levels[0, 1], levels[0, 2]
    batch, channels, rows, columns = gradient.shape
    for plane in range(first, last):
        source, channel = plane // channels, plane % channels
        for image in range(source, batch, images):
            for row in range(rows):
                for column in range(columns):
                    wide, tall = footprint(grid, image, row, column, height, width)
                    level = level_for(wide, tall, len(levels))
                    scale = float(1 << level)
                    x0, x1 = interval(pixel(grid[image, row, column, 0], width), wide, scale, width)
                    y0, y1 = interval(pixel(grid[image, row, column, 1], height), tall, scale, height)
                    lines = levels[level, 2] * channels
                    start = levels[level, 0] + source * levels[level, 1] * lines + channel
                    values = base if level == 0 else rest
                    share = gradient[image, channel, row, column] / ((x1 - x0) * (y1 - y0))
                    for i in range(int(y0), math.ceil(y1)):
                        part = share * (min(y1, i + 1.0) - max(y0, float(i)))
                        for j in range(int(x0), math.ceil(x1)):
                            weight = min(x1, j + 1.0) - max(x0, float(j))
                            values[start + i * lines + j * channels] += part * weight
