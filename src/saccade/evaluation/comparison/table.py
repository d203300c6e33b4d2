"""One table of a comparison: a row a run as CSV, and everything with its uncertainty as JSON."""

from __future__ import annotations

import csv
import io
import math
import statistics
from typing import Any

from saccade.evaluation.comparison.arms import Outcome, Setting, named_size
from saccade.evaluation.comparison.equal_quality import equal_quality
from saccade.evaluation.comparison.results import Comparison, Point
from saccade.evaluation.results import finite
from saccade.metrics.bootstrap import Interval

KIND = "saccade comparison 1"


def run_row(outcome: Outcome, compared: Comparison) -> dict[str, Any]:
    """One run as names and values; None where it failed."""
    case = outcome.case
    row: dict[str, Any] = {
        "sampler": case.arm.name, "size": named_size(case.size), "seed": case.seed,
        "status": "failed" if outcome.evaluation is None else "done", "reason": outcome.failure,
        "train_seconds": outcome.seconds,
    }  # fmt: skip
    if outcome.evaluation is None:
        return row
    found = outcome.evaluation
    scores = found.to_json()
    cost = compared.cost(outcome, found)
    row |= {"miou": scores["miou"], "recovery_miou": scores["label_recovery"]["miou"]}
    row |= {"boundary_iou": scores["boundary_iou"], **cost.to_json()}
    for part, name in (("iou", "iou"), ("label_recovery", "recovery"), ("sampling_ratio", "sampling")):
        values = scores[part]["iou"] if part == "label_recovery" else scores[part]
        row |= {f"{name}_{label}": value for label, value in values.items()}
    trimap = zip(found.widths, found.trimap_accuracy.tolist(), strict=True)
    return row | {f"trimap_{width}": finite(value) for width, value in trimap}


def point_row(point: Point, compared: Comparison) -> dict[str, Any]:
    """An arm at a size: means, spreads, and gains over the reference with their intervals."""
    scores = point.scores()
    row: dict[str, Any] = {
        "sampler": point.arm.name, "size": named_size(point.size), "seeds": list(point.seeds),
        "cost": point.cost.to_json(), "miou": interval_json(point.iou.interval()),
        "miou_by_seed": scores, "miou_deviation": statistics.stdev(scores) if len(scores) > 1 else None,
        "miou_gain": interval_json(compared.gain(point), verdict=True),
        "pixels_for_equal_miou": interval_json(equal_quality(compared, point)),
        "classes": {},
    }  # fmt: skip
    for k, name in enumerate(compared.classes):
        row["classes"][name] = {
            "share": compared.shares[k],
            "iou": interval_json(point.iou.interval(k)),
            "iou_by_seed": point.scores(k),
            "gain": interval_json(compared.gain(point, k), verdict=True),
            "pixels_for_equal_iou": interval_json(equal_quality(compared, point, k)),
        }
    return row


def to_json(compared: Comparison) -> dict[str, Any]:
    """The whole comparison, numbers or None."""
    setting = compared.setting
    return {
        "kind": KIND,
        **setting_json(setting),
        "arms": {arm.name: list(arm.options) for arm in compared.arms},
        "reference": compared.reference.name,
        "summary": [point_row(point, compared) for point in compared.points.values()],
        "runs": [run_row(one, compared) for one in compared.outcomes],
        "costs": compared.costs.to_json() if compared.costs else None,
    }


def setting_json(setting: Setting) -> dict[str, Any]:
    """What was looked at, and with which options."""
    return {
        "data": str(setting.data.path.resolve()),
        "split": setting.split,
        "images": len(setting.data.split(setting.split)),
        "options": list(setting.options),
    }


def to_csv(compared: Comparison) -> str:
    """A row a run, those that failed with their reason."""
    rows = [run_row(one, compared) for one in compared.outcomes]
    columns: dict[str, None] = {}
    for row in sorted(rows, key=len, reverse=True):
        columns |= dict.fromkeys(row)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def interval_json(found: Interval | None, *, verdict: bool = False) -> dict[str, Any] | None:
    """Value and range; infinity is written as a text, since JSON has none."""
    if found is None or math.isnan(found.value):
        return None
    plain = {"value": found.value, "low": found.low, "high": found.high}
    named = {key: "inf" if math.isinf(x) else finite(x) for key, x in plain.items()}
    return {**named, "verdict": found.verdict} if verdict else named
