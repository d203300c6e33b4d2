"""Regions measured row by row are those of scipy, whatever the bands and the picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from saccade.rasters import regions
from saccade.rasters.regions import Region, RegionCounter

MAPS = arrays.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 2))
CORNERS = np.ones((3, 3))


def counted(labels: np.ndarray, doubt: np.ndarray | None = None, band: int = 5, **options) -> list[Region]:
    counter = RegionCounter(labels.shape[1], **options)
    found: list[Region] = []
    for top in range(0, len(labels), band):
        rows = slice(top, top + band)
        found += counter.push(labels[rows], None if doubt is None else doubt[rows])
    return [*found, *counter.finish()]


def expected(labels: np.ndarray, doubt: np.ndarray) -> list[tuple]:
    """Each region by scipy, its outline as the edges to a shifted copy of itself."""
    found = []
    for label in np.unique(labels):
        parts, count = ndimage.label(labels == label, CORNERS)
        for number in range(1, count + 1):
            own = np.pad(parts == number, 1)
            rows, columns = np.nonzero(own[1:-1, 1:-1])
            level, upright = (int((own != np.roll(own, 1, axis)).sum()) for axis in (0, 1))
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            centre = (columns.mean() + 0.5, rows.mean() + 0.5)
            found.append((label, len(rows), level, upright, box, centre, doubt[parts == number].mean()))
    return found


def same(ours: list[Region], theirs: list[tuple]) -> None:
    mine = [(r.label, r.pixels, r.level, r.upright, r.box, r.centroid, r.uncertainty) for r in ours]
    flat = [sorted((*o[:4], *o[4], *o[5], o[6]) for o in some) for some in (mine, theirs)]
    assert len(flat[0]) == len(flat[1])
    np.testing.assert_allclose(flat[0], flat[1])


@settings(deadline=None)  # kernels may be compiled first
@given(MAPS, st.integers(1, 12))
def test_regions_are_those_of_scipy(labels, band):
    doubt = np.arange(labels.size, dtype=np.uint8).reshape(labels.shape)
    ours = counted(labels, doubt, band)
    same(ours, expected(labels, doubt))
    assert ours == counted(labels, doubt, len(labels))
    assert sum(region.pixels for region in ours) == labels.size


@settings(deadline=None)
@given(MAPS)
def test_what_is_skipped_forms_no_region_and_changes_no_other(labels):
    left = [region for region in counted(labels) if region.label != 1]
    assert counted(labels, skip=[1]) == left


@pytest.mark.parametrize("most", [0, 1 << 16])
def test_many_rows_and_early_ends_give_the_same(most, monkeypatch):
    labels = np.random.default_rng(0).integers(0, 3, (700, 40)).astype(np.uint16) * 300
    whole = sorted(counted(labels, band=700), key=str)
    monkeypatch.setattr(regions, "MOST_PARTS", most)
    monkeypatch.setattr(regions, "BATCH", 7)
    assert sorted(counted(labels, band=33), key=str) == whole
    same(whole, expected(labels, np.zeros(labels.shape)))


def test_shapes_that_close_late_are_one_region():
    comb = np.zeros((20, 41), np.uint8)
    comb[:, ::2] = 1
    comb[-1] = 1
    spiral = np.zeros((9, 9), np.uint8)
    spiral[0], spiral[:, 8], spiral[8, 2:], spiral[4:, 2], spiral[4, 2:6] = 1, 1, 1, 1, 1
    for labels in (comb, spiral, np.eye(9, dtype=np.uint8)):
        same(counted(labels, band=2), expected(labels, np.zeros(labels.shape)))
        assert sum(region.label == 1 for region in counted(labels)) == 1
