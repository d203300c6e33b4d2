"""Work in threads keeps its order and stops when told to."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from saccade.runtime.threads import in_order, workers


def test_results_come_in_the_order_of_the_values() -> None:
    def slow_first(value: int) -> int:
        threading.Event().wait(0.02 if value == 0 else 0)
        return value * value

    assert list(in_order(slow_first, range(20))) == [k * k for k in range(20)]


def test_nothing_new_is_started_after_the_caller_fails() -> None:
    started: list[int] = []

    def work(value: int) -> int:
        started.append(value)
        threading.Event().wait(0.01)
        return value

    with pytest.raises(KeyboardInterrupt), closing(in_order(work, range(1000))) as results:
        for _ in results:
            raise KeyboardInterrupt
    assert len(started) <= 3 * workers()


def test_an_error_of_the_function_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda value: 1 // value, [1, 0, 1]))
