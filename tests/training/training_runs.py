"""What the tests of this room look at in a run."""

from __future__ import annotations

import csv
from pathlib import Path

import torch

from saccade.training import Run

Weights = dict[str, torch.Tensor]


def weights_of(run: Run, checkpoint: str = "last") -> Weights:
    """Every tensor of a checkpoint's segmenter."""
    file = run.path / "checkpoints" / f"{checkpoint}.ckpt"
    saved: Weights = torch.load(file, weights_only=True)["state_dict"]
    return saved


def assert_same_weights(found: Weights, wanted: Weights) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


def rows(path: Path) -> list[dict[str, str]]:
    """metrics.csv without the seconds, which no two runs share."""
    with (path / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
