"""Modules that decide where to look, one file an idea; :mod:`saccade.samplers.recipe` says what each is.

The public names load when first used: the names of the samplers are known without PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saccade.losses import rarity_weights as rarity_weights
    from saccade.samplers.base import Sampler as Sampler
    from saccade.samplers.boundary import BoundaryNet as BoundaryNet
    from saccade.samplers.boundary import BoundarySampler as BoundarySampler
    from saccade.samplers.boundary import BoundaryTarget as BoundaryTarget
    from saccade.samplers.deformation import DeformationSampler as DeformationSampler
    from saccade.samplers.deformation import DensityNet as DensityNet
    from saccade.samplers.deformation import DensityOf as DensityOf
    from saccade.samplers.deformation import DensityToGrid as DensityToGrid
    from saccade.samplers.deformation import EdgeTarget as EdgeTarget
    from saccade.samplers.foveation import FoveatedImage as FoveatedImage
    from saccade.samplers.foveation import Foveation as Foveation
    from saccade.samplers.foveation import FoveationSampler as FoveationSampler
    from saccade.samplers.glimpses import Glimpses as Glimpses
    from saccade.samplers.oracle import OracleSampler as OracleSampler
    from saccade.samplers.recipe import Recipe as Recipe
    from saccade.samplers.recipe import register as register
    from saccade.samplers.uniform import UniformSampler as UniformSampler

SAMPLERS = {
    "deformation": "deformation",
    "boundary": "boundary",
    "uniform": "uniform",
    "oracle": "oracle",
    "foveation": "foveation_training",
}
"""Every sampler by its name, and the module of this room that registers its recipe."""

_HOME = {
    "BoundaryNet": ".boundary",
    "BoundarySampler": ".boundary",
    "BoundaryTarget": ".boundary",
    "DeformationSampler": ".deformation",
    "DensityNet": ".deformation",
    "DensityOf": ".deformation",
    "DensityToGrid": ".deformation",
    "EdgeTarget": ".deformation",
    "FoveatedImage": ".foveation",
    "Foveation": ".foveation",
    "FoveationSampler": ".foveation",
    "Glimpses": ".glimpses",
    "OracleSampler": ".oracle",
    "Recipe": ".recipe",
    "Sampler": ".base",
    "UniformSampler": ".uniform",
    "rarity_weights": "..losses",
    "register": ".recipe",
}

__all__ = ["SAMPLERS", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'saccade.samplers' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name], __name__), name)
    globals()[name] = value
    return value
