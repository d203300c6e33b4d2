"""Saccade segments images of any size within a compute budget: it learns where to look.

The public names load when first used, so that ``import saccade`` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saccade.api.export import export as export
    from saccade.api.info import info as info
    from saccade.api.prediction import plan as plan
    from saccade.api.prediction import predict as predict
    from saccade.api.reporting import report_run as report_run
    from saccade.api.scoring import compare as compare
    from saccade.api.scoring import evaluate as evaluate
    from saccade.api.training import load as load
    from saccade.api.training import train as train
    from saccade.errors import DataFaults as DataFaults
    from saccade.errors import FileProblem as FileProblem
    from saccade.errors import InvalidInput as InvalidInput
    from saccade.errors import SaccadeError as SaccadeError
    from saccade.errors import UsageError as UsageError
    from saccade.grids import attraction_grid as attraction_grid
    from saccade.grids import boundary_grid as boundary_grid
    from saccade.grids import edge_density as edge_density
    from saccade.grids import elastic_grid as elastic_grid
    from saccade.grids import uniform_grid as uniform_grid
    from saccade.samplers import BoundarySampler as BoundarySampler
    from saccade.samplers import DeformationSampler as DeformationSampler
    from saccade.samplers import FoveationSampler as FoveationSampler
    from saccade.samplers import Glimpses as Glimpses
    from saccade.samplers import OracleSampler as OracleSampler
    from saccade.samplers import UniformSampler as UniformSampler
    from saccade.segmenter import Segmenter as Segmenter
    from saccade.warp import Pyramid as Pyramid
    from saccade.warp import sample as sample
    from saccade.warp import unwarp as unwarp
    from saccade.warp import unwarp_labels as unwarp_labels

__version__ = "0.1.0"

_HOME = {
    "load": "api.training",
    "train": "api.training",
    "predict": "api.prediction",
    "plan": "api.prediction",
    "evaluate": "api.scoring",
    "compare": "api.scoring",
    "export": "api.export",
    "info": "api.info",
    "report_run": "api.reporting",
    "attraction_grid": "grids",
    "boundary_grid": "grids",
    "edge_density": "grids",
    "elastic_grid": "grids",
    "uniform_grid": "grids",
    "Pyramid": "warp",
    "sample": "warp",
    "unwarp": "warp",
    "unwarp_labels": "warp",
    "BoundarySampler": "samplers",
    "DeformationSampler": "samplers",
    "FoveationSampler": "samplers",
    "OracleSampler": "samplers",
    "UniformSampler": "samplers",
    "Glimpses": "samplers",
    "Segmenter": "segmenter",
    "DataFaults": "errors",
    "FileProblem": "errors",
    "InvalidInput": "errors",
    "SaccadeError": "errors",
    "UsageError": "errors",
}

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'saccade' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"saccade.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
