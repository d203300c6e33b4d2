from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saccade.data import DataFolder, SampleCache, open_data
from saccade.training import Config, Run, read_config, train

TINY = ["network.name=small:4", "sampler.size=8x12", "training.batch_size=2"]


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Every training here is tiny."""


@pytest.fixture(scope="session")
def opened(tiny_data: Path) -> DataFolder:
    return open_data(tiny_data)


@pytest.fixture(scope="session")
def cache() -> SampleCache:
    """Decoded images, shared by all trainings of a session."""
    return SampleCache()


@pytest.fixture
def tiny_config() -> Callable[..., Config]:
    """``tiny_config("training.epochs=3", ...)``: options of a training that takes a second."""
    return lambda *overrides: read_config(overrides=[*TINY, "training.epochs=2", *overrides])


@pytest.fixture
def tiny_train(
    opened: DataFolder, cache: SampleCache, tmp_path: Path, tiny_config: Callable[..., Config]
) -> Callable[..., Run]:
    """``tiny_train("name", "training.epochs=3", resume=True)``: trains into ``tmp_path / name``."""

    def run(name: str, *overrides: str, **options: Any) -> Run:
        options = {"cache": cache, "device": "cpu", **options}
        return train(opened, tmp_path / name, tiny_config(*overrides), **options)

    return run
