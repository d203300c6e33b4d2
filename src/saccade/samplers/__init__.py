"""Modules that decide where to look, one file an idea."""

from saccade.samplers.base import Sampler
from saccade.samplers.boundary import BoundarySampler
from saccade.samplers.boundary_target import BoundaryTarget
from saccade.samplers.boundarynet import BoundaryNet
from saccade.samplers.deformation import DeformationSampler
from saccade.samplers.densitynet import DensityNet, DensityOf
from saccade.samplers.foveation import Foveation, FoveationSampler
from saccade.samplers.foveation_image import FoveatedImage
from saccade.samplers.gather import Gather
from saccade.samplers.oracle import OracleSampler
from saccade.samplers.target import EdgeTarget, rarity_weights
from saccade.samplers.uniform import UniformSampler
from saccade.samplers.views import Views

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
