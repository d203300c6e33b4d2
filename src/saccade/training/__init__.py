"""Training: the configuration, the run folder, and the loop."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from saccade.training.config import Config, read_config, save_config

if TYPE_CHECKING:
    from saccade.training.loop import train
    from saccade.training.run_folder import Run, load_run

_LATER = {"Run": "run_folder", "load_run": "run_folder", "train": "loop"}

__all__ = ["Config", "Run", "load_run", "read_config", "save_config", "train"]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'saccade.training' has no attribute {name!r}")
    return getattr(importlib.import_module(f"saccade.training.{_LATER[name]}"), name)
