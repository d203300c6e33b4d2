"""Broken files of every kind: each is read, or refused with one clear line; never a traceback or a hang."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from raster_files import FILES

from saccade.errors import FileProblem
from saccade.rasters import open_raster, read_label_map, read_rgb, thumbnail

SECONDS = 0.12
LONGEST = 5.0
EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes changed, a field set to an extreme, a part cut out, doubled or cut off."""
    kind = rng.integers(6)
    reach = len(data) if rng.random() < 0.5 else min(len(data), 400)
    at = int(rng.integers(reach)) if rng.random() < 0.8 else max(0, len(data) - 1 - int(rng.integers(reach)))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + data[at + int(rng.integers(1, 64)) :]
    if kind == 2:
        return data[:at] + data[at : at + 40] + data[at:]
    changed = bytearray(data)
    if kind == 3:
        width = int(rng.choice([1, 2, 4]))
        value = int(rng.choice(EXTREMES)) % 256**width
        changed[at : at + width] = value.to_bytes(width, rng.choice(["little", "big"]))
        return bytes(changed)
    for _ in range(int(rng.integers(1, 12))):
        changed[(at + int(rng.integers(64))) % len(changed)] = int(rng.integers(256))
    return bytes(changed)


def attempt(path: Path) -> None:
    """All that a user does to a file; only our own refusal may come out."""
    with contextlib.suppress(FileProblem):
        read_rgb(path)
    with contextlib.suppress(FileProblem), open_raster(path) as raster:
        for level in range(len(raster.levels)):
            if np.prod(raster.levels[level].size) * raster.channels < 1e7:
                raster.read(level=level)
        raster.valid()
        thumbnail(raster, (min(20, raster.size[0]), min(20, raster.size[1])))
    with contextlib.suppress(FileProblem):
        read_label_map(path)


def _bytes_of(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


@pytest.mark.parametrize("name", sorted(FILES))
def test_broken_files_are_refused_and_never_crash(name, made, tmp_path):
    source = made(name).path
    target = tmp_path / source.name
    rng = np.random.default_rng(list(name.encode()))
    end, tried = time.monotonic() + SECONDS, 0
    while time.monotonic() < end or tried < 3:
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target)
            broken = rng.choice(_bytes_of(target))
        else:
            target, broken = source_copy(source, tmp_path), tmp_path / source.name
        broken.write_bytes(mutate(broken.read_bytes(), rng))
        started = time.monotonic()
        attempt(target)
        assert time.monotonic() - started < LONGEST
        tried += 1


def source_copy(source: Path, folder: Path) -> Path:
    return Path(shutil.copy(source, folder / source.name))
