"""Sizes as they are checked."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from saccade.errors import InvalidInput


def require_size(size: Sequence[int], name: str = "size") -> tuple[int, int]:
    """``size`` as (rows, columns), both whole numbers of at least 1.

    Raises:
        InvalidInput: when it is not a pair of whole numbers of at least 1.
    """
    expected = "a pair (rows, columns) of whole numbers of at least 1"
    try:
        rows, columns = (require_count(side, name) for side in size)
    except (TypeError, ValueError):
        raise InvalidInput(name, expected, repr(size)) from None
    return rows, columns


def require_count(value: object, name: str) -> int:
    """``value`` as a whole number of at least 1; a bool is no number here.

    Raises:
        InvalidInput: when it is something else.
    """
    try:
        count = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        count = 0
    if isinstance(value, bool) or count < 1:
        raise InvalidInput(name, "a whole number of at least 1", repr(value))
    return count
