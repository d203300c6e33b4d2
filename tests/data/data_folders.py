"""A tiny data folder for tests to spoil."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image


class FolderMaker:
    """A tiny sound data folder on disk, to be spoilt by a test: three images of 12 x 8, one in each split."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "images").mkdir(parents=True)
        (root / "masks").mkdir()
        rng = np.random.default_rng(0)
        for stem in ("a", "b", "c"):
            Image.fromarray(rng.integers(0, 256, (8, 12, 3), np.uint8)).save(self.image(stem))
            self.write_mask(stem, rng.integers(0, 3, (8, 12), np.uint8))
        self.write_json("classes.json", CLASSES)
        self.write_json("splits.json", {"seed": 1, "train": ["a"], "val": ["b"], "test": ["c"]})

    def image(self, stem: str) -> Path:
        return self.root / "images" / f"{stem}.png"

    def mask(self, stem: str) -> Path:
        return self.root / "masks" / f"{stem}.png"

    def write_mask(self, stem: str, values: np.ndarray, **options: object) -> None:
        Image.fromarray(values).save(self.mask(stem), **options)

    def write_json(self, name: str, value: object) -> None:
        (self.root / name).write_text(json.dumps(value))


CLASSES = {
    "ignore_index": 255,
    "classes": [
        {"index": 0, "name": "ground", "colour": [0, 0, 0]},
        {"index": 1, "name": "tree", "colour": [0, 200, 0]},
        {"index": 2, "name": "bird", "colour": [255, 0, 0]},
    ],
}
