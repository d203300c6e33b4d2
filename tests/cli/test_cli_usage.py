"""Called wrongly, the program says so in one line and exits with 2; failures exit with 1, done with 0."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from saccade.cli import main
from saccade.cli.main import COMMANDS, Command, stopped_alike
from saccade.errors import FileProblem, InvalidInput, UsageError


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(argv)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["inof"], "unknown command 'inof'; did you mean 'info'?"),
        (["qqq"], "unknown command 'qqq'; choose one of"),
        (["info"], "the following arguments are required: PATH"),
        (["info", "x", "--jsno"], "unknown option '--jsno' of 'saccade info'; did you mean '--json'?"),
        (["info", "x", "--js"], "unknown option '--js' of 'saccade info'; did you mean '--json'?"),
        (["info", "x", "--jsno=3"], "unknown option '--jsno' of 'saccade info'"),
        (["info", "x", "y"], "unexpected argument 'y'"),
        (["info", "x", "-v", "-q"], "not allowed with argument"),
        (["--jsno"], "COMMAND"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str], argv: list[str], line: str
) -> None:
    code, out, err = run(capsys, *argv)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("saccade: error: ")
    assert line in err


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["info", "--help"], ["--version"]])
def test_help_and_version_exit_0(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    code, out, err = run(capsys, *argv)
    assert (code, err) == (0, "")
    assert "saccade" in out


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "--help")
    for command in COMMANDS:
        assert command.name in out
        assert command.help in out


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_help_and_the_common_options(
    capsys: pytest.CaptureFixture[str], command: Command
) -> None:
    code, out, _ = run(capsys, command.name, "--help")
    assert code == 0
    assert "--verbose" in out
    assert "--quiet" in out


def test_python_m_saccade_is_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "saccade", "inof"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "saccade: error: unknown command 'inof'; did you mean 'info'?\n"


class _Ending:
    """A command that ends in a given way."""

    end: Callable[[argparse.Namespace], int]

    @staticmethod
    def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
        command = subparsers.add_parser("ending")
        command.add_argument("-v", "--verbose", action="store_true")
        return command

    @classmethod
    def run(cls, args: argparse.Namespace) -> int:
        return cls.end(args)


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable], None]]:
    """Makes the command "ending" end by what a test hands in."""
    program = sys.modules["saccade.cli.main"]
    monkeypatch.setattr(program, "COMMANDS", (Command("ending", "none", "ends"),))
    monkeypatch.setattr(program, "load", lambda command: _Ending)
    yield lambda end: monkeypatch.setattr(_Ending, "end", staticmethod(end), raising=False)


def raising(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def end(args: argparse.Namespace) -> int:
        raise error

    return end


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (FileProblem("a.png", "a PNG", "nothing"), 1, "error: a.png: expected a PNG, but got nothing"),
        (InvalidInput("size", "above 0", 0), 1, "error: expected size to be above 0, but got 0"),
        (UsageError("--size and --config contradict"), 2, "error: --size and --config contradict"),
        (PermissionError(13, "Permission denied", "/root/x"), 1, "error: /root/x: Permission denied"),
        (OSError(28, "No space left on device"), 1, "error: No space left on device"),
        (MemoryError(), 1, "error: not enough memory"),
        (KeyboardInterrupt(), 1, "stopped"),
        (KeyError("k"), 1, "error: KeyError: 'k' (this is a defect of saccade; -v shows where)"),
        (
            RuntimeError("1\n2"),
            1,
            "error: RuntimeError: 1 (this is a defect of saccade; -v shows where)",
        ),
    ],
)
def test_every_ending_is_one_line_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], ending: Callable, error: BaseException, code: int, line: str
) -> None:
    ending(raising(error))
    assert run(capsys, "ending") == (code, "", f"saccade: {line}\n")


def test_a_traceback_is_shown_when_asked_for(capsys: pytest.CaptureFixture[str], ending: Callable) -> None:
    ending(raising(KeyError("k")))
    assert "Traceback" in run(capsys, "ending", "-v")[2]
    assert "Traceback" not in run(capsys, "ending")[2]


def test_after_ctrl_c_the_hint_of_the_command_is_shown(
    capsys: pytest.CaptureFixture[str], ending: Callable
) -> None:
    def end(args: argparse.Namespace) -> int:
        args.hint = "go on with --resume"
        raise KeyboardInterrupt

    ending(end)
    assert run(capsys, "ending") == (1, "", "saccade: stopped; go on with --resume\n")


def test_a_reader_that_leaves_early_is_no_error() -> None:
    code = "import sys; from saccade.cli import main; sys.exit(main(['--help']))"
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=buffered
    )
    assert program.stdout is not None
    program.stdout.close()
    assert program.stderr is not None
    assert program.stderr.read() == ""
    program.stderr.close()
    assert program.wait(60) == 1


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_that_ask_a_command_to_stop_do_so_alike(name: str) -> None:
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), stopped_alike():
        os.kill(os.getpid(), number)
        signal.sigtimedwait([], 1)
    assert signal.getsignal(number) is before


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopped_alike():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
