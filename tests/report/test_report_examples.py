"""Which images are shown, and that their pictures come back from the run folder."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from saccade.errors import FileProblem
from saccade.figures import class_palette
from saccade.report.examples import Example, choose, draw, load_examples, save_examples

NAMES, SHARES = ("ground", "leaf", "spot"), np.array([900, 90, 10])


def drawn(segmented, **options):
    return draw(segmented, NAMES, class_palette(SHARES), SHARES, **options)


def test_the_worst_come_first_then_the_middle_then_the_best():
    scores = {f"i{k}": k / 10 for k in (5, 3, 8, 1, 9, 2, 7)}
    assert choose(scores, worst=2, median=1, best=2) == {
        "i1": "worst", "i2": "worst", "i5": "median", "i9": "best", "i8": "best"
    }  # fmt: skip


def test_few_images_are_shown_once_and_those_without_a_score_never():
    assert choose({"a": 0.5, "b": float("nan")}) == {"a": "worst"}
    assert choose({}) == {}
    assert list(choose({"a": 0.5, "b": 0.1})) == ["b", "a"]


def test_the_pictures_of_an_image_say_what_they_show(segmented):
    shown = drawn(segmented(0))
    assert [one.name for one in shown] == [
        "image", "truth", "prediction", "errors", "density", "samples", "close-truth", "close-prediction"
    ]  # fmt: skip
    assert all("photo0" in one.alt and one.caption for one in shown)
    assert "spot 0." in shown[1].alt
    assert {Image.open(io.BytesIO(one.data)).size for one in shown[:6]} == {(120, 80)}


def test_without_a_density_there_is_no_picture_of_one(segmented):
    assert "density" not in [one.name for one in drawn(segmented(0, density=False))]


def test_large_images_are_shrunk_and_odd_sizes_fit(segmented):
    for size in ((1024, 2048), (701, 1333), (1500, 90)):
        pictures = [Image.open(io.BytesIO(one.data)) for one in drawn(segmented(3, size))]
        assert len({picture.size for picture in pictures[:6]}) == 1
        assert all(picture.width <= 660 for picture in pictures)


def test_examples_come_back_as_they_were_saved(tmp_path, segmented):
    first = [
        Example("a/b c", "worst", 0.25, drawn(segmented(0))),
        Example("d", "best", None, drawn(segmented(1))),
    ]
    save_examples(first, tmp_path)
    assert load_examples(tmp_path) == tuple(first)
    save_examples(first[1:], tmp_path)
    assert load_examples(tmp_path) == tuple(first[1:])
    assert len(list((tmp_path / "examples").iterdir())) == 9


def test_no_examples_are_no_fault_and_damaged_ones_are(tmp_path, segmented):
    assert load_examples(tmp_path) == ()
    save_examples([Example("a", "worst", 0.2, drawn(segmented(0)))], tmp_path)
    next((tmp_path / "examples").glob("*_truth.*")).unlink()
    with pytest.raises(FileProblem, match="evaluate the run again"):
        load_examples(tmp_path)
    (tmp_path / "examples" / "examples.json").write_text(json.dumps({"no": 1}))
    with pytest.raises(FileProblem, match="damaged"):
        load_examples(tmp_path)
