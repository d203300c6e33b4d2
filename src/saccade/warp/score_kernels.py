"""Scores at the nodes: read in any type and layout, the best class of each, and which can win in a triangle.

``scores`` is (values, table, strides, classes): flat values, strides of (class, row, column). Half precision
comes as its bits with a table of their values, so that it is never copied; else the table is empty.
"""

from __future__ import annotations

import numpy as np

from saccade.compiled import kernel

HUGE = 1e38
"""Infinite scores count as this: a class ruled out by -inf must not turn its neighbours into NaN."""


@kernel
def read(scores, place):
    """One score, kept finite."""
    values, table = scores[0], scores[1]
    if len(table) > 0:
        return float(table[int(values[place])])
    return min(max(float(values[place]), -HUGE), HUGE)


@kernel
def place_of(row, column, scores):
    """Where the score of class 0 of a node is."""
    return row * scores[2][1] + column * scores[2][2]


@kernel
def winners(first, last, scores, best, faults):
    """Rows ``first:last`` of ``best`` (h, w) int32: the best class of each node, the lowest of equals.

    faults[0] becomes 1 where a score is NaN.
    """
    strides, classes = scores[2], scores[3]
    most = np.empty(best.shape[1])
    for row in range(first, last):
        most[:] = -np.inf
        best[row] = 0
        for number in range(classes):
            place = number * strides[0] + row * strides[1]
            for column in range(best.shape[1]):
                value = read(scores, place)
                if value != value:
                    faults[0] = 1
                if value > most[column]:
                    most[column] = value
                    best[row, column] = number
                place += strides[2]


@kernel
def beaten(number, rival, scores, a, b, c):
    """Whether class ``rival`` wins over ``number`` all over the triangle with corners at places a, b, c."""
    mine, other = number * scores[2][0], rival * scores[2][0]
    least = read(scores, a + other) - read(scores, a + mine)
    least = min(least, read(scores, b + other) - read(scores, b + mine))
    least = min(least, read(scores, c + other) - read(scores, c + mine))
    return least > 0 or (least == 0 and rival < number)


@kernel
def contenders(scores, a, b, c, ka, kb, kc, found):
    """Into ``found``, ascending, the classes that may win in a triangle with best classes ka, kb, kc."""
    count = 0
    for number in range(scores[3]):
        if number != ka and number != kb and number != kc:
            if beaten(number, ka, scores, a, b, c):
                continue
            if kb != ka and beaten(number, kb, scores, a, b, c):
                continue
            if kc != ka and kc != kb and beaten(number, kc, scores, a, b, c):
                continue
        found[count] = number
        count += 1
    return count
