"""The whole of a run's options: frozen dataclasses, from YAML and ``section.key=value``, checked by name."""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from saccade.data.options import DataOptions, parse_value_range
from saccade.errors import FileProblem, InvalidInput, UsageError, at_least, nearest_name, one_of
from saccade.geometry import SizeRange, looks_like_size, parse_size
from saccade.losses import LossConfig
from saccade.runtime.reading import MOST_OPTIONS, read_text
from saccade.runtime.safe_yaml import parse_yaml
from saccade.runtime.trust import name_code, require_allowed_code
from saccade.samplers import SAMPLERS
from saccade.samplers.recipe import NoOptions, Recipe, SamplerConfig, recipe_class, recipes

MAX_SEED = 2**63 - 1
"""What the generators of torch take."""
SCHEDULES = ("cosine", "poly", "step", "constant")
SCALINGS = ("none", "sqrt", "linear")
VARIANTS = ("joint", "single", "staged", "staged_joint")
LOGGERS = ("tensorboard", "wandb", "mlflow")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


@dataclass(frozen=True)
class NetworkConfig:
    """What segments.

    Attributes:
        name: "small", or "architecture:encoder" as in :func:`saccade.networks.build_network`.
        pretrained: ImageNet weights for the encoder, by name.
        weights: to start from: a run folder, or a file with a state dict of this network or of its encoder
            (timm, torchvision, segmentation-models-pytorch); what does not fit is drawn as without.
        freeze_epochs: epochs of the network in which its encoder stays as it is, batch norm too.
        antialias: samples are means over their footprints; false takes single pixels, as published.
    """

    name: str = "unet:resnet18"
    pretrained: bool = False
    weights: str | None = None
    freeze_epochs: int = 0
    antialias: bool = True

    def __post_init__(self) -> None:
        at_least("network.freeze_epochs", self.freeze_epochs, 0)
        if self.weights is not None and self.pretrained:
            fix = "leave one of the two out"
            raise InvalidInput("network.weights", "none where network.pretrained is true", self.weights, fix)


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
        scaling: of the rate with the batch: none, as it stands; sqrt, times the root of training.batch_size
            / 8, as suits Adam (Malladi et al. 2022); linear, times that ratio.
    """

    name: str = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    schedule: str = "cosine"
    warmup: float = 0.1
    step_epochs: int = 30
    step_factor: float = 0.1
    scaling: str = "none"

    def for_batch(self, size: int) -> OptimizerConfig:
        """With the learning rate of batches of ``size`` images."""
        power = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}[self.scaling]
        rate = self.learning_rate * (size / ScheduleConfig.batch_size) ** power
        return dataclasses.replace(self, learning_rate=rate) if power else self

    def __post_init__(self) -> None:
        one_of("optimizer.name", self.name, ("adamw", "adam"))
        one_of("optimizer.schedule", self.schedule, SCHEDULES)
        one_of("optimizer.scaling", self.scaling, SCALINGS)
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
        every_image: an epoch leaves no image out: where the batches do not come out even, the last is filled
            with images of its beginning. False leaves the rest out, as runs of 0.1 do.
        seed: of everything that is random, 0 or more.
        variant: joint (both losses together), single (segmentation loss alone), staged (the sampler first,
            then the network with the sampler frozen), staged_joint (the sampler first, then both) (ICLR 2022,
            A.4 and A.5). Default: the sampler's own, staged for boundary (ICCV 2019), joint for the others.
        first_stage_epochs: of the staged variants, before ``epochs``: the sampler learns, the network waits
            and nothing is validated. Default: the sampler's own, 60 for boundary, 5 for deformation.
        validate_every: epochs between validations at full resolution; the last epoch is always validated.
        early_stopping: stop after so many validations without a better mIoU; default never.
        precision: 32-true, bf16-mixed or 16-mixed.
        average: decay of a moving average of the weights (0.99, 0.998), which is then what is validated, kept
            and predicted with; 0 for the weights themselves.
        cache_gigabytes: memory for decoded images; default half of what is free.
        logger: where scores and losses go besides metrics.csv: tensorboard, wandb, mlflow; several by commas.
    """

    epochs: int = 30
    batch_size: int = 8
    every_image: bool = True
    seed: int = 0
    variant: str | None = None
    first_stage_epochs: int | None = None
    validate_every: int = 1
    early_stopping: int | None = None
    precision: str = "32-true"
    average: float = 0.0
    cache_gigabytes: float | None = None
    logger: str | None = None

    def __post_init__(self) -> None:
        if self.variant is not None:
            one_of("training.variant", self.variant, VARIANTS)
        one_of("training.precision", self.precision, PRECISIONS)
        for name in ("epochs", "batch_size", "first_stage_epochs", "validate_every", "early_stopping"):
            at_least(f"training.{name}", getattr(self, name), 1)
        for name in ("cache_gigabytes", "seed"):
            at_least(f"training.{name}", getattr(self, name), 0)
        for name in self.loggers:
            one_of("training.logger", name, LOGGERS)
        if self.seed > MAX_SEED:
            raise InvalidInput("training.seed", f"at most {MAX_SEED}", self.seed)
        if not 0 <= self.average < 1:
            raise InvalidInput("training.average", "a decay in [0, 1), 0 for none", self.average)

    @property
    def loggers(self) -> tuple[str, ...]:
        """Names in ``logger``."""
        return tuple(name.strip() for name in (self.logger or "").split(",") if name.strip())


