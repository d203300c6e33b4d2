"""Public names of a package that load when first used, so that what needs less does not wait for torch."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package whose public names live in its modules.

    Args:
        package: its name.
        homes: the module of each public name, below ``saccade``.
    """

    def found(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"saccade.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return found
