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
from saccade.samplers import recipe

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


@pytest.mark.parametrize("name", PUBLIC)
def test_the_example_of_a_public_name_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    example = doctest.DocTestParser().get_doctest(PUBLIC[name].__doc__ or "", {}, name, None, None)
    assert example.examples, f"{name} has no example in its docstring"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recipe, "_REGISTERED", recipe.recipes().copy())
    heard: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(example, out=heard.append)
    assert not heard, "".join(heard)
