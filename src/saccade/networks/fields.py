"""One network for each field of view, side by side."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class FieldEnsemble(nn.Module):
    """D networks, each trained on patches of its own field of view.

    Args:
        networks: from (N, 3, h, w) to scores (N, K, h', w') each.
    """

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, patches: Tensor) -> Tensor:
        """(N * D, 3, h, w), the D patches of a location one after the other, to their scores."""
        count = len(self.networks)
        found = [network(patches[n::count]) for n, network in enumerate(self.networks)]
        return torch.stack(found, 1).flatten(0, 1)
