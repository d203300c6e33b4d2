"""Scenes that comparisons are made of, and invented images with labels."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def six_scenes(tmp_path_factory):
    """A data folder of 4 train, 1 val and 6 test scenes of 32 x 48 pixels; never changed by a test."""
    from saccade.data.scenes import make_scenes

    return make_scenes(tmp_path_factory.mktemp("six") / "data", count=(4, 1, 6), size=(32, 48), seed=2)
