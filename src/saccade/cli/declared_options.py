"""Every option of a configuration with its default and meaning, read from the source of the classes that
define them: importing those takes PyTorch and seconds, and a help is wanted at once."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from saccade.errors import UsageError, nearest_name
from saccade.samplers import SAMPLERS

_SHARED = {
    "sampler": ("samplers/recipe.py", "SamplerConfig"),
    "network": ("training/config.py", "NetworkConfig"),
    "loss": ("losses.py", "LossConfig"),
    "optimizer": ("training/config.py", "OptimizerConfig"),
    "augment": ("training/config.py", "AugmentConfig"),
    "training": ("training/config.py", "ScheduleConfig"),
    "data": ("data/options.py", "DataOptions"),
}
"""The file and the class of each section of every configuration."""


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


@cache
def sections() -> dict[str, tuple[str, str]]:
    """The file and the class of each section: those of every configuration, then those of the samplers in
    :data:`saccade.samplers.SAMPLERS` that have options of their own, as their recipes name them.

    Examples:
        >>> from saccade.cli.declared_options import sections
        >>> sections()["boundary"]
        ('samplers/boundary.py', 'BoundaryConfig')
    """
    files = {name: f"samplers/{module}.py" for name, module in SAMPLERS.items()}
    own = {name: (file, kind) for name, file in files.items() if (kind := _own_options(name, file))}
    return _SHARED | own


def _own_options(sampler: str, file: str) -> str | None:
    """The class of the options of the recipe of this name in a file; None where it has none."""
    for node in _module(file).body:
        if isinstance(node, ast.ClassDef):
            values = {
                target.id: step.value
                for step in node.body
                if isinstance(step, ast.Assign)
                for target in step.targets
                if isinstance(target, ast.Name)
            }
            name, options = values.get("name"), values.get("options_class")
            if isinstance(name, ast.Constant) and name.value == sampler and isinstance(options, ast.Name):
                return options.id
    return None


def declared_options(section: str | None = None) -> list[Option]:
    """All options, or those of a section.

    Raises:
        UsageError: for a section that there is not, with the nearest that there is.

    Examples:
        >>> from saccade.cli.declared_options import declared_options
        >>> next(option for option in declared_options("sampler") if option.name == "sampler.size").default
        '64x128'
    """
    if section is not None and section not in sections():
        raise UsageError(f"unknown section {section!r} of options; {nearest_name(section, sections())}")
    return [option for name in ([section] if section else sections()) for option in _options_of(name)]


@cache
def _module(file: str) -> ast.Module:
    return ast.parse((Path(__file__).parents[1] / file).read_text(encoding="utf-8"))


def _options_of(section: str) -> Iterator[Option]:
    file, name = sections()[section]
    kind = next(node for node in _module(file).body if isinstance(node, ast.ClassDef) and node.name == name)
    meanings, constants = meanings_of(ast.get_docstring(kind, clean=False) or ""), _constants(file)
    for node in kind.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            key, hint = node.target.id, ast.unparse(node.annotation)
            default = _written(_value(node.value, constants), hint)
            yield Option(f"{section}.{key}", default, meanings.get(key, ""))


def _constants(file: str) -> dict[str, Any]:
    """Values that have a name in a module: ``A, B = 1, 2`` too."""
    constants: dict[str, Any] = {}
    for node in _module(file).body:
        if not isinstance(node, ast.Assign):
            continue
        try:
            value = ast.literal_eval(node.value)
        except ValueError:
            continue
        (target,) = node.targets
        if isinstance(target, ast.Name):
            constants[target.id] = value
        elif isinstance(target, ast.Tuple):
            names = [element.id for element in target.elts if isinstance(element, ast.Name)]
            constants.update(zip(names, value, strict=True))
    return constants


def _value(node: ast.expr, constants: dict[str, Any]) -> Any:
    """A default; None of one that only running the code would tell."""
    try:
        return constants.get(node.id) if isinstance(node, ast.Name) else ast.literal_eval(node)
    except ValueError:
        return None


_ENTRY = re.compile(r"([a-z_][a-z0-9_, ]*): (.*)")


_ROLE = re.compile(r":[a-z]+:`~?([^`]*)`")


def meanings_of(docstring: str) -> dict[str, str]:
    """What a docstring says of the attributes of its class, by name; ``a, b: text`` is of both."""
    _, _, text = inspect.cleandoc(docstring).partition("Attributes:\n")
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in text.splitlines():
        if line and not line.startswith(" "):
            break
        entry = _ENTRY.fullmatch(line.strip()) if line.startswith("    ") and line[4:5] != " " else None
        if entry:
            names = [name.strip() for name in entry[1].split(",")]
            meanings.update(dict.fromkeys(names, entry[2]))
        elif line.strip():
            meanings.update({name: f"{meanings[name]} {line.strip()}" for name in names})
    return {name: _ROLE.sub(r"\1", meaning).replace("`", "") for name, meaning in meanings.items()}


def _written(value: Any, hint: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if hint in ("tuple[int, int]", "tuple[int, int] | None"):
        return f"{value[0]}x{value[1]}"
    return str(list(value)).replace(" ", "") if isinstance(value, tuple) else str(value)
