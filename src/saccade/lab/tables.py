"""Tables, charts and wording of the page of a comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import mean

import numpy as np
import torch

from saccade.lab.costs import Costs
from saccade.lab.methods import Method, Size, named_size
from saccade.lab.results import Comparison, Point, boundary_parts, equal_quality, trimap_parts
from saccade.metrics import recall_by_size
from saccade.metrics.bootstrap import Interval
from saccade.metrics.cost import Cost
from saccade.report.charts import COLOURS, Line, line_chart, round_range
from saccade.report.html import details, number, table, text

OTHER_BUDGET = 1.25
"""Times the pixels from which on two points are not of the same budget."""
MARKS = {"win": "▲", "loss": "▼", "unclear": "·"}
NOTE = (
    "Brackets hold 95 % of 4,000 bootstrap draws of images and seeds, the same images for all that is "
    "compared. ▲ a win, ▼ a loss: the interval excludes zero; · neither."
)

ONE_SEED = "With one seed the brackets tell of the images alone, not of what another training would give."


def in_points(gain: Interval | None) -> str:
    """A gain in points: ``▲ +3.1 [2.5, 3.7]``."""
    if gain is None or math.isnan(gain.value):
        return "–"
    sure = gain.verdict != "unclear"
    digits = 2 if sure and min(abs(gain.low), abs(gain.high)) < 0.0005 else 1  # no win of [0.0, 0.1]
    value, low, high = (round(100 * x, digits) + 0.0 for x in (gain.value, gain.low, gain.high))
    return f"{MARKS[gain.verdict]} {value:+.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def factor(ratio: Interval | None, point: Point, reference: Sequence[Point]) -> str:
    """Times the pixels for equal quality, where it was measured: ``4.1 [3.3, > 4.0]``.

    A dash where the reference is below at all its sizes and saw fewer pixels at each: nothing is known then.
    """
    if ratio is None or math.isnan(ratio.value):
        return "–"
    least = min(each.pixels for each in reference) / point.pixels
    most = max(each.pixels for each in reference) / point.pixels
    if math.isinf(ratio.value) and most < 1:
        return "–"

    def said(value: float) -> str:
        if math.isinf(value):
            return f"> {most:.2g}"
        return f"≤ {least:.2g}" if value == 0 else f"{value:.2f}"

    return f"{said(ratio.value)} [{said(ratio.low)}, {said(ratio.high)}]"


def seeds_spread(values: Sequence[float]) -> str:
    """``0.914 ± 0.007``: mean and standard deviation over the seeds."""
    if not values:
        return "–"
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.3f}"
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return f"{mean:.3f} ± {deviation:.3f}"


def pixels_more(point: Point, other: Point) -> str:
    """``, with 2,560 times the pixels`` where a point sees more or fewer than the other; else nothing."""
    times = point.pixels / other.pixels
    if 1 / OTHER_BUDGET < times < OTHER_BUDGET:
        return ""
    return f", with {times:,.0f} times the pixels" if times >= 10 else f", with {times:.2g} times the pixels"


def method_name(compared: Comparison, name: str) -> str:
    """The name of a method, with a star where it sees the true labels."""
    return name + "*" * (name in compared.sees_labels)


def sized(size: Size) -> str:
    """``32 x 64``."""
    return " x ".join(named_size(size).split("x"))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of equally many cells as lines, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


Axis = Callable[[Cost], float | None]
AXES: dict[str, Axis] = {
    "pixels that the network sees": lambda cost: cost.pixels,
    "GFLOPs an image": lambda cost: cost.gflops,
    "milliseconds an image": lambda cost: 1e3 * cost.seconds_per_image,
    "megabytes at the peak": lambda cost: cost.peak_memory_bytes and cost.peak_memory_bytes / 1e6,
}


def quality_charts(compared: Comparison, which: int, name: str) -> str:
    """A score over every cost; upright strokes span the seeds, level ones are the sampler's share."""
    drawn = {}
    for label, axis in AXES.items():
        lines = [
            _quality_line(compared, method, axis, which, "GFLOPs" in label) for method in _shown(compared)
        ]
        title = f"{name} over {label}"
        drawn[title] = line_chart(
            lines, title=title, x_label=label, y_label=name, log_x=True, y_range=round_range(lines)
        )
    return charts(drawn)


def trimap_charts(compared: Comparison) -> str:
    """Accuracy in bands around true boundaries, a chart a size."""
    drawn = {}
    for size in compared.config.sizes:
        lines = []
        for method in _shown(compared):
            point = compared.at(method, size)
            widths = [float(width) for width in point.evaluations[0].widths] if point else []
            values = compared.resampled(point, trimap_parts).values[:-1].tolist() if point else []
            lines.append(Line(method_name(compared, method.name), widths, values))
        title = f"Accuracy near true boundaries, {sized(size)}"
        drawn[title] = line_chart(
            lines, title=title, x_label="width of the band, pixels", y_label="accuracy", log_x=True,
            y_range=round_range(lines),
        )  # fmt: skip
    return charts(drawn)


