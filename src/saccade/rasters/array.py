"""An array in memory, as a raster: for what goes through rasters though nothing of it lies on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from saccade.geometry import Window
from saccade.rasters.raster import Level, Meaning, Raster, RasterInfo


class ArrayRaster(Raster):
    """An array (H, W) or (H, W, C) in memory, as a raster of one level; ``path`` is what it is called."""

    def __init__(self, path: Path, array: NDArray[Any]) -> None:
        level = Level.of(array.shape[:2], array.shape[:2], (512, 512))
        self._array = array if array.ndim == 3 else array[..., None]
        channels = self._array.shape[2]
        meaning: Meaning = "rgb" if channels == 3 else "grey"
        resident = int(array.nbytes)
        super().__init__(
            RasterInfo(path, (level,), array.dtype, channels, meaning, white=255.0, resident=resident)
        )

    def _read(self, window: Window, level: int) -> NDArray[Any]:
        return self._array[window.slices]

    def close(self) -> None:
        """Nothing is open."""
