"""The whole of a run's options: frozen dataclasses, from YAML and ``section.key=value``, checked by name."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from saccade.data.options import DataOptions, parse_value_range
from saccade.errors import FileProblem, InvalidInput, UsageError, nearest_name
from saccade.geometry import Fit, looks_like_size, parse_size


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
            gives fewer pixels (ICLR 2022, A.8); size, thumbnail and density alike.
        thumbnail: (rows, columns) of the thumbnail; default ``size``, for boundary 64 on the shorter side in
            the shape of ``size``.
        density: (rows, columns) of the density; default that of the thumbnail.
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
    thumbnail: tuple[int, int] | None = None
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
        for name in ("size", "thumbnail", "density", "channels", "dilations"):
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
        for given in (self.size, self.thumbnail, self.density):
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
        shrink: pixels of the image that a pixel of the thumbnail stands for, along an axis.
        estimator: mean, mode, gumbel or reinforce; or a baseline: fixed, random, average or ensemble.
        field: which field of view the fixed baseline takes, from 0.
        members: run folders of the fixed baselines, one for each field of view: what an ensemble is put
            together from, without training.
        reading: aligned (the output stands for the patch that was fed), or published (always for the
            smallest field of view).
        border: reflect, zero or edge: what a patch sees beyond the image.
        locations: drawn from each image of a batch in a step.
        visits: how often an epoch comes to each image; no location is drawn twice in an epoch.
        stride: between the locations of a prediction, in pixels of the thumbnail; default half the smallest
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


MAX_SEED = 2**63 - 1
"""What the generators of torch take."""
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
            one_of("loss.class_weights", self.class_weights, ("rarity", "a list as [1,2.5,1]"))
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
        flip_horizontal, flip_vertical: whether half the images are flipped.
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
        if self.seed > MAX_SEED:
            raise InvalidInput("training.seed", f"at most {MAX_SEED}", self.seed)


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


YAML_ERROR = "a YAML file of options"


OLD_NAMES = {("sampler", "overview"): "thumbnail"}
"""Section and name of an option in 0.1, and its name today."""


def read_config(
    path: Path | str | None = None, overrides: Iterable[str] = (), *, base: Config | None = None
) -> Config:
    """The defaults, changed by a YAML file, changed by overrides.

    Args:
        path: a YAML file with any of the sections and keys of :class:`Config`; None for the defaults.
        overrides: ``section.key=value`` each, the value in YAML: ``sampler.size=[32,64]`` or ``32x64``.
        base: what stands in the place of the defaults, such as the options of a run that goes on.

    Raises:
        FileProblem: when the file cannot be read or is no YAML mapping, or says something not allowed.
        UsageError: when an override has no ``=``, or says something not allowed.
    """
    options: dict[str, Any] = {} if base is None else to_dict(base)
    if path is not None:
        _merge(options, with_new_names(_read_yaml(Path(path))))
        try:
            from_dict(Config, options)
        except InvalidInput as error:
            raise FileProblem(path, YAML_ERROR, f"a fault in it: {error}") from error
    for override in overrides:
        _override(options, override)
    try:
        return from_dict(Config, options)
    except InvalidInput as error:
        raise UsageError(str(error)) from error


def save_config(config: Config, path: Path) -> None:
    """Writes every option, so that the file repeats the run."""
    text = yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True, default_flow_style=None)
    path.write_text(text, encoding="utf-8")


def to_dict(config: Any) -> Any:
    """Dataclasses to dicts and tuples to lists: what YAML and JSON can hold."""
    if dataclasses.is_dataclass(config):
        return {f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config)}
    return [to_dict(item) for item in config] if isinstance(config, tuple | list) else config


def flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options as ``section.key``; a table of classes is one value."""
    found: dict[str, Any] = {}
    for key, value in options.items():
        nested = isinstance(value, dict) and key != "classes"
        found.update(flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value})
    return found


