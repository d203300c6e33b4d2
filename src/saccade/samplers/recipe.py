"""A sampler as one thing: the options, the module, the loss and the stages of each, under one name.

Everything that must know which sampler it has asks its :class:`Recipe`; nothing tests for a class or a name.
"""

from __future__ import annotations

import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saccade.errors import InvalidInput, all_at_least, at_least, nearest_name, one_of
from saccade.geometry import Fit, SizeRange
from saccade.losses import LabelledData, LossConfig
from saccade.runtime.plugins import CODE_PREFIX, imported
from saccade.samplers import SAMPLERS
from saccade.samplers.base import Sampler, TrainingSample
from saccade.samplers.glimpses import Glimpses
from saccade.warp import Pyramid

ELASTIC = ("elastic", "elastic_0_1")
"""Grids that are nets of springs: as they are relaxed today, and as version 0.1 relaxed them."""
CHANNELS, DILATIONS = (24, 24, 3), (1, 1, 1)
"""The density net of ICLR 2022."""


@dataclass(frozen=True)
class SamplerConfig:
    """Where to look: the options that several samplers share.

    Attributes:
        name: of a sampler: one of :data:`saccade.samplers.SAMPLERS`, one that was registered, or
            ``python:PACKAGE.MODULE.CLASS`` of a :class:`Recipe`, whose module is imported.
        size: (rows, columns) that the segmentation network sees: the budget; or a range of budgets that one
            run serves, 32x64..128x256, which gives ``smallest``, ``largest`` and, half the way, ``size``:
            what a prediction takes where it names no other.
        smallest, largest: (rows, columns), the ends of the range; none where one size is trained.
        fit: sizes are (short side, long side) and follow the proportions of each image: whichever of the two
            gives fewer pixels (ICLR 2022, A.8); size, thumbnail and density alike.
        thumbnail: (rows, columns) of the thumbnail; default ``size``, for boundary 64 on the shorter side in
            the shape of ``size``.
        density: (rows, columns) of the density; default that of the thumbnail.
        grid: elastic, or attraction (as published), or elastic_0_1, which runs of version 0.1 keep.
        floor: smallest share of attention that any place gets, 0 to 1; smaller gathers more.
        gather: how far samples gather: always, as the density says; or drawn, in training another share of
            that for each image, from evenly to fully, so that one network serves all; the validation images
            then choose one for each budget, so that a prediction may sample evenly where that is better.
        radius: of the attraction, in pixels of the density; default a quarter of its short axis.
        cover: the attraction's outermost samples stay on the border; false as published.
        net: name of the network that makes the density, as ``network.name``; None for the paper's few
            convolutions, of ``channels`` and ``dilations``.
        channels: of the 3x3 layers of the paper's density net.
        dilations: of the layers of the paper's density net.
        blur: of the edges that the density should be high at, in pixels of the density.
        edge_weights: how much edges count by class: "rarity" (1 / sqrt of the share of pixels), "equal" (as
            published), or one number a class.
    """

    name: str = "deformation"
    size: tuple[int, int] = (64, 128)
    smallest: tuple[int, int] | None = None
    largest: tuple[int, int] | None = None
    fit: bool = False
    thumbnail: tuple[int, int] | None = None
    density: tuple[int, int] | None = None
    grid: str = "elastic"
    floor: float = 0.1
    gather: str = "always"
    radius: int | None = None
    cover: bool = True
    net: str | None = "small:8"
    channels: tuple[int, ...] = CHANNELS
    dilations: tuple[int, ...] = DILATIONS
    blur: float = 1.0
    edge_weights: str | tuple[float, ...] = "rarity"

    def __post_init__(self) -> None:
        recipe_class(self.name)
        one_of("sampler.grid", self.grid, ("elastic", "attraction", *ELASTIC[1:]))
        one_of("sampler.gather", self.gather, ("always", "drawn"))
        for name in ("size", "thumbnail", "density", "channels", "dilations"):
            all_at_least(f"sampler.{name}", getattr(self, name), 1)
        for size in (self.size, self.thumbnail, self.density) if self.fit else ():
            if size is not None:
                Fit(*size)
        self._check_range()
        at_least("sampler.radius", self.radius, 1)
        at_least("sampler.blur", self.blur, 0)
        if not 0 <= self.floor <= 1 or (self.floor == 0 and self.grid in ELASTIC):
            allowed = "in (0, 1]" if self.grid in ELASTIC else "in [0, 1]"
            raise InvalidInput("sampler.floor", f"{allowed} for the {self.grid} grid", self.floor)
        if isinstance(self.edge_weights, str):
            one_of("sampler.edge_weights", self.edge_weights, ("rarity", "equal"))
        else:
            all_at_least("sampler.edge_weights", self.edge_weights, 0)
        if len(self.channels) != len(self.dilations):
            got = f"{len(self.channels)} channels and {len(self.dilations)} dilations"
            raise InvalidInput("sampler.dilations", "as many as sampler.channels", got)

    def _check_range(self) -> None:
        if (self.smallest is None) != (self.largest is None):
            got = f"{self.smallest} and {self.largest}"
            raise InvalidInput("sampler.smallest and sampler.largest", "given together, or neither", got)
        if self.sizes is not None and self.size not in self.sizes:
            raise InvalidInput("sampler.size", f"within {self.sizes}", "x".join(map(str, self.size)))
        if self.sizes is not None and self.fit:
            fix = "give one size, or sampler.fit=false"
            raise InvalidInput("sampler.fit", f"false for a range of sizes ({self.sizes})", "true", fix)

    @property
    def sizes(self) -> SizeRange | None:
        """The budgets that one run serves; None where it is one."""
        if self.smallest is None or self.largest is None:
            return None
        return SizeRange(self.smallest, self.largest)

    @property
    def budget(self) -> str:
        """``64x128``, or ``32x64..128x256``."""
        return "x".join(map(str, self.size)) if self.sizes is None else str(self.sizes)


