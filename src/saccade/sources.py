"""What an image may be given as: a tensor, an array, a PIL image, a pyramid, an open raster, a path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from saccade.errors import FileProblem, InvalidInput
from saccade.geometry import Window, fitted_size
from saccade.rasters import Level, Raster, RasterInfo, as_rgb, open_raster, sample_raster, thumbnail
from saccade.rasters.bands import BandRaster, Bands, as_bands
from saccade.rasters.colour import to_bytes
from saccade.rasters.raster import orient
from saccade.samplers.images import Source
from saccade.warp import Pyramid, sample

ROUNDING = 1e-3
"""How far beyond 0 and 1 a float may lie: what resizing leaves behind, not another unit."""

READ_WHOLE = 1 << 26
"""Pixels of an image without coarser levels that is read whole and kept with its pyramid."""

DRAWN_SIDE = 1024
"""The longer side of what is kept of a raster for drawing."""

ORIENTATION = 0x0112

UNITS = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types of pixels whose black and white are known: 0 and 255, or 0 and 1."""

Images = Tensor | NDArray[Any] | Pyramid | Sequence[Pyramid]
"""A batch: (B, 3, H, W), arrays also (B, H, W, 3), or pyramids of one image each."""

AnyImage = Tensor | NDArray[Any] | Image.Image | Pyramid | Raster | Path | str
"""One image, however it is given."""


class MemorySource:
    """An image in memory with its pyramid.

    Args:
        pyramid: of one image (1, 3, H, W), uint8 or floating in [0, 1]; or of bands in their own values.
    """

    def __init__(self, pyramid: Pyramid) -> None:
        self.pyramid = pyramid

    @property
    def size(self) -> tuple[int, int]:
        return self.pyramid.size

    @property
    def white(self) -> float:
        return 255.0 if self.pyramid.dtype == torch.uint8 else 1.0

    def sample(self, grids: Tensor, *, antialias: bool) -> Tensor:
        """(V, 3, h, w) floating at grids (V, h, w, 2), differentiable with respect to them."""
        return sample(self.pyramid, grids.to(self.pyramid.device), antialias=antialias)


class RasterSource:
    """A raster on disk: only the tiles, and the level, that the samples need.

    Args:
        raster: as 8-bit RGB, or of bands in their own values.
    """

    white = 255.0

    def __init__(self, raster: Raster) -> None:
        self.raster = raster

    @property
    def size(self) -> tuple[int, int]:
        return self.raster.size

    def sample(self, grids: Tensor, *, antialias: bool) -> Tensor:
        """(V, 3, h, w) float32 in 0..255, on the CPU, at grids (V, h, w, 2)."""
        return sample_raster(self.raster, grids.cpu(), antialias=antialias)


class PyramidRaster(Raster):
    """An image in memory with its pyramid, for what goes through rasters.

    Args:
        pyramid: of one image (1, 3, H, W), uint8 or floating in [0, 1]; or of bands in their own values.
        bands: how many, where it is of bands: values may be followed by the shares that were measured.
    """

    def __init__(self, pyramid: Pyramid, bands: int | None = None) -> None:
        level = Level.of(pyramid.size, pyramid.size, pyramid.size)
        own = np.dtype(np.uint8 if pyramid.dtype == torch.uint8 else np.float32)
        if bands is None:
            info = RasterInfo(Path("an array"), (level,), np.dtype(np.uint8), 3, "rgb", white=255)
        else:
            info = RasterInfo(Path("an array"), (level,), own, bands, "bands")
        super().__init__(info)
        self.pyramid, self._bands = pyramid, bands

    def _read(self, window: Window, level: int) -> np.ndarray:
        rows, columns = window.slices
        pixels = self.pyramid.base[0, :, rows, columns].permute(1, 2, 0)
        if self._bands is not None:
            pixels = pixels[..., : self._bands]
        elif pixels.is_floating_point():
            pixels = (pixels * 255).clamp(0, 255).round().to(torch.uint8)
        return pixels.cpu().numpy()

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class Reading:
    """What images are read as.

    Attributes:
        bands: in their own values; None for colour of eight bits.
        channels: C.
        value_range: of colour, the sample values of black and white of a file; None: by the rule of
            ``as_rgb``.
    """

    bands: Bands | None = None
    channels: int = 3
    value_range: tuple[float, float] | None = None

    @property
    def own(self) -> bool:
        """Whether images keep their own values."""
        return self.bands is not None or self.channels != 3

    def of(self, raster: Raster) -> Raster:
        """A file as it is read.

        Raises:
            FileProblem: it has not the bands, type or unit that are wanted.
        """
        if self.bands is not None:
            return as_bands(raster, self.bands)
        if self.own:
            every = Bands.of(raster.info)
            if len(every.names) != self.channels:
                raise FileProblem(raster.path, f"an image of {self.channels} bands", every.told())
            return BandRaster(raster, [number - 1 for number in every.numbers])
        return as_rgb(raster, value_range=self.value_range)


