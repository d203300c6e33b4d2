"""Pages run no script, whatever files, classes and options are called."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from saccade.cli import main
from saccade.errors import FileProblem
from saccade.report import Example, RunReport, read_run, run_page, write_report
from saccade.report.html import Figure, figure_html

SCRIPT = "<script>alert(1)</script>"
ATTRIBUTE = 'x" onerror="alert(2)" y="'


class Tags(HTMLParser):
    """Collects what a browser would run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "iframe", "object", "embed", "base", "form", "link"):
            self.found.append(tag)
        for name, value in attrs:
            own = tag == "input" and name == "oninput" and "getElementById('labels')" in (value or "")
            if (name.startswith("on") and not own) or "javascript:" in (value or "").lower():
                self.found.append(f"{tag} {name}={value}")


def runs_nothing(html: str) -> bool:
    tags = Tags()
    tags.feed(html)
    return tags.found == []


def test_the_reader_of_pages_sees_what_would_run():
    assert not runs_nothing(f"<p>{SCRIPT}</p>")
    assert not runs_nothing(f'<img src="{ATTRIBUTE}">')


@pytest.mark.parametrize(
    "name", [f"{SCRIPT.replace('/', '')}.png", 'a" onerror="alert(1)".png', "<img src=x onerror=a()>.png"]
)
def test_the_page_of_an_image_of_any_name_runs_nothing(name, tmp_path, capsys):
    Image.new("RGB", (32, 32)).save(tmp_path / name)
    Image.new("L", (32, 32)).save(tmp_path / f"labels {name}")
    words = [
        "view",
        str(tmp_path / name),
        "--labels",
        str(tmp_path / f"labels {name}"),
        "--out",
        str(tmp_path / "p.html"),
    ]
    assert main(words) == 0
    html = (tmp_path / "p.html").read_text()
    assert runs_nothing(html) and ("&lt;" in html or "&quot;" in html)


def strange(value, words=SCRIPT):
    """The same JSON with every text, and every key that is free, made a script."""
    if isinstance(value, dict):
        return {key: strange(inner, words) for key, inner in value.items()}
    if isinstance(value, list):
        return [strange(inner, words) for inner in value]
    return words if isinstance(value, str) else value


@pytest.mark.parametrize(
    "words", [SCRIPT, ATTRIBUTE, "</title><script>alert(1)</script>", "</style><script>"]
)
def test_the_page_of_a_run_of_any_words_runs_nothing(words, run_folder, tiny_data):
    assert main(["evaluate", str(run_folder), str(tiny_data), "-q", "--device", "cpu"]) == 0
    file = run_folder / "evaluation_test.json"
    content = json.loads(file.read_text())
    classes = {name: f"{name} {words}" for name in content["classes"]}
    for record in content["records"]:
        record["stem"] = words
    content["classes"] = list(classes.values())
    content["of"]["path"] = content["of"]["data"] = words
    file.write_text(json.dumps(content))
    (run_folder / "environment.json").write_text(json.dumps({words: {words: words}, "device": [words]}))
    config = run_folder / "config.yaml"
    config.write_text(
        config.read_text() + f"\n{json.dumps(words)}: {{{json.dumps(words)}: {json.dumps(words)}}}\n"
    )
    metrics = run_folder / "metrics.csv"
    lines = metrics.read_text().splitlines()
    lines = [lines[0] + ',"val_iou_' + words.replace('"', '""') + '"', *(line + ",0.5" for line in lines[1:])]
    metrics.write_text("\n".join(lines) + "\n")
    place = run_folder / "figures" / "examples"
    place.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(place / "a.png")
    figures = [{"file": "a.png", "name": words, "caption": words, "alt": words}]
    (place / "examples.json").write_text(
        json.dumps([{"stem": words, "rank": words, "score": 0.5, "figures": figures}])
    )
    html = write_report(run_folder).read_text()
    assert runs_nothing(html)
    assert html.count("alert") or "script" in html  # the words are there, as text


@pytest.mark.parametrize("name", ['a.x" onerror=alert(3) y=', "a.svg+xml", "a.html", "a"])
def test_only_pictures_stand_in_a_page(name, run_folder):
    place = run_folder / "figures" / "examples"
    place.mkdir(parents=True)
    (place / name).write_bytes(b"<svg onload='alert(1)'/>")
    figures = [{"file": name, "name": "n", "caption": "c", "alt": "a"}]
    (place / "examples.json").write_text(
        json.dumps([{"stem": "s", "rank": "r", "score": None, "figures": figures}])
    )
    with pytest.raises(FileProblem, match="jpeg, png"):
        read_run(run_folder)


def test_a_figure_is_escaped_wherever_it_comes_from():
    shown = Figure("n", SCRIPT, ATTRIBUTE, 'x" onerror="alert(1)', b"")
    assert runs_nothing(figure_html(shown))
    page = run_page(
        RunReport(SCRIPT, {SCRIPT: {"a": SCRIPT}}, {}, examples=(Example(SCRIPT, SCRIPT, 0.5, (shown,)),))
    )
    assert runs_nothing(page)


def test_every_page_of_the_project_puts_values_in_as_text():
    """A guard for pages to come: in code of pages no value stands between tags that nothing escaped."""
    for path in (Path(__file__).parents[2] / "src" / "saccade" / "report").glob("*.py"):
        for found in re.findall(r"<h[123][^>]*>\{([^}]*)\}", path.read_text()):
            assert found.startswith(("text(", "escape(")), f"{path.name}: {found}"


def test_the_page_of_a_run_shows_a_size_that_is_none(run_folder):
    config = run_folder / "config.yaml"
    config.write_text(config.read_text().replace("size: [8, 12]", "size: 7"))
    assert "size: 7" in config.read_text()
    assert "7 samples an image" in write_report(run_folder).read_text()
