"""What a published experiment is: a name, a source, a figure, and options that are no defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Options = dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """One row of a table or one point of a curve.

    Attributes:
        paper: the folder of its file.
        name: of its file, without .yaml.
        what: the row, for people.
        data: the data set that it needs, for people.
        published: its figure; empty where the paper draws it without a number.
        options: sections of the configuration.
        note: what differs from the paper, or is not known.
    """

    paper: str
    name: str
    what: str
    data: str
    published: str
    options: Options
    note: str = ""

    @property
    def file(self) -> str:
        return f"{self.paper}/{self.name}.yaml"


def merged(*several: Mapping[str, Any]) -> Options:
    """Sections put over each other, key by key; the last wins."""
    found: Options = {}
    for options in several:
        for section, values in options.items():
            found[section] = {**found.get(section, {}), **values}
    return found


def side(pixels: int) -> str:
    """A square size."""
    return f"{pixels}x{pixels}"
