"""The whole of a run's options: frozen dataclasses, one section an idea, saved as YAML with the run."""

from __future__ import annotations

from dataclasses import dataclass, field

from saccade.data.options import DataOptions
from saccade.errors import InvalidInput
from saccade.training.checks import all_at_least, at_least, one_of
from saccade.training.sampler_options import BoundaryConfig, FoveationConfig, SamplerConfig

SCHEDULES = ("cosine", "poly", "step", "constant")
VARIANTS = ("joint", "single", "staged", "staged_joint")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
FIRST_STAGE = {"deformation": 5, "boundary": 60}
"""Samplers that can learn before the network, and for how many epochs where nothing is said."""


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
        salt_and_pepper: share of the samples that become black or white (ICCV 2019, 4.1); 0 for none.
    """

    flip_horizontal: bool = True
    flip_vertical: bool = True
    brightness: float = 0.2
    contrast: float = 0.2
    salt_and_pepper: float = 0.0

    def __post_init__(self) -> None:
        at_least("augment.brightness", self.brightness, 0)
        at_least("augment.contrast", self.contrast, 0)
        if not 0 <= self.salt_and_pepper < 1:
            raise InvalidInput("augment.salt_and_pepper", "a share in [0, 1)", self.salt_and_pepper)


@dataclass(frozen=True)
class ScheduleConfig:
    """How long, how much at once, and in which order.

    Attributes:
        epochs: passes over the training images in which the network learns.
        batch_size: images a step.
        seed: of everything that is random, 0 or more.
        variant: joint (both losses together), single (segmentation loss alone), staged (the sampler first,
            then the network with the sampler frozen), staged_joint (the sampler first, then both) (ICLR 2022,
            A.4 and A.5). Default: staged for boundary (ICCV 2019), joint for the others.
        first_stage_epochs: of the staged variants, before ``epochs``: the sampler learns, the network waits
            and nothing is validated. Default: 60 for boundary, 5 for the others.
        validate_every: epochs between validations at full resolution; the last epoch is always validated.
        early_stopping: stop after so many validations without a better mIoU; default never.
        precision: 32-true, bf16-mixed or 16-mixed.
        cache_gigabytes: memory for decoded images; default half of what is free.
    """

    epochs: int = 30
    batch_size: int = 8
    seed: int = 0
    variant: str | None = None
    first_stage_epochs: int | None = None
    validate_every: int = 1
    early_stopping: int | None = None
    precision: str = "32-true"
    cache_gigabytes: float | None = None

    def __post_init__(self) -> None:
        if self.variant is not None:
            one_of("training.variant", self.variant, VARIANTS)
        one_of("training.precision", self.precision, PRECISIONS)
        for name in ("epochs", "batch_size", "first_stage_epochs", "validate_every", "early_stopping"):
            at_least(f"training.{name}", getattr(self, name), 1)
        for name in ("cache_gigabytes", "seed"):
            at_least(f"training.{name}", getattr(self, name), 0)


@dataclass(frozen=True)
class Config:
    """All options of a run; ``data.path`` and ``classes`` are filled in when it starts.

    Attributes:
        data: what it was trained on, and how that was read.
        classes: of the data, as in its classes.json.
    """

    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    boundary: BoundaryConfig = field(default_factory=BoundaryConfig)
    foveation: FoveationConfig = field(default_factory=FoveationConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    training: ScheduleConfig = field(default_factory=ScheduleConfig)
    data: DataOptions = field(default_factory=DataOptions)
    classes: dict | None = None

    def __post_init__(self) -> None:
        if self.staged and self.sampler.name not in FIRST_STAGE:
            got = f"{self.variant!r} with sampler {self.sampler.name}"
            raise InvalidInput("training.variant", "joint where the sampler has nothing to learn", got)

    @property
    def variant(self) -> str:
        """``training.variant``, or the sampler's own."""
        return self.training.variant or ("staged" if self.sampler.name == "boundary" else "joint")

    @property
    def staged(self) -> bool:
        """Whether the sampler learns first, alone."""
        return self.variant.startswith("staged")

    @property
    def first_epochs(self) -> int:
        """Epochs of the first stage; 0 where there is none."""
        return (self.training.first_stage_epochs or FIRST_STAGE[self.sampler.name]) if self.staged else 0

    @property
    def all_epochs(self) -> int:
        """Epochs of both stages."""
        return self.first_epochs + self.training.epochs

    @property
    def visits(self) -> int:
        """How often an epoch comes to each image."""
        return self.foveation.visits if self.sampler.name == "foveation" else 1
