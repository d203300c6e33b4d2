"""The part of a page that a study fills: its question, its own blocks, its scores over a number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from saccade.evaluation.comparison.results import Comparison
from saccade.evaluation.studies.blocks import Block, Cell, Chart, Table, Text
from saccade.evaluation.studies.study import Study
from saccade.report.chart import Line, line_chart, round_range
from saccade.report.comparison_charts import charts
from saccade.report.comparison_words import aligned, sized
from saccade.report.markup import number, table, text


def blocks_html(blocks: Sequence[Block]) -> str:
    """Texts, tables and charts; charts that follow each other stand side by side."""
    parts = []
    for drawn, group in groupby(blocks, key=lambda block: isinstance(block, Chart)):
        if drawn:
            parts.append(charts({block.title: _chart(block) for block in group if isinstance(block, Chart)}))
        else:
            parts += [_words(block) for block in group]
    return "".join(parts)


def blocks_lines(blocks: Sequence[Block]) -> list[str]:
    """The tables for a terminal."""
    lines = []
    for block in blocks:
        if isinstance(block, Table):
            rows = [block.head, *([_plain(cell) for cell in row] for row in block.rows)]
            lines += [block.caption, *aligned(rows)]
    return lines


def _words(block: Block) -> str:
    if isinstance(block, Text):
        heading = f"<h2>{text(block.heading)}</h2>" if block.heading else ""
        return f"{heading}<p>{text(block.text)}</p>"
    assert isinstance(block, Table)
    rows = [[_cell(cell) for cell in row] for row in block.rows]
    note = f'<p class="soft">{text(block.note)}</p>' if block.note else ""
    return table(block.head, rows, caption=block.caption) + note


def over_value(compared: Comparison, study: Study) -> str:
    """mIoU and the rarest class over the number of which the arms are steps."""
    arms = [arm for arm in compared.arms if arm.value is not None]
    if len(arms) < 2:
        return ""
    rare = compared.by_frequency[0]
    found = {}
    for which, name in ((-1, "mIoU"), (rare, f"IoU of {compared.classes[rare]}")):
        lines = []
        for size in compared.setting.sizes:
            own = [(arm.value, point) for arm in arms if (point := compared.at(arm, size)) is not None]
            ranges = [point.iou.interval(which) for _, point in own]
            lines.append(Line(
                sized(size), [float(x or 0) for x, _ in own], [one.value for one in ranges],
                [one.low for one in ranges], [one.high for one in ranges],
            ))  # fmt: skip
        found[f"{name} over {study.value_name}"] = line_chart(
            lines, title=f"{name} over {study.value_name}", x_label=study.value_name, y_label=name,
            log_x=study.log_value, y_range=round_range(lines),
        )  # fmt: skip
    return charts(found)


def _chart(chart: Chart) -> str:
    lines = [Line(one.name, one.x, one.y, one.low, one.high) for one in chart.curves]
    return line_chart(
        lines, title=chart.title, x_label=chart.x_label, y_label=chart.y_label, log_x=chart.log_x,
        y_range=chart.y_range or round_range(lines),
    )  # fmt: skip


def _plain(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell
    if cell is None or not math.isfinite(cell):
        return "–"
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:.3f}"


def _cell(cell: Cell) -> str:
    return number(None) if cell is None else text(_plain(cell))
