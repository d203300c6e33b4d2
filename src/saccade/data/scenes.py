"""The program's own data set: a data folder of drawn scenes, for ``saccade demo`` and for tests."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image

from saccade.data.classes import ClassTable
from saccade.data.dataset import SPLITS
from saccade.data.parallel import in_order
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
        out: the folder to make; it must not exist or be empty. It appears when all is drawn.
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
    _refuse_used(root)
    part = root.with_name(f".{root.name}.{os.getpid()}.part")
    try:
        for name in ("images", "masks"):
            (part / name).mkdir(parents=True)
        stems = [f"scene_{k:03}" for k in range(sum(count))]
        with closing(
            in_order(lambda k: _draw_files(part, stems[k], size, (seed, k)), range(len(stems)))
        ) as drawn:
            for _ in drawn:
                if on_drawn is not None:
                    on_drawn()
        _write_json(part / "classes.json", SCENE_CLASSES.as_dict())
        _write_json(part / "splits.json", {"seed": seed, **_splits(stems, count)})
        part.replace(root)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return root


def _draw_files(root: Path, stem: str, size: tuple[int, int], seed: tuple[int, int]) -> None:
    scene = draw_scene(np.random.default_rng(seed), size)
    Image.fromarray(scene.image).save(root / "images" / f"{stem}.jpg", quality=93, subsampling=0)
    write_label_png(root / "masks" / f"{stem}.png", scene.labels, SCENE_CLASSES.palette.tolist())


def _refuse_used(root: Path) -> None:
    if root.is_file() or (root.is_dir() and any(root.iterdir())):
        found = "a file" if root.is_file() else "a folder that is not empty"
        raise FileProblem(root, "a new or empty folder", found, "name another folder")


def _splits(stems: list[str], count: tuple[int, int, int]) -> dict[str, list[str]]:
    ends = np.cumsum(count)
    parts = zip(SPLITS, count, ends, strict=True)
    return {name: stems[end - number : end] for name, number, end in parts if number}


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
