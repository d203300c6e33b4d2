from __future__ import annotations

from pathlib import Path

import pytest
from data_folders import FolderMaker


@pytest.fixture
def folder(tmp_path: Path) -> FolderMaker:
    return FolderMaker(tmp_path / "set")