def sampler_sections(sampler: str = "uniform", options: Iterable[str] = ()) -> dict[str, type]:
    """Sections of options that a sampler has for itself, by its name, and the class of each.

    Those of all that come with Saccade stand in every configuration; of the others only that of ``sampler``,
    and those among ``options``.
    """
    shown = {*SAMPLERS, recipe_class(sampler).name, *options}
    kinds = {name: recipe.options_class for name, recipe in recipes().items() if name in shown}
    return {name: kind for name, kind in kinds.items() if kind is not NoOptions}


def _default_sections() -> dict[str, Any]:
    return {name: kind() for name, kind in sampler_sections().items()}


Options = TypeVar("Options")


@dataclass(frozen=True)
class Config:
    """All options of a run; ``data.path`` and ``classes`` are filled in when it starts.

    Attributes:
        sampler: what samplers share.
        sections: the options that a sampler has for itself, by its name. Each reads like a field,
            ``config.foveation``, and is a section of its own in files and on the command line.
        data: what it was trained on, and how that was read.
        classes: of the data, as in its classes.json.
        bands: of the data, with their scale, as :meth:`saccade.rasters.bands.Bands.to_dict` has them; None
            for colour of eight bits.

    Examples:
        >>> from saccade.training import Config
        >>> config = Config()
        >>> config.sampler.name, config.sampler.size, config.network.name
        ('deformation', (64, 128), 'unet:resnet18')
    """

    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    sections: Mapping[str, Any] = field(default_factory=_default_sections, hash=False)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    training: ScheduleConfig = field(default_factory=ScheduleConfig)
    data: DataOptions = field(default_factory=DataOptions)
    classes: dict | None = None  # type: ignore[type-arg]  # options are checked against plain types
    bands: dict | None = None  # type: ignore[type-arg]

    def __post_init__(self) -> None:
        recipe = self.recipe
        recipe.check()
        own_step = type(recipe).training_step is not Recipe.training_step
        if self.sampler.sizes is not None and own_step:
            expected = f"one size, such as 64x128, for the sampler {recipe.name}, whose training has its own"
            raise InvalidInput("sampler.size", expected, str(self.sampler.sizes))
        if self.staged and not recipe.first_stage_epochs:
            got = f"{self.variant!r} with sampler {recipe.name}"
            raise InvalidInput("training.variant", "joint where the sampler has nothing to learn", got)

    if not TYPE_CHECKING:  # code of ours asks options_of, which is typed

        def __getattr__(self, name: str) -> Any:
            """The section of a sampler."""
            sections = self.__dict__.get("sections", {})
            if name not in sections:
                raise AttributeError(f"a configuration has no section {name!r}")
            return sections[name]

    @property
    def recipe(self) -> Recipe[Any]:
        """What there is to know of the sampler, with its options."""
        kind = recipe_class(self.sampler.name)
        return kind(self.sampler, self.sections.get(kind.name, kind.options_class()))

    def options_of(self, kind: type[Options]) -> Options:
        """The section of a class of options, such as :class:`saccade.samplers.boundary.BoundaryConfig`.

        Raises:
            LookupError: where there is none.
        """
        for section in self.sections.values():
            if isinstance(section, kind):
                return section
        raise LookupError(f"no section of {kind.__name__} in this configuration")

    def with_options(self, options: Any) -> Config:
        """The same with other options of its own sampler, and without those of others that do not come with
        Saccade: their samplers need not be known where the run is opened."""
        name = self.recipe.name
        kept = {key: value for key, value in self.sections.items() if key in SAMPLERS or key == name}
        if not isinstance(options, NoOptions):
            kept[name] = options
        return dataclasses.replace(self, sections=kept)

    @property
    def variant(self) -> str:
        """``training.variant``, or the sampler's own."""
        return self.training.variant or recipe_class(self.sampler.name).variant

    @property
    def staged(self) -> bool:
        """Whether the sampler learns first, alone."""
        return self.variant.startswith("staged")

    @property
    def first_epochs(self) -> int:
        """Epochs of the first stage; 0 where there is none."""
        usual = recipe_class(self.sampler.name).first_stage_epochs
        return (self.training.first_stage_epochs or usual) if self.staged else 0

    @property
    def all_epochs(self) -> int:
        """Epochs of both stages."""
        return self.first_epochs + self.training.epochs


