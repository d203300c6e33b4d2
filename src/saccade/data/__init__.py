"""Data sets: what is in them, whether it is sound, and their samples in memory.

What needs torch loads when first used, so that checking a folder does not wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saccade.data.classes import ClassTable
from saccade.data.dataset import DataFolder, DataSet, Decoded, Item
from saccade.data.open import FORMATS, open_data
from saccade.data.options import DataOptions

if TYPE_CHECKING:
    from saccade.data.cache import Sample, SampleCache

__all__ = [
    "FORMATS",
    "ClassTable",
    "DataFolder",
    "DataOptions",
    "DataSet",
    "Decoded",
    "Item",
    "Sample",
    "SampleCache",
    "open_data",
]


def __getattr__(name: str) -> Any:
    if name not in ("Sample", "SampleCache"):
        raise AttributeError(f"module 'saccade.data' has no attribute {name!r}")
    from saccade.data import cache

    return getattr(cache, name)
