"""Modules that decide where to look, one file an idea."""

from saccade.samplers.base import Sampler, Views
from saccade.samplers.boundary import BoundaryNet, BoundarySampler, BoundaryTarget
from saccade.samplers.deformation import DeformationSampler
from saccade.samplers.density import DensityNet, DensityOf, EdgeTarget, Gather, rarity_weights
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
    "EdgeTarget",
    "FoveatedImage",
    "Foveation",
    "FoveationSampler",
    "Gather",
    "OracleSampler",
    "Sampler",
    "UniformSampler",
    "Views",
    "rarity_weights",
]