class TrainingData(LabelledData, Protocol):
    """What options are resolved against: :class:`saccade.data.DataFolder` is one."""

    def sizes(self, split: str | None = None) -> Iterable[tuple[int, int]]:
        """(H, W) of the images of a split, default all."""
        ...


class Augmented(Protocol):
    """How a batch of B images was varied: :class:`saccade.training.loading.Augmentation` is one."""

    @property
    def flipped(self) -> Tensor:
        """(B, 2) bool, along x and y."""
        ...

    def of(self, places: Sequence[int]) -> Augmented:
        """The same for some images of the batch."""
        ...

    def flip(self, maps: Tensor) -> Tensor:
        """(B, ..., h, w), each flipped as its image is."""
        ...

    def colour_jitter(self, pixels: Tensor) -> Tensor:
        """(B, 3, h, w) normalised pixels under another light."""
        ...


class Model(Protocol):
    """What a sampler may use of the model that it is part of: :class:`saccade.Segmenter` is one."""

    antialias: bool

    @property
    def mean(self) -> Tensor:
        """Of the channels; lies on the device of the weights."""
        ...

    @property
    def sampler(self) -> Any: ...

    def thumbnail(self, pyramids: Sequence[Pyramid]) -> Tensor | None:
        """(B, 3, h_o, w_o) normalised; None where the sampler sees none."""
        ...

    def normalise(self, pixels: Tensor, images: Sequence[Pyramid]) -> Tensor:
        """Pixels in the images' units to zero mean and unit variance."""
        ...

    def score(self, pixels: Tensor) -> Tensor:
        """(V, 3, h, w) normalised pixels to scores (V, K, h, w) float32."""
        ...


class AuxiliaryLoss(ABC):
    """The difference between what a sampler proposed and what the labels ask for."""

    @abstractmethod
    def __call__(
        self, batch: Sequence[TrainingSample], glimpses: Glimpses, augmentation: Augmented
    ) -> Tensor:
        """The loss of the sampler, with its weight: a scalar with a gradient.

        Args:
            batch: B samples as they are on the disk, not flipped.
            glimpses: of the flipped images under another light.
            augmentation: how they were varied.
        """


class Targets:
    """What labels ask for of each image of a batch, made once for an image and kept: targets are small.

    Args:
        make: from [(1, H, W)] labels and (h, w) to (1, C, h, w).
    """

    def __init__(self, make: Callable[[Sequence[Tensor], tuple[int, int]], Tensor]) -> None:
        self.make = make
        self._kept: dict[str, Tensor] = {}

    def __call__(self, batch: Sequence[TrainingSample], size: Sequence[int]) -> Tensor:
        """(B, C, h, w), not flipped."""
        return torch.cat([self._of(sample, (size[0], size[1])) for sample in batch])

    def _of(self, sample: TrainingSample, size: tuple[int, int]) -> Tensor:
        if sample.varied:
            return self.make([sample.labels], size)
        if sample.stem not in self._kept:
            self._kept[sample.stem] = self.make([sample.labels], size)
        return self._kept[sample.stem]


