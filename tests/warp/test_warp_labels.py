"""Labels by interpolation and argmax at once: argmax of the unwarped scores, without that array."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from warp_grids import scores_of, shaken, smooth, uniform

from saccade.warp import unwarp, unwarp_labels, unwarp_labels_reference

SIZE = (61, 83)


def assert_wins(
    labels: torch.Tensor, scores: torch.Tensor, grid: torch.Tensor, size: tuple[int, int]
) -> None:
    """``labels`` equals argmax of the interpolated scores, but for ties within rounding."""
    full = unwarp(scores.double(), grid, size)
    best = full.argmax(1)
    wrong = labels.long() != best
    taken = full.gather(1, labels.long()[:, None])[:, 0]
    assert (full.amax(1) - taken)[wrong].max() < 1e-12 if wrong.any() else True
    assert wrong.float().mean() < 0.005


@pytest.mark.parametrize("classes", [1, 2, 3, 8, 19])
@pytest.mark.parametrize("kind", ["noise", "ties", "waves"])
def test_equals_argmax_of_the_interpolated_scores(any_grid, kind, classes):
    scores = scores_of(kind, classes, any_grid)
    assert_wins(unwarp_labels(scores, any_grid, SIZE), scores, any_grid, SIZE)


@pytest.mark.parametrize("kind", ["noise", "waves"])
def test_equals_argmax_of_the_nearest_scores(any_grid, kind):
    scores = scores_of(kind, 5, any_grid)
    expected = unwarp(scores.argmax(1, keepdim=True), any_grid, SIZE, mode="nearest")[:, 0]
    labels = unwarp_labels(scores, any_grid, SIZE, mode="nearest")
    assert torch.equal(labels.long(), expected)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_agrees_with_the_twin(any_grid, mode):
    scores = scores_of("waves", 6, any_grid)
    twin = unwarp_labels_reference(scores, any_grid, SIZE, mode=mode)
    labels = unwarp_labels(scores, any_grid, SIZE, mode=mode)
    assert labels.dtype == twin.dtype
    assert (labels != twin).float().mean() < 2e-3


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    amount=st.floats(0, 3),
    classes=st.integers(1, 6),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    kind=st.sampled_from(["noise", "waves", "ties"]),
    pinned=st.booleans(),
)
def test_any_grid_and_scores_give_the_best_class(seed, h, w, amount, classes, size, kind, pinned):
    grid = shaken(h, w, amount, seed)
    if pinned and h > 1 and w > 1:
        grid[:, 0, :, 1], grid[:, -1, :, 1], grid[:, :, 0, 0], grid[:, :, -1, 0] = -1, 1, -1, 1
    scores = scores_of(kind, classes, grid, seed)
    full = unwarp(scores.double(), grid, size)
    labels = unwarp_labels(scores, grid, size).long()
    taken = full.gather(1, labels[:, None])[:, 0]
    assert (full.amax(1) - taken).max() < 1e-9


@pytest.mark.parametrize("cells", [(2, 3), (8, 16), (30, 30)])
def test_nodes_exactly_on_pixels_and_exact_ties_work(cells):
    size = (cells[0] * 4 + 1, cells[1] * 4 + 1)
    grid = uniform(cells[0] + 1, cells[1] + 1).double()
    scores = scores_of("ties", 4, grid)
    full = unwarp(scores.double(), grid, size)
    labels = unwarp_labels(scores, grid, size).long()
    assert (full.amax(1) - full.gather(1, labels[:, None])[:, 0]).max() < 1e-12


def test_labels_at_the_nodes_are_the_classes_of_the_nodes():
    grid = uniform(9, 13)
    scores = scores_of("noise", 7, grid)
    labels = unwarp_labels(scores, grid, (8 * 8 + 1, 12 * 8 + 1))
    assert torch.equal(labels[:, ::8, ::8].long(), scores.argmax(1))


def test_flat_scores_give_class_zero(any_grid):
    shape = (len(any_grid), 4, *any_grid.shape[1:3])
    assert (unwarp_labels(torch.zeros(shape), any_grid, SIZE) == 0).all()


@pytest.mark.parametrize(
    ("classes", "dtype"),
    [(2, torch.uint8), (255, torch.uint8), (256, torch.int16), (32767, torch.int16), (32768, torch.int32)],
)
def test_the_type_is_the_smallest_that_holds_the_classes(classes, dtype):
    scores = torch.zeros(1, classes, 2, 2)
    scores[0, -1] = 1
    labels = unwarp_labels(scores, uniform(2, 2) * 0.5, (5, 6))
    assert labels.dtype == dtype
    assert (labels == classes - 1).all()


@pytest.mark.parametrize("classes", [5, 300])
def test_many_classes_and_uncovered_pixels_leave_no_hole(classes):
    grid = shaken(6, 7, 0.4, scale=0.6)
    scores = torch.randn(1, classes, 6, 7)
    assert_wins(unwarp_labels(scores, grid, SIZE), scores, grid, SIZE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_work(dtype):
    grid = smooth(9, 13)
    scores = scores_of("noise", 5, grid).to(dtype)
    assert torch.equal(unwarp_labels(scores, grid, SIZE), unwarp_labels(scores.double(), grid, SIZE))


def test_layout_and_gradients_asked_for_do_not_matter():
    grid = shaken(9, 13, 0.3, batch=2)
    scores = scores_of("noise", 5, grid)
    expected = unwarp_labels(scores, grid, SIZE)
    for same in (
        scores.contiguous(memory_format=torch.channels_last),
        scores.mT.contiguous().mT,
        scores.clone().requires_grad_(),
    ):
        assert torch.equal(unwarp_labels(same, grid.clone().requires_grad_(), SIZE), expected)


def test_a_class_ruled_out_by_minus_infinity_never_wins():
    grid = smooth(9, 13)
    scores = scores_of("noise", 5, grid)
    scores[:, 2] = -torch.inf
    scores[:, 3, :, 6:] = -torch.inf
    labels = unwarp_labels(scores, grid, SIZE)
    assert not (labels == 2).any()
    expected = unwarp_labels(scores.nan_to_num(neginf=-1e37), grid, SIZE)
    assert torch.equal(labels, expected)


MEMORY = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from warp_grids import smooth
from saccade.warp import unwarp_labels
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024
classes, dtype = int(sys.argv[2]), getattr(torch, sys.argv[3])
grid = smooth(200, 300)
scores = torch.randn(1, classes, 200, 300, dtype=torch.float32).to(dtype)
unwarp_labels(scores[:, :, :9, :9], smooth(9, 9), (64, 64))
open("/proc/self/clear_refs", "w").write("5")
before = peak()
labels = unwarp_labels(scores, grid, (2000, 3000))
print(peak() - before - labels.numel() * labels.element_size())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
@pytest.mark.parametrize(("classes", "dtype"), [("2", "float32"), ("200", "float32"), ("400", "float16")])
def test_needs_little_memory_besides_the_result_whatever_the_classes(request, classes, dtype):
    command = [sys.executable, "-c", MEMORY, str(request.path.parent), classes, dtype]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64 * 2**20
