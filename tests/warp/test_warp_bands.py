"""Bands of rows: all rows once, politely, from any thread and after a fork."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from warp_grids import smooth

from saccade.runtime.threads import run_bands
from saccade.warp import Pyramid, sample, unwarp, unwarp_labels


def mark(first: int, last: int, counts: np.ndarray) -> None:
    counts[first:last] += 1


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize("rows", [0, 1, 2, 5, 64, 1000])
def test_every_row_is_worked_on_once(threads, workers, rows):
    threads(workers)
    counts = np.zeros(rows, int)
    run_bands(mark, rows, counts)
    assert (counts == 1).all()


def test_small_work_stays_on_the_calling_thread(threads):
    threads(4)
    seen = []
    run_bands(lambda first, last: seen.append((first, last, threading.get_ident())), 10, smallest=10)
    assert seen == [(0, 10, threading.get_ident())]


@pytest.mark.parametrize("bad_row", [0, 99])
def test_an_error_in_any_band_reaches_the_caller(threads, bad_row):
    threads(3)

    def fail(first: int, last: int) -> None:
        if first <= bad_row < last:
            raise ArithmeticError("from a band")

    with pytest.raises(ArithmeticError, match="from a band"):
        run_bands(fail, 100)


def everything() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (1, 3, 200, 300), dtype=torch.uint8, generator=generator)
    grid = smooth(40, 50)
    scores = torch.randn(1, 5, 40, 50, generator=generator)
    values = scores.clone().requires_grad_()
    unwarped = unwarp(values, grid, (200, 300))
    unwarped.square().sum().backward()
    return [
        sample(image, grid),
        sample(image, grid, antialias=True),
        sample(image, grid, mode="nearest"),
        unwarped.detach(),
        values.grad,
        unwarp(scores, grid * 0.9, (200, 300), mode="nearest"),
        unwarp_labels(scores, grid, (200, 300)),
        unwarp_labels(scores, grid * 0.9, (200, 300)),
        Pyramid.of(image).rest,
    ]


def test_results_are_the_same_bits_for_any_number_of_threads(threads):
    threads(1)
    alone = everything()
    for workers in (2, 5):
        threads(workers)
        assert all(torch.equal(one, other) for one, other in zip(alone, everything(), strict=True))


def test_calls_from_several_threads_at_once_do_not_disturb_each_other():
    expected = everything()
    results: list[list[torch.Tensor]] = []
    callers = [threading.Thread(target=lambda: results.append(everything())) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(results) == 4
    assert all(torch.equal(a, b) for result in results for a, b in zip(expected, result, strict=True))


def _after_fork(queue, image, grid, scores) -> None:
    torch.set_num_threads(2)
    found = unwarp_labels(scores, grid, (200, 300)), sample(image, grid, antialias=True)
    queue.put([result.numpy().tobytes() for result in found])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are forked on Linux")
def test_works_in_a_forked_child_after_the_parent_has_used_its_threads(threads):
    threads(2)
    grid, image, scores = smooth(40, 50), torch.rand(1, 3, 200, 300), torch.randn(1, 5, 40, 50)
    expected = unwarp_labels(scores, grid, (200, 300)), sample(image, grid, antialias=True)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_after_fork, args=(queue, image, grid, scores))
    child.start()
    try:
        assert queue.get(timeout=60) == [result.numpy().tobytes() for result in expected]
    finally:
        child.join(10)
        child.kill()


POLITE = """
import os, sys, threading
import torch, numba
sys.path.insert(0, sys.argv[1])
torch.set_num_threads(2)
before = torch.get_num_threads(), torch.get_num_interop_threads(), dict(os.environ)
from test_warp_bands import everything
everything()
after = torch.get_num_threads(), torch.get_num_interop_threads(), dict(os.environ)
assert before == after, (before[:2], after[:2])
try:
    layer = numba.threading_layer()
except ValueError:
    layer = None
assert layer is None, f"numba's parallel runtime {layer} was started"
print("polite")
"""


def test_kernels_change_no_global_setting_and_start_no_parallel_runtime(request):
    folder = str(request.path.parent)
    done = subprocess.run([sys.executable, "-c", POLITE, folder], capture_output=True, text=True, timeout=250)
    assert done.stdout.strip() == "polite", done.stderr


def test_the_thread_count_of_this_process_stays(threads):
    threads(2)
    everything()
    assert torch.get_num_threads() == 2
