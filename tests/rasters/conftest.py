"""Fixtures of the raster tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from raster_files import FILES, Sample


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Sample]:
    """Makes a file of ``FILES`` by name, once a session."""
    folder = tmp_path_factory.mktemp("rasters")
    done: dict[str, Sample] = {}

    def get(name: str) -> Sample:
        if name not in done:
            done[name] = FILES[name](folder)
        return done[name]

    return get
