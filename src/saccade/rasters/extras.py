"""Optional libraries: loaded when a file needs them, with one line that says how to get them."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from saccade.errors import FileProblem


def load(module: str, extra: str, path: Path, kind: str) -> ModuleType:
    """``module``, or FileProblem that names the extra to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise FileProblem(
            path,
            f"the libraries that read and write {kind}",
            f"none ({error})",
            f"pip install 'saccade[{extra}]'",
        ) from None
