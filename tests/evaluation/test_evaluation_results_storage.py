"""An evaluation comes back from its file as it was."""

from __future__ import annotations

import json

import pytest
import torch

from saccade.errors import FileProblem
from saccade.evaluation import evaluate, load_evaluation, save_evaluation

CLASSES = ("sea", "shore", "boat")


@pytest.mark.parametrize("views", [1, 2])
def test_everything_comes_back(tmp_path, colour_segmenter, samples, views):
    found = evaluate(colour_segmenter((8, 10), views=views), samples, CLASSES)
    save_evaluation(found, tmp_path / "evaluation.json")
    again = load_evaluation(tmp_path / "evaluation.json")
    assert again.to_json() == found.to_json()
    assert again.recall_by_size(1) == found.recall_by_size(1)
    assert torch.equal(again.trimap_accuracy, found.trimap_accuracy)
    assert again.records[2].confusion.dtype == torch.int64
    assert json.loads((tmp_path / "evaluation.json").read_text())["scores"] == found.to_json()


def test_an_image_without_objects_comes_back(tmp_path, colour_segmenter, sample_of):
    found = evaluate(colour_segmenter((8, 10)), [sample_of(0, ignored=1.0)], CLASSES)
    save_evaluation(found, tmp_path / "evaluation.json")
    assert load_evaluation(tmp_path / "evaluation.json").records[0].objects.shape == (0, 3)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"kind": "other"}', '{"kind": "saccade evaluation 1"}']
)
def test_a_file_that_is_none_is_refused(tmp_path, content):
    path = tmp_path / "evaluation.json"
    path.write_text(content)
    with pytest.raises(FileProblem, match="evaluate"):
        load_evaluation(path)


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(FileProblem, match="saccade evaluate"):
        load_evaluation(tmp_path / "none.json")
