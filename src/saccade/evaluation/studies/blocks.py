"""What a study hands to the page: texts, tables and charts, as plain values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Cell = str | float | int | None


@dataclass(frozen=True)
class Text:
    """A paragraph, perhaps with a heading."""

    text: str
    heading: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first cell heads its row. Numbers are written with three digits, None as a dash.

    Attributes:
        caption: the line above.
        head: names of the columns.
        rows: as many cells each: texts, numbers or None.
        note: the line below.
    """

    caption: str
    head: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


@dataclass(frozen=True)
class Curve:
    """One line of a chart; None where there is no value.

    Attributes:
        name: at its end.
        x, y: equally many.
        low, high: the spread about each y, or nothing.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()


@dataclass(frozen=True)
class Chart:
    """Lines over one axis; doubling steps of x are equally wide where ``log_x``."""

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve] = field(default_factory=tuple)
    log_x: bool = False
    y_range: tuple[float, float] | None = None


Block = Text | Table | Chart


def to_plain(block: Block) -> dict[str, Any]:
    """A block as JSON has it: its kind, its parts, and None for what is no number."""
    return {"kind": type(block).__name__.lower(), **_plain(asdict(block))}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
