"""A page is one file that asks no network for anything, whatever the names in it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from saccade.errors import FileProblem
from saccade.evaluation import save_evaluation
from saccade.figures import class_palette
from saccade.report import RunReport, run_page, save_examples, write_report
from saccade.report.examples import Example, draw
from saccade.report.run import read_history, read_run

VOID = {"meta", "img", "br", "circle", "line", "path", "polyline", "polygon"}
METRICS = (
    "epoch,step,train_loss,train_segmentation_loss,train_sampler_loss,val_miou,val_iou_leaf,lr,seconds\n"
)


class Checked(HTMLParser):
    """Collects tags and attributes, and whether everything that opens is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def example(segmented, seed: int = 0, size=(80, 120)) -> Example:
    shares = np.array([900, 90, 10])
    pictures = draw(segmented(seed, size), ("ground", "leaf", "spot"), class_palette(shares), shares)
    return Example(f"photo{seed}", "worst", 0.5, pictures)


@pytest.fixture
def folder(tmp_path, evaluation, segmented):
    root = tmp_path / "my run"
    root.mkdir()
    (root / "config.yaml").write_text(
        "sampler: {name: deformation, size: [64, 128]}\nnetwork: {name: small}\n"
    )
    (root / "environment.json").write_text(json.dumps({"packages": {"torch": "2.15"}, "device": "cpu"}))
    (root / "metrics.csv").write_text(
        METRICS + "0,10,0.9,0.6,0.3,,,0.01,5\n1,20,0.7,0.5,0.2,0.4,0.5,0.01,5\n"
    )
    save_evaluation(evaluation(), root / "evaluation_test.json")
    save_examples([example(segmented)], root / "figures")
    return root


def test_the_page_of_a_run_asks_nothing_of_any_network(folder):
    text = write_report(folder).read_text()
    tags = Checked(text).tags
    assert not [tag for tag, _ in tags if tag in ("script", "link", "iframe", "object")]
    for _, given in tags:
        for name in ("src", "href", "srcset", "data"):
            assert given.get(name, "data:").startswith("data:")
    assert not re.findall(r"url\(|@import|https?://", text)


def test_every_picture_has_a_text_for_those_who_do_not_see_it(folder):
    tags = Checked(write_report(folder).read_text()).tags
    pictures = [given for tag, given in tags if tag == "img"]
    assert len(pictures) == 8
    assert all(given["alt"] for given in pictures)
    assert all(given["aria-label"] for tag, given in tags if tag == "svg")


def test_the_page_says_the_scores_of_the_evaluation(folder, evaluation):
    text = write_report(folder).read_text()
    found = evaluation().to_json()
    assert "my run" in text
    assert f"<b>{found['miou']:.3f}</b>" in text
    for name in ("ground", "leaf", "spot"):
        assert f"<td>{found['iou'][name]:.3f}</td>" in text
    assert "8,192" in text
    assert "5 images of the test split" in text
    assert "Best validation mIoU 0.400 after epoch 2" in text
    assert "sampler.size" in text and "[64, 128]" in text
    assert "packages.torch" in text


@pytest.mark.parametrize("above", [True, False])
def test_the_first_sentence_agrees_with_the_scores(evaluation, above):
    found = evaluation()
    record = found.records[0]
    perfect, some = record.confusion.sum(1).diag(), record.confusion
    record = replace(record, confusion=perfect if above else some, recovery=some if above else perfect)
    found = replace(found, records=(record,))
    scores = found.to_json()
    gap = f"{abs(scores['miou'] - scores['label_recovery']['miou']):.3f}"
    page = run_page(RunReport("run", evaluation=found))
    assert f"the network is {gap} {'above' if above else 'below'} it" in page
    assert ("is lost in sampling" in page) != above


def test_names_cannot_break_the_page(evaluation, segmented):
    evil = '<img src="https://evil.example/x">&"'
    run = RunReport(evil, config={evil: {evil: evil}, "data": evil}, evaluation=evaluation((evil, "b", "c")))
    shown = replace(example(segmented), stem=evil, rank=evil)
    text = run_page(replace(run, examples=(shown,)))
    assert '<img src="https' not in text
    pictures = [given for tag, given in Checked(text).tags if tag == "img"]
    assert all(given["src"].startswith("data:image/") for given in pictures)


def test_a_class_without_value_shows_a_dash_and_never_nan(evaluation):
    text = run_page(RunReport("r", evaluation=evaluation(("ground", "leaf", "spot", "unicorn"))))
    Checked(text)
    assert "unicorn" in text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


