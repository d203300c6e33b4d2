"""Kills commands at random times and goes on from what is left: ``python benchmarks/kills.py``.

Each command is first run undisturbed. Then it is begun anew many times, ended after a random part of that
time by SIGKILL (half of the times), SIGTERM, SIGINT or SIGHUP, looked at, and run again to its end
(``--resume`` where there is one, or as it says itself). It is a fault where

- a file under its final name differs from the undisturbed one (a run and a comparison are looked at after
  their end alone, for their tables grow);
- a process of the command lives on;
- it says anything but one line of its end, or takes over a minute to end;
- what the second run leaves differs in a byte from the undisturbed one, times apart; hidden files too.

Commands are forked from a program that has done each of them once: what loads is there already, and the
kills fall on the work.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads of a parent are none in a fork
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import argparse
import csv
import hashlib
import io
import json
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import closing, redirect_stdout, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
NOT_BEGUN, ESCAPED = 71, 70
"""Exit codes of a fork that ended before the command was called, and of one that an error left."""
LONGEST = 60.0
"""Seconds of a processor's waiting that a command may take to end after a signal."""
TIMES = ("seconds", "time", "memory", "load")
"""Parts of the names of values that differ from run to run."""


@dataclass(frozen=True)
class Subject:
    """A command that is killed.

    Attributes:
        name: of it.
        begin: the words of the command; OUT stands for the folder that it writes into.
        again: the words that are added for the second run.
        whole: whether each file under its final name must be whole at any time.
        prepare: fills OUT before the command begins.
        quick: whether it starts no programs of its own, which load everything anew.
    """

    name: str
    begin: tuple[str, ...]
    again: tuple[str, ...] = ("--resume",)
    whole: bool = True
    prepare: Callable[[Path], object] | None = None
    quick: bool = True


def subjects(place: Path) -> list[Subject]:
    """The commands, on inputs that are made below ``place``; the quick ones first."""
    run, data = str(place / "run"), str(place / "data")
    small = ("network.name=small:4", "training.batch_size=2", "training.epochs=3", "--device", "cpu", "-q")

    def predict(name: str, *images: str, more: tuple[str, ...] = (), quick: bool = True) -> Subject:
        words = (run, *(str(place / image) for image in images), "OUT", "--tile", "256x256")
        return Subject(f"predict {name}", ("predict", *words, "--device", "cpu", "-q", *more), quick=quick)

    samplers = ("--samplers", "uniform,deformation", "--sizes", "8x12")
    return [
        predict("OME-TIFF", "plain.tif"),
        predict("COG", "place.tif"),
        predict("Zarr", "plain.zarr"),
        predict("tables and polygons", "place.tif", more=("--save", "labels,table,polygons")),
        predict("GPKG and Parquet", "place.tif", more=("--save", "labels,polygons.gpkg,table.parquet")),
        Subject("init", ("init", "OUT/data", "-q"), (), prepare=lambda out: _bare(Path(data), out / "data")),
        Subject("train", ("train", data, "OUT/run", "sampler.size=8x12", *small), whole=False),
        Subject("compare", ("compare", data, "OUT/c", *samplers, *small), whole=False),
        Subject("export", ("export", run, "OUT/model.onnx", "-q"), ("--overwrite",)),
        predict("--jobs 2", "plain.tif", "place.tif", "photo.png", more=("--jobs", "2"), quick=False),
        predict("--cluster local:2", "plain.tif", more=("--cluster", "local:2"), quick=False),
    ]


def _bare(data: Path, target: Path) -> None:
    shutil.copytree(data, target)
    for name in ("classes.json", "splits.json"):
        (target / name).unlink()


def make_inputs(place: Path) -> None:
    """A trained run, its data, and images of each format, large enough to be killed half way."""
    import numpy as np
    import rasterio
    import tifffile
    import zarr
    from PIL import Image

    from saccade.cli.main import main
    from saccade.data.scenes import make_scenes

    make_scenes(place / "data", count=(4, 2, 2), size=(32, 48), seed=1)
    small = ["network.name=small:4", "sampler.size=8x12", "training.batch_size=2", "training.epochs=2"]
    if main(["train", str(place / "data"), str(place / "run"), *small, "--device", "cpu", "-q"]):
        raise SystemExit("the run could not be trained")
    pixels = np.random.default_rng(0).integers(0, 255, (1100, 700, 3), np.uint8)
    tifffile.imwrite(place / "plain.tif", pixels, tile=(256, 256), compression="deflate")
    profile = {"driver": "GTiff", "height": 1100, "width": 700, "count": 3, "dtype": "uint8", "tiled": True}
    there = rasterio.Affine(0.5, 0, 500000, 0, -0.5, 5300000)
    with rasterio.open(place / "place.tif", "w", **profile, crs="EPSG:32632", transform=there) as file:
        file.write(pixels.transpose(2, 0, 1))
    zarr.create_array(str(place / "plain.zarr"), data=pixels.transpose(2, 0, 1), chunks=(3, 256, 256))
    Image.fromarray(pixels[:300, :400]).save(place / "photo.png")


