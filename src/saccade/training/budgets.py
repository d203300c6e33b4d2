"""``budgets.json`` of a run: what it scores on validation images by budget, and how samples gather."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from saccade.errors import FileProblem
from saccade.runtime.files import write_file
from saccade.runtime.reading import read_text

BUDGETS = "budgets.json"
_EXPECTED = "mIoU by size, as a training writes it"


@dataclass(frozen=True)
class Budget:
    """One budget of a run.

    Attributes:
        size: (h, w) of a glimpse.
        val_miou: mIoU on validation images; nan without anything to score.
        share: how far samples gather, 0 (evenly) to 1 (:class:`saccade.samplers.DeformationSampler`).
    """

    size: tuple[int, int]
    val_miou: float
    share: float = 1.0


def write_budgets(root: Path, budgets: Iterable[Budget]) -> None:
    """Keeps them in a run folder."""
    rows = [
        {
            "size": list(one.size),
            "val_miou": None if math.isnan(one.val_miou) else one.val_miou,
            **({} if one.share == 1 else {"share": one.share}),
        }
        for one in budgets
    ]
    write_file(root / BUDGETS, json.dumps(rows, indent=1) + "\n")


def read_budgets(root: Path) -> list[Budget]:
    """Those of a run folder; none where none were kept.

    Raises:
        FileProblem: the file is damaged.
    """
    file = root / BUDGETS
    if not file.is_file():
        return []
    try:
        return [_budget(row) for row in json.loads(read_text(file, _EXPECTED))]
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        fix = "delete it: plans do without, and samples gather as the density says"
        raise FileProblem(file, _EXPECTED, "something else", fix) from error


def _budget(row: dict[str, object]) -> Budget:
    (rows, columns), score, share = row["size"], row["val_miou"], row.get("share", 1.0)  # type: ignore[misc]
    budget = Budget((int(rows), int(columns)), math.nan if score is None else float(score), float(share))  # type: ignore[arg-type, has-type]
    if min(budget.size) < 1 or not 0 <= budget.share <= 1:
        raise ValueError(row)
    return budget
