"""Whether a path is meant as a data folder."""

from __future__ import annotations

from pathlib import Path

PARTS = ("images", "masks", "classes.json", "splits.json")


def is_data_folder(path: Path) -> bool:
    """True for a folder that holds at least one of the four parts of a data folder."""
    return path.is_dir() and any((path / part).exists() for part in PARTS)
