"""What the network's answer to a patch says of the smallest field of view."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.errors import InvalidInput, nearest_name

READINGS = ("aligned", "published")


class Reading:
    """Brings scores to the frame of the smallest field of view.

    ``published``: the answer stands for the smallest field, whatever patch was fed (arXiv 2020, 3.2): the
    network must learn to crop and enlarge by itself, without being told how much. ``aligned``: the answer
    stands for the patch that was fed, so of a patch of field F_d only its central share F_1 / F_d is taken,
    and enlarged bilinearly. A blend of patches was fed at D scales at once: its answer is read at each of
    them, and the readings are added with the weights of the blend (the expectation of the aligned answer).

    Args:
        kind: "aligned" or "published".
        fields: D widths of the fields of view, increasing; only their proportions matter.
        size: (h, w) of a patch.

    Raises:
        InvalidInput: for another kind.
    """

    def __init__(self, kind: str, fields: Sequence[float], size: tuple[int, int]) -> None:
        if kind not in READINGS:
            fix = nearest_name(str(kind), READINGS)
            raise InvalidInput("reading", " or ".join(READINGS), repr(kind), fix)
        self.kind = kind
        shares = [fields[0] / field for field in fields]
        self.rows = torch.stack([central(size[0], share) for share in shares])
        self.columns = torch.stack([central(size[1], share) for share in shares])

    def __call__(self, scores: Tensor, weights: Tensor) -> Tensor:
        """Scores (N, K, h, w) of patches fed with weights (N, D), in the smallest field's frame."""
        if self.kind == "published":
            return scores
        with torch.autocast(scores.device.type, enabled=False):
            return self._aligned(scores.float(), weights.float())

    def _aligned(self, scores: Tensor, weights: Tensor) -> Tensor:
        chosen = weights.argmax(1)
        if not weights.requires_grad and bool((weights.gather(1, chosen[:, None]) == 1).all()):
            if not chosen.any():
                return scores
            rows, columns = self.rows.to(scores)[chosen], self.columns.to(scores)[chosen]
            return rows[:, None] @ scores @ columns[:, None].mT
        rows, columns = self.rows.to(scores), self.columns.to(scores)
        total = torch.zeros_like(scores)
        for field in range(weights.shape[1]):
            read = rows[field] @ scores @ columns[field].mT
            total = total + weights[:, field, None, None, None].to(scores) * read
        return total


def central(count: int, share: float) -> Tensor:
    """(count, count) float32: reads the central ``share`` of ``count`` cells at ``count`` even places.

    Each row holds the weights of linear interpolation between the centres of two cells; beyond the first and
    the last centre, that cell alone.
    """
    place = ((torch.arange(count, dtype=torch.float64) + 0.5) / count - 0.5) * share
    at = ((place + 0.5) * count - 0.5).clamp(0, count - 1)
    below = at.floor().long().clamp(max=max(0, count - 2))
    matrix = torch.zeros(count, count, dtype=torch.float64)
    matrix[torch.arange(count), below] = 1 - (at - below)
    if count > 1:
        matrix[torch.arange(count), below + 1] = at - below
    return matrix.float()
