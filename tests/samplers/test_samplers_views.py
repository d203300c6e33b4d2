"""Every sampler proposes views that cover the image, at any size, also other than that of training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from saccade.errors import InvalidInput
from saccade.grids import uniform_grid
from saccade.samplers import (
    DeformationSampler,
    DensityNet,
    DensityOf,
    DensityToGrid,
    EdgeTarget,
    Glimpses,
    OracleSampler,
    Sampler,
    UniformSampler,
    rarity_weights,
)


def labels_of(batch: int, seed: int = 0) -> list[torch.Tensor]:
    """Label maps of different sizes, with a block of class 1."""
    maps = []
    for k in range(batch):
        one = torch.zeros(30 + 7 * k, 41 + k, dtype=torch.uint8)
        one[8 + seed % 5 : 14, 20:29] = 1
        maps.append(one)
    return maps


def make(name: str, size: tuple[int, int], rule: str = "elastic") -> Sampler:
    to_grid = DensityToGrid(rule)
    if name == "uniform":
        return UniformSampler(size)
    if name == "oracle":
        return OracleSampler(size, to_grid=to_grid)
    return DeformationSampler(size, to_grid=to_grid)


def look(sampler: Sampler, batch: int, size: tuple[int, int] | None = None) -> Glimpses:
    thumbnail = None if sampler.thumbnail_size is None else torch.randn(batch, 3, *sampler.thumbnail_size)
    labels = labels_of(batch) if sampler.sees_labels else None
    return sampler(thumbnail, labels, size=size, batch=batch)


def assert_covers(grid: torch.Tensor) -> None:
    """The outermost samples of (h, w, 2) lie on the image border, so nothing lies outside the mesh."""
    h, w = grid.shape[:2]
    if w > 1:
        assert torch.all(grid[:, 0, 0] == -1) and torch.all(grid[:, -1, 0] == 1)
    if h > 1:
        assert torch.all(grid[0, :, 1] == -1) and torch.all(grid[-1, :, 1] == 1)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([("uniform", "elastic"), ("oracle", "elastic"), ("oracle", "attraction"),
                     ("deformation", "elastic"), ("deformation", "attraction")]),
    st.tuples(st.integers(2, 20), st.integers(2, 20)),
    st.tuples(st.integers(2, 24), st.integers(2, 24)) | st.none(),
    st.integers(1, 3),
)  # fmt: skip
def test_views_cover_the_image_at_any_size(
    kind: tuple[str, str], trained: tuple[int, int], wanted: tuple[int, int] | None, batch: int
) -> None:
    views = look(make(kind[0], trained, kind[1]), batch, wanted)
    assert views.size == (wanted or trained)
    assert views.image_index.tolist() == list(range(batch))
    assert views.grids.dtype == torch.float32
    assert torch.isfinite(views.grids).all() and views.grids.abs().max() <= 1
    for grid in views.grids:
        assert_covers(grid)


@pytest.mark.parametrize("name", ["oracle", "deformation"])
def test_densities_are_distributions_over_each_image(name: str) -> None:
    sampler = make(name, (6, 9))
    density = look(sampler, 3).density
    assert density is not None
    assert density.shape == (3, 1, *sampler.density_size)  # type: ignore[attr-defined]
    torch.testing.assert_close(density.sum((1, 2, 3)), torch.ones(3))
    assert density.min() >= 0


def test_the_density_raster_is_an_option_of_its_own() -> None:
    sampler = DeformationSampler((6, 9), thumbnail_size=(10, 14), density_size=(5, 8))
    views = sampler(torch.randn(2, 3, 10, 14))
    assert views.density is not None
    assert views.density.shape == (2, 1, 5, 8)
    torch.testing.assert_close(views.density.sum((1, 2, 3)), torch.ones(2))


def test_uniform_sampling_is_the_uniform_grid() -> None:
    assert torch.equal(UniformSampler((5, 7))(batch=2).grids, uniform_grid((5, 7), 2))


def test_the_oracle_refuses_to_look_without_labels() -> None:
    with pytest.raises(InvalidInput, match="OracleSampler sees the true labels") as refused:
        OracleSampler((4, 6))(torch.randn(1, 3, 8, 12))
    assert "evaluate it, or train another sampler for prediction" in str(refused.value)


@pytest.mark.parametrize("thumbnail", [None, torch.randn(3, 8, 12)])
def test_learned_sampling_refuses_to_look_without_an_thumbnail(thumbnail: torch.Tensor | None) -> None:
    with pytest.raises(InvalidInput, match="expected thumbnail to be of shape"):
        DeformationSampler((4, 6))(thumbnail)


@pytest.mark.parametrize("size", [(0, 4), (4,), (2.5, 4), (True, 4), "4x4", None])
def test_impossible_sizes_are_refused(size: object) -> None:
    with pytest.raises(InvalidInput):
        UniformSampler(size)  # type: ignore[arg-type]


def test_samples_gather_at_the_edges_of_the_labels() -> None:
    labels = torch.zeros(1, 64, 64, dtype=torch.uint8)
    labels[0, 40:48, 8:16] = 1
    views = OracleSampler((16, 16), to_grid=DensityToGrid(floor=0.05))(labels=[labels])
    x, y = views.grids[0, ..., 0], views.grids[0, ..., 1]
    near = ((x - (2 * 11.5 / 63 - 1)).abs() < 0.3) & ((y - (2 * 43.5 / 63 - 1)).abs() < 0.3)
    assert near.float().mean() > 3 * 0.3 * 0.3


def test_the_published_preset_is_the_papers_grid_of_its_density() -> None:
    """Eq. 2 written out with numpy: truncated Gaussian of FWHM r, repeated borders, clamped."""
    torch.manual_seed(0)
    sampler = DeformationSampler.published((9, 14), radius=4).eval()
    assert (sampler.thumbnail_size, sampler.density_size) == ((9, 14), (9, 14))
    with torch.no_grad():
        views = sampler(torch.randn(1, 3, 9, 14))
    assert views.density is not None
    wanted = eq_2(views.density[0, 0].numpy().astype(np.float64), 4)
    np.testing.assert_allclose(views.grids[0].numpy(), wanted, atol=2e-5)


def eq_2(density: np.ndarray, r: int) -> np.ndarray:
    """The attraction of ICLR 2022 as published, one node after another."""
    rows, columns = density.shape
    padded = np.pad(density, r, mode="edge") + 1e-6 * density.mean()
    y = 2 * (np.arange(rows + 2 * r) - r) / (rows - 1) - 1
    x = 2 * (np.arange(columns + 2 * r) - r) / (columns - 1) - 1
    down, right = np.mgrid[-r : r + 1, -r : r + 1]
    kernel = np.exp(-4 * np.log(2) * (down**2 + right**2) / r**2)
    out = np.empty((rows, columns, 2))
    for i in range(rows):
        for j in range(columns):
            weight = padded[i : i + 2 * r + 1, j : j + 2 * r + 1] * kernel
            out[i, j] = (
                (weight.sum(0) * x[j : j + 2 * r + 1]).sum() / weight.sum(),
                (weight.sum(1) * y[i : i + 2 * r + 1]).sum() / weight.sum(),
            )
    return out.clip(-1, 1)


@pytest.mark.parametrize("rule", ["elastic", "attraction"])
def test_the_gradient_of_the_grid_reaches_the_density_net(rule: str) -> None:
    sampler = DeformationSampler((6, 9), to_grid=DensityToGrid(rule))
    grids = sampler(torch.randn(2, 3, 12, 18)).grids
    (grids * torch.randn_like(grids)).sum().backward()
    gradients = [parameter.grad for parameter in sampler.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)
    assert any(g.abs().max() > 0 for g in gradients if g is not None)


@pytest.mark.parametrize(("rule", "floor"), [("elastic", 0.0), ("elastic", -0.1), ("attraction", 1.5),
                                             ("attraction", float("nan"))])  # fmt: skip
def test_impossible_floors_are_refused(rule: str, floor: float) -> None:
    with pytest.raises(InvalidInput, match="expected floor to be"):
        DensityToGrid(rule, floor)


def test_an_unknown_rule_is_named_with_the_nearest() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'elastic'"):
        DensityToGrid("elastik")


def test_the_floor_is_a_share_of_the_largest_density() -> None:
    """A floor that is as high as everything leaves nothing to to_grid by."""
    density = torch.zeros(1, 1, 8, 8)
    density[..., 3, 5] = 1
    spread = [
        (DensityToGrid("attraction", floor)(density, (8, 8)) - uniform_grid((8, 8))).abs().max()
        for floor in (0.01, 1)
    ]
    assert spread[0] > 3 * spread[1]


def test_the_density_net_is_the_papers() -> None:
    """3x3 {24, 24, 3} without bias, each with batch norm, then 1x1: the sum by hand."""
    parameters = sum(p.numel() for p in DensityNet().parameters())
    assert parameters == 9 * (3 * 24 + 24 * 24 + 24 * 3) + 2 * (24 + 24 + 3) + 3 + 1
    first = DensityNet().layers[0].weight
    assert float(first.detach().std()) == pytest.approx((2 / 27) ** 0.5, rel=0.1)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 30)])
def test_the_density_net_takes_any_size(size: tuple[int, int]) -> None:
    density = DensityNet(dilations=(1, 2, 4)).eval()(torch.randn(2, 3, *size))
    assert density.shape == (2, 1, *size)
    torch.testing.assert_close(density.sum((1, 2, 3)), torch.ones(2))


def test_any_network_with_one_output_makes_a_density() -> None:
    scores = nn.Conv2d(3, 1, 3, stride=2, padding=1)
    thumbnail = torch.randn(2, 3, 8, 12)
    density = DensityOf(scores)(thumbnail)
    assert density.shape == (2, 1, 4, 6) and density.dtype == torch.float32
    expected = scores(thumbnail).exp() / scores(thumbnail).exp().sum((1, 2, 3), keepdim=True)
    torch.testing.assert_close(density, expected)
    views = DeformationSampler((5, 7), thumbnail_size=(8, 12), net=DensityOf(scores))(thumbnail)
    assert views.grids.shape == (2, 5, 7, 2)


@pytest.mark.parametrize("counts", [[900, 90, 9], [5, 5], [7]])
def test_rarity_is_one_over_the_root_of_the_share(counts: list[int]) -> None:
    total = sum(counts)
    roots = [1 / (count / total) ** 0.5 for count in counts]
    assert rarity_weights(counts) == pytest.approx([root / max(roots) for root in roots])


def test_a_class_that_never_occurs_weighs_one_and_some_class_must_occur() -> None:
    assert rarity_weights([100, 0, 25]) == (0.5, 1.0, 1.0)
    with pytest.raises(InvalidInput, match="at least one class with pixels"):
        rarity_weights([0, 0])


def test_ignored_pixels_make_no_edges() -> None:
    labels = torch.zeros(1, 20, 20, dtype=torch.uint8)
    labels[0, :10] = 255
    density = EdgeTarget(blur=0)([labels], (10, 10))
    torch.testing.assert_close(density, torch.full((1, 1, 10, 10), 0.01))


def test_a_negative_blur_is_refused() -> None:
    with pytest.raises(InvalidInput, match="blur"):
        EdgeTarget(blur=-1)


def test_views_refuse_shapes_that_do_not_fit() -> None:
    with pytest.raises(InvalidInput, match="grids"):
        Glimpses(torch.zeros(1, 2, 3), torch.zeros(1))
    with pytest.raises(InvalidInput, match="image_index"):
        Glimpses(torch.zeros(2, 4, 4, 2), torch.zeros(1))