COLOUR = Reading()


@contextmanager
def opened_raster(
    image: AnyImage, *, value_range: tuple[float, float] | None = None, reading: Reading = COLOUR
) -> Iterator[Raster]:
    """One image as a raster of 8-bit RGB, or of bands; a path is opened, and closed afterwards.

    Args:
        image: as it is given.
        value_range: the sample values of black and white of a file; None: by the rule of ``as_rgb``.
        reading: what it is read as.

    Raises:
        InvalidInput: for an image of another shape, type or unit.
        FileProblem: for a file that cannot be read.
    """
    if value_range is not None:
        reading = replace(reading, value_range=value_range)
    if isinstance(image, str | Path):
        file = open_raster(image)
        try:
            raster = reading.of(file)
        except BaseException:
            file.close()
            raise
        with raster:
            yield raster
    elif isinstance(image, Raster):
        yield reading.of(image)
    else:
        pyramid = image if isinstance(image, Pyramid) else single(image, reading.channels)
        pyramids = as_pyramids(pyramid, reading)
        if len(pyramids) != 1:
            raise InvalidInput("image", "a single one", f"a batch of {len(pyramids)}", "give them one by one")
        yield PyramidRaster(pyramids[0], reading.channels if reading.own else None)


@contextmanager
def opened(image: AnyImage, reading: Reading = COLOUR) -> Iterator[Source]:
    """One image as what samples are read from; raises as :func:`opened_raster`."""
    with opened_raster(image, reading=reading) as raster:
        yield source_of_raster(raster)


def is_read_whole(raster: Raster) -> bool:
    """Whether a raster may be read whole and kept with its pyramid: where it is small, and never one with
    coarser levels or a mask, whose samples are read by another rule."""
    raster = raster.for_samples
    plain = len(raster.levels) == 1 and not raster.info.masked
    values = raster.channels * raster.dtype.itemsize if raster.info.meaning == "bands" else 3
    return plain and raster.size[0] * raster.size[1] * values <= READ_WHOLE * 3


def source_of_raster(raster: Raster, *, whole: bool | None = None) -> Source:
    """What samples of a raster are read from: memory, which is faster, or the disk, the same to the bit.

    Args:
        raster: to be read.
        whole: whether to read it whole; default where :func:`is_read_whole` says so.
    """
    if isinstance(raster, PyramidRaster):
        return MemorySource(raster.pyramid)
    whole = is_read_whole(raster) if whole is None else whole
    raster = raster.for_samples
    if not whole:
        return RasterSource(raster)
    pixels = torch.from_numpy(np.ascontiguousarray(raster.read()))
    return MemorySource(Pyramid.of(pixels.permute(2, 0, 1)[None]))


