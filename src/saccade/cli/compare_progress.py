"""How far a comparison is: every run weighs as many epochs and pixels as it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from saccade.cli.console import Progress
    from saccade.evaluation.comparison.arms import Case

EVERY_IMAGE = 2000
"""Pixels' worth of work that an image costs whatever the size: reading, and the full-size answer."""


class Overall:
    """Turns the progress of single runs into that of all, in percent.

    Args:
        progress: of 100 steps.
        cases: that will be done.
    """

    def __init__(self, progress: Progress, cases: Sequence[Case]) -> None:
        self.progress = progress
        self.weights = {case.name: _weight(case) for case in cases}
        self.done = dict.fromkeys(self.weights, 0.0)

    def tell(self, case: Case, share: float, line: str) -> None:
        """``share`` of a case is done."""
        self.done[case.name] = share
        passed = sum(self.weights[name] * part for name, part in self.done.items())
        finished = sum(part >= 1 for part in self.done.values())
        note = f"{finished} of {len(self.done)} runs; {case.name}: {line}"
        self.progress.update(int(100 * passed / sum(self.weights.values())), note=note)


def _weight(case: Case) -> float:
    return case.config.all_epochs * (case.size[0] * case.size[1] + EVERY_IMAGE)
