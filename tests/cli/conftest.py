from __future__ import annotations

from pathlib import Path

import pytest

from saccade.data.scenes import make_scenes


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """A small data folder of the program's own: 2 train, 1 val, 1 test, 64 x 48."""
    return make_scenes(tmp_path / "scenes", count=(2, 1, 1), size=(48, 64), seed=3)