def drawn(source: Source) -> Pyramid:
    """What is kept of an image for drawing: itself where it is in memory, else a thumbnail."""
    if isinstance(source, MemorySource):
        return source.pyramid
    assert isinstance(source, RasterSource)
    small = thumbnail(source.raster, fitted_size(source.size, DRAWN_SIDE))
    return Pyramid.of(torch.from_numpy(small).permute(2, 0, 1)[None])


def is_batch(images: object) -> bool:
    """Whether these are images whose labels come with an axis of images: (B, 3, H, W), or pyramids."""
    arrays = isinstance(images, Tensor | np.ndarray) and images.ndim == 4
    return arrays or isinstance(images, Pyramid | list | tuple)


def single(image: Tensor | NDArray[Any] | Image.Image, channels: int = 3) -> Tensor:
    """(1, C, H, W) of one image that is not on disk; rows, columns, channels where the axes say so.

    Raises:
        InvalidInput: for what is no image.
    """
    if isinstance(image, Image.Image):
        image = pil_pixels(image)
    if isinstance(image, np.ndarray):
        image = _tensor_of(image)
        if image.ndim == 2 and channels == 1:
            image = image[..., None]
        if image.ndim == 3 and image.shape[2] == channels:
            image = image.permute(2, 0, 1)
    if not isinstance(image, Tensor):
        expected = "a tensor, an array, a PIL image, a pyramid, a raster or a path"
        raise InvalidInput("image", expected, type(image).__name__)
    return image[None] if image.ndim == 3 else image


def _tensor_of(pixels: NDArray[Any]) -> Tensor:
    """An array of any strides and byte order as a tensor."""
    if pixels.dtype.kind not in "uif" or pixels.dtype == np.longdouble:
        raise InvalidInput("image", "an array of uint8, or floating in [0, 1]", f"one of {pixels.dtype}")
    native = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
    return torch.from_numpy(native if native.flags.writeable else native.copy())  # torch warns of the others


