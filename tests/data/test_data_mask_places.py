"""Masks as GIS tools write them: signed, ignored below 0, on the place of their image or refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")
from vector_files import CLASSES, SIZE, UTM, folder, image, tile  # noqa: E402

from saccade.data import open_data  # noqa: E402
from saccade.errors import DataFaults  # noqa: E402


def mask(path: Path, crs: str | None, place, dtype: str = "int16") -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(3).integers(-1, 3, SIZE).astype(dtype)
    profile = {"driver": "GTiff", "height": SIZE[0], "width": SIZE[1], "count": 1, "dtype": dtype}
    with rasterio.open(path, "w", crs=crs, transform=place, **profile) as file:
        file.write(values, 1)
    return values


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "float32"])
def test_a_signed_mask_is_read_with_its_ignored_value(dtype: str, tmp_path: Path) -> None:
    root = folder(tmp_path / "data", ignore_index=-1)
    for number, stem in enumerate("abc"):
        values = mask(root / "masks" / f"{stem}.tif", UTM, tile(number), dtype)
    data = open_data(root)
    expected = np.where(values < 0, 255, values).astype(np.uint8)
    np.testing.assert_array_equal(data.read(data.split("train")[0]).labels, expected)
    assert data.classes.as_dict()["ignore_index"] == -1


def test_a_value_below_zero_that_is_not_the_ignored_one_is_a_fault(tmp_path: Path) -> None:
    root = folder(tmp_path / "data")
    for number, stem in enumerate("abc"):
        mask(root / "masks" / f"{stem}.tif", UTM, tile(number))
    with pytest.raises(DataFaults, match="class indices from 0 to 65535, found values from -1"):
        open_data(root)


def shifted(number: int, x: float):
    return tile(number) @ rasterio.Affine.translation(x, 0)


@pytest.mark.parametrize(
    ("crs", "place", "words"),
    [
        (UTM, shifted(1, 3), "the place of its image, in EPSG:32632, found a mask 3 pixels away; gdalwarp"),
        (UTM, tile(1) @ rasterio.Affine.scale(2), "160 pixels away"),
        ("EPSG:32633", tile(1), "away, in EPSG:32633"),
        (UTM, shifted(1, 1e-4), None),
        (None, tile(1), None),
    ],
)
def test_a_mask_on_another_place_is_refused(crs, place, words, tmp_path: Path) -> None:
    root = folder(tmp_path / "data", ignore_index=-1)
    for number, stem in enumerate("abc"):
        mask(root / "masks" / f"{stem}.tif", UTM, tile(number))
    mask(root / "masks" / "b.tif", crs, place)
    if words is None:
        open_data(root)
        return
    with pytest.raises(DataFaults, match=words) as caught:
        open_data(root)
    assert len(caught.value.faults) == 1 and "b.tif" in str(caught.value)


def test_the_same_grid_written_as_another_system_is_one_place(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", ignore_index=-1)
    place = rasterio.Affine(1e-4, 0, 9, 0, -1e-4, 48)
    for stem in "abc":
        image(root / "images" / f"{stem}.tif", "EPSG:4326", place)
        mask(root / "masks" / f"{stem}.tif", "OGC:CRS84", place)
        (root / "images" / f"{stem}.tif").chmod(0o644)
    (root / "splits.json").write_text(json.dumps({"train": ["a"]}))
    assert open_data(root, splits=["train"]).classes.names == tuple(row["name"] for row in CLASSES)