def from_dict(cls: type, options: Any, where: str = "") -> Any:
    """A dataclass from a mapping; keys that it lacks are refused, values are brought to the field's type.

    Raises:
        InvalidInput: for an unknown key, with the nearest that exists, or a value of another type.
    """
    if not isinstance(options, dict):
        raise InvalidInput(where or "the configuration", "a mapping of options", repr(options))
    hints, values = get_type_hints(cls), {}
    names = [f.name for f in dataclasses.fields(cls)]
    for key, value in options.items():
        if key not in names:
            got = f"{where}.{key}" if where else str(key)
            raise InvalidInput("option", "one that exists", repr(got), nearest_name(str(key), names))
        values[key] = _convert(value, hints[key], f"{where}.{key}" if where else key)
    return cls(**values)


def _convert(value: Any, hint: Any, where: str) -> Any:
    if hint is DataOptions and isinstance(value, str):
        value = {"path": value}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_dict(hint, {} if value is None else value, where)
    if get_origin(hint) in (Union, types.UnionType):
        return _first_that_fits(value, get_args(hint), where)
    if get_origin(hint) is tuple:
        return _as_tuple(value, get_args(hint), where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str):
        return _number(value, where)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        named = {dict: "a mapping", str: "a text", bool: "true or false", int: "a whole number"}
        raise InvalidInput(where, named.get(hint, "a number"), repr(value))
    return value


def _number(text: str, where: str) -> float:
    """YAML takes 1e-4 for a text; people mean a number."""
    try:
        return float(text)
    except ValueError:
        raise InvalidInput(where, "a number", repr(text)) from None


def _first_that_fits(value: Any, hints: tuple[Any, ...], where: str) -> Any:
    if value is None and type(None) in hints:
        return None
    errors = []
    for hint in hints:
        try:
            if hint is not type(None):
                return _convert(value, hint, where)
        except InvalidInput as error:
            errors.append(error)
    expected = " or ".join(error.expected for error in errors)
    raise InvalidInput(where, expected, repr(value))


def _as_tuple(value: Any, items: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    wanted = None if items[-1] is Ellipsis else len(items)
    if isinstance(value, str) and wanted == 2:
        return parse_value_range(value, where) if items[0] is float else parse_size(value, where)
    if not isinstance(value, list | tuple) or (wanted is not None and len(value) != wanted):
        expected = f"a list of {wanted} values" if wanted else "a list"
        expected += " (rows, columns), such as 64x128" if wanted == 2 and items[0] is int else ""
        raise InvalidInput(where, expected, repr(value))
    return tuple(_convert(item, items[0], where) for item in value)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        options = _parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileProblem(path, YAML_ERROR, error.strerror or "an unreadable file") from error
    except ValueError as error:
        raise FileProblem(path, YAML_ERROR, "a broken one: " + " ".join(str(error).split())) from error
    if options is not None and not isinstance(options, dict):
        got = "a list" if isinstance(options, list) else repr(options)[:40]
        raise FileProblem(path, YAML_ERROR, got)
    return options or {}


def _override(options: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UsageError(f"expected an option as section.key=value, but got {override!r}")
    try:
        value = text if looks_like_size(text) else _parse(text)
    except ValueError:
        value = text
    nested: Any = value
    for name in reversed(key.split(".")):
        nested = {name: nested}
    _merge(options, with_new_names(nested))


def with_new_names(options: dict[str, Any]) -> dict[str, Any]:
    """The same options by today's names, so that runs and command lines of an earlier version still load."""
    for (section, old), new in OLD_NAMES.items():
        found = options.get(section)
        if isinstance(found, dict) and old in found:
            found.setdefault(new, found.pop(old))
    return options


def _merge(options: dict[str, Any], changes: dict[str, Any]) -> None:
    """Puts ``changes`` over ``options``, section by section."""
    for key, value in changes.items():
        there = options.get(key)
        if isinstance(value, dict) and isinstance(there, dict) and key != "classes":
            _merge(there, value)
        elif not (value is None and isinstance(there, dict)):
            options[key] = value


def _parse(text: str) -> Any:
    """What a YAML text says; ValueError where it says nothing, or says one thing twice."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error) or "nested too deeply") from error


class _Loader(yaml.SafeLoader):
    """Plain values only, and no key twice: YAML would keep the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} twice", node.start_mark)
        return super().construct_mapping(node, deep)
