"""What a study is: a question of the papers, the arms that answer it, and what is measured besides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from saccade.evaluation.comparison.arms import Arm, Outcome, Setting, Size
from saccade.evaluation.comparison.results import Comparison
from saccade.evaluation.comparison.table import setting_json, to_json
from saccade.evaluation.studies.blocks import Block, to_plain

KIND = "saccade study 1"
Arms = Callable[[Setting], Sequence[Arm]]
Measure = Callable[[Setting, Sequence[Outcome]], Sequence[Block]]


def no_arms(setting: Setting) -> Sequence[Arm]:
    """For a study that trains nothing."""
    return ()


def no_measure(setting: Setting, outcomes: Sequence[Outcome]) -> Sequence[Block]:
    """For a study whose arms say it all."""
    return ()


@dataclass(frozen=True)
class Study:
    """A question, and how it is answered.

    Every arm is trained at every size and seed of the setting and evaluated; the page compares each with the
    first, with bootstrap intervals, and draws the scores over :attr:`Arm.value` where arms have one. What a
    study finds besides, it says in the blocks of ``measure``; :meth:`Setting.samples` hands it the images,
    and :func:`saccade.training.load_run` of an :attr:`Outcome.folder` a trained segmenter.

    Attributes:
        name: on the command line.
        title: of its page.
        question: one sentence.
        source: the paper and section it is from.
        arms: of a setting; the first is what the others are compared with.
        measure: blocks for the page, from the setting and the outcomes of the arms.
        sizes: where none are asked for; default those of every comparison.
        value_name: what :attr:`Arm.value` is.
        log_value: whether doubling steps of it are equally wide.
    """

    name: str
    title: str
    question: str
    source: str
    arms: Arms = no_arms
    measure: Measure = no_measure
    sizes: Callable[[Setting], Sequence[Size]] | None = None
    value_name: str = ""
    log_value: bool = False

    @property
    def trains(self) -> bool:
        """Whether networks are trained for it, so that seeds and network matter."""
        return self.arms is not no_arms


def study_json(
    setting: Setting, study: Study, blocks: Sequence[Block], compared: Comparison | None
) -> dict[str, Any]:
    """What a study found, numbers or None: the comparison of its arms, where it has some, and its blocks."""
    found = setting_json(setting) if compared is None else to_json(compared)
    asked = {"kind": KIND, "study": study.name, "question": study.question, "source": study.source}
    return {**found, **asked, "blocks": [to_plain(block) for block in blocks]}
