"""Cost of every arm at every size, one after the other in one process, so that times can be compared."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from saccade.evaluation.comparison.agreement import MOOT
from saccade.evaluation.comparison.arms import Case, Key, Outcome, Setting, named_size
from saccade.metrics.cost import Cost, measure_cost
from saccade.training import load_run
from saccade.training.configfile import flat, to_dict
from saccade.training.devices import torch_device


@dataclass(frozen=True)
class Costs:
    """What was measured together, and where.

    Attributes:
        device: its name; "cpu" for any processor.
        threads: of PyTorch.
        load: programs that ran on the machine then (mean of the last minute); None where that is not known.
        image: that was predicted: its split and stem.
        rows: by arm and size the options of the run that was measured, as :func:`fingerprint`, and its cost.
    """

    device: str
    threads: int
    load: float | None
    image: str
    rows: dict[Key, tuple[str, Cost]]

    def of(self, one: Outcome) -> Cost | None:
        """Of a run; None where no run of its options was measured at its size."""
        measured, cost = self.rows.get(_key(one.case), ("", None))
        return cost if measured == fingerprint(one.case) else None

    def fit(self, setting: Setting, outcomes: Sequence[Outcome]) -> bool:
        """Whether they are of this device, this image, and every arm and size of which a run succeeded."""
        here = self.device == _device_name(setting) and self.image == _image(setting)
        return here and all(self.of(one) is not None for one in _first_finished(outcomes))

    def to_json(self) -> dict[str, Any]:
        rows = [
            {"arm": arm, "size": named_size(size), "options": measured, **asdict(cost)}
            for (arm, size), (measured, cost) in self.rows.items()
        ]
        return {**asdict(self), "rows": rows}

    @classmethod
    def from_json(cls, content: Any) -> Costs | None:
        """What :meth:`to_json` gave; None for anything else, tables of earlier versions among it."""
        try:
            rows = {}
            for row in map(dict, content["rows"]):
                key = row.pop("arm"), _size(row.pop("size"))
                rows[key] = row.pop("options"), Cost(**row)
            return cls(**{**content, "rows": rows})
        except (KeyError, TypeError, ValueError):
            return None


def measure_costs(setting: Setting, outcomes: Sequence[Outcome], on_progress: Callable[[], object]) -> Costs:
    """Measures each arm at each size on the first image of the split, by itself.

    ``on_progress`` is called after each.
    """
    sample = next(iter(setting.samples()))
    device = torch_device(setting.device)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    rows = {}
    for one in _first_finished(outcomes):
        segmenter = load_run(one.folder).segmenter.to(device).eval()
        cost = measure_cost(segmenter, sample.pyramid.level(0), sample.labels.to(device))
        rows[_key(one.case)] = fingerprint(one.case), cost
        on_progress()
    return Costs(_device_name(setting), torch.get_num_threads(), load, _image(setting), rows)


def fingerprint(case: Case) -> str:
    """The same for runs of the same options, whatever their seed and the place of their data."""
    options = flat(to_dict(case.config))
    told = {key: options[key] for key in options if key not in (*MOOT, "training.seed")}
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _first_finished(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The first finished run of every arm and size."""
    found: dict[Key, Outcome] = {}
    for one in outcomes:
        if one.evaluation is not None:
            found.setdefault(_key(one.case), one)
    return list(found.values())


def _key(case: Case) -> Key:
    return case.arm.name, case.size


def _image(setting: Setting) -> str:
    return f"{setting.split}/{setting.data.split(setting.split)[0].stem}"


def _device_name(setting: Setting) -> str:
    device = torch_device(setting.device)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _size(text: str) -> tuple[int, int]:
    rows, columns = text.split("x")
    return int(rows), int(columns)
