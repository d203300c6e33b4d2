"""Fixtures of the tests of the warp room; the grids themselves are in ``warp_grids``."""

from __future__ import annotations

import pytest
from torch import Tensor
from warp_grids import GRIDS


@pytest.fixture(params=GRIDS, ids=lambda name: name.replace(" ", "-"))
def any_grid(request: pytest.FixtureRequest) -> Tensor:
    """Each kind of grid that the operators meet."""
    return GRIDS[request.param]()
