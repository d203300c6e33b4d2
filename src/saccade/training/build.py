"""From a configuration to a segmenter."""

from __future__ import annotations

from torch import nn

from saccade.errors import InvalidInput
from saccade.networks import build_network
from saccade.networks.fields import FieldEnsemble
from saccade.samplers import (
    BoundarySampler,
    DeformationSampler,
    DensityNet,
    DensityOf,
    EdgeTarget,
    FoveationSampler,
    Gather,
    OracleSampler,
    Sampler,
    UniformSampler,
)
from saccade.segmenter import Segmenter
from saccade.training.config import Config
from saccade.training.sampler_options import FoveationConfig, SamplerConfig


def build_segmenter(config: Config, classes: int) -> Segmenter:
    """The segmenter that ``config`` describes, for K ``classes``, with fresh weights.

    Raises:
        InvalidInput: for a network that cannot be made, or options that do not go together.
    """
    network: nn.Module = build_network(config.network.name, classes, pretrained=config.network.pretrained)
    if config.sampler.name == "foveation" and config.foveation.estimator == "ensemble":
        bank = config.foveation.bank or ()
        others = (build_network(config.network.name, classes) for _ in bank[1:])
        network = FieldEnsemble([network, *others])
    sampler = build_sampler(config)
    if config.sampler.fit:
        sampler.follow_images()
    return Segmenter(sampler, network, antialias=config.network.antialias)


def build_sampler(config: Config) -> Sampler:
    """The sampler that ``config`` describes."""
    options = config.sampler
    if options.name == "boundary":
        return BoundarySampler(
            options.size,
            overview_size=options.overview,
            tensor_size=config.boundary.tensor,
            width=config.boundary.width,
        )
    if options.name == "foveation":
        return build_foveation(options, config.foveation)
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
        net=build_density_net(options),
    )


def build_density_net(options: SamplerConfig) -> nn.Module:
    """The paper's three convolutions, or the network of that name with one output."""
    if options.net is None:
        return DensityNet(options.channels, options.dilations)
    return DensityOf(build_network(options.net, 1))


def build_foveation(sampler: SamplerConfig, options: FoveationConfig) -> FoveationSampler:
    """The foveation sampler of resolved options.

    Raises:
        InvalidInput: without a bank, which :func:`saccade.training.loop.resolve` fills in, or for an overview
            in pixels: foveation's follows the image.
    """
    if options.bank is None:
        raise InvalidInput("foveation.bank", "resolved before the sampler is built", "none")
    if sampler.overview is not None:
        fix = "leave sampler.overview out"
        raise InvalidInput("the overview", "given as foveation.shrink", sampler.overview, fix)
    return FoveationSampler(
        sampler.size,
        options.bank,
        shrink=options.shrink,
        estimator=options.estimator,
        field=options.field,
        reading=options.reading,
        border=options.border,
        stride=options.stride,
        window=options.window,
        channels=options.channels,
    )


def edge_target(options: SamplerConfig) -> EdgeTarget:
    """The density that label edges ask for; "rarity" must have been resolved to numbers by then."""
    weights = None if isinstance(options.edge_weights, str) else options.edge_weights
    return EdgeTarget(options.blur, weights)
