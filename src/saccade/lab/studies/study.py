"""What a study is: a question of the papers, the methods that answer it, and what it hands to the page.

Methods have the names that they have in every comparison, so that runs are shared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from saccade.data.cache import Sample
from saccade.lab.methods import ComparisonConfig, Method, Outcome, Size
from saccade.lab.results import Comparison, config_json, to_json
from saccade.metrics.bootstrap import Interval, Resampled, draw_images, iou_parts, resample

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
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


KIND = "saccade study 1"
Methods = Callable[[ComparisonConfig], Sequence[Method]]
Measure = Callable[[ComparisonConfig, Sequence[Outcome]], Sequence[Block]]


def no_methods(config: ComparisonConfig) -> Sequence[Method]:
    """For a study that trains nothing."""
    return ()


def no_measure(config: ComparisonConfig, outcomes: Sequence[Outcome]) -> Sequence[Block]:
    """For a study whose methods say it all."""
    return ()


@dataclass(frozen=True)
class Study:
    """A question, and how it is answered.

    Every method is trained at every size and seed and evaluated; the page compares each with
    the first, with bootstrap intervals, and draws the scores over :attr:`Method.value` where it has one. What
    a study finds besides, it says in the blocks of ``measure``; :meth:`ComparisonConfig.samples` hands it the
    images, and :func:`saccade.training.load_run` of an :attr:`Outcome.folder` a trained segmenter.

    Attributes:
        name: on the command line.
        title: of its page.
        question: one sentence.
        source: the paper and section it is from.
        methods: of a comparison; the first is what the others are compared with.
        measure: blocks for the page, from the comparison and the outcomes of the methods.
        sizes: where none are asked for; default those of every comparison.
        value_name: what :attr:`Method.value` is.
        log_value: whether doubling steps of it are equally wide.
    """

    name: str
    title: str
    question: str
    source: str
    methods: Methods = no_methods
    measure: Measure = no_measure
    sizes: Callable[[ComparisonConfig], Sequence[Size]] | None = None
    value_name: str = ""
    log_value: bool = False

    @property
    def trains(self) -> bool:
        """Whether networks are trained for it, so that seeds and network matter."""
        return self.methods is not no_methods


def study_json(
    config: ComparisonConfig, study: Study, blocks: Sequence[Block], compared: Comparison | None
) -> dict[str, Any]:
    """What a study found, numbers or None: the comparison of its methods, if any, and its blocks."""
    facts = config_json(config) if compared is None else to_json(compared)
    about = {"kind": KIND, "study": study.name, "question": study.question, "source": study.source}
    return {**facts, **about, "blocks": [to_plain(block) for block in blocks]}


Counts = Callable[[Sample], Sequence[Tensor]]
"""Of an image, confusion matrices (K, K), one for each way that is compared."""

UNIFORM = Method("uniform", ("sampler.name=uniform",))
DEFORMATION = Method("deformation", ("sampler.name=deformation",))
DOWNSAMPLERS = ("uniform", "oracle", "boundary", "deformation")
"""Samplers of one view an image."""


def compared(config: ComparisonConfig, outcomes: Sequence[Outcome]) -> Comparison:
    """The outcomes of a study's methods as a comparison, for gains between any two of them."""
    methods = tuple(dict.fromkeys(outcome.trial.method for outcome in outcomes))
    return Comparison(config, methods, tuple(outcomes))


def scored(config: ComparisonConfig, confusion: Counts) -> list[Resampled]:
    """IoUs from confusion matrices of single images, resampled: one for each that ``confusion`` gives.

    Args:
        config: whose images are visited once.
        confusion: counts an image.
    """
    rows = [[iou_parts(counts) for counts in confusion(sample)] for sample in config.samples()]
    ways = np.array(rows).swapaxes(0, 1)[:, None]
    images = draw_images(len(rows))
    return [resample(parts, images) for parts in ways]


def gain_text(gain: Interval) -> str:
    """``+3.1 [2.5, 3.7], win``."""
    low, high = 100 * gain.low, 100 * gain.high
    return f"{100 * gain.value:+.1f} [{low:.1f}, {high:.1f}], {gain.verdict}"
