"""The cost of a view: measured once, however many images follow."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from saccade.geometry import Tiling
from saccade.inference import estimate
from saccade.samplers.uniform import UniformSampler
from saccade.segmenter import Segmenter


def test_a_view_is_measured_once_for_a_network_and_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[tuple[int, int]] = []

    def measure(_segmenter: Segmenter, view: tuple[int, int], **_: bool) -> estimate.ViewCost:
        measured.append(view)
        return estimate.ViewCost(view[0], 0.0, 0, False)

    monkeypatch.setattr(estimate, "measure_view", measure)
    first, other = (Segmenter(UniformSampler((4, 6)), torch.nn.Conv2d(3, 2, 1)) for _ in range(2))
    costs = [estimate.cost_of_view(first, view).flops for view in ((4, 6), (8, 6), (4, 6), (8, 6))]
    assert costs == [4, 8, 4, 8]
    estimate.cost_of_view(other, (4, 6))
    assert measured == [(4, 6), (8, 6), (4, 6)]


@pytest.mark.parametrize(("height", "tile", "rows"), [(3000, 512, 512), (3000, 100, 512), (1300, 700, 64)])
def test_no_strip_touches_more_rows_of_tiles_than_are_counted(height: int, tile: int, rows: int) -> None:
    tiling = Tiling((height, 50), (tile, 50), 0.125)
    raster, layout = SimpleNamespace(size=(height, 50)), SimpleNamespace(tiling=tiling, mode="tiles")
    about = SimpleNamespace(raster=raster, layout=layout, rows=rows, png=True, extras=())
    touched = [
        sum(window.top < top + rows and window.bottom > top for window in tiling.windows)
        for top in range(0, height, rows)
    ]
    assert max(touched) <= estimate._rows_of_tiles(about) <= max(touched) + 1