def recall_charts(compared: Comparison, class_id: int) -> str:
    """Recall of the objects of a class in quarters of their size, a chart a size."""
    drawn = {}
    for size in compared.config.sizes:
        lines = []
        for method in _shown(compared):
            point = compared.at(method, size)
            values = _recalls(point, class_id) if point else [None] * 4
            lines.append(Line(method_name(compared, method.name), [1.0, 2.0, 3.0, 4.0], values))
        title = f"Recall of {compared.classes[class_id]} by size of the object, {sized(size)}"
        drawn[title] = line_chart(
            lines, title=title, x_label="quarter of the objects, small to large", y_label="mean recall",
            y_range=(0, 1),
        )  # fmt: skip
    return charts(drawn)


def charts(drawn: Mapping[str, str]) -> str:
    """Charts beside each other, each under its title."""
    inner = "".join(f"<div><h3>{text(title)}</h3>{svg}</div>" for title, svg in drawn.items())
    return f'<div class="charts">{inner}</div>'


def _shown(compared: Comparison) -> tuple[Method, ...]:
    return compared.methods[:COLOURS]


def _quality_line(compared: Comparison, method: Method, axis: Axis, which: int, split: bool) -> Line:
    own = [(x, point) for point in compared.of(method) if (x := axis(point.cost)) is not None]
    seeds = [point.scores(which) for _, point in own]
    left = [point.cost.gflops - point.cost.sampler_gflops for _, point in own] if split else []
    return Line(
        method_name(compared, method.name),
        [x for x, _ in own],
        [float(point.iou.values[which]) for _, point in own],
        [min(values, default=None) for values in seeds],
        [max(values, default=None) for values in seeds],
        left,
    )


def _recalls(point: Point, class_id: int) -> list[float | None]:
    objects = torch.cat([record.objects for evaluation in point.evaluations for record in evaluation.records])
    return [
        None if math.isnan(size.recall) else size.recall
        for size in recall_by_size(objects, classes=[class_id])
    ]


def scores_table(compared: Comparison) -> str:
    """Every method at every size: the scores, the gains, the pixels for equal quality.

    Pixels are told only where one sampler sees more of them than another of the same size.
    """
    rare = compared.by_frequency[0]
    reference = compared.of(compared.reference)
    points = by_size(compared)
    uneven = len({(point.size, point.pixels) for point in points}) > len({point.size for point in points})
    head = [
        "size", "sampler", *["pixels"] * uneven, "seeds", "mIoU", "gain, points",
        f"IoU of {compared.classes[rare]}", "gain, points",
        f"times the pixels that {compared.reference.name} needs for the same mIoU",
    ]  # fmt: skip
    rows = []
    for point in points:
        rows.append([
            sized(point.size), text(method_name(compared, point.method.name)),
            *[f"{point.pixels:,}"] * uneven, str(len(point.seeds)), seeds_spread(point.scores()),
            in_points(compared.gain(point)), seeds_spread(point.scores(rare)),
            in_points(compared.gain(point, rare)),
            factor(equal_quality(compared, point), point, reference),
        ])  # fmt: skip
    caption = f"Mean ± deviation over the seeds; gains over {compared.reference.name} at the same size"
    notes = [NOTE, *([ONE_SEED] if len(compared.config.seeds) == 1 else []), _star(compared)]
    return table(head, rows, caption=caption) + f'<p class="soft">{text(" ".join(filter(None, notes)))}</p>'


def cost_table(compared: Comparison) -> str:
    """What an image costs, the sampler's share apart."""
    head = ["size", "sampler", "pixels", "GFLOPs", "of these in the sampler", "ms an image", "MB at the peak"]
    rows = []
    for point in by_size(compared):
        cost = point.cost
        share = cost.sampler_gflops / cost.gflops if cost.gflops else 0.0
        memory = None if cost.peak_memory_bytes is None else cost.peak_memory_bytes / 1e6
        rows.append([
            sized(point.size), text(method_name(compared, point.method.name)), f"{cost.pixels:,}",
            number(cost.gflops), f"{cost.sampler_gflops:.3f} ({share:.0%})",
            number(1e3 * cost.seconds_per_image, 1), number(memory, 0),
        ])  # fmt: skip
    caption = "Cost of an image, from decoded pixels to full-resolution labels"
    return table(head, rows, caption=caption) + f'<p class="soft">{text(_measured_on(compared.costs))}</p>'