YAML_ERROR = "a YAML file of options"


OLD_NAMES = {("sampler", "overview"): "thumbnail"}
"""Section and name of an option in 0.1, and its name today."""


def read_config(
    path: Path | str | None = None, overrides: Iterable[str] = (), *, base: Config | None = None
) -> Config:
    """The defaults, changed by a YAML file, changed by overrides.

    Args:
        path: a YAML file with any of the sections and keys of :class:`Config`; None for the defaults.
        overrides: ``section.key=value`` each, the value in YAML: ``sampler.size=[32,64]`` or ``32x64``, or a
            range, ``32x64..128x256``.
        base: what stands in the place of the defaults, such as the options of a run that goes on.

    Raises:
        FileProblem: when the file cannot be read or is no YAML mapping, says something not allowed, or names
            code (``python:...``) that is not allowed: see :mod:`saccade.runtime.trust`.
        UsageError: when an override has no ``=``, or says something not allowed.

    Examples:
        >>> from saccade.training import read_config
        >>> config = read_config(overrides=["sampler.size=32x64", "training.epochs=5"])
        >>> config.sampler.size, config.training.epochs
        ((32, 64), 5)
    """
    overrides = list(overrides)
    name_code(overrides)
    options: dict[str, Any] = {} if base is None else to_dict(base)
    if path is not None:
        read = read_yaml(Path(path))
        require_allowed_code(path, {key: value for key, value in read.items() if key != "classes"})
        try:
            _merge(options, with_size_range(with_new_names(read)))
            from_dict(Config, options)
        except InvalidInput as error:
            raise FileProblem(path, YAML_ERROR, f"a fault in it: {error}") from error
    try:
        for override in overrides:
            _override(options, override)
        return from_dict(Config, options)
    except InvalidInput as error:
        raise UsageError(str(error)) from error


def save_config(config: Config, path: Path) -> None:
    """Writes every option, so that the file repeats the run.

    Examples:
        >>> from pathlib import Path
        >>> from saccade.training import read_config, save_config
        >>> config = read_config(overrides=["sampler.size=32x64"])
        >>> save_config(config, Path("config.yaml"))
        >>> read_config("config.yaml") == config
        True
    """
    text = yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True, default_flow_style=None)
    path.write_text(text, encoding="utf-8")


