"""YAML that a stranger wrote: plain values, each key once, no more of them than a file of options has."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

MOST_VALUES = 1_000_000
"""In a file of options, with every alias written out."""


def parse_yaml(text: str) -> Any:
    """What a YAML text says; ValueError where it says nothing, or says one thing twice."""
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _require_few_values(node)
        return loader.construct_document(node)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error) or "nested too deeply") from error
    except (ArithmeticError, LookupError, TypeError, AttributeError) as error:
        # values of YAML's own types that Python's have no room for: dates of year 0, numbers of other bases
        raise ValueError(f"a value that is none ({error})") from error
    finally:
        if loader is not None:
            loader.dispose()


def _require_few_values(node: yaml.Node) -> None:
    """Refuses aliases of aliases: a few lines of them are more values than there is memory.

    Raises:
        ValueError: more values than a file of options has, or an alias in what it stands for.
    """
    counted: dict[int, int] = {}
    begun: set[int] = set()

    def count(node: yaml.Node) -> int:
        if id(node) in counted:
            return counted[id(node)]
        if id(node) in begun:
            raise ValueError("an alias inside of what it stands for")
        begun.add(id(node))
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            inner = node.value
        number = 1 + sum(map(count, inner))
        if number > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES:,} values")
        counted[id(node)] = number
        return number

    count(node)


class _Loader(yaml.SafeLoader):
    """Plain values only, and no key twice: YAML would keep the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = _repeated(keys)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"{twice!r} twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _repeated(keys: list[Any]) -> Any:
    """The first key that stands twice; those that can be no key are refused later."""
    seen = set()
    for key in filter(lambda key: isinstance(key, Hashable), keys):
        if key in seen:
            return key
        seen.add(key)
    return None
