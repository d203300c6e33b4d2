"""Progress goes to standard error: a plain line every ten seconds, or a bar on a terminal."""

from __future__ import annotations

import io

import pytest

from saccade.runtime import progress as module
from saccade.runtime.progress import Progress, clock


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_plain_lines_come_every_ten_seconds_with_the_time_left(time: Clock) -> None:
    stream = io.StringIO()
    with Progress("decoding", 40, "images", stream=stream) as progress:
        for _ in range(40):
            time.now += 1
            progress.advance(note="mIoU 0.5")
    lines = stream.getvalue().splitlines()
    assert lines == [
        "decoding: 10/40 images, 30 s left, mIoU 0.5",
        "decoding: 20/40 images, 20 s left, mIoU 0.5",
        "decoding: 30/40 images, 10 s left, mIoU 0.5",
        "decoding: 40/40 images, 40 s taken, mIoU 0.5",
    ]


def test_the_end_is_told_even_between_two_lines(time: Clock) -> None:
    stream = io.StringIO()
    with Progress("decoding", 15, "images", stream=stream) as progress:
        for _ in range(15):
            time.now += 1
            progress.advance()
    assert stream.getvalue().splitlines()[-1] == "decoding: 15/15 images, 15 s taken"


def test_short_work_says_nothing(time: Clock) -> None:
    stream = io.StringIO()
    with Progress("decoding", 3, "images", stream=stream) as progress:
        for _ in range(3):
            time.now += 1
            progress.advance()
    assert stream.getvalue() == ""


def test_a_total_may_come_later(time: Clock) -> None:
    stream = io.StringIO()
    with Progress("checking", None, "images", stream=stream) as progress:
        time.now += 10
        progress.update(5, 20)
    assert "checking: 5/20 images, 30 s left" in stream.getvalue()


def test_quiet_says_nothing(time: Clock) -> None:
    stream = io.StringIO()
    with Progress("decoding", 2, "images", quiet=True, stream=stream) as progress:
        time.now += 60
        progress.advance(2)
    assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar(time: Clock) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with Progress("decoding", 2, "images", stream=stream) as progress:
        progress.advance(2, note="done so far")
    assert "2/2" in stream.getvalue()
    assert "done so far" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1:00 min"), (185, "3:05 min"), (7385, "2:03:05 h")],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert clock(seconds) == text