@dataclass
class Tally:
    """What became of the kills of a subject."""

    seconds: float = 0.0
    kills: int = 0
    faults: list[str] = field(default_factory=list)


class Command:
    """A command in a session of processes of its own."""

    def __init__(self, words: Iterable[str], folder: Path) -> None:
        self.said = folder / "said"
        sys.stdout.flush()
        self.process = os.fork()
        if self.process:
            return
        code = NOT_BEGUN
        try:
            os.setsid()
            said = os.open(self.said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(said, 1)
            os.dup2(said, 2)
            from saccade.cli.main import main

            code = ESCAPED
            code = main(list(words))
        finally:
            with suppress(Exception):
                sys.stderr.flush()
            os._exit(code)

    def wait(self, seconds: float) -> int | None:
        """Its exit code, minus the number of a signal; None where it goes on after ``seconds``."""
        end = time.monotonic() + seconds
        while True:
            process, status = os.waitpid(self.process, os.WNOHANG)
            if process:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                return None
            time.sleep(0.005)

    def left(self, seconds: float = 10) -> list[int]:
        """Processes of its session that live on after some seconds."""
        end = time.monotonic() + seconds
        while (found := _session(self.process)) and time.monotonic() < end:
            time.sleep(0.05)
        return found

    def words(self) -> list[str]:
        """The lines that it said."""
        return self.said.read_text(errors="replace").splitlines()


def _session(number: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                words = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(words[3]) == number and words[0] != "Z":
                    found.append(int(entry.name))
    return found


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder, and a digest of it without times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[str(path.relative_to(folder))] = hashlib.sha256(_timeless(path, folder)).hexdigest()[:16]
    return found


def _timeless(path: Path, folder: Path) -> bytes:
    content = path.read_bytes().replace(str(folder).encode(), b"OUT")
    if path.suffix == ".gpkg":  # a database, which notes the time
        with closing(sqlite3.connect(path)) as base:
            return "\n".join(line for line in base.iterdump() if "gpkg_contents" not in line).encode()
    if path.suffix == ".csv":
        rows = list(csv.reader(io.StringIO(content.decode())))
        keep = (
            [k for k, name in enumerate(rows[0]) if not any(word in name for word in TIMES)] if rows else []
        )
        return json.dumps([[row[k] for k in keep] for row in rows]).encode()
    if path.suffix == ".json":
        with suppress(ValueError):  # a part that a kill left in a hidden folder stands for itself
            return json.dumps(_without_times(json.loads(content)), sort_keys=True).encode()
    if path.suffix == ".ckpt":
        import torch

        saved = torch.load(path, weights_only=True, map_location="cpu")
        weights = saved["state_dict"]
        return b"".join(name.encode() + weights[name].numpy().tobytes() for name in sorted(weights))
    # Pages hold times among their text; an exported program is an archive with times.
    return b"" if path.suffix in (".html", ".pt2") else content


def _without_times(value: object) -> object:
    if isinstance(value, dict):
        return {
            key: _without_times(inner)
            for key, inner in value.items()
            if not any(word in key for word in TIMES)
        }
    return [_without_times(inner) for inner in value] if isinstance(value, list) else value


def once(
    subject: Subject, out: Path, whole: dict[str, str], duration: float, draw: random.Random
) -> list[str]:
    """Kills the command once, and runs it again; returns the faults."""
    folder, number = out.parent, signal.SIGKILL if draw.random() < 0.5 else draw.choice(SIGNALS)
    start(subject, out)
    command = Command(worded(subject.begin, out), folder)
    code = command.wait(draw.uniform(0, 1.05) * duration)
    faults = []
    if code is None:
        if number == signal.SIGINT:
            with suppress(ProcessLookupError):  # it has not come to have a session of its own
                os.killpg(command.process, number)  # as a terminal does
        else:
            os.kill(command.process, number)
        code = command.wait(LONGEST)
        if code is None:
            faults.append(f"lived for {LONGEST:.0f} s after {number.name}")
            os.killpg(command.process, signal.SIGKILL)
            command.wait(LONGEST)
        elif number != signal.SIGKILL and code not in (0, 1, -number, NOT_BEGUN):  # it may have ended, too
            faults.append(f"exit code {code} after {number.name}")
        said = [line for line in command.words() if line.startswith(("saccade:", "Traceback"))]
        if number != signal.SIGKILL and code == 1 and len(said) != 1:
            faults.append(f"{len(said)} lines after {number.name}: {' / '.join(said)[:160]}")
    if left := command.left():
        faults.append(f"{len(left)} processes were left by {number.name}")
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    if subject.whole:
        for name, digest in contents(out).items():
            hidden = any(part.startswith(".") for part in Path(name).parts)
            if not hidden and whole.get(name) != digest:
                faults.append(f"{number.name} left a part of {name}")
    code, told = go_on(subject, out, LONGEST + 20 * duration)
    found = contents(out)
    if code != 0 and found != whole:  # what was done already may be refused
        faults.append(f"after {number.name} it did not go on ({code}): {told[:160]}")
    elif found != whole:
        differing = sorted(k for k in found.keys() | whole.keys() if found.get(k) != whole.get(k))
        faults.append(f"after {number.name} others than before: {', '.join(differing)[:160]}")
    return faults


ADVICE = {"without --resume": (), "use --overwrite": ("--overwrite",)}
"""What a command says that cannot go on, and the words that this means."""


def go_on(subject: Subject, out: Path, seconds: float) -> tuple[int | None, str]:
    """Runs a command that was killed again, once more if it says how; its exit code and last line."""
    code, told, words = None, "", subject.again
    for _ in range(2):
        command = Command(worded((*subject.begin, *words), out), out.parent)
        code = command.wait(seconds)
        told = " ".join(command.words()[-1:])
        if code is None:
            os.killpg(command.process, signal.SIGKILL)
            command.wait(LONGEST)
        follow = [more for line, more in ADVICE.items() if line in told]
        if code == 0 or not follow:
            break
        words = follow[0]
    return code, told


def start(subject: Subject, out: Path) -> None:
    """Empties the folder, and fills it as the subject needs it."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    if subject.prepare:
        subject.prepare(out)


def worded(words: Iterable[str], out: Path) -> list[str]:
    """The words of a command, with its folder in the place of OUT."""
    return [str(out) + word[3:] if word == "OUT" or word.startswith("OUT/") else word for word in words]


def campaign(subject: Subject, place: Path, kills: int, end: float, seed: int) -> Tally:
    """Kills one command many times."""
    out, tally = place / "out", Tally()
    if subject.quick:
        start(subject, out)
        done_here(subject, out)
    start(subject, out)
    began = time.monotonic()
    command = Command(worded(subject.begin, out), place)
    if command.wait(900) != 0:
        raise SystemExit(f"{subject.name} fails undisturbed: {' '.join(command.words()[-1:])}")
    tally.seconds = duration = time.monotonic() - began
    whole = contents(out)
    for number in range(kills):
        if time.monotonic() > end:
            break
        draw = random.Random(f"{subject.name}/{seed}/{number}")
        faults = once(subject, out, whole, duration, draw)
        tally.kills += 1
        tally.faults += [f"{subject.name}, kill {number}: {fault}" for fault in faults]
    return tally


def main() -> int:
    """The command; exits with 1 where anything was lost."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="of each command")
    parser.add_argument("--minutes", type=float, default=1e9, help="at most, shared among the commands")
    parser.add_argument("--only", default="", help="commands whose names hold one of these words, by commas")
    parser.add_argument("--seed", type=int, default=0, help="other numbers, other times")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args()
    rows, faults = {}, 0
    with tempfile.TemporaryDirectory(prefix="saccade-kills-") as folder:
        place = Path(folder)
        process = os.fork()
        if process == 0:
            code = 1
            try:
                make_inputs(place)
                code = 0
            finally:
                os._exit(code)
        if os.waitpid(process, 0)[1]:
            return 1
        end = time.monotonic() + options.minutes * 60
        words = options.only.split(",")
        chosen = [subject for subject in subjects(place) if any(word in subject.name for word in words)]
        for turn, subject in enumerate(chosen):
            share = (end - time.monotonic()) / (len(chosen) - turn)
            tally = campaign(subject, place, options.kills, time.monotonic() + share, options.seed)
            rows[subject.name] = asdict(tally)
            faults += len(tally.faults)
            done = f"{tally.kills:5} kills {len(tally.faults):5} faults"
            print(f"{subject.name:28} {tally.seconds:6.2f} s {done}", flush=True)
            for fault in tally.faults[:5]:
                print(f"    {fault}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if faults else 0


def done_here(subject: Subject, out: Path) -> None:
    """Runs a command in this process, so that those forked from it find loaded what it needs."""
    from saccade.cli.main import main

    with open(os.devnull, "w") as nothing, redirect_stdout(nothing):
        if main(worded(subject.begin, out)):
            raise SystemExit(f"{subject.name} fails undisturbed")


if __name__ == "__main__":
    sys.exit(main())
