"""Tables of the runs of ``foveation.py``: Markdown to read, JSON with every number."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ORDER = ("fixed", "random", "average", "ensemble", "mean", "mode", "gumbel", "reinforce", "mean_rarity")


def write_tables(out: Path, table: Path) -> None:
    """Scores, strides and maps of all runs in ``out``, as TABLE.md and TABLE.json."""
    found = [json.loads(file.read_text()) for file in sorted(out.glob("*.json"))]
    runs = [one for one in found if "variant" in one]
    maps = [one for one in found if "mse" in one]
    bounds = [one for one in found if "oracle" in one]
    parts = [scores(runs), strides(runs), *([map_errors(maps)] if maps else [])]
    parts += [oracles(bounds)] if bounds else []
    table.parent.mkdir(parents=True, exist_ok=True)
    table.with_suffix(".json").write_text(
        json.dumps({"runs": runs, "maps": maps, "oracles": bounds}, indent=1) + "\n"
    )
    text = "\n".join(parts)
    table.with_suffix(".md").write_text(text)
    print(text)


def scores(runs: Sequence[dict[str, Any]]) -> str:
    """One line a variant and reading: IoU by class, pixels, operations, seconds; means over the seeds."""
    classes = list(runs[0]["iou"])
    head = [
        "reading",
        "variant",
        "seeds",
        "mIoU",
        *classes,
        "pixels read",
        "GFLOPs",
        "s an image",
        "training s",
    ]
    rows = [head, ["---"] * len(head)]
    for (reading, variant), group in grouped(runs).items():
        by_class = [spread([one["iou"][name] for one in group]) for name in classes]
        cost = [one["cost"] for one in group]
        rows.append([
            reading, variant, str(len(group)), spread([one["miou"] for one in group]), *by_class,
            f"{cost[0]['pixels']:,}", f"{cost[0]['gflops']:.1f}",
            f"{statistics.median(one['seconds_per_image'] for one in cost):.2f}",
            f"{statistics.median(one['training_seconds'] for one in group):.0f}",
        ])  # fmt: skip
    return "## Scores on the test split, at full resolution\n\n" + lines(rows)


def oracles(bounds: Sequence[dict[str, Any]]) -> str:
    """What the best field at each location would score, beside each field everywhere."""
    head = ["reading", "network", "seed", "mIoU of the oracle", "each field everywhere", "picked"]
    rows = [head, ["---"] * len(head)]
    for one in bounds:
        alone = " ".join(f"{value:.3f}" for value in one["alone"])
        picks = " ".join(f"{share:.0%}" for share in one["picks"])
        rows.append([one["reading"], one["oracle"], str(one["seed"]), f"{one['miou']:.3f}", alone, picks])
    note = "The field of the least true loss at each location, which no net can choose better."
    return f"## The oracle of the field of view\n\n{note}\n\n" + lines(rows)


def strides(runs: Sequence[dict[str, Any]]) -> str:
    """mIoU and seconds by the stride of the prediction."""
    asked = [one for one in runs if "strides" in one]
    every = sorted({score["stride"] for one in asked for score in one["strides"]})
    rows = [["reading", "variant", *(f"stride {stride}" for stride in every)], ["---"] * (2 + len(every))]
    for (reading, variant), group in grouped(asked).items():
        cells = []
        for stride in every:
            here = [score for one in group for score in one["strides"] if score["stride"] == stride]
            cells.append(
                f"{spread([s['miou'] for s in here])} ({here[0]['seconds']:.2f} s)" if here else "gaps"
            )
        rows.append([reading, variant, *cells])
    note = "Strides are in pixels of the thumbnail; seconds are of an image.\n"
    return "\n## Sensitivity to the stride of the prediction (mIoU)\n\n" + note + "\n" + lines(rows)


def map_errors(maps: Sequence[dict[str, Any]]) -> str:
    """Mean squared errors of foveation maps to the gold standard."""
    names = [name for name in ORDER if any(name in one["mse"] for one in maps)]
    rows = [["reading", "seed", "gold standard", *names], ["---"] * (3 + len(names))]
    for one in maps:
        for key, title in (("mse", "weighed by local mIoU"), ("mse_best", "best field")):
            cells = [one[key].get(name) for name in names]
            shown = [f"{c['mean']:.3f} ± {c['deviation']:.3f}" if c else "" for c in cells]
            rows.append([one["reading"], str(one["seed"]), title, *shown])
    return "\n## Squared error of the foveation maps (mean and deviation over the images)\n\n" + lines(rows)


def grouped(runs: Sequence[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Runs of the same reading and variant, in the order of the paper's table."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in sorted(
        runs, key=lambda one: (one["reading"] == "aligned", place(one["variant"]), one["seed"])
    ):
        groups.setdefault((one["reading"], one["variant"]), []).append(one)
    return groups


def place(variant: str) -> tuple[int, str]:
    return ORDER.index(variant.rstrip("0123456789")), variant


def spread(values: Sequence[float | None]) -> str:
    """Mean, and the standard deviation where there are several."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    deviation = f" ± {statistics.stdev(known):.3f}" if len(known) > 1 else ""
    return f"{statistics.mean(known):.3f}{deviation}"


def lines(rows: Sequence[Sequence[str]]) -> str:
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)
