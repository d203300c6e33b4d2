"""The study of smoothness: exact grids of true labels over lambda, nothing trained."""

from __future__ import annotations

from pathlib import Path

from comparisons import trial_of

from saccade.lab.studies.boundary import STEPS, measure
from saccade.lab.studies.study import Chart, Table, Text


def test_it_tells_uniform_then_every_lambda_with_few_nodes_and_with_all(six_scenes: Path) -> None:
    chart, table, note = measure(trial_of(six_scenes, "boundary.classes=[boat]", sizes=[(12, 24)]), [])
    assert isinstance(chart, Chart) and isinstance(table, Table) and isinstance(note, Text)
    lambdas = [f"{step:g}" for step in STEPS]
    assert [row[0] for row in table.rows] == ["uniform", *["8x8"] * len(STEPS), *["12x24"] * len(STEPS)]
    assert [row[1] for row in table.rows] == [None, *lambdas, *lambdas]
    assert [curve.name for curve in chart.curves if curve.name.startswith("boat")] == [
        "boat, 8x8",
        "boat, 12x24",
    ]
    assert note.text.startswith("Boundaries of boat attract.")


def test_a_small_lambda_puts_more_samples_near_the_boundaries_than_a_large_one(six_scenes: Path) -> None:
    _, table, note = measure(trial_of(six_scenes, sizes=[(12, 24)]), [])
    near = [row[table.head.index("samples near")] for row in table.rows]
    assert near[len(STEPS) + 1] > near[-1] > near[0]
    assert note.text.startswith("Boundaries of all classes attract.")
