"""The page of a comparison, on counts that are known; the pictures in it need a trained run."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from comparisons import comparison_of, trial_of

from saccade.lab import page
from saccade.lab.page import best_method, blocks_html, blocks_lines
from saccade.lab.studies import Chart, Curve, Study, Table, Text
from saccade.lab.tables import ONE_SEED, factor, in_points


@pytest.fixture
def shown(six_scenes, monkeypatch):
    """A comparison whose page draws no examples."""
    monkeypatch.setattr(page, "examples", lambda compared: "")
    return trial_of(six_scenes, seeds=(0, 1))


WRONG = {"uniform": (0.3, 0.2), "oracle": (0.1, 0.05), "deformation": (0.2, 0.2)}


class Tags(HTMLParser):
    """Whether every tag is closed."""

    EMPTY = frozenset({"meta", "img", "br", "line", "path", "circle", "polyline", "polygon"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop() == tag


def test_the_page_is_whole_and_asks_nothing_of_a_network(shown):
    html = page.comparison_page(shown, comparison_of(shown, WRONG))
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    assert not re.search(r'(src|href)="(?!data:)', html)
    assert "nan" not in re.sub(r"<[^>]+>", " ", html).split()


def test_the_page_says_where_an_arm_wins_and_where_nothing_is_sure(shown):
    html = page.comparison_page(shown, comparison_of(shown, WRONG))
    assert re.search(
        r"deformation against uniform, mIoU: 8 x 12: wins \(\+[\d.]+ \[[\d., ]+\] points\)", html
    )
    assert "16 x 24: no difference that is sure" in html
    assert "oracle* sees" not in html
    assert "* sees the true labels" in html


def test_a_failed_run_is_on_the_page_with_its_reason(shown):
    found = comparison_of(shown, WRONG, {"deformation_8x12_s1": "loss <b>nan</b>"})
    html = page.comparison_page(shown, found)
    assert "1 run failed" in html
    assert "deformation_8x12_s1: loss &lt;b&gt;nan&lt;/b&gt;" in html
    assert "<strong>failed</strong>" in html
    assert any("deformation_8x12_s1" in line for line in page.comparison_lines(found))


def test_lines_of_an_arm_look_different_without_colour(shown):
    html = page.comparison_page(shown, comparison_of(shown, WRONG))
    first = html[html.index("<svg") : html.index("</svg>")]
    looks = re.findall(r'<g class="line c\d">.*?</g>', first)
    dashes = [re.findall(r'stroke-dasharray="([^"]*)"', look) for look in looks]
    markers = ["circle" if "<circle" in look else "polygon" for look in looks]
    assert len(looks) == 3
    assert len({(tuple(d), m) for d, m in zip(dashes, markers, strict=True)}) == 3


def test_classes_stand_from_the_rarest_to_the_most_frequent(shown):
    found = comparison_of(shown, WRONG)
    html = page.comparison_page(shown, found)
    table = html[html.index("over uniform, the rarest class first") :]
    names = re.findall(r'<th scope="row">(\w+)</th>', table)[:4]
    assert names == [found.classes[k] for k in found.by_frequency]
    assert found.shares[found.by_frequency[0]] == min(found.shares)


def test_a_win_is_marked_by_more_than_colour(shown):
    found = comparison_of(shown, WRONG)
    small = found.points["oracle", (8, 12)]
    assert in_points(found.gain(small)).startswith("▲ +")
    assert in_points(None) == "–"


def test_a_factor_beyond_what_was_measured_says_so(shown):
    from saccade.metrics.bootstrap import Interval

    found = comparison_of(shown, WRONG)
    point, reference = found.points["oracle", (8, 12)], found.of(found.reference)
    inf = float("inf")
    assert factor(Interval(inf, 2.5, inf), point, reference) == "> 4 [2.50, > 4]"
    assert factor(Interval(0, 0, 1.5), point, reference) == "≤ 1 [≤ 1, 1.50]"


def test_one_seed_is_said_to_tell_of_the_images_alone(shown):
    one, two = (page.comparison_page(made, comparison_of(made, WRONG)) for made in (
        replace(shown, seeds=(0,)), replace(shown, seeds=(0, 1)),
    ))  # fmt: skip
    assert ONE_SEED in one
    assert ONE_SEED not in two


def test_a_win_does_not_look_like_nothing():
    from saccade.metrics.bootstrap import Interval

    assert in_points(Interval(0.0004, 0.0001, 0.0007)) == "▲ +0.04 [0.01, 0.07]"
    assert in_points(Interval(0.02, 0.01, 0.03)) == "▲ +2.0 [1.0, 3.0]"
    assert in_points(Interval(0.0, 0.0, 0.0)) == "· +0.0 [0.0, 0.0]"


def test_what_was_never_measured_is_no_factor(shown):
    """The reference stays below, and saw fewer pixels at each of its sizes."""
    from saccade.metrics.bootstrap import Interval

    found = comparison_of(shown, WRONG)
    reference = found.of(found.reference)
    wide = replace(reference[0], cost=replace(reference[0].cost, pixels=10**6))
    inf = float("inf")
    assert factor(Interval(inf, inf, inf), wide, reference) == "–"


def test_another_budget_is_told_beside_the_gain(shown):
    found = comparison_of(shown, {**WRONG, "boundary": (0.28, 0.19)})
    outcomes = tuple(
        replace(one, evaluation=replace(one.evaluation, cost=replace(one.evaluation.cost, pixels=96 * 2560)))
        if one.trial.method.name == "deformation" and one.evaluation is not None else one
        for one in found.outcomes
    )  # fmt: skip
    plain, wide = page.verdicts(found), page.verdicts(replace(found, outcomes=outcomes))
    assert not any("times the pixels" in line for line in plain)
    assert [line.startswith("deformation") for line in wide if "with 2,560 times the pixels" in line] == [
        True
    ]
    assert best_method(found) == "deformation"
    assert best_method(replace(found, outcomes=outcomes)) == "boundary"


def test_a_study_has_its_question_and_its_blocks(shown):
    blocks = [Text("Far & wide.", "Answer"), Table("t", ("a", "b"), [["x", None]])]
    study = Study("radius", "How far", "How far should it reach?", "ICLR 2022", value_name="radius")
    found = comparison_of(shown, WRONG)
    methods = tuple(replace(method, value=float(number)) for number, method in enumerate(found.methods))
    outcomes = tuple(
        replace(
            one, trial=replace(one.trial, method=next(a for a in methods if a.name == one.trial.method.name))
        )
        for one in found.outcomes
    )
    html = page.comparison_page(shown, replace(found, methods=methods, outcomes=outcomes), study, blocks)
    assert "How far should it reach?" in html
    assert "Far &amp; wide." in html
    assert "mIoU over radius" in html


def test_a_study_without_training_speaks_of_no_network_and_no_seeds(shown):
    html = page.comparison_page(shown, None, Study("x", "X", "Why?", "ours"), [Text("Because.")])
    assert "Because." in html
    assert "nothing trained" in html
    for word in ("seed", "small:4", "learning_rate", "Costs:"):
        assert word not in html


def test_charts_that_follow_each_other_stand_side_by_side():
    one = Chart("one", "x", "y", [Curve("a", [1, 2], [0.5, 0.6])])
    html = blocks_html([one, replace(one, title="two"), Text("between"), replace(one, title="three")])
    assert [part.count("<svg") for part in html.split('<div class="charts">')[1:]] == [2, 1]


def test_a_chart_of_scores_shows_small_differences():
    html = blocks_html([Chart("c", "x", "y", [Curve("one", [1, 2], [0.91, 0.93])])])
    assert ">0.9</text>" in html
    assert ">0</text>" not in html


def test_tables_of_a_study_are_lines_on_a_terminal():
    table = Table("caption", ("class", "score", "n"), [["leaf", 0.5, 1200], ["background", None, 3]])
    assert blocks_lines([Text("no line"), table]) == [
        "caption", "class       score  n", "leaf        0.500  1,200", "background  –      3",
    ]  # fmt: skip


def test_a_chart_of_a_study_is_drawn_with_its_spread():
    html = blocks_html([Chart("c", "x", "y", [Curve("one", [1, 2], [0.5, 0.6], [0.4, 0.5], [0.6, 0.7])])])
    assert html.count("V") == 2
    assert "<h3>c</h3>" in html
