"""What an image may be given as: the same pixels however they come; one sentence where they are not clear."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from saccade.errors import InvalidInput, SaccadeError
from saccade.rasters import as_rgb, open_raster
from saccade.samplers import UniformSampler
from saccade.segmenter import Segmenter
from saccade.sources import pil_pixels
from saccade.warp import Pyramid


class Bright(nn.Module):
    """Three classes by the brightest channel."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels


SIZE = (20, 31)
SEGMENTER = Segmenter(UniformSampler(SIZE), Bright(), antialias=False, mean=(0,) * 3, std=(1,) * 3)


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The images are tiny."""


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)


def as_given(pixels: np.ndarray) -> dict[str, object]:
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    return {
        "tensor": tensor,
        "tensor of a batch of one": tensor[None],
        "tensor, channels last": torch.from_numpy(pixels),
        "floats": tensor.double() / 255,
        "array": pixels,
        "array, channels first": np.ascontiguousarray(pixels.transpose(2, 0, 1)),
        "array, mirrored twice": pixels[::-1, :, ::-1].copy()[::-1, :, ::-1],
        "array, Fortran order": np.asfortranarray(pixels),
        "floats of another byte order": (pixels / 255).astype(">f8"),
        "PIL image": Image.fromarray(pixels),
        "PIL image with opacity": Image.fromarray(np.dstack([pixels, pixels[..., 0]])),
        "pyramid": Pyramid.of(tensor[None]),
    }


@pytest.mark.parametrize("kind", list(as_given(np.zeros((*SIZE, 3), np.uint8))))
def test_every_kind_of_image_is_segmented_alike(kind: str, pixels: np.ndarray) -> None:
    segmented = SEGMENTER.segment(as_given(pixels)[kind])  # type: ignore[arg-type]
    assert np.array_equal(segmented.labels.numpy(), pixels.argmax(2))
    assert segmented.size == SIZE and segmented.classes == 3


def test_a_path_and_an_open_raster_are_read_and_only_the_path_is_closed(
    pixels: np.ndarray, tmp_path: Path
) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(SEGMENTER.segment(tmp_path / "a.png").labels.numpy(), pixels.argmax(2))
    with open_raster(tmp_path / "a.png") as raster:
        for _ in range(2):
            assert np.array_equal(SEGMENTER.segment(raster).labels.numpy(), pixels.argmax(2))


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "I;16"])
def test_a_pil_image_is_what_its_file_is(mode: str, pixels: np.ndarray, tmp_path: Path) -> None:
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 250)
    elif mode == "RGBA":
        image = Image.fromarray(np.dstack([pixels, pixels[..., 0]]))
    else:
        image = Image.fromarray(pixels).convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    with as_rgb(open_raster(path)) as raster:
        assert np.array_equal(pil_pixels(image), raster.read())


def test_a_turned_photograph_is_taken_as_it_is_shown(pixels: np.ndarray, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image, as_rgb(open_raster(tmp_path / "a.png")) as raster:
        assert pil_pixels(image).shape == (SIZE[1], SIZE[0], 3)
        assert np.array_equal(pil_pixels(image), raster.read())


REFUSED = {
    "floats in 0..255": (torch.rand(3, 5, 6) * 255, "divide them by 255"),
    "normalised floats": (torch.randn(3, 5, 6), "before they are normalised"),
    "NaN": (torch.full((3, 5, 6), float("nan")), "finite"),
    "infinity": (torch.full((3, 5, 6), float("inf")), "finite"),
    "half floats in 0..255": (torch.rand(3, 5, 6).half() * 255, "divide them by 255"),
    "a float pyramid in 0..255": (Pyramid.of(torch.rand(1, 3, 5, 6) * 255), "divide them by 255"),
    "whole numbers": (torch.ones(3, 5, 6, dtype=torch.int64), "uint8"),
    "16-bit array": (np.ones((5, 6, 3), np.uint16), "uint8"),
    "booleans": (np.ones((5, 6, 3), bool), "uint8"),
    "grey array": (np.ones((5, 6), np.uint8), "repeat a grey channel"),
    "objects": (np.array([[None]]), "uint8"),
    "nothing": (None, "a PIL image"),
    "PIL image of another space": (Image.new("LAB", (5, 6)), "mode LAB"),
    "a list of arrays": ([np.ones((5, 6, 3), np.uint8)], "pyramids"),
}


@pytest.mark.parametrize("kind", list(REFUSED))
def test_what_is_not_clear_is_refused_in_one_sentence(kind: str) -> None:
    image, words = REFUSED[kind]
    with pytest.raises(InvalidInput, match=words) as refused:
        SEGMENTER.predict(image)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


def test_floats_that_resizing_leaves_a_little_beyond_one_are_taken() -> None:
    assert SEGMENTER.predict(torch.full((3, 5, 6), 1.0000002)).shape == (5, 6)


def test_half_precision_images_are_taken() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        assert SEGMENTER.predict(torch.rand(3, 5, 6).to(dtype)).shape == (5, 6)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SaccadeError, match="no such file"):
        SEGMENTER.segment(tmp_path / "none.png")