def to_dict(config: Any) -> Any:
    """Dataclasses to dicts and tuples to lists: what YAML and JSON can hold."""
    if dataclasses.is_dataclass(config):
        options = {f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config)}
        return _with_sections(config, options) if isinstance(config, Config) else options
    return [to_dict(item) for item in config] if isinstance(config, tuple | list) else config


def _with_sections(config: Config, options: dict[str, Any]) -> dict[str, Any]:
    """The sections of samplers beside the others, where their field stands."""
    spread: dict[str, Any] = {}
    for key, value in options.items():
        own = {name: to_dict(section) for name, section in config.sections.items()}
        spread.update(own if key == SECTIONS else {key: value})
    return spread


FILLED_IN = ("classes", "bands")
"""What the data decides, each one value."""


def flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options as ``section.key``; a table of classes, or of bands, is one value."""
    flattened: dict[str, Any] = {}
    for key, value in options.items():
        nested = isinstance(value, dict) and key not in FILLED_IN
        flattened.update(flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value})
    return flattened


def from_dict(cls: type, options: Any, where: str = "") -> Any:
    """A dataclass from a mapping; keys that it lacks are refused, values are brought to the field's type.

    pydantic would take 70 lines from here and ask for 50 (sizes as text, whole numbers but no bool, the
    nearest name in a message), and 0.15 s of every start.

    Raises:
        InvalidInput: for an unknown key, with the nearest that exists, or a value of another type.
    """
    if not isinstance(options, dict):
        raise InvalidInput(where or "the configuration", "a mapping of options", repr(options))
    if cls is Config:
        return _config_from(options)
    hints, values = get_type_hints(cls), {}
    names = [f.name for f in dataclasses.fields(cls)]
    for key, value in options.items():
        if key not in names:
            got = f"{where}.{key}" if where else str(key)
            raise InvalidInput("option", "one that exists", repr(got), _nearest_key(str(key), names, where))
        values[key] = _convert(value, hints[key], f"{where}.{key}" if where else key)
    return cls(**values)


def _nearest_key(name: str, names: list[str], where: str) -> str:
    """The nearest option with its section, as it is typed."""
    close = difflib.get_close_matches(name, names, n=1)
    before = f"{where}." if where else ""
    return f"did you mean {before + close[0]!r}?" if close else "choose one of " + ", ".join(sorted(names))


SECTIONS = "sections"
"""The field of :class:`Config` whose entries are sections in files."""


def _config_from(options: dict[str, Any]) -> Config:
    """A configuration from its sections; the sampler's name says which there are."""
    sampler = options.get("sampler")
    name = sampler.get("name") if isinstance(sampler, dict) else None
    kinds = sampler_sections(name if isinstance(name, str) else "uniform", options)
    hints = {key: hint for key, hint in get_type_hints(Config).items() if key != SECTIONS}
    if clash := sorted(hints.keys() & kinds.keys()):
        raise InvalidInput("the name of a sampler", "none of " + ", ".join(hints), repr(clash[0]))
    for key in options:
        if key not in hints and key not in kinds:
            fix = nearest_name(str(key), [*hints, *kinds])
            raise InvalidInput("option", "one that exists", repr(str(key)), fix)
    sections = {
        key: from_dict(kind, {} if options.get(key) is None else options[key], key)
        for key, kind in kinds.items()
    }
    values = {key: _convert(options[key], hint, key) for key, hint in hints.items() if key in options}
    return Config(sections=sections, **values)


