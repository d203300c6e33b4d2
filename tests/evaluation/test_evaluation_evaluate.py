"""An evaluation against pooled sums over pixels, with a segmenter whose errors are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from saccade.data import ClassTable
from saccade.errors import InvalidInput
from saccade.evaluation import evaluate
from saccade.metrics import iou

CLASSES = ("sea", "shore", "boat")


def pooled_iou(segmenter, samples, classes):
    """Intersections and unions over all images as sets of pixels."""
    both, either = np.zeros(classes), np.zeros(classes)
    for sample in samples:
        said, true = segmenter.predict(sample.pyramid).numpy(), sample.labels.numpy()
        counted = true != 255
        for k in range(classes):
            both[k] += ((said == k) & (true == k) & counted).sum()
            either[k] += (((said == k) | (true == k)) & counted).sum()
    return both / either


def test_scores_are_pooled_over_images_of_any_size(colour_segmenter, samples):
    segmenter = colour_segmenter((20, 30), blind=2)
    found = evaluate(segmenter, samples, CLASSES).to_json()
    expected = pooled_iou(segmenter, samples, 3)
    assert found["images"] == 3
    assert [found["iou"][name] for name in CLASSES] == pytest.approx(expected.tolist(), abs=1e-12)
    assert found["miou"] == pytest.approx(expected.mean())
    assert found["iou"]["boat"] == found["pixel_accuracy"]["boat"] == 0


def test_a_network_without_error_scores_what_label_recovery_says(colour_segmenter, sample_of):
    clear = [sample_of(seed, size, ignored=0) for seed, size in enumerate([(60, 90), (41, 70)])]
    found = evaluate(colour_segmenter((15, 20)), clear, CLASSES).to_json()
    assert found["miou"] < 1
    assert found["label_recovery"] == {"miou": found["miou"], "iou": found["iou"]}


def test_a_grid_on_every_pixel_is_perfect(colour_segmenter, sample_of):
    found = evaluate(colour_segmenter((60, 90)), [sample_of(5)], CLASSES).to_json()
    assert found["miou"] == found["boundary_iou"] == found["label_recovery"]["miou"] == 1
    assert found["iou"] == found["pixel_accuracy"] == dict.fromkeys(CLASSES, 1.0)
    assert found["sampling_ratio"] == pytest.approx(dict.fromkeys(CLASSES, 1.0))


def test_the_json_is_strict_and_an_absent_class_is_null(colour_segmenter, samples):
    names = (*CLASSES, "unicorn")
    found = evaluate(colour_segmenter((20, 30), classes=4), samples, names).to_json()
    again = json.loads(json.dumps(found, allow_nan=False))
    assert list(again) == [
        "miou",
        "iou",
        "pixel_accuracy",
        "label_recovery",
        "boundary_iou",
        "trimap_accuracy",
        "recall_by_size",
        "sampling_ratio",
        "cost",
        "images",
    ]
    for part in (
        again["iou"],
        again["pixel_accuracy"],
        again["label_recovery"]["iou"],
        again["sampling_ratio"],
    ):
        assert list(part) == list(names)
        assert part["unicorn"] is None
    assert list(again["trimap_accuracy"]) == ["1", "2", "4", "8", "16", "32"]
    assert all(0 <= share <= 1 for share in again["trimap_accuracy"].values())
    assert list(again["recall_by_size"]) == list(names)
    assert again["recall_by_size"]["unicorn"] == [None] * 4
    assert again["miou"] == pytest.approx(sum(again["iou"][name] for name in CLASSES) / 3)
    assert again["cost"]["pixels"] == 600


def test_an_image_of_ignored_pixels_gives_nulls_and_not_nan(colour_segmenter, sample_of):
    empty = sample_of(1, ignored=1.0)
    found = json.loads(
        json.dumps(evaluate(colour_segmenter((5, 5)), [empty], CLASSES).to_json(), allow_nan=False)
    )
    assert found["miou"] is None
    assert found["boundary_iou"] is None
    assert found["iou"] == dict.fromkeys(CLASSES)


def test_several_views_of_an_image_have_no_label_recovery(colour_segmenter, samples):
    found = evaluate(colour_segmenter((10, 10), views=3), samples, CLASSES).to_json()
    assert found["label_recovery"] == {"miou": None, "iou": dict.fromkeys(CLASSES)}
    assert found["cost"]["pixels"] == 300
    assert found["miou"] > 0.3


def test_records_of_images_add_up_to_the_pooled_counts(colour_segmenter, samples):
    found = evaluate(colour_segmenter((20, 30)), samples, CLASSES)
    assert [record.stem for record in found.records] == [sample.stem for sample in samples]
    assert torch.equal(sum(record.confusion for record in found.records), found.confusion)
    alone = evaluate(colour_segmenter((20, 30)), samples[1:2], CLASSES)
    assert torch.equal(found.records[1].confusion, alone.confusion)
    assert found.records[1].miou == alone.miou == iou(alone.confusion).mean().item()


def test_recall_by_size_and_trimap_are_there_for_reports(colour_segmenter, samples):
    found = evaluate(colour_segmenter((8, 10)), samples, CLASSES)
    bins = found.recall_by_size(2)
    assert sum(size.objects for size in bins) == sum(
        (record.objects[:, 0] == 2).sum() for record in found.records
    )
    assert len(found.trimap_accuracy) == len(found.widths)
    assert found.trimap_accuracy[0] < found.trimap_accuracy[-1] <= 1


def test_instance_maps_are_used_where_a_sample_has_them(colour_segmenter, sample_of):
    sample = sample_of(3)
    sample.instances = torch.ones_like(sample.labels, dtype=torch.int32)
    found = evaluate(colour_segmenter((8, 10)), [sample], CLASSES)
    assert sorted(found.records[0].objects[:, 0].tolist()) == [0, 1, 2]


def test_the_segmenter_is_left_in_the_modes_it_was_in(colour_segmenter, samples):
    segmenter = colour_segmenter((8, 8))
    segmenter.train()
    segmenter.sampler.eval()
    evaluate(segmenter, samples, CLASSES)
    assert (segmenter.training, segmenter.network.training, segmenter.sampler.training) == (True, True, False)
    assert not segmenter.network.seen_in_training


def test_images_are_read_one_after_the_other_and_progress_is_told(colour_segmenter, sample_of):
    told: list[str] = []

    def reading():
        for seed in range(3):
            told.append(f"read {seed}")
            yield sample_of(seed)

    evaluate(colour_segmenter((8, 8)), reading(), CLASSES, progress=lambda done: told.append(f"done {done}"))
    assert told == ["read 0", "done 1", "read 1", "done 2", "read 2", "done 3"]


def test_a_class_table_names_the_classes(colour_segmenter, samples):
    table = ClassTable(CLASSES, (0, 1, 2), ((0, 0, 0), (9, 9, 9), (255, 0, 0)))
    assert evaluate(colour_segmenter((8, 8)), samples, table).classes == CLASSES


def test_no_images_and_another_number_of_classes_are_refused(colour_segmenter, samples):
    with pytest.raises(InvalidInput, match=r"images .*at least one"):
        evaluate(colour_segmenter((8, 8)), [], CLASSES)
    with pytest.raises(InvalidInput, match=r"4 classes .*scores of 3"):
        evaluate(colour_segmenter((8, 8)), samples, (*CLASSES, "more"))
