"""What only Linux has is not needed: a prediction where the calls of POSIX are hidden, as on Windows."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
from PIL import Image

from saccade.cli import main

HIDDEN = """
import ctypes, os, signal, sys

for name in ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty"):
    sys.modules[name] = None
import multiprocessing, pathlib, subprocess, tempfile, torch  # theirs are no matter
for name in ("fork", "pread", "pwrite", "sched_getaffinity", "O_NONBLOCK", "O_CLOEXEC", "sysconf", "getuid",
             "register_at_fork", "statvfs", "mkfifo", "getpgid", "killpg", "setsid", "posix_fadvise"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGALRM"):
    delattr(signal, name)

def kill(*arguments):
    raise AssertionError("os.kill with signal 0 is Ctrl-C on Windows")

os.kill = kill
real = ctypes.CDLL.__init__

def load(self, name, *arguments, **options):
    if name is None:
        raise TypeError("argument of type 'NoneType' is not iterable")
    real(self, name, *arguments, **options)

ctypes.CDLL.__init__ = load
for method in ("open", "read_text", "write_text"):
    def refuse(self, *arguments, real=getattr(pathlib.Path, method), **options):
        if str(self).startswith("/proc") or str(self).startswith("/sys"):
            raise FileNotFoundError(str(self))
        return real(self, *arguments, **options)
    setattr(pathlib.Path, method, refuse)

from saccade.runtime import files
files.os = type(os)("os")
vars(files.os).update(vars(os), name="nt")
from saccade.cli import main
sys.exit(max(main(words.split("|")) for words in sys.argv[1:]))
"""


def test_a_prediction_needs_no_call_of_posix(trained_folder, tmp_path, one_thread, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8)).save(tmp_path / "photo.png")
    Image.fromarray(rng.integers(0, 255, (600, 70, 3), np.uint8)).save(tmp_path / "scan.tif", dpi=(300, 300))
    commands = []
    for out in ("here", "hidden"):
        for name, more in (
            ("photo.png", ["--save", "table"]),
            ("scan.tif", ["--mode", "tiles", "--tile", "64x64"]),
        ):
            words = [
                "predict",
                str(trained_folder),
                str(tmp_path / name),
                str(tmp_path / out),
                "--device",
                "cpu",
            ]
            commands.append([*words, "-q", *more])
    assert [main(words) for words in commands[:2]] == [0, 0]
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN, *("|".join(words) for words in commands[2:])],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    here, hidden = (
        {p.name: p.read_bytes() for p in (tmp_path / out).iterdir()} for out in ("here", "hidden")
    )
    assert here == hidden and len(here) == 4
