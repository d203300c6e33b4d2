"""Work in threads keeps its order and stops when told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
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


@pytest.mark.parametrize(("threads", "ahead"), [(1, 1), (2, 2), (3, 5)])
def test_no_more_values_are_taken_than_may_be_made_ahead(threads: int, ahead: int) -> None:
    taken: list[int] = []

    def values() -> Iterator[int]:
        for value in range(12):
            taken.append(value)
            yield value

    with closing(in_order(str, values(), threads=threads, ahead=ahead)) as results:
        for done, result in enumerate(results):
            assert result == str(done)
            assert len(taken) <= done + 1 + ahead
    assert len(taken) == 12
