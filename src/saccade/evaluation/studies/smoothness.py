"""How close to the boundaries should samples lie: the lambda of the boundary energy (ICCV 2019, Fig. 3)?"""

from __future__ import annotations

from collections.abc import Sequence

from saccade.evaluation.comparison.arms import Outcome, Setting, Size, named_size
from saccade.evaluation.smoothness import STEPS, Found, smoothness_study, ways_of
from saccade.evaluation.studies.blocks import Block, Cell, Chart, Curve, Table, Text
from saccade.evaluation.studies.study import Study
from saccade.metrics import iou, miou
from saccade.training.lessons_boundary import target_classes

NOTE = (
    "Label recovery: the labels are sampled by the exact grid of the true labels and put back, without any "
    "network; nothing is trained. Near: within 1 % of the image's diagonal of a target boundary. Folded: "
    "images whose exact grid folds and was mended."
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
    return [*blocks, Text(NOTE)]


def _blocks(names: Sequence[str], size: Size, found: Sequence[Found]) -> list[Block]:
    rows = [_row(one) for one in found]
    head = ("grid", "lambda", *names, "mean", "samples near", "folded")
    halves = {"few": found[1 : 1 + len(STEPS)], "all": found[1 + len(STEPS) :]}
    curves = [
        Curve(f"{name}, {which} nodes", STEPS, [_cell(float(iou(one.recovery)[k])) for one in part])
        for which, part in halves.items()
        for k, name in enumerate(names[:4])
    ]
    title = f"Label recovery over lambda, {named_size(size)}"
    return [
        Chart(title, "lambda", "IoU of label recovery", curves, log_x=True),
        Table(f"IoU of label recovery by lambda, {named_size(size)}", head, rows),
    ]


def _row(one: Found) -> list[Cell]:
    way = one.way
    grid = (
        "uniform"
        if way.smoothness is None
        else "of the view"
        if way.tensor is None
        else named_size(way.tensor)
    )
    scores = [_cell(x) for x in iou(one.recovery).tolist()]
    return [grid, way.smoothness, *scores, _cell(miou(one.recovery)), _cell(one.near), one.folded]


def _cell(number: float) -> float | None:
    return number if number == number else None


SMOOTHNESS = Study(
    name="smoothness",
    title="The smoothness of boundary grids",
    question="How close to the boundaries should samples lie, so that fewest labels are lost?",
    source="ICCV 2019, Eq. 2 and Fig. 3",
    measure=measure,
)