def pil_pixels(image: Image.Image) -> NDArray[Any]:
    """(H, W, 3) uint8 as it is shown, by the rule for files: EXIF orientation applied, opacity left out, grey
    repeated, palettes expanded, 16 bits divided by 257; floats as they are."""
    if image.mode.startswith("I;16"):
        pixels = to_bytes(np.asarray(image)[..., None], (0.0, 65535.0)).repeat(3, 2)
    elif image.mode == "F":
        pixels = np.asarray(image)[..., None].repeat(3, 2)
    elif image.mode == "CMYK":
        ink = np.asarray(image).astype(np.uint16)
        pixels = (((255 - ink[..., :3]) * (255 - ink[..., 3:]) + 127) // 255).astype(np.uint8)
    elif image.mode in ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBX", "RGBA", "YCbCr", "HSV"):
        pixels = _without_opacity(image)
    else:
        raise InvalidInput("image", "a PIL image of grey or colours", f"one of mode {image.mode}")
    return orient(pixels, int(image.getexif().get(ORIENTATION, 1)))


def _without_opacity(image: Image.Image) -> NDArray[np.uint8]:
    """(H, W, 3) of a mode of 8 bits: its colours alone, not blended with a background."""
    if image.mode in ("LA", "La"):
        image = image.getchannel("L")
    if image.mode in ("P", "PA") and "transparency" in image.info:
        image = image.convert("RGBA")  # a palette with opacity warns when its colours are asked for alone
    return np.asarray(image.convert("RGB"))


def as_pyramids(images: Images, reading: Reading = COLOUR) -> list[Pyramid]:
    """One pyramid of one image (1, C, H, W) for each image; of bands in their own values with gaps, which are
    no numbers, (1, 2 C, H, W): 0 there, and behind the values 1 where there is one.

    Raises:
        InvalidInput: when an image has not three channels, or is neither uint8 nor floating in [0, 1]; or
            not the bands of the reading.
    """
    count = reading.channels
    if isinstance(images, np.ndarray):
        images = _tensor_of(images)
    if isinstance(images, Tensor):
        images = _channels_first(images, count)
        if images.ndim != 4 or images.shape[1] != count or 0 in images.shape:
            expected = f"of shape (B, {count}, H, W)"
            fix = "repeat a grey channel, drop alpha" if count == 3 else _names(reading)
            raise InvalidInput("images", expected, tuple(images.shape), fix)
        if images.is_meta or images.layout != torch.strided:
            got = "one on the device meta" if images.is_meta else f"one of layout {images.layout}"
            raise InvalidInput("images", "a dense tensor with values", got)
        if reading.own:
            return [_of_bands(image, reading) for image in images]
        if images.dtype not in UNITS:
            fix = "bring the values to 0..255 and convert them with .to(torch.uint8)"
            raise InvalidInput("images", "uint8, or floating in [0, 1]", images.dtype, fix)
        _require_unit(images)
        return [Pyramid.of(image[None]) for image in images]
    pyramids = [images] if isinstance(images, Pyramid) else list(images)
    if not pyramids or not all(isinstance(pyramid, Pyramid) for pyramid in pyramids):
        got = "none" if not pyramids else ", ".join(sorted({type(pyramid).__name__ for pyramid in pyramids}))
        raise InvalidInput("images", f"one or more pyramids of one image (1, {count}, H, W) each", got)
    allowed = (count, 2 * count) if reading.own else (count,)
    if any(pyramid.channels not in allowed or pyramid.batch != 1 for pyramid in pyramids):
        got = str([(pyramid.batch, pyramid.channels, *pyramid.size) for pyramid in pyramids])
        raise InvalidInput("images", f"one or more pyramids of one image (1, {count}, H, W) each", got)
    for pyramid in () if reading.own else pyramids:
        _require_unit(pyramid.base)
    return pyramids


def _names(reading: Reading) -> str:
    return "" if reading.bands is None else f"the bands are {', '.join(reading.bands.names)}"


def _of_bands(image: Tensor, reading: Reading) -> Pyramid:
    """The pyramid of bands (C, H, W) in their own values; they must be in the unit of training."""
    if not image.is_floating_point() and image.dtype != torch.uint8:
        image = image.to(torch.float32)
    if reading.bands is not None:
        flat = image.detach().reshape(len(image), -1)
        some = flat[:, :: max(1, flat.shape[1] >> 16)].float().cpu().numpy().T
        try:
            reading.bands.require_scale(Path("an array"), some)
        except FileProblem as problem:
            raise InvalidInput("image", problem.expected, problem.got, problem.fix) from None
    if image.is_floating_point() and not (valid := image.isfinite()).all():
        image = torch.cat([image.where(valid, image.new_zeros(())), valid.to(image.dtype)])
    return Pyramid.of(image[None])


def _channels_first(images: Tensor, channels: int = 3) -> Tensor:
    """(B, C, H, W) of (B, H, W, C), where the axes leave no doubt."""
    if images.ndim == 4 and images.shape[1] != channels and images.shape[3] == channels:
        return images.permute(0, 3, 1, 2)
    return images


def _require_unit(values: Tensor) -> None:
    """Refuses floats in another unit, which would be labelled without a word and wrongly."""
    if not values.is_floating_point():
        return
    low, high = (float(value) for value in values.detach().aminmax())
    if -ROUNDING <= low <= high <= 1 + ROUNDING:
        return
    if not np.isfinite([low, high]).all():
        raise InvalidInput("images", "finite, in [0, 1]", "NaN or infinity", "replace them: nan_to_num")
    if low < -ROUNDING:
        fix = "give the pixels before they are normalised: the segmenter does that"
    else:
        fix = "divide them by 255, or give uint8"
    raise InvalidInput("images", "floating in [0, 1], or uint8", f"values from {low:.4g} to {high:.4g}", fix)
