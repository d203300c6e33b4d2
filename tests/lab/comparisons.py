"""Comparisons made of invented counts, for tests of what is computed from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from saccade.data import SampleCache, open_data
from saccade.evaluation.results import Evaluation, ImageRecord
from saccade.lab.methods import ComparisonConfig, Method, Outcome
from saccade.lab.results import Comparison
from saccade.metrics.cost import Cost
from saccade.training.config import read_config

SIZES = ((8, 12), (16, 24))
PLAIN = ["network.name=small:4", "training.epochs=1", "training.batch_size=2"]


def trial_of(data: Path, *options: str, sizes=SIZES, seeds=(0,)) -> ComparisonConfig:
    """What the methods of a small comparison share."""
    base = read_config(overrides=[*PLAIN, *options])
    return ComparisonConfig(open_data(data), SampleCache(), sizes, seeds, base, options)


def evaluation_of(
    config: ComparisonConfig, wrong: float, seed: int = 0, gflops: float = 0.1, pixels: int = 96
):
    """An evaluation in which ``wrong`` is about the share of the pixels that are wrong."""
    rng, classes = np.random.default_rng(seed), len(config.data.classes)
    records = []
    for number, item in enumerate(config.data.split("test")):
        hard = wrong * (0.6 + 0.2 * number)
        diagonal = np.diag(rng.integers(900, 1000, classes))
        confusion = diagonal + (rng.random((classes, classes)) * 1000 * hard / classes).astype(int)
        counts = torch.tensor(confusion, dtype=torch.int64)
        both = counts.diagonal()
        pairs = torch.stack([both, counts.sum(0) + counts.sum(1) - both])
        bands = torch.stack([both.sum() * torch.arange(1, 7), counts.sum() * torch.arange(1, 7)])
        objects = torch.tensor([[k, 10 * (k + 1), 9 * (k + 1)] for k in range(classes)])
        records.append(ImageRecord(item.stem, counts, counts // 2, pairs, bands, pairs, objects))
    cost = Cost(pixels, gflops, gflops / 10, 0.01 * gflops, round(1e6 * gflops))
    return Evaluation(config.data.classes.names, tuple(records), cost, (1, 2, 4, 8, 16, 32))


def comparison_of(
    config: ComparisonConfig, wrong: dict[str, tuple[float, ...]], failed: dict[str, str] | None = None
):
    """A comparison of methods with these shares of wrong pixels at the sizes of the comparison.

    ``failed`` names the trial and the reason of runs that are to have failed.
    """
    methods = tuple(Method(name, (f"sampler.name={name}",)) for name in wrong)
    outcomes = []
    for method in methods:
        for at, size in enumerate(config.sizes):
            for seed in config.seeds:
                trial = config.trial(method, size, seed)
                reason = (failed or {}).get(trial.name, "")
                share = wrong[method.name][at] * (1 + 0.05 * seed)
                found = evaluation_of(config, share, seed, 0.1 * 4**at, size[0] * size[1])
                outcomes.append(
                    Outcome(trial, Path("runs") / trial.name, None if reason else found, reason, 60.0)
                )
    return Comparison(config, methods, tuple(outcomes))