@dataclass(frozen=True)
class StepInfo:
    """When a training step is.

    Attributes:
        epoch, step: from 0; the step within the epoch.
        steps: of an epoch.
        epochs: of the training.
        rank: of the process.
    """

    epoch: int
    step: int
    steps: int
    epochs: int
    rank: int = 0


TrainingStep = Callable[
    [Model, Sequence[TrainingSample], Augmented, StepInfo],
    tuple[Tensor, Tensor],
]
"""The segmentation loss of a batch, and what the sampler learns from besides: two scalars."""


@dataclass(frozen=True)
class TrainingMap:
    """What a run kept of an epoch, for its page.

    Attributes:
        name: of the picture.
        values: (h, w) floating from 0, shown dark, to 1, shown light.
        caption: under the picture.
        description: for those who cannot see it.
    """

    name: str
    values: NDArray[np.floating]
    caption: str
    description: str


@dataclass(frozen=True)
class TrainingMaps:
    """A part of a run's page: its title, a sentence on what light and dark mean, and the maps."""

    title: str
    note: str
    maps: tuple[TrainingMap, ...]


@dataclass(frozen=True)
class NoOptions:
    """Of a sampler that has none of its own."""


Own = TypeVar("Own")


class Recipe(ABC, Generic[Own]):
    """What there is to know of a sampler; one subclass each, in the sampler's own file.

    Only ``name`` and :meth:`build` must be given.

    Attributes:
        name: of the sampler, and of the section of its options: small letters, digits and ``_``.
        options_class: a frozen dataclass of the options that are its own, with their defaults and checks.
        shared_options: those of the section ``sampler`` that no other sampler reads.
        variant: of the training, where ``training.variant`` is not given.
        first_stage_epochs: of staged variants, where not given; 0 where the sampler cannot learn before the
            network does.
        sees_labels: whether it looks at the true labels, so that its scores are no real prediction's.
        members_fix: what to do where a member was refused.
        may_idle: whether a training step may leave parameters without a gradient.
        bands: channels of the thumbnails that :meth:`build`'s sampler sees; set before it is called.

    Args:
        shared: the section ``sampler``.
        own: the section of the sampler's name.

    Examples:
        >>> import saccade
        >>> from saccade.samplers import Recipe
        >>> from saccade.samplers.recipe import NoOptions, SamplerConfig
        >>> class Even(Recipe[NoOptions]):
        ...     name = "even"
        ...
        ...     def build(self):
        ...         return saccade.UniformSampler(self.shared.size)
        >>> Even(SamplerConfig(size=(32, 64)), NoOptions()).build().size
        (32, 64)
    """

    name: ClassVar[str]
    options_class: ClassVar[type] = NoOptions
    shared_options: ClassVar[tuple[str, ...]] = ()
    variant: ClassVar[str] = "joint"
    first_stage_epochs: ClassVar[int] = 0
    sees_labels: ClassVar[bool] = False
    members_fix: ClassVar[str] = ""
    may_idle: ClassVar[bool] = False
    bands: int = 3

    def __init__(self, shared: SamplerConfig, own: Own) -> None:
        self.shared, self.own = shared, own

    @abstractmethod
    def build(self) -> Sampler:
        """The sampler with fresh weights."""

    def check(self) -> None:
        """Raises InvalidInput for shared options that this sampler cannot follow."""

    def resolve(self, data: TrainingData, member: Own | None = None) -> Own:
        """Its own options with what the data decide written in.

        Args:
            data: that is trained on.
            member: the options of the first of :attr:`members`, where there are some.

        Raises:
            InvalidInput: for options that do not go with the data.
        """
        return self.own

    def network(self, first: nn.Module, another: Callable[[], nn.Module]) -> nn.Module:
        """The segmentation network, made of one of the name that was asked for, and others of that name."""
        return first

    def auxiliary_loss(self, loss: LossConfig, class_names: Sequence[str]) -> AuxiliaryLoss | None:
        """What it learns from besides the segmentation loss, of resolved options; None for nothing."""
        return None

    def training_step(self, loss: LossConfig, seed: int) -> TrainingStep | None:
        """Its own way to train on a batch; None for one glimpse an image, all images together."""
        return None

    @property
    def visits(self) -> int:
        """How often an epoch comes to each image."""
        return 1

    @property
    def glimpses(self) -> int:
        """How many glimpses of an image a visit takes."""
        return 1

    def callbacks(self, root: Path) -> list[Any]:
        """Lightning's, for what the training of the run at ``root`` should write besides."""
        return []

    def training_maps(self, root: Path) -> TrainingMaps | None:
        """What :meth:`callbacks` wrote into the run at ``root``, for its page; None for nothing."""
        return None

    @property
    def draws_shares(self) -> bool:
        """Whether how far samples gather is drawn in training, and chosen for each budget afterwards."""
        return False

    @property
    def members(self) -> tuple[str, ...]:
        """Folders of trained runs that a run is put together from, instead of being trained."""
        return ()

    def refusal(self, member: Recipe[Any], first: Recipe[Any], number: int) -> tuple[str, str] | None:
        """What was expected and what was got, where the run at a place among the members, whose recipe is
        ``member``, does not belong there; ``first`` is that of the first. None where it does."""
        return None

    def joined(self, first: Own) -> Own:
        """Its own options in the run that was put together, from those of its first member."""
        return self.own


