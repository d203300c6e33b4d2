"""Golden arrays, densities and label maps for the tests of the grids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

GOLDEN = Path("/work/shared/golden")
PHOTOGRAPHS = Path("/work/shared/data/coffee_leaf")


@pytest.fixture
def golden():
    """Reads one golden file by its name, its ``meta`` decoded."""

    def read(name: str) -> dict[str, Any]:
        path = GOLDEN / f"{name}.npz"
        if not path.exists():
            pytest.skip(f"the golden arrays are not at {GOLDEN}")
        with np.load(path) as arrays:
            found = dict(arrays)
        return {**found, "meta": json.loads(str(found["meta"]))}

    return read


@pytest.fixture
def leaf_masks() -> Tensor:
    """(B, H, W) uint8 masks of real photographs, cut to one size."""
    image = pytest.importorskip("PIL.Image")
    paths = sorted((PHOTOGRAPHS / "masks").glob("*.png"))[:4]
    if not paths:
        pytest.skip(f"the photographs are not at {PHOTOGRAPHS}")
    masks = [np.array(image.open(path)) for path in paths]
    height, width = (min(mask.shape[axis] for mask in masks) for axis in (0, 1))
    return torch.from_numpy(np.stack([mask[:height, :width] for mask in masks]))


@pytest.fixture
def make_density():
    """A random density (B, 1, h, w), positive, of the given contrast: its softmax has that temperature."""

    def make(shape: tuple[int, int, int], contrast: float = 2.0, seed: int = 0) -> Tensor:
        noise = torch.randn(shape[0], 1, *shape[1:], generator=torch.Generator().manual_seed(seed))
        return torch.softmax(contrast * noise.flatten(1), dim=1).view_as(noise)

    return make


@pytest.fixture
def make_labels():
    """A random label map (B, H, W) of rectangles of classes 0 to 5, with some pixels of 255."""

    def make(batch: int, height: int, width: int, seed: int = 0, ignored: bool = True) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        labels = torch.zeros(batch, height, width, dtype=torch.uint8)
        for image in labels:
            for label in (1, 2, 3, 4, 5, 255 if ignored else 0):
                top, left = (int(torch.randint(side, (), generator=generator)) for side in (height, width))
                image[top : top + height // 3 + 1, left : left + width // 4 + 1] = label
        return labels

    return make
