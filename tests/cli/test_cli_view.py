"""``saccade view``: the path of a page for whatever it is given."""

from __future__ import annotations

import base64
import io
import re
import webbrowser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.cli import main
from saccade.rasters import write_label_png


def pictures_of(page: Path) -> list[np.ndarray]:
    coded = re.findall(r'src="data:image/\w+;base64,([^"]+)"', page.read_text())
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB")) for one in coded]


def test_an_image_has_a_page_and_nothing_is_written_beside_it(tiny_data, tmp_path, capsys):
    image = next((tiny_data / "images").iterdir())
    before = sorted(image.parent.iterdir())
    assert main(["view", str(image), "--out", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "page.html")
    (shown,) = pictures_of(tmp_path / "page.html")
    assert shown.shape == (32, 48, 3)
    assert sorted(image.parent.iterdir()) == before


def test_labels_lie_on_top_at_the_size_of_the_picture(tmp_path):
    labels = np.zeros((1000, 3200), np.uint8)
    labels[200:800, 1000:2000] = 3
    Image.fromarray(np.full((1000, 3200, 3), 90, np.uint8)).save(tmp_path / "i.png")
    palette = [(0, 0, 0), (9, 9, 9), (8, 8, 8), (200, 30, 60)]
    write_label_png(tmp_path / "l.png", labels, palette)
    out = tmp_path / "page.html"
    assert (
        main(["view", str(tmp_path / "i.png"), "--labels", str(tmp_path / "l.png"), "--out", str(out)]) == 0
    )
    image, top = pictures_of(out)
    assert image.shape == top.shape == (500, 1600, 3)
    assert (top[100:400, 500:1000] == (200, 30, 60)).all()
    assert (top == (200, 30, 60)).all(-1).sum() == 300 * 500


def test_labels_of_another_size_are_refused(tiny_data, tmp_path, capsys):
    image = next((tiny_data / "images").iterdir())
    write_label_png(tmp_path / "l.png", np.zeros((5, 5), np.uint8), [(0, 0, 0)])
    assert main(["view", str(image), "--labels", str(tmp_path / "l.png")]) == 1
    assert "the size of the image" in capsys.readouterr().err


def test_a_page_that_is_there_is_not_replaced(tiny_data, tmp_path, capsys):
    (tmp_path / "page.html").write_text("thesis")
    image = next((tiny_data / "images").iterdir())
    assert main(["view", str(image), "--out", str(tmp_path / "page.html")]) == 1
    assert (tmp_path / "page.html").read_text() == "thesis"


def test_a_run_has_its_report_and_a_comparison_its_page(run_folder, tmp_path, capsys):
    assert main(["view", str(run_folder)]) == 0
    assert (run_folder / "report.html").is_file()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "comparison.html").write_text("x")
    assert main(["view", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.split() == [
        str(run_folder / "report.html"), str(tmp_path / "out" / "comparison.html"),
    ]  # fmt: skip


def test_the_browser_opens_only_when_asked(tmp_path, monkeypatch):
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    (tmp_path / "comparison.html").write_text("x")
    assert main(["view", str(tmp_path)]) == 0
    assert main(["view", str(tmp_path), "--open"]) == 0
    assert opened == [(tmp_path / "comparison.html").resolve().as_uri()]


@pytest.mark.parametrize("what", ["missing.png", "empty"])
def test_what_is_nothing_of_these_is_refused(tmp_path, capsys, what):
    (tmp_path / "empty").mkdir()
    assert main(["view", str(tmp_path / what)]) == 1
    assert what in capsys.readouterr().err
