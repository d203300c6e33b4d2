"""What a program loads, late and quickly: names when they are first used, and heavy libraries."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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


@contextmanager
def loading() -> Iterator[None]:
    """Around the imports of a command that needs torch: no round of the garbage collector meanwhile.

    What libraries make stays as long as the process, so it is left out of later rounds too: each would go
    through the million objects of torch for nothing. Nothing is done where torch is there already.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
