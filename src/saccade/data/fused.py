"""Labels that several annotators drew, fused once and kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saccade.data.inspection import value_counts
from saccade.data.staple import staple
from saccade.errors import FileProblem
from saccade.rasters import read_label_map, write_label_png

_VERSION = b"staple 1"


def fused_labels(
    paths: Sequence[Path], meaning: Mapping[int, int], undecided: int = 255
) -> NDArray[np.uint8]:
    """The fused label map (H, W) of one image.

    It is kept in ``$XDG_CACHE_HOME/saccade`` or ``~/.cache/saccade``, named by what the maps hold, so another
    download or a moved folder finds it; where that cannot be written, it is made again each time.

    Args:
        paths: a map of each annotator.
        meaning: the label of each value that maps may hold.
        undecided: the label where annotators are equally probable.

    Raises:
        FileProblem: a map cannot be read, holds another value, or has another size than the first.
    """
    contents = [_read_bytes(path) for path in paths]
    kept = cache_folder() / f"{_name(contents, meaning)}.png"
    try:
        return read_label_map(kept).astype(np.uint8)
    except FileProblem:
        fused = staple(_read(paths, meaning), undecided)
    _keep(kept, fused)
    return fused


def cache_folder() -> Path:
    """Where fused maps are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "saccade" / "fused"


def _keep(path: Path, fused: NDArray[np.uint8]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_label_png(path, fused, overwrite=True)
    except (OSError, FileProblem):
        return


def _name(contents: Sequence[bytes], meaning: Mapping[int, int]) -> str:
    whole = hashlib.blake2b(_VERSION + repr(sorted(meaning.items())).encode(), digest_size=20)
    for content in contents:
        whole.update(hashlib.blake2b(content).digest())
    return whole.hexdigest()


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileProblem(path, "a map of an annotator", error.strerror or "an unreadable file") from error


def _read(paths: Sequence[Path], meaning: Mapping[int, int]) -> list[NDArray[np.uint8]]:
    maps = [read_label_map(path) for path in paths]
    for path, values in zip(paths, maps, strict=True):
        strange = [int(v) for v in np.flatnonzero(value_counts(values)) if int(v) not in meaning]
        if strange:
            allowed = ", ".join(map(str, sorted(meaning)))
            raise FileProblem(path, f"only the values {allowed}", ", ".join(map(str, strange[:5])))
        if values.shape != maps[0].shape:
            height, width = maps[0].shape
            expected = (
                f"the size of {paths[0].parent.name}/{paths[0].name}, {width} x {height} (width x height)"
            )
            raise FileProblem(path, expected, f"{values.shape[1]} x {values.shape[0]}")
    table = np.zeros(65536, np.uint8)
    table[list(meaning)] = list(meaning.values())
    return [np.take(table, values) for values in maps]
