"""Maps of the fields of view that a foveation sampler chose in training, kept for the run's page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from saccade.errors import FileProblem
from saccade.runtime.files import write_file
from saccade.runtime.reading import read_bytes, within
from saccade.samplers.foveation import FoveationSampler
from saccade.samplers.recipe import TrainingMap

FOLDER = "foveation"
"""Of a run: epoch_NNNN.npy, (D, h, w) float16 probabilities of the fields of view in one validation image."""


class FieldMaps:
    """Writes the probabilities of the first validation image; called as each validation batch starts.

    Args:
        root: the run folder.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER

    @torch.no_grad()
    def __call__(self, trainer: Any, module: Any, batch: Any, batch_index: int, _: int = 0) -> None:
        """What Lightning calls; the module is in evaluation mode by then."""
        sampler: FoveationSampler = module.segmenter.sampler
        if batch_index or not batch or not sampler.learns:
            return
        pyramid = batch[0].pyramid
        probabilities = sampler.choose(module.segmenter.thumbnail([pyramid]), pyramid.size).probabilities
        assert probabilities is not None  # there is a net
        self.folder.mkdir(exist_ok=True)
        if trainer.current_epoch == 0:
            for old in self.folder.glob("epoch_*.npy"):
                old.unlink()
        name = f"epoch_{trainer.current_epoch + 1:04}.npy"
        content = io.BytesIO()
        np.save(content, probabilities[0].numpy().astype(np.float16))
        write_file(self.folder / name, content.getvalue())


MOST_MAPS = 6
"""Maps that a page shows of a training: the first, the last, and some between."""


def field_maps(root: Path, bank: Sequence[float]) -> tuple[TrainingMap, ...]:
    """A map for each of at most six epochs at which a run kept its probabilities; none where it kept none."""
    map_files = (root / FOLDER).glob("epoch_*.npy")
    files = sorted(file for file in map_files if _EPOCH.fullmatch(file.stem))
    shown = (
        {round(n * (len(files) - 1) / max(1, MOST_MAPS - 1)) for n in range(MOST_MAPS)} if files else set()
    )
    maps = []
    for file in [files[n] for n in sorted(shown)]:
        probabilities = _read_map(within(root, file))
        if len(probabilities) != len(bank):
            continue
        epoch, mean = int(file.stem.removeprefix("epoch_")), average_width(probabilities, bank)
        caption = f"after epoch {epoch}: {mean:.0f} pixels wide on average"
        description = f"expected field of view after epoch {epoch}, {mean:.0f} pixels on average"
        maps.append(
            TrainingMap(f"foveation-{epoch}", expected_field(probabilities, bank), caption, description)
        )
    return tuple(maps)


_EPOCH = re.compile("epoch_[0-9]{1,9}")
MOST_MAP = 1 << 28
"""Bytes of the probabilities of an epoch."""


def _read_map(file: Path) -> NDArray[np.floating]:
    """Probabilities (D, h, w).

    Raises:
        FileProblem: the file holds something else.
    """
    expected, fix = "probabilities of fields of view (D, h, w)", "train the run anew, or remove the file"
    content = read_bytes(file, expected, MOST_MAP)
    try:
        probabilities = np.load(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # of the parser of the header and of arrays of any kind
        raise FileProblem(file, expected, "a broken or foreign file", fix) from error
    kind = getattr(probabilities, "dtype", None), getattr(probabilities, "ndim", None)
    if kind[0] is None or kind[0].kind != "f" or kind[1] != 3 or not probabilities.size:
        raise FileProblem(file, expected, f"an array of {kind[0]} with {kind[1]} axes", fix)
    if not np.isfinite(probabilities).all():
        raise FileProblem(file, expected, "values that are not finite", fix)
    return probabilities


def expected_field(probabilities: NDArray[np.floating], bank: Sequence[float]) -> NDArray[np.float64]:
    """(h, w) the expected field of view, 0 the narrowest, 1 the widest (arXiv 2020, B.4).

    Args:
        probabilities: (D, h, w) of the fields of view.
        bank: their D widths.
    """
    widths = np.asarray(bank, np.float64)
    span = max(widths[-1] - widths[0], 1e-12)
    return np.tensordot((widths - widths[0]) / span, probabilities.astype(np.float64), 1)


def average_width(probabilities: NDArray[np.floating], bank: Sequence[float]) -> float:
    """The mean of the expected field of view over an image, in pixels of the image."""
    return float(np.tensordot(np.asarray(bank), probabilities.astype(np.float64), 1).mean())
