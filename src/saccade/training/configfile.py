"""Configurations from YAML and from ``section.key=value``: types checked, unknown keys refused by name."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from saccade.data.options import DataOptions
from saccade.errors import FileProblem, InvalidInput, UsageError, nearest_name
from saccade.training.config import Config
from saccade.training.sizes import looks_like_size, parse_size

YAML_ERROR = "a YAML file of options"


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
        _merge(options, _read_yaml(Path(path)))
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
        return parse_size(value, where)
    if not isinstance(value, list | tuple) or (wanted is not None and len(value) != wanted):
        expected = f"a list of {wanted} values" if wanted else "a list"
        expected += " (rows, columns), such as 64x128" if wanted == 2 else ""
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
    _merge(options, nested)


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
