"""What is said while work goes on: on standard error or in a notebook, never on standard output."""

from __future__ import annotations

import importlib.util
import multiprocessing
import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, TextIO

PLAIN_INTERVAL = 10.0


def in_notebook() -> bool:
    """Whether this runs in a kernel of Jupyter; IPython is asked only where it is loaded already."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


_told_to_speak: bool | None = None
"""What the last :class:`Voice` was told; None: nobody has said."""


def speaks() -> bool:
    """Whether what is not asked for may be said: as the command or function that runs was told, else on a
    terminal or in a notebook; processes that share the work of another leave it to that one."""
    if multiprocessing.parent_process() is not None:
        return False
    return (sys.stderr.isatty() or in_notebook()) if _told_to_speak is None else _told_to_speak


class Voice:
    """What a function says while it works: lines, and the progress of its parts.

    Args:
        shown: whether anything is said; None: on a terminal or in a notebook, where somebody looks.
    """

    def __init__(self, shown: bool | None = None) -> None:
        global _told_to_speak
        _told_to_speak = shown
        self.shown = (sys.stderr.isatty() or in_notebook()) if shown is None else shown

    def say(self, line: str) -> None:
        """A line on standard error."""
        if self.shown:
            print(line, file=sys.stderr, flush=True)

    def progress(self, what: str, total: int | None, unit: str) -> Progress:
        """The :class:`Progress` of a part of the work."""
        return Progress(what, total, unit, quiet=not self.shown)


class Progress:
    """Work of known length with the time left: a bar on a terminal and in a notebook, else a plain line every
    ten seconds.

    ``with Progress("training", 30, "epochs") as progress: progress.advance(note="mIoU 0.71")``

    Args:
        what: what is going on ("decoding").
        total: how many steps; None where that is not known yet.
        unit: what a step is, plural ("images").
        quiet: show nothing.
        stream: where to; default standard error.
    """

    def __init__(
        self, what: str, total: int | None, unit: str, *, quiet: bool = False, stream: TextIO | None = None
    ) -> None:
        self.what, self.total, self.unit = what, total, unit
        self._stream = sys.stderr if stream is None else stream
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        self.done: float = 0
        self._note = ""
        self._told: float | None = None
        self._start = self._last = time.monotonic()
        self._bar = None if self._quiet else _bar(self._stream)
        if self._bar is not None:
            self._task = self._bar.add_task(self.what, total=self.total, unit=self.unit, note="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif kind is None and self._told not in (None, self.done):
            self._print_line()

    def advance(self, steps: int = 1, *, note: str | None = None) -> None:
        """``steps`` more are done; ``note`` is shown beside them."""
        self.update(self.done + steps, note=note)

    def update(self, done: float, total: int | None = None, *, note: str | None = None) -> None:
        """``done`` steps are done, of ``total`` where that was not known before."""
        self.done = done
        self.total = self.total if total is None else total
        self._note = self._note if note is None else note
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, total=self.total, note=self._note)
        elif not self._quiet and time.monotonic() - self._last >= PLAIN_INTERVAL:
            self._last = time.monotonic()
            self._print_line()

    def _print_line(self) -> None:
        self._told = self.done
        passed = time.monotonic() - self._start
        parts = [f"{self.what}: {self.done:n}{f'/{self.total}' if self.total else ''} {self.unit}"]
        if self.total and 0 < self.done < self.total:
            parts.append(f"{clock(passed / self.done * (self.total - self.done))} left")
        else:
            parts.append(f"{clock(passed)} taken")
        line = ", ".join([*parts, *([self._note] if self._note else [])])
        with suppress(BrokenPipeError):
            print(line, file=self._stream, flush=True)


def clock(seconds: float) -> str:
    """Seconds as "12 s", "3:05 min" or "2:03:05 h"."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"


def _bar(stream: TextIO) -> Any:
    """A bar of rich; None where only plain lines can be shown: in files, and in notebooks without ipywidgets,
    which rich needs to draw in place."""
    notebook = stream is sys.stderr and in_notebook()
    if not (stream.isatty() or (notebook and importlib.util.find_spec("ipywidgets"))):
        return None
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
        console=Console(force_jupyter=True) if notebook else Console(file=stream),
    )
