"""Scores on a terminal: every class and number, a dash where there is none."""

from __future__ import annotations

from dataclasses import replace

from saccade.report.html import score_lines


def test_every_score_stands_in_the_table(evaluation):
    found = evaluation().to_json()
    lines = score_lines(found)
    for name in ("ground", "leaf", "spot"):
        (line,) = [line for line in lines if line.startswith(name)]
        assert line.split()[1:] == [
            f"{found[part][name]:.3f}" if part != "label_recovery" else f"{found[part]['iou'][name]:.3f}"
            for part in ("iou", "pixel_accuracy", "label_recovery", "sampling_ratio")
        ]
    assert any(line.startswith("mean IoU") and f"{found['miou']:.3f}" in line for line in lines)
    assert "8192 pixels seen an image, 1.900 GFLOPs (0.400 for the sampler), 21.0 ms, 55 MB" in lines


def test_what_has_no_value_is_a_dash(evaluation):
    found = evaluation(("ground", "leaf", "spot", "unicorn"))
    untold = replace(found, cost=replace(found.cost, peak_memory_bytes=None))
    lines = score_lines(untold.to_json())
    assert [line.split()[1:] for line in lines if line.startswith("unicorn")] == [["-"] * 4]
    assert lines[-1].endswith("- MB")


def test_a_class_that_is_never_found_is_told_with_what_may_help(evaluation):
    found = evaluation().to_json()
    found["pixel_accuracy"]["spot"] = 0.0
    assert score_lines(found)[-1].startswith("note: spot: not one pixel is found")
    assert not any(line.startswith("note") for line in score_lines(evaluation().to_json()))
