"""Code of the user's own, by its name: ``PACKAGE.MODULE.NAME`` of anything that Python can import."""

from __future__ import annotations

import importlib
from typing import Any

from saccade.errors import InvalidInput

CODE_PREFIX = "python:"
"""What a name starts with whose code is imported, and so run."""


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
