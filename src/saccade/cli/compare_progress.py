"""How far a comparison is: a run weighs what it looks like at first, and what it takes once that is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from saccade.cli.console import Progress
    from saccade.evaluation.comparison.arms import Case

EVERY_IMAGE = 2000
"""Pixels' worth of work that a sample costs whatever the size: reading, and the full-size answer."""


class Overall:
    """Turns the progress of single runs into that of all, in percent of the time.

    What a sampler costs cannot be told from its options. So a run counts for the seconds that runs of its
    sampler and size take so far, and before there is one for what its weight says at the rate of the others.

    Args:
        progress: of 100 steps.
        cases: that will be done.
        now: the time in seconds.
    """

    def __init__(
        self, progress: Progress, cases: Sequence[Case], now: Callable[[], float] = time.monotonic
    ) -> None:
        self.progress, self.now = progress, now
        self.runs = {case.name: _Run(case) for case in cases}

    def tell(self, case: Case, share: float, line: str) -> None:
        """``share`` of a case is done."""
        self.runs[case.name].hear(share, self.now())
        finished = sum(one.share >= 1 for one in self.runs.values())
        note = f"{finished} of {len(self.runs)} runs; {case.name}: {line}"
        self.progress.update(round(100 * self._done(), 1), note=note)

    def _done(self) -> float:
        """Share of all the work that was not done before, in [0, 1]."""
        taken: dict[object, list[float]] = {}
        for one in self.runs.values():
            if one.seconds:
                taken.setdefault(one.kind, []).append(one.seconds)
        known = {kind: mean(seconds) for kind, seconds in taken.items()}
        measured = [one for one in self.runs.values() if one.kind in known]
        of_weight = sum(one.weight for one in measured)
        rate = sum(known[one.kind] for one in measured) / of_weight if of_weight else 1.0
        whole = {name: known.get(one.kind, rate * one.weight) for name, one in self.runs.items()}
        done = sum(whole[name] * (one.share - one.before) for name, one in self.runs.items())
        wanted = sum(whole[name] * (1 - one.before) for name, one in self.runs.items())
        return done / wanted if wanted else 1.0


@dataclass
class _Run:
    """What was heard of one run.

    Attributes:
        case: the run.
        share: of it that is done.
        before: share that was done before this comparison began.
        heard: whether anything was.
        first: (share, time) when its first epoch was over, which reads the images and so tells no speed.
        seconds: that all of it takes, by what it took since; 0 as long as nobody knows.
    """

    case: Case
    share: float = 0.0
    before: float = 0.0
    heard: bool = False
    first: tuple[float, float] | None = None
    seconds: float = 0.0

    @property
    def kind(self) -> object:
        """What runs that take as long have in common."""
        return self.case.arm.name, self.case.size

    @property
    def weight(self) -> float:
        """A guess at the work, in pixels."""
        config = self.case.config
        samples = config.visits * (config.foveation.locations if config.sampler.name == "foveation" else 1)
        return config.all_epochs * samples * (self.case.size[0] * self.case.size[1] + EVERY_IMAGE)

    def hear(self, share: float, now: float) -> None:
        self.share = share
        if not self.heard:
            self.heard, self.before = True, share
        elif self.first is None:
            self.first = (share, now)
        elif share > self.first[0]:
            self.seconds = (now - self.first[1]) / (share - self.first[0])
