"""Every option of a configuration with its default and meaning, from the classes that define them."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from saccade.errors import UsageError, nearest_name
from saccade.training.config import SECTIONS, Config, sampler_sections


@dataclass(frozen=True)
class Option:
    """One option, as ``section.key=value`` takes it.

    Attributes:
        name: ``section.key``.
        default: as it is written on a command line; "" where none is given.
        meaning: a sentence.
    """

    name: str
    default: str
    meaning: str


def option_sections(sampler: str = "uniform") -> dict[str, type]:
    """The class of each section, by name: those of every configuration, then those of samplers."""
    hints = get_type_hints(Config)
    shared = {name: kind for name, kind in hints.items() if name not in (SECTIONS, "classes")}
    return {**shared, **sampler_sections(sampler)}


def list_options(section: str | None = None) -> list[Option]:
    """All options, or those of a section.

    Raises:
        UsageError: for a section that there is not, with the nearest that there is.

    Examples:
        >>> from saccade.training.option_list import list_options
        >>> next(option for option in list_options("sampler") if option.name == "sampler.size").default
        '64x128'
    """
    sections = option_sections()
    if section is not None and section not in sections:
        raise UsageError(f"unknown section {section!r} of options; {nearest_name(section, sections)}")
    chosen = sections if section is None else {section: sections[section]}
    return [option for name, kind in chosen.items() for option in _options_of(name, kind)]


def _options_of(section: str, kind: type) -> Sequence[Option]:
    meanings, defaults, hints = meanings_of(kind), kind(), get_type_hints(kind)
    return [
        Option(f"{section}.{name}", _written(getattr(defaults, name), hints[name]), meanings.get(name, ""))
        for name in (field.name for field in dataclasses.fields(kind))
    ]


_ENTRY = re.compile(r"([a-z_][a-z0-9_, ]*): (.*)")


_ROLE = re.compile(r":[a-z]+:`~?([^`]*)`")


def meanings_of(kind: type) -> dict[str, str]:
    """What the docstring of a class says of its attributes, by name; ``a, b: text`` is of both."""
    _, _, text = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in text.splitlines():
        if line and not line.startswith(" "):
            break
        entry = _ENTRY.fullmatch(line.strip()) if line.startswith("    ") and line[4:5] != " " else None
        if entry:
            names = [name.strip() for name in entry[1].split(",")]
            found.update(dict.fromkeys(names, entry[2]))
        elif line.strip():
            found.update({name: f"{found[name]} {line.strip()}" for name in names})
    return {name: _ROLE.sub(r"\1", meaning).replace("`", "") for name, meaning in found.items()}


def _written(value: Any, hint: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if hint in (tuple[int, int], tuple[int, int] | None):
        return f"{value[0]}x{value[1]}"
    return str(list(value)).replace(" ", "") if isinstance(value, tuple) else str(value)
