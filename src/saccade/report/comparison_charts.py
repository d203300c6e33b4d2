"""Charts of the page of a comparison: every arm has one colour, one dash and one marker throughout."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch

from saccade.evaluation.comparison.arms import Arm
from saccade.evaluation.comparison.results import Comparison, Point, trimap_parts
from saccade.metrics import recall_by_size
from saccade.metrics.cost import Cost
from saccade.report import comparison_words as words
from saccade.report.chart import COLOURS, Line, line_chart, round_range
from saccade.report.markup import text

Axis = Callable[[Cost], float | None]
AXES: dict[str, Axis] = {
    "pixels that the network sees": lambda cost: cost.pixels,
    "GFLOPs an image": lambda cost: cost.gflops,
    "milliseconds an image": lambda cost: 1e3 * cost.seconds_per_image,
    "megabytes at the peak": lambda cost: cost.peak_memory_bytes and cost.peak_memory_bytes / 1e6,
}


def quality_charts(compared: Comparison, which: int, name: str) -> str:
    """A score over every cost; upright strokes span the seeds, level ones are the sampler's share."""
    found = {}
    for label, axis in AXES.items():
        lines = [_quality_line(compared, arm, axis, which, "GFLOPs" in label) for arm in _shown(compared)]
        title = f"{name} over {label}"
        found[title] = line_chart(
            lines, title=title, x_label=label, y_label=name, log_x=True, y_range=round_range(lines)
        )
    return charts(found)


def trimap_charts(compared: Comparison) -> str:
    """Accuracy in bands around true boundaries, a chart a size."""
    found = {}
    for size in compared.setting.sizes:
        lines = []
        for arm in _shown(compared):
            point = compared.at(arm, size)
            widths = [float(width) for width in point.evaluations[0].widths] if point else []
            values = compared.resampled(point, trimap_parts).values[:-1].tolist() if point else []
            lines.append(Line(words.arm_name(compared, arm.name), widths, values))
        title = f"Accuracy near true boundaries, {words.sized(size)}"
        found[title] = line_chart(
            lines, title=title, x_label="width of the band, pixels", y_label="accuracy", log_x=True,
            y_range=round_range(lines),
        )  # fmt: skip
    return charts(found)


def recall_charts(compared: Comparison, class_id: int) -> str:
    """Recall of the objects of a class in quarters of their size, a chart a size."""
    found = {}
    for size in compared.setting.sizes:
        lines = []
        for arm in _shown(compared):
            point = compared.at(arm, size)
            values = _recalls(point, class_id) if point else [None] * 4
            lines.append(Line(words.arm_name(compared, arm.name), [1.0, 2.0, 3.0, 4.0], values))
        title = f"Recall of {compared.classes[class_id]} by size of the object, {words.sized(size)}"
        found[title] = line_chart(
            lines, title=title, x_label="quarter of the objects, small to large", y_label="mean recall",
            y_range=(0, 1),
        )  # fmt: skip
    return charts(found)


def charts(found: Mapping[str, str]) -> str:
    """Charts beside each other, each under its title."""
    inner = "".join(f"<div><h3>{text(title)}</h3>{svg}</div>" for title, svg in found.items())
    return f'<div class="charts">{inner}</div>'


def _shown(compared: Comparison) -> tuple[Arm, ...]:
    return compared.arms[:COLOURS]


def _quality_line(compared: Comparison, arm: Arm, axis: Axis, which: int, split: bool) -> Line:
    own = [(x, point) for point in compared.of(arm) if (x := axis(point.cost)) is not None]
    seeds = [point.scores(which) for _, point in own]
    left = [point.cost.gflops - point.cost.sampler_gflops for _, point in own] if split else []
    return Line(
        words.arm_name(compared, arm.name),
        [x for x, _ in own],
        [float(point.iou.values[which]) for _, point in own],
        [min(values, default=None) for values in seeds],
        [max(values, default=None) for values in seeds],
        left,
    )


def _recalls(point: Point, class_id: int) -> list[float | None]:
    objects = torch.cat([record.objects for one in point.evaluations for record in one.records])
    return [
        None if math.isnan(size.recall) else size.recall
        for size in recall_by_size(objects, classes=[class_id])
    ]
