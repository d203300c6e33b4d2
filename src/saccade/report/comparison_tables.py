"""Tables of the page of a comparison."""

from __future__ import annotations

from statistics import mean

import numpy as np

from saccade.evaluation.comparison.costs import Costs
from saccade.evaluation.comparison.equal_quality import equal_quality
from saccade.evaluation.comparison.results import Comparison, Point, boundary_parts, trimap_parts
from saccade.report import comparison_words as words
from saccade.report.markup import details, number, table, text


def scores_table(compared: Comparison) -> str:
    """Every arm at every size: the scores, the gains, the pixels for equal quality.

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
            words.sized(point.size), text(words.arm_name(compared, point.arm.name)),
            *[f"{point.pixels:,}"] * uneven, str(len(point.seeds)), words.seeds_spread(point.scores()),
            words.in_points(compared.gain(point)), words.seeds_spread(point.scores(rare)),
            words.in_points(compared.gain(point, rare)),
            words.factor(equal_quality(compared, point), point, reference),
        ])  # fmt: skip
    caption = f"Mean ± deviation over the seeds; gains over {compared.reference.name} at the same size"
    notes = [words.NOTE, *([words.ONE_SEED] if len(compared.setting.seeds) == 1 else []), _star(compared)]
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
            words.sized(point.size), text(words.arm_name(compared, point.arm.name)), f"{cost.pixels:,}",
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
    """Gains by class, the rarest first; one table an arm."""
    tables = []
    for arm in compared.arms:
        own = compared.of(arm)
        if arm == compared.reference or not own:
            continue
        head = ["class", "share of pixels"]
        for point in own:
            head += [f"IoU at {words.sized(point.size)}", "gain, points"]
        rows = []
        for k in compared.by_frequency:
            row = [text(compared.classes[k]), f"{compared.shares[k]:.2%}"]
            for point in own:
                row += [number(point.iou.values[k]), words.in_points(compared.gain(point, k))]
            rows.append(row)
        caption = (
            f"{words.arm_name(compared, arm.name)} over {compared.reference.name}, the rarest class first"
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
            words.sized(point.size), text(words.arm_name(compared, point.arm.name)), number(possible),
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
        row = [words.sized(point.size), text(words.arm_name(compared, point.arm.name))]
        for parts, which in ((boundary_parts, -1), (trimap_parts, 0)):
            own = compared.resampled(point, parts)
            gained = other is not None and other is not point
            gain = own.gain(compared.resampled(other, parts, 2), which) if other and gained else None
            row += [number(own.values[which]), words.in_points(gain)]
        rows.append(row)
    return table(head, rows, caption="At the boundaries of the truth")


def sampling_table(compared: Comparison) -> str:
    """Samples a pixel of a class, over those of the image."""
    head = ["size", "sampler", *(compared.classes[k] for k in compared.by_frequency)]
    rows = []
    for point in by_size(compared):
        ratios = np.mean([one.sampling_ratio.numpy() for one in point.evaluations], 0)
        cells = [number(float(ratios[k]), 2) for k in compared.by_frequency]
        name = text(words.arm_name(compared, point.arm.name))
        rows.append([words.sized(point.size), name, *cells])
    return table(head, rows, caption="Share of the samples over share of the pixels, the rarest class first")


def runs_table(compared: Comparison) -> str:
    """Every run, those that failed with their reason."""
    head = ["run", "status", "mIoU", "trained in", "reason"]
    rows = []
    for one in compared.outcomes:
        done = one.evaluation is not None
        status = "done" if done else "<strong>failed</strong>"
        reached = number(one.evaluation.miou) if one.evaluation is not None else number(None)
        minutes = number(None) if one.seconds is None else f"{one.seconds / 60:.1f} min"
        rows.append([text(one.case.name), status, reached, minutes, text(one.failure)])
    shown = table(head, rows, caption="Every run")
    return shown if compared.failures else details(f"All {len(rows)} runs", shown)


def by_size(compared: Comparison) -> list[Point]:
    """Every point, small sizes first, arms in their order."""
    return [
        point for size in compared.setting.sizes for arm in compared.arms
        if (point := compared.at(arm, size)) is not None
    ]  # fmt: skip


def recovery(point: Point) -> float | None:
    """Mean IoU of label recovery over the seeds; None for several views an image."""
    values = point.by_seed(lambda one: one.to_json()["label_recovery"]["miou"])
    return mean(values) if values else None


def _star(compared: Comparison) -> str:
    return "* sees the true labels: no bound that a real sampler could reach." if compared.sees_labels else ""