_REGISTERED: dict[str, type[Recipe[Any]]] = {}
_NAME = re.compile(r"[a-z][a-z0-9_]*")
AnyRecipe = TypeVar("AnyRecipe", bound=type[Recipe[Any]])


def register(recipe: AnyRecipe) -> AnyRecipe:
    """Makes a sampler known by its name, to options and commands; a decorator of its recipe.

    Raises:
        InvalidInput: for a name that another has, or that is none.

    Examples:
        >>> import saccade
        >>> from saccade.samplers import Recipe, register
        >>> from saccade.samplers.recipe import NoOptions
        >>> from saccade.training import read_config
        >>> @register
        ... class Even(Recipe[NoOptions]):
        ...     name = "even"
        ...
        ...     def build(self):
        ...         return saccade.UniformSampler(self.shared.size)
        >>> read_config(overrides=["sampler.name=even"]).sampler.name
        'even'
    """
    name = getattr(recipe, "name", "")
    if not _NAME.fullmatch(name):
        raise InvalidInput("the name of a sampler", "small letters, digits and '_'", repr(name))
    other = _REGISTERED.get(name)
    known = other is not None and (other.__module__, other.__qualname__) != _identity(recipe)
    ours = name in SAMPLERS and recipe.__module__ != f"saccade.samplers.{SAMPLERS[name]}"
    if known or ours:
        got = f"{name!r} again, in {recipe.__module__}"
        raise InvalidInput("the name of a sampler", "one that no other has", got, "choose another name")
    _REGISTERED[name] = recipe
    return recipe


def _identity(recipe: type) -> tuple[str, str]:
    return recipe.__module__, recipe.__qualname__


def recipe_class(name: str) -> type[Recipe[Any]]:
    """The recipe of a sampler by ``sampler.name``.

    Raises:
        InvalidInput: for a name that there is not, with the nearest that there is.
    """
    if name.startswith(CODE_PREFIX):
        return register(_imported(name.removeprefix(CODE_PREFIX)))
    if name in SAMPLERS and name not in _REGISTERED:
        importlib.import_module(f"saccade.samplers.{SAMPLERS[name]}")
    if name not in _REGISTERED:
        names = list(dict.fromkeys((*SAMPLERS, *_REGISTERED)))
        expected = "one of " + ", ".join(names) + f", or your own as {CODE_PREFIX}MODULE.CLASS"
        raise InvalidInput("sampler.name", expected, repr(name), nearest_name(name, names))
    return _REGISTERED[name]


def _imported(name: str) -> type[Recipe[Any]]:
    expected = "PACKAGE.MODULE.CLASS, a class of saccade.samplers.Recipe"
    recipe = imported("sampler.name", name, expected)
    if not (isinstance(recipe, type) and issubclass(recipe, Recipe)):
        raise InvalidInput("sampler.name", expected, f"{name!r}, which is no such class")
    return recipe


def recipes() -> dict[str, type[Recipe[Any]]]:
    """All that there are, by name: those of :data:`saccade.samplers.SAMPLERS`, then those registered."""
    return {name: recipe_class(name) for name in SAMPLERS} | _REGISTERED
