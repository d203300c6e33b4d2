from __future__ import annotations

from pathlib import Path

import pytest
from data_folders import FolderMaker


@pytest.fixture
def folder(tmp_path: Path) -> FolderMaker:
    return FolderMaker(tmp_path / "set")


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where fused labels are kept: never the user's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder
