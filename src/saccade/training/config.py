"""The whole of a run's options: frozen dataclasses, one section an idea, saved as YAML with the run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from saccade.errors import InvalidInput, nearest_name

SAMPLERS = ("deformation", "uniform", "oracle")
SCHEDULES = ("cosine", "poly", "step", "constant")
VARIANTS = ("joint", "single", "staged", "staged_joint")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


def one_of(what: str, value: object, allowed: tuple[str, ...]) -> None:
    """Refuses a value that is none of the names allowed."""
    if value not in allowed:
        fix = nearest_name(str(value), allowed)
        raise InvalidInput(what, "one of " + ", ".join(allowed), repr(value), fix)


def at_least(what: str, value: float | None, least: float) -> None:
    """Refuses a number that is too small or not finite; None passes."""
    if value is not None and not least <= value < math.inf:
        raise InvalidInput(what, f"a finite number of at least {least:g}", value)


def all_at_least(what: str, values: Sequence[float] | None, least: float) -> None:
    """Refuses a list that is empty or has a number that is too small; None passes."""
    if values is not None and len(values) == 0:
        raise InvalidInput(what, "a list of one number or more", "an empty list")
    for value in values or ():
        at_least(what, value, least)


@dataclass(frozen=True)
class SamplerConfig:
    """Where to look.

    Attributes:
        name: deformation (learned), uniform, or oracle (sees the true labels: for study only).
        size: (rows, columns) that the segmentation network sees: the budget.
        overview: (rows, columns) of the overview; default ``size``.
        density: (rows, columns) of the density; default that of the overview.
        grid: elastic, or attraction (as published).
        floor: smallest share of attention that any place gets, 0 to 1; smaller gathers more.
        radius: of the attraction, in pixels of the density; default a quarter of its short axis.
        cover: the attraction's outermost samples stay on the border; false as published.
        channels: of the density net's 3x3 layers.
        dilations: of the same layers.
        blur: of the edges that the density is taught, in pixels of the density.
        edge_weights: how much edges count by class: "rarity" (1 / sqrt of the share of pixels), "equal" (as
            published), or one number a class.
    """

    name: str = "deformation"
    size: tuple[int, int] = (64, 128)
    overview: tuple[int, int] | None = None
    density: tuple[int, int] | None = None
    grid: str = "elastic"
    floor: float = 0.1
    radius: int | None = None
    cover: bool = True
    channels: tuple[int, ...] = (24, 24, 3)
    dilations: tuple[int, ...] = (1, 1, 1)
    blur: float = 1.0
    edge_weights: str | tuple[float, ...] = "rarity"

    def __post_init__(self) -> None:
        one_of("sampler.name", self.name, SAMPLERS)
        one_of("sampler.grid", self.grid, ("elastic", "attraction"))
        for name in ("size", "overview", "density", "channels", "dilations"):
            all_at_least(f"sampler.{name}", getattr(self, name), 1)
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


@dataclass(frozen=True)
class NetworkConfig:
    """What segments.

    Attributes:
        name: "small", or "architecture:encoder" as in :func:`saccade.networks.build_network`.
        pretrained: ImageNet weights for the encoder, by name.
        antialias: samples are means over their footprints; false takes single pixels, as published.
    """

    name: str = "unet:resnet18"
    pretrained: bool = False
    antialias: bool = True


@dataclass(frozen=True)
class LossConfig:
    """What is minimised: segmentation loss + edge_weight x edge loss.

    Attributes:
        segmentation: cross_entropy, or focal (as published).
        focal_gamma: of the focal loss.
        class_weights: "rarity" (1 / sqrt of the share of pixels), or one number a class; default all alike.
        edge: kl, or mse of maps brought to [0, 1] (as published).
        edge_weight: weight of the edge loss; 100 with mse as published.
        through_grid: whether the segmentation loss also moves the samples (joint, as published).
    """

    segmentation: str = "cross_entropy"
    focal_gamma: float = 2.0
    class_weights: str | tuple[float, ...] | None = None
    edge: str = "kl"
    edge_weight: float = 0.3
    through_grid: bool = False

    def __post_init__(self) -> None:
        one_of("loss.segmentation", self.segmentation, ("cross_entropy", "focal"))
        one_of("loss.edge", self.edge, ("kl", "mse"))
        at_least("loss.edge_weight", self.edge_weight, 0)
        at_least("loss.focal_gamma", self.focal_gamma, 0)
        if isinstance(self.class_weights, str):
            one_of("loss.class_weights", self.class_weights, ("rarity",))
        else:
            all_at_least("loss.class_weights", self.class_weights, 0)


@dataclass(frozen=True)
class OptimizerConfig:
    """How it is minimised.

    Attributes:
        name: adamw or adam.
        learning_rate: the highest of the schedule.
        weight_decay: of the weights.
        schedule: cosine, poly (power 0.9), step, or constant, each step by step after the warm-up.
        warmup: share of all steps in which the rate rises to its highest.
        step_epochs, step_factor: of the step schedule: after so many epochs, times this.
    """

    name: str = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    schedule: str = "cosine"
    warmup: float = 0.1
    step_epochs: int = 30
    step_factor: float = 0.1

    def __post_init__(self) -> None:
        one_of("optimizer.name", self.name, ("adamw", "adam"))
        one_of("optimizer.schedule", self.schedule, SCHEDULES)
        for name in ("learning_rate", "weight_decay", "step_factor"):
            at_least(f"optimizer.{name}", getattr(self, name), 0)
        at_least("optimizer.step_epochs", self.step_epochs, 1)
        if not 0 <= self.warmup < 1:
            raise InvalidInput("optimizer.warmup", "a share in [0, 1)", self.warmup)


@dataclass(frozen=True)
class AugmentConfig:
    """How training images are varied.

    Attributes:
        flip_horizontal, flip_vertical: whether half the images are mirrored.
        brightness, contrast: standard deviations of a random shift of each channel and a random gain, in
            units of the normalised image; 0 for none.
    """

    flip_horizontal: bool = True
    flip_vertical: bool = True
    brightness: float = 0.2
    contrast: float = 0.2

    def __post_init__(self) -> None:
        at_least("augment.brightness", self.brightness, 0)
        at_least("augment.contrast", self.contrast, 0)


@dataclass(frozen=True)
class ScheduleConfig:
    """How long, how much at once, and in which order.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step.
        seed: of everything that is random, 0 or more.
        variant: joint (both losses together), single (segmentation loss alone), staged (the density net
            first, then the network with the density net frozen), staged_joint (the density net first, then
            both) (ICLR 2022, A.4 and A.5).
        first_stage_epochs: of the staged variants.
        validate_every: epochs between validations at full resolution; the last epoch is always validated.
        early_stopping: stop after so many validations without a better mIoU; default never.
        precision: 32-true, bf16-mixed or 16-mixed.
        cache_gigabytes: memory for decoded images; default half of what is free.
    """

    epochs: int = 30
    batch_size: int = 8
    seed: int = 0
    variant: str = "joint"
    first_stage_epochs: int = 5
    validate_every: int = 1
    early_stopping: int | None = None
    precision: str = "32-true"
    cache_gigabytes: float | None = None

    def __post_init__(self) -> None:
        one_of("training.variant", self.variant, VARIANTS)
        one_of("training.precision", self.precision, PRECISIONS)
        for name in ("epochs", "batch_size", "first_stage_epochs", "validate_every", "early_stopping"):
            at_least(f"training.{name}", getattr(self, name), 1)
        for name in ("cache_gigabytes", "seed"):
            at_least(f"training.{name}", getattr(self, name), 0)
        if self.variant.startswith("staged") and self.first_stage_epochs >= self.epochs:
            expected = f"below training.epochs ({self.epochs})"
            raise InvalidInput("training.first_stage_epochs", expected, self.first_stage_epochs)


@dataclass(frozen=True)
class Config:
    """All options of a run; ``data`` and ``classes`` are filled in when it starts.

    Attributes:
        data: the data folder that it was trained on.
        classes: of the data, as in its classes.json.
    """

    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    training: ScheduleConfig = field(default_factory=ScheduleConfig)
    data: str | None = None
    classes: dict | None = None

    def __post_init__(self) -> None:
        if self.training.variant.startswith("staged") and self.sampler.name != "deformation":
            got = f"{self.training.variant!r} with sampler {self.sampler.name}"
            raise InvalidInput("training.variant", "joint where the sampler has nothing to learn", got)
