"""STAPLE on tuples of labels agrees with SimpleITK's on every pixel; fused maps are made once and kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from saccade.data import open_data, staple
from saccade.data.staple import fused_labels
from saccade.data.staple import staple as fuse
from saccade.testing import make_fake

GRADES = np.array([1, 3, 4, 5], np.uint8)


def drawn(seed: int, annotators: int, size: int = 64) -> list[np.ndarray]:
    """Maps of annotators that agree more or less: shifted, and with some noise."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(size, size)), 6)
    truth = GRADES[np.digitize(field, np.quantile(field, [0.4, 0.7, 0.95]))]
    maps = []
    for number in range(annotators):
        one = np.roll(truth, tuple(rng.integers(-4, 5, 2)), (0, 1)).copy()
        one[rng.random(one.shape) < 0.04 * number] = rng.choice(GRADES)
        maps.append(one)
    return maps


@pytest.mark.parametrize("steps", [1, 3, 12])
@pytest.mark.parametrize("annotators", [2, 3, 4, 6])
def test_staple_agrees_with_simpleitk_step_by_step(
    annotators: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a fixed number of steps: SimpleITK computes in 32 bits, so it settles at another step."""
    itk = pytest.importorskip("SimpleITK", reason="the independent STAPLE is not installed")
    maps = drawn(annotators, annotators)
    peer = itk.MultiLabelSTAPLEImageFilter()
    peer.SetLabelForUndecidedPixels(255)
    peer.SetMaximumNumberOfIterations(steps)
    monkeypatch.setattr(staple, "MOST_ITERATIONS", steps)
    expected = itk.GetArrayFromImage(peer.Execute([itk.GetImageFromArray(one) for one in maps]))
    assert (fuse(maps) == expected).all()


def test_annotators_that_agree_are_believed() -> None:
    (truth,) = drawn(0, 1)
    assert (fuse([truth] * 6) == truth).all()
    assert (fuse([truth]) == truth).all()


def test_the_many_outvote_the_one_who_is_mostly_wrong() -> None:
    (truth,) = drawn(3, 1)
    wrong = GRADES[(np.searchsorted(GRADES, truth) + 1) % 4]
    assert (fuse([truth, truth, truth, wrong]) == truth).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.permutations(range(4)))
def test_the_order_of_annotators_and_of_pixels_does_not_matter(seed: int, order: list[int]) -> None:
    maps = drawn(seed % 1000, 4, 16)
    shuffled = np.random.default_rng(seed).permutation(256)
    moved = [maps[k].ravel()[shuffled].reshape(16, 16) for k in order]
    assert (fuse(moved).ravel() == fuse(maps).ravel()[shuffled]).mean() > 0.99  # ties fall by rounding


def save(folder: Path, maps: list[np.ndarray]) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(len(maps))]
    for path, one in zip(paths, maps, strict=True):
        Image.fromarray(one).save(path)
    return paths


def test_fused_maps_are_kept_outside_of_the_data(
    tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meaning = {0: 1, 1: 1, 3: 3, 4: 4, 5: 5}
    paths = save(tmp_path, drawn(0, 3))
    before = sorted(tmp_path.iterdir())
    first = fused_labels(paths, meaning)
    assert sorted(tmp_path.iterdir()) == before
    assert len(list((cache_folder / "saccade" / "fused").glob("*.png"))) == 1
    monkeypatch.setattr(staple, "staple", lambda *_: pytest.fail("fused again"))
    moved = tmp_path / "moved"
    moved.mkdir()
    assert (fused_labels([Path(shutil.copy(path, moved)) for path in paths], meaning) == first).all()


def test_another_map_or_a_broken_copy_is_fused_anew(tmp_path: Path, cache_folder: Path) -> None:
    meaning = {1: 1, 3: 3, 4: 4, 5: 5}
    paths = save(tmp_path, drawn(0, 3))
    first = fused_labels(paths, meaning)
    (kept,) = (cache_folder / "saccade" / "fused").glob("*.png")
    kept.write_bytes(b"broken")
    assert (fused_labels(paths, meaning) == first).all()
    save(tmp_path, drawn(1, 3))
    assert (fused_labels(paths, meaning) == fuse(drawn(1, 3))).all()


def test_a_cache_that_cannot_be_written_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    paths = save(tmp_path, drawn(0, 3))
    assert (fused_labels(paths, {1: 1, 3: 3, 4: 4, 5: 5}) == fuse(drawn(0, 3))).all()


def test_grade_5_is_ignored_or_the_fourth_class(tmp_path: Path) -> None:
    make_fake("gleason2019", tmp_path)
    papers, all_grades = open_data(tmp_path), open_data(tmp_path, grade5="class")
    assert papers.classes.names == ("benign", "Gleason grade 3", "Gleason grade 4")
    assert all_grades.classes.names[3] == "Gleason grade 5"
    stems = [item.stem for item in papers.split("train")]
    counts = all_grades.class_counts("train").tolist()
    assert papers.class_counts("train").tolist() == counts[:3] and counts[3] > 0
    ignored = [sum(data.facts[stem].ignored for stem in stems) for data in (papers, all_grades)]
    assert ignored[0] == ignored[1] + counts[3]


def test_a_core_that_only_some_annotators_drew_is_fused_of_those(tmp_path: Path) -> None:
    make_fake("gleason2019", tmp_path)
    data = open_data(tmp_path)
    for items in data.splits.values():
        for item in items:
            drawn_by = sorted(p.parent.name for p in tmp_path.glob(f"Maps*/{item.stem}_*"))
            assert sorted(path.parent.name for path in (item.mask, *item.others)) == drawn_by
