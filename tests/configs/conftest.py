from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from config_shrink import FAKES, MAKER

from saccade.testing import make_fake


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Everything here is tiny."""


@pytest.fixture(scope="session")
def make() -> ModuleType:
    """The program ``configs/make.py``."""
    sys.path.insert(0, str(MAKER))
    try:
        import make
    finally:
        sys.path.remove(str(MAKER))
    return make


@pytest.fixture(scope="session")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``fake("Cityscapes")``: the folder of a tiny data set in that layout, made once."""
    root = tmp_path_factory.mktemp("fakes")

    @cache
    def made(data: str) -> Path:
        return make_fake(FAKES[data], root / FAKES[data], size=(48, 64), count=(3, 2, 2))

    return made
