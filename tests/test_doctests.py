"""Every public name has an example in its docstring, and it runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import saccade

SOURCE = Path(saccade.__file__).parent
ROOMS = sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def public() -> Iterator[tuple[str, Any]]:
    """(name, object) of all functions and classes that the package and its rooms hand out, each once."""
    seen: set[int] = set()
    for module in map(importlib.import_module, ("saccade", *(f"saccade.{room}" for room in ROOMS))):
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if (inspect.isclass(value) or inspect.isroutine(value)) and id(value) not in seen:
                seen.add(id(value))
                yield f"{module.__name__}.{name}", value


PUBLIC = dict(public())
WAITING = {
    "evaluation.Evaluation",
    "evaluation.ImageRecord",
    "evaluation.LabelledImage",
    "evaluation.Look",
    "evaluation.evaluate",
    "evaluation.load_evaluation",
    "evaluation.look",
    "evaluation.save_evaluation",
    "inference.Answer",
    "inference.Band",
    "inference.Done",
    "inference.Job",
    "inference.Look",
    "inference.Outcome",
    "inference.Patch",
    "inference.Patches",
    "inference.PredictionConfig",
    "inference.Spacing",
    "inference.bands",
    "inference.list_jobs",
    "inference.make_folder",
    "inference.one_patch",
    "inference.parse_extras",
    "inference.predict_all",
    "inference.predict_image",
    "inference.require_predictor",
    "inference.still_to_do",
    "lab.ComparisonConfig",
    "lab.Method",
    "lab.Outcome",
    "lab.Trial",
    "report.Example",
    "report.Looked",
    "report.RunReport",
    "report.choose",
    "report.draw",
    "report.draw_examples",
    "report.load_examples",
    "report.look_at",
    "report.read_run",
    "report.run_page",
    "report.save_examples",
    "report.write_report",
    "samplers.FoveatedImage",
}
"""Names whose example is still to be written; no new name may join them."""


@pytest.mark.parametrize("name", PUBLIC)
def test_the_example_of_a_public_name_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    example = doctest.DocTestParser().get_doctest(PUBLIC[name].__doc__ or "", {}, name, None, None)
    if name.removeprefix("saccade.") in WAITING and not example.examples:
        pytest.skip("its example is still to be written")
    assert example.examples, f"{name} has no example in its docstring"
    monkeypatch.chdir(tmp_path)
    heard: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(example, out=heard.append)
    assert not heard, "".join(heard)