def _measured_on(costs: Costs | None) -> str:
    """Where and how quietly times were measured, without which they mean little."""
    if costs is None:
        return "Each was measured when its run was evaluated: do not compare the times."
    threads = "1 thread" if costs.threads == 1 else f"{costs.threads} threads"
    load = "" if costs.load is None else f", at a load of {costs.load:.1f}"
    return f"Measured one after the other on {costs.device}, {threads}{load}."


def class_tables(compared: Comparison) -> str:
    """Gains by class, the rarest first; one table a method."""
    tables = []
    for method in compared.methods:
        own = compared.of(method)
        if method == compared.reference or not own:
            continue
        head = ["class", "share of pixels"]
        for point in own:
            head += [f"IoU at {sized(point.size)}", "gain, points"]
        rows = []
        for k in compared.by_frequency:
            row = [text(compared.classes[k]), f"{compared.shares[k]:.2%}"]
            for point in own:
                row += [number(point.iou.values[k]), in_points(compared.gain(point, k))]
            rows.append(row)
        caption = (
            f"{method_name(compared, method.name)} over {compared.reference.name}, the rarest class first"
        )
        tables.append(table(head, rows, caption=caption))
    return "".join(tables)


def loss_table(compared: Comparison) -> str:
    """Where quality is lost: in the sampling, or in the network."""
    head = ["size", "sampler", "label recovery", "mIoU", "lost in sampling", "lost in the network"]
    rows = []
    for point in by_size(compared):
        possible, reached = recovery(point), mean(point.scores() or [float("nan")])
        network = None if possible is None else 100 * (possible - reached)
        sampling = None if possible is None else 100 * (1 - possible)
        rows.append([
            sized(point.size), text(method_name(compared, point.method.name)), number(possible),
            number(reached), number(sampling, 1), number(network, 1),
        ])  # fmt: skip
    return table(head, rows, caption="Points of mIoU that are lost, and where")


def boundary_table(compared: Comparison) -> str:
    """Boundary IoU, and accuracy right at the true boundaries, with gains over the reference."""
    width = next(iter(compared.points.values())).evaluations[0].widths[0]
    head = [
        "size",
        "sampler",
        "Boundary IoU",
        "gain, points",
        f"accuracy within {width} pixel",
        "gain, points",
    ]
    rows = []
    for point in by_size(compared):
        other = compared.at(compared.reference, point.size)
        row = [sized(point.size), text(method_name(compared, point.method.name))]
        for parts, which in ((boundary_parts, -1), (trimap_parts, 0)):
            own = compared.resampled(point, parts)
            gained = other is not None and other is not point
            gain = own.gain(compared.resampled(other, parts, 2), which) if other and gained else None
            row += [number(own.values[which]), in_points(gain)]
        rows.append(row)
    return table(head, rows, caption="At the boundaries of the truth")


def sampling_table(compared: Comparison) -> str:
    """Samples a pixel of a class, over those of the image."""
    head = ["size", "sampler", *(compared.classes[k] for k in compared.by_frequency)]
    rows = []
    for point in by_size(compared):
        ratios = np.mean([evaluation.sampling_ratio.numpy() for evaluation in point.evaluations], 0)
        cells = [number(float(ratios[k]), 2) for k in compared.by_frequency]
        name = text(method_name(compared, point.method.name))
        rows.append([sized(point.size), name, *cells])
    return table(head, rows, caption="Share of the samples over share of the pixels, the rarest class first")


def runs_table(compared: Comparison) -> str:
    """Every run, those that failed with their reason."""
    head = ["run", "status", "mIoU", "trained in", "reason"]
    rows = []
    for outcome in compared.outcomes:
        done = outcome.evaluation is not None
        status = "done" if done else "<strong>failed</strong>"
        reached = number(outcome.evaluation.miou) if outcome.evaluation is not None else number(None)
        minutes = number(None) if outcome.seconds is None else f"{outcome.seconds / 60:.1f} min"
        rows.append([text(outcome.trial.name), status, reached, minutes, text(outcome.failure)])
    shown = table(head, rows, caption="Every run")
    return shown if compared.failures else details(f"All {len(rows)} runs", shown)


def by_size(compared: Comparison) -> list[Point]:
    """Every point, small sizes first, methods in their order."""
    return [
        point for size in compared.config.sizes for method in compared.methods
        if (point := compared.at(method, size)) is not None
    ]  # fmt: skip


def recovery(point: Point) -> float | None:
    """Mean IoU of label recovery over the seeds; None for several views an image."""
    values = point.by_seed(lambda one: one.to_json()["label_recovery"]["miou"])
    return mean(values) if values else None


def _star(compared: Comparison) -> str:
    return "* sees the true labels: no bound that a real sampler could reach." if compared.sees_labels else ""
