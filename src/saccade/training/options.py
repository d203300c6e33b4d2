"""Options of a training by the names that commands and functions share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import yaml

from saccade.data.options import DataOptions
from saccade.errors import FileProblem, InvalidInput, UsageError, nearest_name
from saccade.runtime.plugins import GIVEN_PREFIX, name_of_code
from saccade.training.config import Config, read_config

if TYPE_CHECKING:  # torch loads slowly, and the help of a command comes by here
    from saccade.networks.adapters import Given

SHORT = {
    "sampler": "sampler.name",
    "size": "sampler.size",
    "network": "network.name",
    "epochs": "training.epochs",
    "batch_size": "training.batch_size",
    "seed": "training.seed",
    "data_format": "data.format",
    "crop": "data.crop",
}
"""Options with names of their own, and their place in a configuration."""


class TrainingOptions(TypedDict, total=False):
    """Options of a training, by their names on the command line; all others go by ``options``.

    Attributes:
        sampler: its name, or ``python:MODULE.CLASS``.
        size: (h, w) that the network sees of an image, or ``"64x128"``; a range, ``"32x64..128x256"``, for
            one run that serves every size in it.
        network: "small", or ``"architecture:encoder"``; a ``torch.nn.Module``, of which a copy is trained;
            or a function or class that makes one of K, the number of classes. What can be imported is kept by
            its name, ``python:MODULE.NAME``; what cannot is handed over again to :func:`saccade.load`.
        epochs: passes over the training images; default 30, more where that makes fewer than 300 steps.
        batch_size: images a step.
        seed: of everything random.
        data_format: of a folder; default as its files look.
        crop: none, square, random_square or ``"ROWSxCOLUMNS"``.
        config: a YAML file of options, or the name of a published one (``iclr2022/fig5_cityscapes_ours``).
        options: ``{"loss.edge_weight": 0.1}``, nested mappings, or ``"section.key=value"`` each.
    """

    sampler: str
    size: str | Sequence[int]
    network: str | Given
    epochs: int | str
    batch_size: int | str
    seed: int | str
    data_format: str
    crop: str
    config: Path | str | None
    options: Mapping[str, Any] | Iterable[str]


def overrides_of(options: Mapping[str, Any]) -> list[str]:
    """:class:`TrainingOptions` as ``section.key=value`` each, ``config`` left out.

    Raises:
        UsageError: for an option that there is not, with the nearest that there is.
    """
    for name in options:
        if name not in TrainingOptions.__annotations__:
            fix = nearest_name(name, TrainingOptions.__annotations__)
            raise UsageError(f"unknown option {name!r}; {fix}; others go by options={{'section.key': value}}")
    words = [f"{SHORT[name]}={_word(options[name], name)}" for name in SHORT if options.get(name) is not None]
    others = options.get("options") or ()
    if isinstance(others, str):
        raise InvalidInput("options", 'a mapping, or a list of "section.key=value"', repr(others))
    return [*words, *(_flattened(others) if isinstance(others, Mapping) else others)]


def given_network(options: Mapping[str, Any]) -> Given | None:
    """The network of ``options`` where it was handed over and has no name."""
    network = options.get("network")
    nameless = callable(network) and name_of_code(network).startswith(GIVEN_PREFIX)
    return network if nameless else None


def _flattened(options: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in options.items():
        if isinstance(value, Mapping) and f"{prefix}{key}" != "classes":
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={_word(value, prefix + key)}"


def _word(value: Any, option: str) -> str:
    """A value of an option as it stands on the command line: text as it is, all else in YAML, on one line."""
    if isinstance(value, str | Path):
        return str(value)
    if option == "network" and callable(value):
        return name_of_code(value)
    plain = list(value) if isinstance(value, tuple) else value
    try:
        text = yaml.safe_dump(plain, default_flow_style=True, width=float("inf"), allow_unicode=True)
    except yaml.representer.RepresenterError:
        kind = type(value).__name__
        fix = "code of your own goes by its name, python:MODULE.NAME, so that the run can be opened again"
        raise InvalidInput(option, "text, a number or a list", f"an object ({kind})", fix) from None
    return text.removesuffix("\n").removesuffix("\n...")


PUBLISHED = Path(__file__).parents[1] / "configs"
"""The configurations of the papers' experiments, ``PAPER/NAME.yaml``."""


def config_file(config: Path | str | None) -> Path | None:
    """A file of options: one of the user's, else a published one by name, ``iclr2022/fig5_cityscapes_ours``.

    Raises:
        FileProblem: for a name in the manner of those that is none, with the nearest.
    """
    if config is None or Path(config).exists():
        return None if config is None else Path(config)
    path = Path(config)
    name = "/".join(path.parts[-2:]).removesuffix(".yaml")
    published = PUBLISHED / f"{name}.yaml"
    if published.is_file():
        return published
    if (PUBLISHED / name.partition("/")[0]).is_dir():
        names = sorted(
            file.relative_to(PUBLISHED).with_suffix("").as_posix() for file in PUBLISHED.glob("*/*")
        )
        raise FileProblem(
            path, "a file of options, or a published one by its name", "neither", nearest_name(name, names)
        )
    return path


def data_options(overrides: Sequence[str], base: DataOptions | None = None) -> DataOptions:
    """Options of data alone, ``data.key=value`` each, over ``base``.

    Raises:
        UsageError: for another key, or a value that is not allowed.
    """
    for override in overrides:
        if not override.startswith("data."):
            raise UsageError(f"expected an option of the data, as data.crop=square, but got {override!r}")
    return read_config(None, overrides, base=Config(data=base or DataOptions())).data
