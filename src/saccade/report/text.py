"""Scores as lines for a terminal."""

from __future__ import annotations

from typing import Any


def score_lines(scores: dict[str, Any]) -> list[str]:
    """The object of ``saccade evaluate --json`` as a small table."""
    cost = scores["cost"]
    lines = [f"{'class':<24}{'IoU':>8}{'accuracy':>10}{'recovery':>10}{'sampling':>10}"]
    for name, iou in scores["iou"].items():
        others = (scores["pixel_accuracy"][name], scores["label_recovery"]["iou"][name])
        ratio = scores["sampling_ratio"][name]
        cells = "".join(f"{_number(value):>10}" for value in (*others, ratio))
        lines.append(f"{name[:23]:<24}{_number(iou):>8}{cells}")
    lines.append(
        f"{'mean IoU':<24}{_number(scores['miou']):>8}{'':>10}{_number(scores['label_recovery']['miou']):>10}"
    )
    lines.append(
        f"boundary IoU {_number(scores['boundary_iou'])}, {scores['images']} images at full resolution"
    )
    memory = cost["peak_memory_bytes"]
    lines.append(
        f"{cost['pixels']} pixels seen an image, {cost['gflops']:.3f} GFLOPs "
        f"({cost['sampler_gflops']:.3f} for the sampler), {cost['seconds_per_image'] * 1e3:.1f} ms, "
        f"{'-' if memory is None else f'{memory / 1e6:.0f}'} MB"
    )
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
