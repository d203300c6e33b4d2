"""What an output raster is to hold, apart from its pixels."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np

from saccade.errors import InvalidInput
from saccade.geometry import require_size
from saccade.rasters.raster import PixelSize, Raster

Kind = Literal["labels", "scores", "density"]
_DTYPES = {
    "labels": ("uint8", "uint16"),
    "scores": ("uint8", "uint16", "float16", "float32"),
    "density": ("uint8", "uint16", "float16", "float32"),
}


@dataclass(frozen=True)
class Output:
    """One output raster.

    Attributes:
        size: (H, W).
        kind: "labels" (class indices: coarser levels hold the most frequent index, never a mean), "scores" or
            "density" (coarser levels hold means).
        dtype: of the samples: uint8 or uint16; for scores and density float16 or float32 too.
        channels: C; 1 for labels and density.
        tile: rows and columns of a tile, a multiple of 16.
        palette: (red, green, blue) of each index, for labels of uint8.
        names: of the classes, or of the channels of scores.
        nodata: the value that means "nothing was measured here".
        pixel_size, crs, transform: as ``RasterInfo``.

    Raises:
        InvalidInput: a value that does not fit the others.

    Examples:
        >>> from saccade.rasters import Output, PixelSize
        >>> Output((1000, 3000), tile=512, pixel_size=PixelSize(0.5, 0.5, "micron")).tiles
        (2, 6)
    """

    size: tuple[int, int]
    kind: Kind = "labels"
    dtype: str = "uint8"
    channels: int = 1
    tile: int = 512
    palette: tuple[tuple[int, int, int], ...] | None = None
    names: tuple[str, ...] | None = None
    nodata: float | None = None
    pixel_size: PixelSize | None = None
    crs: str | None = None
    transform: tuple[float, float, float, float, float, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", require_size(self.size))
        object.__setattr__(self, "dtype", np.dtype(self.dtype).name)
        if self.kind not in _DTYPES:
            raise InvalidInput("kind", "labels, scores or density", repr(self.kind))
        if self.dtype not in _DTYPES[self.kind]:
            raise InvalidInput(f"dtype of {self.kind}", " or ".join(_DTYPES[self.kind]), self.dtype)
        if self.channels < 1 or (self.kind != "scores" and self.channels != 1):
            raise InvalidInput(f"channels of {self.kind}", "1 (several only for scores)", self.channels)
        if self.tile < 16 or self.tile % 16:
            raise InvalidInput("tile", "a multiple of 16", self.tile)
        if self.palette is not None:
            self._check_palette()

    def _check_palette(self) -> None:
        colours = np.asarray(self.palette)
        if self.dtype != "uint8" or self.kind != "labels":
            raise InvalidInput("palette", "given only for labels of uint8", f"{self.kind} of {self.dtype}")
        if colours.ndim != 2 or colours.shape[1] != 3 or len(colours) > 256 or colours.dtype.kind not in "ui":
            raise InvalidInput("palette", "at most 256 rows (red, green, blue)", f"{colours.shape}")
        if colours.min() < 0 or colours.max() > 255:
            raise InvalidInput("palette", "values from 0 to 255", f"{colours.min()} to {colours.max()}")

    @classmethod
    def like(cls, raster: Raster, kind: Kind = "labels", **options: Any) -> Output:
        """An output of the size, scale and place of ``raster``."""
        place = {"pixel_size": raster.pixel_size, "crs": raster.crs, "transform": raster.transform}
        return cls(raster.size, kind, **(place | options))

    @property
    def tiles(self) -> tuple[int, int]:
        """(rows, columns) of tiles."""
        return -(-self.size[0] // self.tile), -(-self.size[1] // self.tile)

    def colour_table(self) -> np.ndarray | None:
        """(256, 3) uint8, black beyond the palette; None without one."""
        if self.palette is None:
            return None
        table = np.zeros((256, 3), np.uint8)
        table[: len(self.palette)] = self.palette
        return table

    def as_json(self) -> dict[str, Any]:
        """Plain values, equal for equal outputs."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return found | {"pixel_size": None if self.pixel_size is None else asdict(self.pixel_size)}
