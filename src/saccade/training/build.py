"""From a configuration to a segmenter."""

from __future__ import annotations

from saccade.networks import build_network
from saccade.samplers import (
    DeformationSampler,
    DensityNet,
    EdgeTarget,
    Gather,
    OracleSampler,
    Sampler,
    UniformSampler,
)
from saccade.segmenter import Segmenter
from saccade.training.config import Config
from saccade.training.sampler_options import SamplerConfig


def build_segmenter(config: Config, classes: int) -> Segmenter:
    """The segmenter that ``config`` describes, for K ``classes``, with fresh weights.

    Raises:
        InvalidInput: for a network that cannot be made, or options that do not go together.
    """
    network = build_network(config.network.name, classes, pretrained=config.network.pretrained)
    return Segmenter(build_sampler(config.sampler), network, antialias=config.network.antialias)


def build_sampler(options: SamplerConfig) -> Sampler:
    """The sampler that the options describe."""
    if options.name == "uniform":
        return UniformSampler(options.size)
    gather = Gather(options.grid, options.floor, options.radius, options.cover)
    if options.name == "oracle":
        target = edge_target(options)
        return OracleSampler(options.size, density_size=options.density, target=target, gather=gather)
    return DeformationSampler(
        options.size,
        overview_size=options.overview,
        density_size=options.density,
        gather=gather,
        net=DensityNet(options.channels, options.dilations),
    )


def edge_target(options: SamplerConfig) -> EdgeTarget:
    """The density that label edges ask for; "rarity" must have been resolved to numbers by then."""
    weights = None if isinstance(options.edge_weights, str) else options.edge_weights
    return EdgeTarget(options.blur, weights)
