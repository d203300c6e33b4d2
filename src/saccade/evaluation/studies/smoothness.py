"""How close to the boundaries should samples lie: the lambda of the boundary energy (ICCV 2019, Fig. 3)?"""

from __future__ import annotations

from collections.abc import Sequence

from saccade.evaluation.comparison.arms import Outcome, Setting, Size, named_size
from saccade.evaluation.smoothness import STEPS, Found, Way, smoothness_study, ways_of
from saccade.evaluation.studies.blocks import Block, Cell, Chart, Curve, Table, Text
from saccade.evaluation.studies.study import Study
from saccade.metrics import iou, miou
from saccade.training.lessons_boundary import target_classes

NOTE = (
    "Boundaries of {targets} attract. Label recovery: the labels are sampled by the exact grid of the true "
    "labels and put back, without any network; nothing is trained. Near: within 1 % of the image's diagonal "
    "of a target boundary. Folded: share of images whose exact grid folds and was mended."
)


def measure(setting: Setting, outcomes: Sequence[Outcome]) -> Sequence[Block]:
    """Grids of the published size, and as large as the view, for ``boundary.classes`` of the setting."""
    names = setting.data.classes.names
    targets = target_classes(setting.base.boundary, names)
    ways = ways_of(tensor=setting.base.boundary.tensor)
    blocks: list[Block] = []
    for size in setting.sizes:
        found = smoothness_study(setting.samples(), len(names), size, ways=ways, classes=targets)
        blocks += _blocks(names, size, found)
    targeted = "all classes" if targets is None else ", ".join(names[k] for k in targets)
    return [*blocks, Text(NOTE.format(targets=targeted))]


def _blocks(names: Sequence[str], size: Size, found: Sequence[Found]) -> list[Block]:
    rows = [_row(one, size) for one in found]
    head = ("grid", "lambda", *names, "mean", "samples near", "folded")
    halves = found[1 : 1 + len(STEPS)], found[1 + len(STEPS) :]
    curves = [
        Curve(
            f"{name}, {_grid(part[0].way, size)}", STEPS, [_cell(float(iou(one.recovery)[k])) for one in part]
        )
        for part in halves
        for k, name in enumerate(names[:4])
    ]
    title = f"Label recovery over lambda, {named_size(size)}"
    return [
        Chart(title, "lambda", "IoU of label recovery", curves, log_x=True),
        Table(f"IoU of label recovery by lambda, {named_size(size)}", head, rows),
    ]


def _row(one: Found, size: Size) -> list[Cell]:
    way = one.way
    scores = [_cell(x) for x in iou(one.recovery).tolist()]
    smoothness = None if way.smoothness is None else f"{way.smoothness:g}"
    return [_grid(way, size), smoothness, *scores, _cell(miou(one.recovery)), _cell(one.near), one.folded]


def _grid(way: Way, size: Size) -> str:
    return "uniform" if way.smoothness is None else named_size(way.tensor or size)


def _cell(number: float) -> float | None:
    return number if number == number else None


SMOOTHNESS = Study(
    name="smoothness",
    title="The smoothness of boundary grids",
    question="How close to the boundaries should samples lie, so that fewest labels are lost?",
    source="ICCV 2019, Eq. 2 and Fig. 3",
    measure=measure,
)
