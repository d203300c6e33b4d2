"""Modules that decide where to look, one file an idea."""

from saccade.samplers.base import Glimpses, Sampler
from saccade.samplers.boundary import BoundaryNet, BoundarySampler, BoundaryTarget
from saccade.samplers.deformation import DeformationSampler
from saccade.samplers.density import DensityNet, DensityOf, DensityToGrid, EdgeTarget, rarity_weights
from saccade.samplers.foveation import FoveatedImage, Foveation, FoveationSampler
from saccade.samplers.oracle import OracleSampler
from saccade.samplers.uniform import UniformSampler

__all__ = [
    "BoundaryNet",
    "BoundarySampler",
    "BoundaryTarget",
    "DeformationSampler",
    "DensityNet",
    "DensityOf",
    "DensityToGrid",
    "EdgeTarget",
    "FoveatedImage",
    "Foveation",
    "FoveationSampler",
    "Glimpses",
    "OracleSampler",
    "Sampler",
    "UniformSampler",
    "rarity_weights",
]
