"""The program's own data set: a data folder of drawn scenes, for ``saccade demo`` and for tests."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from saccade.data.classes import ClassTable
from saccade.data.dataset import SPLITS
from saccade.data.seascape import draw_scene
from saccade.errors import FileProblem, InvalidInput
from saccade.rasters import write_label_png

SCENE_CLASSES = ClassTable(
    names=("water", "land", "forest", "boat"),
    indices=(0, 1, 2, 3),
    colours=((28, 78, 128), (214, 196, 140), (46, 122, 58), (230, 50, 40)),
    file_ignore_index=255,
)
SMALLEST = 16


def make_scenes(
    out: Path | str,
    *,
    count: tuple[int, int, int] = (40, 8, 12),
    size: tuple[int, int] = (512, 1024),
    seed: int = 0,
    on_drawn: Callable[[], None] | None = None,
) -> Path:
    """Draws a data folder of seascapes with four classes, boats being about 1 % of the pixels.

    Args:
        out: the folder to make; it must not exist or be empty.
        count: scenes in train, val and test; a split of 0 is left out.
        size: (H, W) of every scene, at least 16 x 16.
        seed: the same seed draws the same scenes, whatever the number of cores.
        on_drawn: called after each scene.

    Returns:
        ``out``.

    Raises:
        InvalidInput: when a size is too small or no scene is wanted.
        FileProblem: when ``out`` is a file or a folder that is not empty.
    """
    if len(size) != 2 or min(size) < SMALLEST:
        raise InvalidInput("size", f"(H, W), each {SMALLEST} or more", size)
    if len(count) != 3 or min(count) < 0 or sum(count) == 0:
        raise InvalidInput("count", "three numbers (train, val, test), not all 0", count)
    root = Path(out)
    _make_folders(root)
    stems = [f"scene_{k:03}" for k in range(sum(count))]

    def draw(k: int) -> None:
        scene = draw_scene(np.random.default_rng([seed, k]), size)
        Image.fromarray(scene.image).save(root / "images" / f"{stems[k]}.jpg", quality=93, subsampling=0)
        write_label_png(root / "masks" / f"{stems[k]}.png", scene.labels, SCENE_CLASSES.palette.tolist())

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for _ in pool.map(draw, range(len(stems))):
            if on_drawn is not None:
                on_drawn()
    _write_json(root / "classes.json", SCENE_CLASSES.as_dict())
    _write_json(root / "splits.json", {"seed": seed, **_splits(stems, count)})
    return root


def _make_folders(root: Path) -> None:
    if root.is_file() or (root.is_dir() and any(root.iterdir())):
        found = "a file" if root.is_file() else "a folder that is not empty"
        raise FileProblem(root, "a new or empty folder", found, "name another folder")
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True, exist_ok=True)


def _splits(stems: list[str], count: tuple[int, int, int]) -> dict[str, list[str]]:
    ends = np.cumsum(count)
    parts = zip(SPLITS, count, ends, strict=True)
    return {name: stems[end - number : end] for name, number, end in parts if number}


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
