"""Code of the user's own, by its name: ``PACKAGE.MODULE.NAME`` of anything that Python can import."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from saccade.errors import InvalidInput

CODE_PREFIX = "python:"
"""What a name starts with whose code is imported, and so run."""

GIVEN_PREFIX = "given:"
"""What stands for code that was handed over in Python and has no name that another process could import."""


def name_of_code(code: Any) -> str:
    """``python:MODULE.NAME`` of a function or class that can be imported by it, else ``given:NAME``.

    Examples:
        >>> from saccade.networks import build_network
        >>> from saccade.runtime.plugins import name_of_code
        >>> name_of_code(build_network)
        'python:saccade.networks.build.build_network'
        >>> name_of_code(lambda classes: None)
        'given:lambda'
    """
    module, name = getattr(code, "__module__", None), getattr(code, "__qualname__", None)
    if name is None:  # an object: what made it is not known
        return GIVEN_PREFIX + type(code).__name__
    if module != "__main__" and getattr(sys.modules.get(str(module)), name, None) is code:
        return f"{CODE_PREFIX}{module}.{name}"
    return GIVEN_PREFIX + name.rpartition(".")[2].strip("<>")


def imported(what: str, name: str, expected: str) -> Any:
    """The object ``PACKAGE.MODULE.NAME``; importing its module runs the code in it.

    Args:
        what: is looked for ("network"), for the message.
        name: with dots, without :data:`CODE_PREFIX`.
        expected: what it must be, for the message.

    Raises:
        InvalidInput: where there is no such module, or no such name in it.
    """
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())
        fix = "install its package, or put its folder into PYTHONPATH"
        raise InvalidInput(what, expected, f"{name!r} ({reason})", fix) from error
