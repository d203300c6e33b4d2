"""Saccade segments images of any size within a compute budget: it learns where to look.

The public names load when first used, so that ``import saccade`` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saccade.errors import DataFaults, FileProblem, InvalidInput, SaccadeError, UsageError
    from saccade.grids import attraction_grid, boundary_grid, edge_density, uniform_grid
    from saccade.samplers import (
        BoundarySampler,
        DeformationSampler,
        FoveationSampler,
        OracleSampler,
        UniformSampler,
        Views,
    )
    from saccade.segmenter import Segmenter
    from saccade.warp import Pyramid, sample, unwarp, unwarp_labels

__version__ = "0.1.0"

_HOME = {
    "attraction_grid": "grids",
    "boundary_grid": "grids",
    "edge_density": "grids",
    "uniform_grid": "grids",
    "Pyramid": "warp",
    "sample": "warp",
    "unwarp": "warp",
    "unwarp_labels": "warp",
    "DeformationSampler": "samplers",
    "OracleSampler": "samplers",
    "UniformSampler": "samplers",
    "Views": "samplers",
    "Segmenter": "segmenter",
    "DataFaults": "errors",
    "FileProblem": "errors",
    "InvalidInput": "errors",
    "SaccadeError": "errors",
    "UsageError": "errors",
}

__all__ = [*_HOME, "__version__"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'saccade' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"saccade.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