def test_a_run_that_was_not_evaluated_and_one_that_just_began_have_a_page(folder):
    (folder / "evaluation_test.json").unlink()
    Checked(write_report(folder).read_text())
    (folder / "metrics.csv").write_text(METRICS)
    assert "No epoch is finished yet" in write_report(folder).read_text()
    (folder / "metrics.csv").unlink()
    (folder / "environment.json").unlink()
    assert "No epoch is finished yet" in write_report(folder).read_text()


def test_validation_is_shown_where_the_test_split_was_not_evaluated(folder):
    (folder / "evaluation_test.json").rename(folder / "evaluation_val.json")
    assert "images of the val split" in write_report(folder).read_text()


def test_six_examples_of_large_photographs_stay_below_six_megabytes(evaluation, segmented):
    shown = tuple(example(segmented, seed, (1024, 2048)) for seed in range(6))
    assert len(run_page(RunReport("r", evaluation=evaluation(), examples=shown))) < 6e6


def test_what_is_no_run_or_a_damaged_one_is_refused(tmp_path, folder):
    with pytest.raises(FileProblem, match="no such folder"):
        write_report(tmp_path / "none")
    with pytest.raises(FileProblem, match=r"no config\.yaml"):
        write_report(tmp_path)
    for name, content in (("environment.json", "{"), ("config.yaml", "a: [1"), ("config.yaml", "- 1")):
        kept = (folder / name).read_text()
        (folder / name).write_text(content)
        with pytest.raises(FileProblem, match=name):
            write_report(folder)
        (folder / name).write_text(kept)


@pytest.mark.parametrize("rows", ["x,1,,,,,,,\n", ",1,0.5,,,,,,\n"])
def test_a_damaged_table_of_metrics_is_refused(tmp_path, rows):
    (tmp_path / "metrics.csv").write_text(METRICS + rows)
    with pytest.raises(FileProblem, match=r"metrics\.csv"):
        read_history(tmp_path / "metrics.csv")


def test_a_history_reads_empty_cells_as_nothing(tmp_path):
    (tmp_path / "metrics.csv").write_text(METRICS + "0,1,nan,,,,,,\n3,2,0.5,0.4,,0.8,0.9,,\n")
    history = read_history(tmp_path / "metrics.csv")
    assert history.epochs == [1, 4]
    assert [line.name for line in history.losses()] == ["loss", "segmentation"]
    assert history.losses()[0].points == [(4, 0.5)]
    assert [line.name for line in history.scores()] == ["mIoU", "leaf"]
    assert history.best() == (4, 0.8)


def test_swatches_and_curves_are_in_the_colours_of_the_data(folder, evaluation):
    own = np.array([[1, 2, 3], [0, 120, 0], [250, 250, 250]], np.uint8)
    found = run_page(replace(read_run(folder), own_colours=own))
    for colour in ("#010203", "#007800", "#fafafa"):
        assert f"background:{colour}" in found and f"--c:{colour}" in found


def test_the_legend_tells_the_colours_of_the_pictures_that_are_there(folder):
    own = np.array([[1, 2, 3], [0, 120, 0], [250, 250, 250]], np.uint8)
    run = replace(read_run(folder), own_colours=own)
    legend = run_page(run).partition("<h2>Examples</h2>")[2].partition('<section class="example">')[0]
    assert "#010203" not in legend and legend.count("background:#") == 3
    shown = replace(run.examples[0], colours=("#010203", "#007800", "#fafafa"))
    assert "background:#010203" in run_page(replace(run, examples=(shown,))).partition("<h2>Examples</h2>")[2]
    save_examples([shown], folder / "figures")
    assert read_run(folder).examples[0].colours == shown.colours


def test_the_confusion_is_in_hundredths_of_the_true_class(evaluation):
    found = evaluation()
    confusion = found.confusion.numpy()
    page = run_page(RunReport("run", evaluation=found))
    cells = re.findall(r'class="share (\w+)" style="--share:\d+%">([\d.]+)<', page)
    assert [float(value) for _, value in cells] == pytest.approx(
        (100 * confusion / confusion.sum(1, keepdims=True)).ravel(), abs=0.051
    )
    assert [kind for kind, _ in cells] == ["right" if k % 4 == 0 else "wrong" for k in range(9)]


def test_every_image_is_listed_and_the_worst_first(evaluation):
    found = evaluation()
    page = run_page(RunReport("run", evaluation=found))
    listed = re.findall(r'<th scope="row">(photo\d)</th>', page)
    assert listed == [one.stem for one in sorted(found.records, key=lambda one: one.miou)]


def test_every_picture_can_be_enlarged_without_a_script(folder):
    tags = Checked(write_report(folder).read_text()).tags
    boxes = [given for tag, given in tags if tag == "input"]
    assert len(boxes) == sum(tag == "img" for tag, _ in tags) and all(box["aria-label"] for box in boxes)
