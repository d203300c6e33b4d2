"""Options of where to look: what all samplers share, and a section for each that needs its own."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from saccade.errors import InvalidInput
from saccade.samplers.fit import Fit
from saccade.training.checks import all_at_least, at_least, one_of

SAMPLERS = ("deformation", "boundary", "uniform", "oracle", "foveation")
ESTIMATORS = ("mean", "mode", "gumbel", "reinforce", "fixed", "random", "average", "ensemble")


CHANNELS, DILATIONS = (24, 24, 3), (1, 1, 1)
"""The density net of ICLR 2022."""


@dataclass(frozen=True)
class SamplerConfig:
    """Where to look.

    Attributes:
        name: deformation or boundary (learned), uniform, or oracle (sees the true labels: for study only).
        size: (rows, columns) that the segmentation network sees: the budget.
        fit: sizes are (short side, long side) and follow the proportions of each image: whichever of the two
            gives fewer pixels (ICLR 2022, A.8); size, overview and density alike.
        overview: (rows, columns) of the overview; default ``size``, for boundary 64 on the shorter side in
            the shape of ``size``.
        density: (rows, columns) of the density; default that of the overview.
        grid: elastic, or attraction (as published).
        floor: smallest share of attention that any place gets, 0 to 1; smaller gathers more.
        radius: of the attraction, in pixels of the density; default a quarter of its short axis.
        cover: the attraction's outermost samples stay on the border; false as published.
        net: name of the network that makes the density, as ``network.name``; None for the paper's few
            convolutions, of ``channels`` and ``dilations``.
        channels: of the 3x3 layers of the paper's density net, or of the foveation net.
        dilations: of the layers of the paper's density net.
        blur: of the edges that the density is taught, in pixels of the density.
        edge_weights: how much edges count by class: "rarity" (1 / sqrt of the share of pixels), "equal" (as
            published), or one number a class.
    """

    name: str = "deformation"
    size: tuple[int, int] = (64, 128)
    fit: bool = False
    overview: tuple[int, int] | None = None
    density: tuple[int, int] | None = None
    grid: str = "elastic"
    floor: float = 0.1
    radius: int | None = None
    cover: bool = True
    net: str | None = "small:8"
    channels: tuple[int, ...] = CHANNELS
    dilations: tuple[int, ...] = DILATIONS
    blur: float = 1.0
    edge_weights: str | tuple[float, ...] = "rarity"

    def __post_init__(self) -> None:
        one_of("sampler.name", self.name, SAMPLERS)
        one_of("sampler.grid", self.grid, ("elastic", "attraction"))
        for name in ("size", "overview", "density", "channels", "dilations"):
            all_at_least(f"sampler.{name}", getattr(self, name), 1)
        if self.fit:
            self._require_fit()
        at_least("sampler.radius", self.radius, 1)
        at_least("sampler.blur", self.blur, 0)
        if not 0 <= self.floor <= 1 or (self.floor == 0 and self.grid == "elastic"):
            allowed = "in (0, 1]" if self.grid == "elastic" else "in [0, 1]"
            raise InvalidInput("sampler.floor", f"{allowed} for the {self.grid} grid", self.floor)
        if isinstance(self.edge_weights, str):
            one_of("sampler.edge_weights", self.edge_weights, ("rarity", "equal"))
        else:
            all_at_least("sampler.edge_weights", self.edge_weights, 0)
        if len(self.channels) != len(self.dilations):
            got = f"{len(self.channels)} channels and {len(self.dilations)} dilations"
            raise InvalidInput("sampler.dilations", "as many as sampler.channels", got)
        layers = (self.channels, self.dilations)
        if self.name == "deformation" and self.net is not None and layers != (CHANNELS, DILATIONS):
            fix = "give sampler.net=null for the net that has them"
            raise InvalidInput("sampler.channels and sampler.dilations", "left out", layers, fix)

    def _require_fit(self) -> None:
        for given in (self.size, self.overview, self.density):
            if given is not None:
                Fit(*given)
        if self.name == "foveation":
            fix = "its patches have one size, whatever the image's"
            raise InvalidInput("sampler.fit", "false for foveation", "true", fix)


@dataclass(frozen=True)
class BoundaryConfig:
    """The boundary sampler (ICCV 2019); used where ``sampler.name`` is boundary.

    Attributes:
        smoothness: lambda of the energy that the true grids minimise; 1 as published.
        tensor: (rows, columns) of the grid that the net predicts, stretched to ``sampler.size``.
        width: features of the auxiliary net's layers; 256 as published.
        classes: names of the classes whose boundaries attract (a boundary is where one meets any other
            class); default all.
    """

    smoothness: float = 1.0
    tensor: tuple[int, int] = (8, 8)
    width: int = 64
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        at_least("boundary.smoothness", self.smoothness, 0)
        all_at_least("boundary.tensor", self.tensor, 2)
        at_least("boundary.width", self.width, 1)


@dataclass(frozen=True)
class FoveationConfig:
    """The foveation sampler (arXiv / MICCAI 2020); used where ``sampler.name`` is foveation.

    ``sampler.size`` is the patch that the network sees.

    Attributes:
        bank: widths of the fields of view in pixels of the image, increasing; their heights are in proportion
            to the patch. Default five, from the patch to as much as the smallest training image holds.
        shrink: pixels of the image that a pixel of the overview stands for, along an axis.
        estimator: mean, mode, gumbel or reinforce; or a baseline: fixed, random, average or ensemble.
        field: which field of view the fixed baseline takes, from 0.
        members: run folders of the fixed baselines, one for each field of view: what an ensemble is put
            together from, without training.
        reading: aligned (the output stands for the patch that was fed), or published (always for the
            smallest field of view).
        border: reflect, zero or edge: what a patch sees beyond the image.
        locations: drawn from each image of a batch in a step.
        visits: how often an epoch comes to each image; no location is drawn twice in an epoch.
        stride: between the locations of a prediction, in pixels of the overview; default half the smallest
            field of view.
        window: uniform or smooth: weights of a prediction inside its patch, where predictions overlap.
        channels: of the foveation net's 3x3 layers, before its D outputs.
        temperature: (first, last) of the Gumbel-softmax over the training.
        draw: "rarity" draws locations near rare classes more often (1 / sqrt of the share of pixels), or one
            weight a class; default all alike.
    """

    bank: tuple[int, ...] | None = None
    shrink: int = 16
    estimator: str = "mode"
    field: int = 0
    members: tuple[str, ...] | None = None
    reading: str = "aligned"
    border: str = "reflect"
    locations: int = 4
    visits: int = 8
    stride: int | None = None
    window: str = "smooth"
    channels: tuple[int, ...] = (40, 40)
    temperature: tuple[float, float] = (1.0, 0.1)
    draw: str | tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        all_at_least("foveation.bank", self.bank, 1)
        if self.bank is not None and any(a >= b for a, b in pairwise(self.bank)):
            raise InvalidInput("foveation.bank", "fields of view that increase", self.bank)
        one_of("foveation.estimator", self.estimator, ESTIMATORS)
        one_of("foveation.reading", self.reading, ("aligned", "published"))
        one_of("foveation.border", self.border, ("reflect", "zero", "edge"))
        one_of("foveation.window", self.window, ("uniform", "smooth"))
        all_at_least("foveation.channels", self.channels, 1)
        for name in ("locations", "visits", "shrink", "stride"):
            at_least(f"foveation.{name}", getattr(self, name), 1)
        at_least("foveation.field", self.field, 0)
        self._require_members()
        if not 0 < self.temperature[1] <= self.temperature[0]:
            raise InvalidInput("foveation.temperature", "two numbers above 0 that fall", self.temperature)
        if isinstance(self.draw, str):
            one_of("foveation.draw", self.draw, ("rarity",))
        else:
            all_at_least("foveation.draw", self.draw, 0)

    def _require_members(self) -> None:
        if (self.estimator == "ensemble") == (self.members is not None):
            return
        fix = "train one run for each foveation.field with foveation.estimator=fixed, then list them"
        got = f"foveation.estimator={self.estimator}, {'none' if self.members is None else 'some'} given"
        raise InvalidInput("foveation.members", "run folders, for an ensemble and nothing else", got, fix)
