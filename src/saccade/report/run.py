"""What the page of a run is made from, and how a run folder holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from saccade.errors import FileProblem
from saccade.evaluation import Evaluation, load_evaluation
from saccade.report.examples import Example, load_examples
from saccade.report.foveation import training_figures
from saccade.report.history import History, read_history
from saccade.report.markup import Figure

FIGURES, PAGE = "figures", "report.html"
SPLITS = ("test", "val", "train")
"""Whose evaluation is shown, the first that there is."""


@dataclass(frozen=True)
class RunReport:
    """Everything on the page of a run.

    Attributes:
        name: of the run.
        config: its options, by section.
        environment: versions, device, commit.
        history: of its training.
        evaluation: of its best weights; None before it was evaluated.
        split: "test", "val" or "train": what was evaluated on.
        examples: in the order in which they are shown.
        foveation: maps of the fields of view over the training; none where a run has none.
        own_colours: (K, 3) the classes' own colours; None where they are not known.
    """

    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    history: History = field(default_factory=lambda: History({}))
    evaluation: Evaluation | None = None
    split: str = "test"
    examples: tuple[Example, ...] = ()
    own_colours: NDArray[np.uint8] | None = None
    foveation: tuple[Figure, ...] = ()


def read_run(root: Path) -> RunReport:
    """A run folder; what is not there yet is left out of the page.

    Raises:
        FileProblem: when ``root`` is no run folder, or a file of it is damaged.
    """
    config_file = root / "config.yaml"
    if not config_file.is_file():
        found = "no config.yaml in it" if root.is_dir() else "no such folder"
        raise FileProblem(root, "a run folder made by saccade train", found)
    config = _mapping(config_file, yaml.safe_load, yaml.YAMLError)
    environment_file = root / "environment.json"
    known = environment_file.is_file()
    evaluated = [split for split in SPLITS if evaluation_file(root, split).is_file()]
    return RunReport(
        name=root.resolve().name,
        config=config,
        environment=_mapping(environment_file, json.loads, ValueError) if known else {},
        history=read_history(root / "metrics.csv"),
        evaluation=load_evaluation(evaluation_file(root, evaluated[0])) if evaluated else None,
        split=evaluated[0] if evaluated else "test",
        examples=load_examples(root / FIGURES),
        foveation=training_figures(root, _bank(config)),
        own_colours=_colours(config),
    )


def _bank(config: Mapping[str, Any]) -> Sequence[float]:
    """Widths of the fields of view; none where the configuration has none."""
    section = config.get("foveation")
    bank = section.get("bank") if isinstance(section, Mapping) else None
    return bank if isinstance(bank, list) else ()


def evaluation_file(root: Path, split: str) -> Path:
    """Where ``saccade evaluate`` keeps the counts of a split."""
    return root / f"evaluation_{split}.json"


def _mapping(path: Path, parse: Any, refused: type[Exception]) -> dict[str, Any]:
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except (refused, UnicodeDecodeError) as error:
        raise FileProblem(
            path, "a readable file of options", "a damaged one", "train the run anew"
        ) from error
    if not isinstance(content, dict):
        raise FileProblem(path, "names and values", type(content).__name__, "train the run anew")
    return content


def _colours(config: Mapping[str, Any]) -> NDArray[np.uint8] | None:
    """Colours of the scored classes, in the order of their ids, from the ``classes`` that a run keeps."""
    listed = config.get("classes")
    if not isinstance(listed, dict):
        return None
    ignored = listed.get("ignore_index")
    rows = [row for row in listed.get("classes", ()) if row.get("index") != ignored]
    colours = [row.get("colour") for row in rows]
    return np.array(colours, np.uint8) if colours and all(colours) else None
