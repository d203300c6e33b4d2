"""``RasterWriter``: an output of any size, written strip by strip, resumable, complete or not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from saccade.errors import FileProblem, InvalidInput
from saccade.rasters.decoders import load
from saccade.rasters.journal import EFFORT, Output, Packed, TileStore
from saccade.runtime.files import publish, refuse_existing, writing


def write_png(path: Path, levels: Sequence[TileStore], output: Output) -> None:
    """Level 0 as a palette image, or as grey of 8 or 16 bits."""
    store = levels[0]
    image = Image.fromarray(np.concatenate([store.row_of_tiles(row) for row in range(store.count[0])]))
    table = output.colour_table()
    if table is not None:
        image.putpalette(table.tobytes())
    image.save(path, format="PNG")


def write_zarr(path: Path, levels: Sequence[TileStore], output: Output) -> None:
    """A folder with one array a level, one chunk a tile; CRS and transform as attributes.

    A chunk under the ``zlib`` codec of Zarr 2 is what a tile is already: deflated, and filled up with zeros
    at the border. So chunks are copied, and whoever packed the tiles, a worker of a cluster too, packed them.
    """
    zarr: Any = load("zarr", "zarr", path, "Zarr")
    from numcodecs import Zlib  # zarr's own dependency

    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    several = output.channels > 1
    for number, level in enumerate(levels):
        lead, chunk = ((output.channels,), (1,)) if several else ((), ())
        group.create_array(
            str(number),
            shape=(*lead, *level.size),
            chunks=(*chunk, output.tile, output.tile),
            dtype=output.dtype,
            chunk_key_encoding={"name": "v2", "separator": "/"},
            compressors=Zlib(EFFORT),
            fill_value=0,
        )
        _write_chunks(path / str(number), level, several)
    group.attrs.update(_attributes(levels, output))


def _write_chunks(folder: Path, level: TileStore, several: bool) -> None:
    """Tiles as they are stored; those of zeros are left out, as ``fill_value`` stands for them."""
    rows, columns = level.count
    nothing = level.deflated(0) if level.dtype.kind == "u" else None
    for channel in range(level.output.channels):
        place = folder / str(channel) if several else folder
        tiles = level.packed(channel)
        for row in range(rows):
            (place / str(row)).mkdir(parents=True, exist_ok=True)
            for column in range(columns):
                if (tile := next(tiles)) != nothing:
                    (place / str(row) / str(column)).write_bytes(tile)


def _attributes(levels: Sequence[TileStore], output: Output) -> dict[str, Any]:
    axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}] if output.channels > 1 else []
    y, x = output.pixel_size.microns if output.pixel_size else (1.0, 1.0)
    unit = {"unit": "micrometer"} if output.pixel_size else {}
    axes += [{"name": name, "type": "space", **unit} for name in "yx"]
    lead = [1.0] * (len(axes) - 2)
    sets = [
        {
            "path": str(number),
            "coordinateTransformations": [{"type": "scale", "scale": [*lead, y * 2**number, x * 2**number]}],
        }
        for number in range(len(levels))
    ]
    kind = "mode" if output.kind == "labels" else "mean"
    about: dict[str, Any] = {
        "multiscales": [{"version": "0.4", "name": output.kind, "axes": axes, "datasets": sets, "type": kind}]
    }
    if output.kind == "labels":
        about["image-label"] = _classes(output)
    if output.crs or output.transform:
        about["geo"] = {"crs": output.crs, "transform": output.transform}
    if output.nodata is not None:
        about["nodata"] = output.nodata
    return about


def _classes(output: Output) -> dict[str, Any]:
    about: dict[str, Any] = {"version": "0.4"}
    if output.palette is not None:
        about["colors"] = [
            {"label-value": index, "rgba": [*map(int, colour), 255]}
            for index, colour in enumerate(output.palette)
        ]
    if output.names is not None:
        about["properties"] = [
            {"label-value": index, "class": name} for index, name in enumerate(output.names)
        ]
    return about


LARGEST_PNG = 1 << 28


def unfinished(path: Path) -> Path:
    """The folder of an output until it is complete: beside it, so that the last step is a rename on one disk;
    hidden, so that no listing takes it for an image."""
    return path.with_name(f".{path.name}.part")


class RasterWriter:
    """Writes one output, from the top row to the bottom; the name of ``path`` decides the format.

    ``.tif`` gives a Cloud Optimized GeoTIFF where the output has a CRS or transform, else a pyramidal
    OME-TIFF; ``.ome.tif`` always OME-TIFF; ``.zarr`` OME-Zarr; ``.png`` PNG (up to 2^28 pixels).

    Until ``finish`` everything lies in a hidden folder beside ``path``. A killed run leaves it there with
    every finished row of tiles; ``resume`` goes on from it and ends in the same bytes. ``rows_done`` tells
    how many rows of pixels need not be given again. Leaving the ``with`` statement without ``finish`` keeps
    the folder, so that the work can be resumed.

    Args:
        path: where the output will be.
        output: what it holds.
        overwrite: replace what exists at ``path`` (only once the new output is complete).
        resume: go on with what a killed run left; without it that is thrown away.

    Raises:
        FileProblem: ``path`` exists, cannot be written, has an extension that is no format, is being written
            by another program, or ``resume`` meets a run with other options.

    Examples:
        >>> import numpy as np
        >>> from saccade.rasters import Output, RasterWriter, open_raster
        >>> with RasterWriter("labels.ome.tif", Output((512, 700))) as writer:
        ...     writer.append(np.ones((512, 700), np.uint8))
        ...     path = writer.finish()
        >>> with open_raster(path) as raster:
        ...     print(raster.size, raster.read().mean())
        (512, 700) 1.0
    """

    def __init__(
        self, path: Path | str, output: Output, *, overwrite: bool = False, resume: bool = False
    ) -> None:
        self.path, self.output, self.overwrite = Path(path), output, overwrite
        self._write = _format(self.path, output)
        refuse_existing(self.path, overwrite)
        self.folder = unfinished(self.path)
        self._dtype = np.dtype(output.dtype)
        with writing(self.path):
            self._store = TileStore(self.folder, output, output.size, resume=resume)
        self._waiting: list[np.ndarray] = []

    @property
    def rows_done(self) -> int:
        """Rows of pixels that are safe on the disk: a multiple of the tile, or all."""
        return min(len(self._store.journal.rows) * self.output.tile, self.output.size[0])

    @property
    def _rows_given(self) -> int:
        return self.rows_done + sum(len(strip) for strip in self._waiting)

    def rewind(self, rows: int) -> None:
        """Forget all rows from ``rows`` (a multiple of the tile) on: what several outputs have in common."""
        if rows % self.output.tile or not 0 <= rows <= self.rows_done:
            raise InvalidInput("rows", f"a multiple of {self.output.tile}, up to {self.rows_done}", rows)
        self._waiting.clear()
        self._store.journal.cut(rows // self.output.tile)

    def append(self, strip: np.ndarray) -> None:
        """The next rows of pixels, any number of them: (rows, W) or (rows, W, C), of the output's dtype.

        Raises:
            InvalidInput: another shape or dtype, or more rows than the output has.
            FileProblem: the disk is full.
        """
        self._waiting.append(self._checked(strip))
        height = self.output.size[0]
        while self._waiting:
            # Only whole rows of tiles are kept: what a kill may cost is a row, and a resume begins at a tile.
            rows_of_tile = min(self.output.tile, height - self.rows_done)
            if sum(len(waiting) for waiting in self._waiting) < rows_of_tile:
                self._waiting[-1] = self._waiting[-1].copy()  # the caller may use its array again
                return
            rows = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
            with writing(self.path):
                self._store.append(rows[:rows_of_tile])
            self._waiting = [rows[rows_of_tile:].copy()] if len(rows) > rows_of_tile else []

    def append_packed(self, row: Sequence[Packed]) -> None:
        """The next row of tiles, packed elsewhere by a :class:`saccade.rasters.journal.TilePacker`.

        Raises:
            InvalidInput: another number of tiles, rows of pixels that wait, or no row is left.
            FileProblem: the disk is full.
        """
        if self._waiting or self.rows_done >= self.output.size[0] or len(row) != self._store.per_row:
            raise InvalidInput("row", f"the next {self._store.per_row} tiles of rows not given", len(row))
        with writing(self.path):
            self._store.append_packed(row)

    def _checked(self, strip: np.ndarray) -> np.ndarray:
        strip = strip[..., None] if strip.ndim == 2 else strip
        width, channels = self.output.size[1], self.output.channels
        if strip.ndim != 3 or strip.shape[1:] != (width, channels) or not len(strip):
            raise InvalidInput("strip", f"(rows, {width}, {channels})", strip.shape)
        if strip.dtype != self._dtype:
            raise InvalidInput("strip", f"of {self._dtype}", strip.dtype)
        left = self.output.size[0] - self._rows_given
        if len(strip) > left:
            raise InvalidInput("strip", f"at most {left} rows, all that are left", len(strip))
        return strip

    def finish(self, progress: Callable[[float], None] | None = None) -> Path:
        """Make the coarser levels, write the format, and put it at ``path``.

        Raises:
            InvalidInput: rows are missing.
            FileProblem: the disk is full, or ``path`` came to exist meanwhile; nothing is lost.
        """
        if self.rows_done < self.output.size[0]:
            raise InvalidInput("rows", f"all {self.output.size[0]} before finish", self._rows_given)
        levels = [self._store]
        complete = self.folder / "complete"
        try:
            with writing(self.path):
                while max(levels[-1].size) > self.output.tile and self._write is not write_png:
                    levels.append(levels[-1].halved(self.folder / f"level{len(levels)}"))
                    if progress is not None:
                        progress(1 - 0.25 ** len(levels))
                # Left by a finish that was killed: half a file cannot be trusted.
                _remove(complete)
                self._write(complete, levels, self.output)
                _publish(complete, self.path, self.overwrite)
        finally:
            for level in levels[1:]:
                level.close()
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        return self.path

    def close(self) -> None:
        """Stop; what was written so far stays for ``resume``."""
        self._store.close()

    def __enter__(self) -> RasterWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _format(path: Path, output: Output) -> Callable[[Path, Sequence[TileStore], Output], None]:
    name = path.name.lower()
    if name.endswith(".png"):
        if output.size[0] * output.size[1] > LARGEST_PNG or output.channels > 1 or output.dtype[0] == "f":
            what = f"{output.size[0]}x{output.size[1]}, {output.channels} channels of {output.dtype}"
            raise FileProblem(path, "one channel of at most 2^28 integers in a PNG", what, "name it .tif")
        return write_png
    if name.endswith(".zarr"):
        return write_zarr
    if name.endswith((".ome.tif", ".ome.tiff")) or (
        name.endswith((".tif", ".tiff")) and output.crs is None and output.transform is None
    ):
        from saccade.rasters.tiff_writer import write_tiff

        return write_tiff
    if name.endswith((".tif", ".tiff")):
        from saccade.rasters.tiff_writer import write_cog

        return write_cog
    raise FileProblem(
        path, "a name that ends in .png, .tif, .ome.tif or .zarr", path.suffix or "no extension"
    )


def _publish(complete: Path, path: Path, overwrite: bool) -> None:
    if not complete.is_dir():
        publish(complete, path, overwrite)
        return
    refuse_existing(path, overwrite)
    old = complete.with_name("replaced")
    # A folder cannot be renamed over another; the old one waits in our own folder and goes with it.
    if path.exists():
        os.replace(path, old)
    os.replace(complete, path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
