"""Cost of every arm at every size, one after the other in one process, so that times can be compared."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch

from saccade.evaluation.comparison.arms import Outcome, Setting, named_size
from saccade.evaluation.comparison.results import Key
from saccade.metrics.cost import Cost, measure_cost
from saccade.training import load_run
from saccade.training.devices import torch_device


def cases_to_measure(outcomes: Sequence[Outcome]) -> dict[Key, Outcome]:
    """The first finished run of every arm and size."""
    found: dict[Key, Outcome] = {}
    for one in outcomes:
        if one.evaluation is not None:
            found.setdefault((one.case.arm.name, one.case.size), one)
    return found


def measure_costs(
    setting: Setting, outcomes: Sequence[Outcome], on_progress: Callable[[], object]
) -> dict[Key, Cost]:
    """Measures each on the first image of the split, by itself; ``on_progress`` is called after each."""
    sample = next(iter(setting.samples()))
    device = torch_device(setting.device)
    found: dict[Key, Cost] = {}
    for key, one in cases_to_measure(outcomes).items():
        segmenter = load_run(one.folder).segmenter.to(device).eval()
        found[key] = measure_cost(segmenter, sample.pyramid.level(0), sample.labels.to(device))
        on_progress()
    return found


def costs_to_json(costs: dict[Key, Cost], setting: Setting) -> dict[str, Any]:
    """With the device and the threads, without which times mean little."""
    rows = [{"arm": arm, "size": named_size(size), **asdict(cost)} for (arm, size), cost in costs.items()]
    device = torch_device(setting.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"device": name, "threads": torch.get_num_threads(), "load": load, "rows": rows}


def costs_from_json(content: Any, wanted: dict[Key, Outcome], setting: Setting) -> dict[Key, Cost] | None:
    """What :func:`costs_to_json` wrote; None where it is of other cases, or of another device."""
    if not isinstance(content, dict) or costs_to_json({}, setting)["device"] != content.get("device"):
        return None
    try:
        rows = [dict(row) for row in content["rows"]]
        found = {(row.pop("arm"), _size(row.pop("size"))): Cost(**row) for row in rows}
    except (KeyError, TypeError, ValueError):
        return None
    return found if set(found) == set(wanted) else None


def _size(text: str) -> tuple[int, int]:
    rows, columns = text.split("x")
    return int(rows), int(columns)
