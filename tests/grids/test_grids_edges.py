"""The density of label edges: against its twin, by hand, and its laws."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from saccade.errors import InvalidInput
from saccade.grids import edge_density, edge_density_reference

SIDES = st.integers(1, 20)
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 30), st.integers(1, 30), SIDES, SIDES, st.floats(0, 5), st.integers(0, 99), st.booleans()
)
def test_it_agrees_with_its_twin(height, width, rows, columns, radius, seed, weighted):
    labels = torch.randint(0, 4, (2, height, width), generator=torch.Generator().manual_seed(seed))
    options = {"radius": min(radius, max(rows, columns)), "ignore_index": 3}
    options["weights"] = [1.0, 0.5, 7.0] if weighted else None
    density = edge_density(labels, (rows, columns), **options)
    torch.testing.assert_close(
        density, edge_density_reference(labels, (rows, columns), **options), atol=1e-6, rtol=1e-4
    )
    torch.testing.assert_close(density.sum(dim=(1, 2, 3)), torch.ones(2), atol=1e-5, rtol=0)
    assert density.min() >= 0


def test_an_edge_weighs_alike_in_the_pixels_on_its_sides():
    labels = torch.tensor([[[0, 0, 7, 7], [0, 0, 7, 7], [0, 0, 7, 7]]])
    density = edge_density(labels, (3, 4), radius=0)[0, 0]
    pairs = torch.tensor([[1, 1.5, 1.5, 1], [1.5, 2, 2, 1.5], [1, 1.5, 1.5, 1]])
    edges = torch.tensor([[0, 0.5, 0.5, 0]] * 3)
    torch.testing.assert_close(density, edges / pairs / (edges / pairs).sum())


def test_each_density_pixel_holds_the_edges_nearest_to_it():
    labels = torch.zeros(1, 33, 65, dtype=torch.int64)
    labels[:, 15:18, 31:34] = 1
    density = edge_density(labels, (3, 5), radius=0)[0, 0]
    assert density[1, 2] == 1 and density.sum() == 1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.permutations(range(6)))
def test_class_numbers_do_not_matter(seed, names):
    labels = torch.randint(0, 6, (1, 24, 24), generator=torch.Generator().manual_seed(seed))
    renamed = torch.tensor(names)[labels] * 40
    assert torch.equal(edge_density(labels, (6, 7)), edge_density(renamed, (6, 7)))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_every_integer_type_gives_the_same(make_labels, dtype):
    labels = make_labels(2, 30, 41, ignored=False)
    assert torch.equal(edge_density(labels.to(dtype), (8, 9)), edge_density(labels, (8, 9)))


def test_an_image_without_edges_gives_the_constant_density():
    labels = torch.stack(
        [torch.full((20, 30), 4), torch.full((20, 30), 255), torch.arange(30).expand(20, 30) // 15]
    )
    density = edge_density(labels, (4, 6))
    torch.testing.assert_close(density[:2], torch.full((2, 1, 4, 6), 1 / 24))
    assert density[2].std() > 0.01


def test_ignored_pixels_make_no_edges():
    labels = torch.zeros(1, 20, 30, dtype=torch.uint8)
    labels[:, :, 10:20] = 255
    labels[:, :, 20:] = 1
    assert edge_density(labels, (5, 5)).std() == 0
    assert edge_density(labels, (5, 5), ignore_index=None).std() > 0
    assert edge_density(labels.long() - 300, (5, 5), ignore_index=-45).std() == 0


def test_edges_everywhere_give_the_constant_density():
    """Borders and corners have fewer pixels and fewer neighbours, and weigh no less for it."""
    checkers = (torch.arange(37)[:, None] + torch.arange(61)) % 2
    for radius in (0, 1.5):
        density = edge_density(checkers[None], (7, 9), radius=radius)
        torch.testing.assert_close(density, torch.full((1, 1, 7, 9), 1 / 63), atol=1e-7, rtol=0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.integers(2, 9), st.integers(2, 9), st.sampled_from([1, 2]))
def test_a_mirrored_label_map_gives_the_mirrored_density(seed, rows, columns, axis):
    labels = torch.randint(0, 3, (1, 16, 21), generator=torch.Generator().manual_seed(seed))
    mirrored = edge_density(labels.flip(axis), (rows, columns)).flip(axis + 1)
    torch.testing.assert_close(mirrored, edge_density(labels, (rows, columns)), atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("radius", [0.5, 1.0, 2.5])
def test_the_blur_is_the_gaussian_of_scipy_with_mirrored_borders(make_labels, radius):
    labels = make_labels(1, 120, 90)
    sharp = edge_density(labels, (24, 30), radius=0)[0, 0].double().numpy()
    blurred = ndimage.gaussian_filter(sharp, radius, mode="mirror", truncate=6)
    expected = torch.from_numpy(blurred / blurred.sum()).float()
    torch.testing.assert_close(
        edge_density(labels, (24, 30), radius=radius)[0, 0], expected, atol=1e-6, rtol=1e-4
    )


def test_an_edge_of_a_rare_class_counts_by_the_larger_weight():
    labels = torch.zeros(1, 65, 65, dtype=torch.int64)
    labels[:, 14:19, 14:19], labels[:, 46:51, 46:51] = 1, 2
    plain = edge_density(labels, (5, 5), radius=0)[0, 0]
    weighted = edge_density(labels, (5, 5), radius=0, weights=[1.0, 2.0, 10.0])[0, 0]
    assert plain[1, 1] == plain[3, 3]
    torch.testing.assert_close(weighted[3, 3] / weighted[1, 1], torch.tensor(5.0))


def test_more_pixels_in_the_density_than_in_the_labels_interpolates(make_labels):
    density = edge_density(make_labels(1, 8, 10), (15, 19), radius=0)
    coarse = edge_density(make_labels(1, 8, 10), (8, 10), radius=0)
    torch.testing.assert_close(
        density[..., ::2, ::2] / density[..., ::2, ::2].sum(), coarse, atol=1e-6, rtol=1e-5
    )


def test_labels_that_are_not_contiguous_give_the_same(make_labels):
    labels = make_labels(2, 40, 30)
    strided = labels.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    assert not strided.is_contiguous()
    assert torch.equal(edge_density(strided, (9, 8)), edge_density(labels, (9, 8)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": -1}, "radius"),
        ({"radius": float("nan")}, "radius"),
        ({"radius": 100}, "at most 5"),
        ({"ignore_index": 2.5}, "ignore_index"),
        ({"weights": [1.0, -1.0]}, "weights"),
        ({"weights": [[1.0]]}, "weights"),
        ({"weights": [1.0, float("inf")]}, "weights"),
        ({"weights": [1.0]}, "classes 0 to 0, which have weights"),
        ({"size": (0, 4)}, "size"),
        ({"labels": torch.zeros(1, 4, 4)}, "integer"),
        ({"labels": torch.zeros(4, 4).long()}, r"\(4, 4\)"),
    ],
)
def test_bad_arguments_are_refused(make_labels, options, message):
    with pytest.raises(InvalidInput, match=message):
        edge_density(**{"labels": make_labels(1, 9, 9), "size": (5, 5), **options})


def test_a_negative_class_has_no_weight():
    labels = torch.tensor([[[-1, 0], [0, 0]]])
    for find in (edge_density, edge_density_reference):
        with pytest.raises(InvalidInput, match="labels"):
            find(labels, (2, 2), weights=[1.0, 1.0])
        assert find(labels, (2, 2), weights=[1.0], ignore_index=-1).std() == 0
