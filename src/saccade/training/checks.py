"""Checks of options, each with a readable answer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from saccade.errors import InvalidInput, nearest_name


def one_of(what: str, value: object, allowed: tuple[str, ...]) -> None:
    """Refuses a value that is none of the names allowed."""
    if value not in allowed:
        fix = nearest_name(str(value), allowed)
        raise InvalidInput(what, "one of " + ", ".join(allowed), repr(value), fix)


def at_least(what: str, value: float | None, least: float) -> None:
    """Refuses a number that is too small or not finite; None passes."""
    if value is not None and not least <= value < math.inf:
        raise InvalidInput(what, f"a finite number of at least {least:g}", value)


def all_at_least(what: str, values: Sequence[float] | None, least: float) -> None:
    """Refuses a list that is empty or has a number that is too small; None passes."""
    if values is not None and len(values) == 0:
        raise InvalidInput(what, "a list of one number or more", "an empty list")
    for value in values or ():
        at_least(what, value, least)
