"""Mask values become contiguous ids and go back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.data import ClassTable
from saccade.data.classes import classes_from_dict, default_colours, read_classes
from saccade.errors import DataFaults, InvalidInput


def table(*indices: int, ignored: int | None = None) -> ClassTable:
    names = tuple(f"class {index}" for index in indices)
    return ClassTable(names, indices, tuple(default_colours(len(indices))), ignored)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 65535), min_size=2, max_size=20, unique=True), st.integers(0, 2**32 - 1))
def test_encode_gives_the_position_of_each_index_and_255_for_ignored(values: list[int], seed: int) -> None:
    *indices, ignored = values
    classes = table(*indices, ignored=ignored)
    mask = np.random.default_rng(seed).choice(np.array(values, np.uint16), (5, 7))
    expected = [[255 if v == ignored else indices.index(v) for v in row] for row in mask.tolist()]
    ids = classes.encode(mask)
    assert ids.dtype == np.uint8
    assert ids.tolist() == expected
    assert (classes.decode(ids) == mask).all()


def test_masks_of_ids_are_passed_on_without_a_copy() -> None:
    mask = np.array([[0, 1, 255]], np.uint8)
    assert table(0, 1, ignored=255).encode(mask) is mask


@pytest.mark.parametrize("strange", [3, 254, 300])
def test_encode_refuses_a_value_of_no_class(strange: int) -> None:
    with pytest.raises(InvalidInput, match="mask values"):
        table(0, 1, ignored=255).encode(np.array([[0, strange]], np.uint16))


def test_ignore_index_zero_moves_the_classes_down() -> None:
    classes = table(1, 2, ignored=0)
    assert classes.encode(np.array([0, 1, 2], np.uint8)).tolist() == [255, 0, 1]
    assert classes.ignore_index == 255


def test_palette_has_the_colour_of_each_mask_value() -> None:
    classes = ClassTable(("a", "b"), (3, 7), ((1, 2, 3), (4, 5, 6)))
    assert classes.palette[3].tolist() == [1, 2, 3]
    assert classes.palette[7].tolist() == [4, 5, 6]
    assert classes.palette[9].tolist() == [9, 9, 9]


@pytest.mark.parametrize(
    "arguments",
    [
        {"names": (), "indices": (), "colours": ()},
        {"names": ("a", "a"), "indices": (0, 1), "colours": ((0, 0, 0),) * 2},
        {"names": ("a", "b"), "indices": (1, 1), "colours": ((0, 0, 0),) * 2},
        {"names": ("a", "b"), "indices": (0, 1), "colours": ((0, 0, 0),)},
        {"names": ("a",), "indices": (-1,), "colours": ((0, 0, 0),)},
        {"names": ("a",), "indices": (0,), "colours": ((0, 0, 0),), "file_ignore_index": 0},
    ],
)
def test_a_table_that_cannot_be_is_refused_when_made(arguments: dict) -> None:
    with pytest.raises(InvalidInput):
        ClassTable(**arguments)


def test_a_table_survives_as_dictionary() -> None:
    classes = table(4, 9, ignored=0)
    assert classes_from_dict(classes.as_dict()) == classes


def test_a_dictionary_that_is_no_table_is_refused_with_all_its_faults() -> None:
    with pytest.raises(DataFaults) as caught:
        classes_from_dict({"classes": [{"index": -1, "name": ""}], "ignore": 3})
    assert len(caught.value.faults) == 3


def test_the_ignored_class_is_listed_but_not_scored(tmp_path: Path) -> None:
    path = tmp_path / "classes.json"
    path.write_text(
        '{"ignore_index": 6, "classes": [{"index": 6, "name": "?"}, {"index": 2, "name": "tree"}]}'
    )
    classes, faults = read_classes(path)
    assert faults == []
    assert classes is not None
    assert (classes.names, classes.indices, len(classes)) == (("tree",), (2,), 1)


def test_classes_without_colours_get_different_ones(tmp_path: Path) -> None:
    assert len(set(default_colours(60))) == 60
    path = tmp_path / "classes.json"
    path.write_text('{"classes": [{"index": 0, "name": "a"}, {"index": 1, "name": "b"}]}')
    classes, _ = read_classes(path)
    assert classes is not None
    assert len(set(classes.colours)) == 2
    assert classes.file_ignore_index is None


def test_a_background_without_a_colour_is_grey_and_the_others_are_not() -> None:
    rows = [{"index": 0, "name": "boat"}, {"index": 1, "name": "Background"}]
    boat, ground = classes_from_dict({"classes": rows}).colours
    assert len(set(ground)) == 1 and len(set(boat)) > 1
    unnamed = [{"index": 0, "name": "sea"}, {"index": 1, "name": "boat"}]
    assert len(set(classes_from_dict({"classes": unnamed}).colours[0])) == 1
    unnamed[1]["colour"] = [1, 2, 3]
    assert classes_from_dict({"classes": unnamed}).colours == (default_colours(2)[0], (1, 2, 3))


def test_an_ignored_value_below_zero_is_kept_and_read_as_another(tmp_path: Path) -> None:
    value = {"ignore_index": -1, "classes": [{"index": 0, "name": "land"}, {"index": 255, "name": "water"}]}
    table = classes_from_dict(value)
    assert (table.negative_ignore, table.file_ignore_index) == (-1, 65535)
    again = classes_from_dict(table.as_dict())
    assert again == table and table.as_dict()["ignore_index"] == -1
    assert table.encode(np.array([[0, 255, 65535]], np.uint16)).tolist() == [[0, 1, 255]]
    assert table.against_the_rest("water").negative_ignore == -1