def _convert(value: Any, hint: Any, where: str) -> Any:
    if hint is DataOptions and isinstance(value, str):
        value = {"path": value}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_dict(hint, {} if value is None else value, where)
    if get_origin(hint) in (Union, types.UnionType):
        return _first_that_fits(value, get_args(hint), where)
    if get_origin(hint) is tuple:
        return _as_tuple(value, get_args(hint), where)
    if hint is float and isinstance(value, int | str) and not isinstance(value, bool):
        return _number(value, where)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        named = {dict: "a mapping", str: "a text", bool: "true or false", int: "a whole number"}
        raise InvalidInput(where, named.get(hint, "a number"), repr(value))
    return value


def _number(text: int | str, where: str) -> float:
    """YAML takes 1e-4 for a text; people mean a number. A whole number may be more than floats hold."""
    try:
        return float(text)
    except (ValueError, OverflowError):
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
    length = None if items[-1] is Ellipsis else len(items)
    if isinstance(value, str) and length == 2:
        return parse_value_range(value, where) if items[0] is float else parse_size(value, where)
    if not isinstance(value, list | tuple) or (length is not None and len(value) != length):
        expected = f"a list of {length} values" if length else "a list"
        expected += " (rows, columns), such as 64x128" if length == 2 and items[0] is int else ""
        raise InvalidInput(where, expected, repr(value))
    return tuple(_convert(item, items[0], where) for item in value)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file of options; {} of an empty file.

    Raises:
        FileProblem: the file cannot be read, or is none.
    """
    text = read_text(path, YAML_ERROR, MOST_OPTIONS)
    try:
        options = parse_yaml(text)
    except ValueError as error:
        raise FileProblem(path, YAML_ERROR, "a broken one: " + " ".join(str(error).split())[:200]) from error
    if options is not None and not isinstance(options, dict):
        got = "a list" if isinstance(options, list) else repr(options)[:40]
        raise FileProblem(path, YAML_ERROR, got)
    strange = [key for key in options or {} if not isinstance(key, str)]
    if strange:
        raise FileProblem(path, YAML_ERROR, f"a section whose name is no text: {str(strange[0])[:40]!r}")
    return options or {}


def _override(options: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UsageError(f"expected an option as section.key=value, but got {override!r}")
    try:
        value = text if looks_like_size(text) else parse_yaml(text)
    except ValueError:
        value = text
    nested: Any = value
    for name in reversed(key.split(".")):
        nested = {name: nested}
    _merge(options, with_size_range(with_new_names(nested)))


def with_new_names(options: dict[str, Any]) -> dict[str, Any]:
    """The same options by today's names, so that runs and command lines of an earlier version still load.

    The options that a run of 0.1 wrote say ``grid: elastic`` beside a name of then: its springs are relaxed
    as they were then, and it says what it said.
    """
    values = options.get("sampler")
    if isinstance(values, dict) and "overview" in values and values.get("grid") == "elastic":
        values["grid"] = "elastic_0_1"
    for (section, old), new in OLD_NAMES.items():
        values = options.get(section)
        if isinstance(values, dict) and old in values:
            values.setdefault(new, values.pop(old))
    return options


def with_size_range(options: dict[str, Any]) -> dict[str, Any]:
    """The same with ``sampler.size=32x64..128x256`` as its ends and its middle; one size ends a range that an
    earlier source asked for.

    Raises:
        InvalidInput: for a text with ``..`` that is no range of sizes.
    """
    section = options.get("sampler")
    if not isinstance(section, dict) or section.get("size") is None:
        return options
    size = section["size"]
    if isinstance(size, str) and ".." in size:
        sizes = SizeRange.parse(size, "sampler.size")
        section.update(size=list(sizes.middle), smallest=list(sizes.smallest), largest=list(sizes.largest))
    else:
        section.setdefault("smallest", None)
        section.setdefault("largest", None)
    return options


def _merge(options: dict[str, Any], changes: dict[str, Any]) -> None:
    """Puts ``changes`` over ``options``, section by section."""
    for key, value in changes.items():
        there = options.get(key)
        if isinstance(value, dict) and isinstance(there, dict) and key not in FILLED_IN:
            _merge(there, value)
        elif not (value is None and isinstance(there, dict)):
            options[key] = value
