"""What a comparison keeps of the runs that it opened."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from saccade.lab import methods
from saccade.lab.methods import OpenedRuns


def test_of_many_runs_the_last_are_kept_and_no_more_than_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load_run(root: Path) -> SimpleNamespace:
        loaded.append(root.name)
        return SimpleNamespace(path=root, segmenter=torch.nn.Linear(250, 1))

    monkeypatch.setattr(methods, "load_run", load_run)

    def asked_again(opened: OpenedRuns, names: str) -> list[str]:
        for name in names:
            opened.get(tmp_path / name)
        loaded.clear()
        for name in reversed(names):
            opened.get(tmp_path / name)
        return sorted(loaded)

    assert asked_again(OpenedRuns(), "abcd") == []
    assert asked_again(OpenedRuns(most=3), "abcd") == ["a"]
    assert asked_again(OpenedRuns(limit_bytes=2 * 251 * 4), "abcd") == ["a", "b"]
    assert asked_again(OpenedRuns(limit_bytes=1), "a") == []
