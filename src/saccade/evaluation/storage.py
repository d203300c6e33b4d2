"""An evaluation as a file, so that a comparison or a report need not repeat it."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saccade.errors import FileProblem
from saccade.evaluation.results import Evaluation, ImageRecord
from saccade.metrics.cost import Cost

KIND = "saccade evaluation 1"


def save_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write an evaluation, all its counts included, as JSON."""
    content = {
        "kind": KIND,
        "scores": evaluation.to_json(),
        "classes": evaluation.classes,
        "widths": evaluation.widths,
        "cost": evaluation.cost.to_json(),
        "records": [_plain(record) for record in evaluation.records],
    }
    path.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")


def load_evaluation(path: Path) -> Evaluation:
    """Read what :func:`save_evaluation` wrote.

    Raises:
        FileProblem: when the file is missing, or is not an evaluation of this version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["kind"] != KIND:
            raise FileProblem(path, KIND, content["kind"], "evaluate the run again")
        return Evaluation(
            classes=tuple(content["classes"]),
            records=tuple(_record(record) for record in content["records"]),
            cost=Cost(**content["cost"]),
            widths=tuple(content["widths"]),
        )
    except OSError as error:
        raise FileProblem(path, "an evaluation", error.strerror, "run `saccade evaluate` first") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileProblem(path, KIND, "something else", "evaluate the run again") from error


def _plain(record: ImageRecord) -> dict[str, Any]:
    parts = {field.name: getattr(record, field.name) for field in fields(record)}
    return {name: part.tolist() if isinstance(part, Tensor) else part for name, part in parts.items()}


def _record(plain: dict[str, Any]) -> ImageRecord:
    parts: dict[str, Any] = {
        name: part if name == "stem" or part is None else _counts(part) for name, part in plain.items()
    }
    parts["objects"] = parts["objects"].reshape(-1, 3)
    return ImageRecord(**parts)


def _counts(numbers: Any) -> Tensor:
    return torch.tensor(numbers, dtype=torch.int64)
