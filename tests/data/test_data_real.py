"""Real photographs, where they are: counts as their own documents state them."""

from __future__ import annotations

from pathlib import Path

import pytest

from saccade.data import open_data

DATA = Path("/work/shared/data")


@pytest.mark.skipif(not DATA.is_dir(), reason="the real photographs are not on this machine")
def test_the_test_split_of_the_coffee_leaves() -> None:
    data = open_data(DATA / "coffee_leaf", splits=["test"])
    assert data.sizes() == {(1024, 2048): 60}
    counts = data.class_counts()
    assert counts.sum() == 60 * 1024 * 2048
    assert data.classes.names == ("background", "leaf", "symptom")
    assert 0.008 < counts[2] / counts.sum() < 0.015
    assert data.notices == ()
