"""Views: what a sampler proposes. Downstream code knows views, not papers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from saccade.errors import InvalidInput


@dataclass(frozen=True)
class Views:
    """Where to look in a batch of images.

    Attributes:
        grids: (V, h, w, 2) float32, (x, y) in [-1, 1]; one grid a view.
        image_index: (V,) int64 in [0, B): the image that each view belongs to.
        density: (B, 1, h_a, w_a) float32 >= 0, sums to 1 over each image: what the sampler predicts of how
            densely to look, on its own raster; None where a sampler predicts none.
        tensor: (B, 2, h_t, w_t) float32, x and y: the few nodes that a boundary net predicts, before they
            are projected and resized to the grids; None for other samplers.
        samples: read for these views; None where that is one a node of the grids, which it is not where a
            view is blended from several fields.

    Raises:
        InvalidInput: when the shapes do not fit together.
    """

    grids: Tensor
    image_index: Tensor
    density: Tensor | None = None
    tensor: Tensor | None = None
    samples: int | None = None

    def __post_init__(self) -> None:
        if self.grids.ndim != 4 or self.grids.shape[-1] != 2:
            raise InvalidInput("grids", "of shape (V, h, w, 2)", tuple(self.grids.shape))
        if self.image_index.shape != self.grids.shape[:1]:
            raise InvalidInput("image_index", f"of shape ({len(self.grids)},)", tuple(self.image_index.shape))

    @property
    def samples_read(self) -> int:
        """How many samples of the images are read for all views."""
        return self.grids[..., 0].numel() if self.samples is None else self.samples

    @property
    def size(self) -> tuple[int, int]:
        """(h, w): rows and columns of samples in each view."""
        return self.grids.shape[1], self.grids.shape[2]
