"""Damages all that Saccade reads, a little each time, and counts what happens: ``python benchmarks/fuzz.py``.

Each input is read in a forked process with limits on time and memory. It must be read, or be refused with an
error of Saccade's. Everything else is a fault: another error, a crash, over 10 s of a processor, over 1 GB.
An input is decided by its subject and its number alone, so that a fault is found again:

    python benchmarks/fuzz.py --minutes 30
    python benchmarks/fuzz.py --only options --number 812 --keep FOLDER
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads of a parent are none in a fork
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import argparse
import faulthandler
import json
import logging
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
for beside in ("tests/rasters", "tests/data"):
    sys.path.insert(0, str(HERE.parent / beside))

from saccade.errors import SaccadeError  # noqa: E402 - threads are set before

SECONDS = 10.0
"""Of a processor, for an input. Waiting for anything but a processor: six times as long."""
MEMORY = 1 << 30
"""Bytes that an input may take."""
INPUTS = 2000
"""Of one process, before another takes its place."""

Use = Callable[[Path], object]


@dataclass(frozen=True)
class Subject:
    """Something that is read.

    Attributes:
        name: of it.
        make: writes it, undamaged, below a folder.
        use: does with it what a user does.
        damage: patterns of the files that are damaged; of a folder of many kinds.
    """

    name: str
    make: Callable[[Path], object]
    use: Use
    damage: tuple[str, ...] = ("*",)


def use_raster(folder: Path) -> None:
    from saccade.api.info import image_facts
    from saccade.rasters import Window, open_raster, read_label_map, read_rgb, thumbnail

    beside = (".pgw", ".prj", ".xml")
    path = next(path for path in folder.glob("image*") if path.suffix not in beside)
    with suppress(SaccadeError), open_raster(path) as raster:
        list(map(str, image_facts(raster.info)))
        rows, columns = raster.size
        thumbnail(raster, (min(rows, 20), min(columns, 20)))
        for number in range(len(raster.levels)):
            height, width = raster.levels[number].size
            raster.read(Window(0, min(height, 300), 0, min(width, 300)), level=number)
        raster.valid()
    for reader in (read_rgb, read_label_map):
        with suppress(SaccadeError):
            reader(path)


def use_data(folder: Path) -> None:
    from saccade.data import SampleCache, open_data

    cache = SampleCache()
    data = open_data(folder, on_decoded=cache.keep)
    for split in data.splits:
        for item in data.split(split):
            cache.get(data, item)


def use_draft(folder: Path) -> None:
    from saccade.data.draft import draft_folder

    draft_folder(folder)


def use_config(folder: Path) -> None:
    from saccade.training.config import flat, read_config, to_dict

    str(flat(to_dict(read_config(folder / "config.yaml"))))


def use_run(folder: Path) -> None:
    """All that is read of a run: the weights, for a prediction; figures, scores and curves, for its page."""
    import saccade
    from saccade.report.page import run_page
    from saccade.report.run import read_run

    with suppress(SaccadeError):
        saccade.load(folder, device="cpu")
    run_page(read_run(folder))


def use_weights(folder: Path) -> None:
    from saccade.training.config import read_config
    from saccade.training.run_folder import build_segmenter
    from saccade.training.weights import load_weights

    config = read_config(overrides=["network.name=small:4", "sampler.size=8x12"])
    for path in folder.iterdir():
        with suppress(SaccadeError):
            load_weights(build_segmenter(config, 3), path)


def use_resume(folder: Path) -> None:
    """What ``saccade train --resume`` reads of a run that is finished."""
    import saccade

    run = _copied(folder)
    saccade.train(folder.parents[2] / "scenes", run, resume=True, device="cpu", progress=False)


def use_exported(folder: Path) -> None:
    from PIL import Image

    from saccade.lite import Model

    image = folder.parent / "image.png"
    if not image.exists():
        Image.effect_noise((48, 32), 90).convert("RGB").save(image)
    Model(folder / "model.onnx").predict(image)


def use_list(folder: Path) -> None:
    from saccade.inference import list_jobs

    for job in list_jobs([folder / "list.txt"], folder.parent / "out"):
        _ = job.labels, job.is_done


def use_journal(folder: Path) -> None:
    """Goes on with a file that was begun; tiles of another image, or none, cannot be told from sound ones."""
    from saccade.rasters import Output, RasterWriter

    with RasterWriter(_copied(folder) / "labels.tif", Output((150, 70), tile=32), resume=True) as writer:
        _fill(writer, 150)


def _copied(folder: Path) -> Path:
    """Another folder of the same files, for what writes into it."""
    place = folder.parent / "copied"
    shutil.rmtree(place, ignore_errors=True)
    return Path(shutil.copytree(folder, place))


def make_journal(folder: Path) -> None:
    from saccade.rasters import Output, RasterWriter

    with suppress(SaccadeError), RasterWriter(folder / "labels.tif", Output((150, 70), tile=32)) as writer:
        _fill(writer, 64)


def _fill(writer: Any, rows: int) -> None:
    import numpy as np

    labels = np.random.default_rng(0).integers(0, 3, (150, 70), np.uint8)
    start = writer.rows_done
    while start < rows:
        writer.append(labels[start : start + 32, :, None])
        start += 32
    if rows == 150:
        writer.finish()


def make_exported(folder: Path) -> None:
    from saccade.cli.main import main

    make_run(folder.parent / "run")
    if main(["export", str(folder.parent / "run"), str(folder / "model.onnx"), "-q"]):
        raise SystemExit("the run that is to be damaged could not be exported")


def make_list(folder: Path) -> None:
    names = ["# images", "a.png", "b.tif#2", "sub/e.jpg", "/nowhere/d.zarr", "c.png"]
    (folder / "list.txt").write_text("\n".join(names) + "\n")


def make_run(folder: Path) -> None:
    """A run with all that training, an evaluation and a report leave behind."""
    from saccade.cli.main import main
    from saccade.data.scenes import make_scenes

    data, run = folder.parent.parent / "scenes", folder.parent.parent / "run"
    if run.exists():  # of another subject
        shutil.copytree(run, folder, dirs_exist_ok=True)
        return
    make_scenes(data, count=(2, 1, 1), size=(32, 48), seed=1)
    options = ["network.name=small:4", "sampler.size=8x12", "training.batch_size=2", "training.epochs=2"]
    for words in (["train", data, run, "--sampler", "deformation", *options], ["report", run]):
        if main([*map(str, words), "--device", "cpu", "-q"]):
            raise SystemExit("the run that is to be damaged could not be made")
    (run / "report.html").unlink(missing_ok=True)
    shutil.copytree(run, folder, dirs_exist_ok=True)


def make_weights(folder: Path) -> None:
    import torch

    from saccade.training.config import read_config
    from saccade.training.run_folder import build_segmenter

    config = read_config(overrides=["network.name=small:4", "sampler.size=8x12"])
    state = build_segmenter(config, 3).network.state_dict()
    torch.save({"state_dict": state, "epoch": 3}, folder / "a.pt")
    with suppress(ImportError):
        from safetensors.torch import save_file

        save_file({name: value.contiguous() for name, value in state.items()}, folder / "b.safetensors")


def make_config(folder: Path) -> None:
    from saccade.training.config import read_config, save_config

    save_config(read_config(overrides=["sampler.name=foveation"]), folder / "config.yaml")


def make_vrt(folder: Path) -> None:
    import numpy as np
    import rasterio
    from rasterio.shutil import copy

    pixels = np.random.default_rng(0).integers(0, 255, (3, 40, 50), np.uint8)
    profile = {"driver": "GTiff", "height": 40, "width": 50, "count": 3, "dtype": "uint8"}
    with rasterio.open(folder / "part.tif", "w", **profile) as file:
        file.write(pixels)
    copy(folder / "part.tif", folder / "image.vrt", driver="VRT")
    text = (folder / "image.vrt").read_text().replace(str(folder / "part.tif"), "part.tif")
    (folder / "image.vrt").write_text(text.replace('relativeToVRT="0"', 'relativeToVRT="1"'))


def make_sidecars(folder: Path) -> None:
    from PIL import Image

    Image.effect_noise((50, 40), 90).convert("RGB").save(folder / "image.png")
    (folder / "image.pgw").write_text("0.5\n0\n0\n-0.5\n1000.25\n2000.75\n")
    (folder / "image.prj").write_text('LOCAL_CS["a place",UNIT["metre",1]]')
    meta = "<PAMDataset><GeoTransform>1, 2, 0, 3, 0, -2</GeoTransform><SRS>EPSG:32632</SRS></PAMDataset>"
    (folder / "image.png.aux.xml").write_text(meta)


def make_vectors(ending: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        import vector_files as files

        files.folder(folder)
        for number, stem in enumerate("abc"):
            shapes = files.scene(number)
            place = folder / "labels" / f"{stem}.{ending}"
            if ending == "geojson":
                files.geojson(place, shapes)
            else:
                there = [(files.on_map(shape, place=files.tile(number)), name) for shape, name in shapes]
                files.table(place, there)

    return make


def make_coco(folder: Path) -> None:
    import vector_files as files

    files.folder(folder)
    outlines = {f"{stem}.tif": files.scene(number) for number, stem in enumerate("abc")}
    files.coco(folder / "labels" / "all.json", outlines)


def subjects() -> list[Subject]:
    """Everything that is read, in the order of the table."""
    from saccade.data import FORMATS
    from saccade.testing import make_fake

    found = []
    with suppress(ImportError):
        from raster_files import FILES

        for name, make in FILES.items():
            found.append(Subject(f"raster {name}", _image_of(make), use_raster))
    found += [
        Subject("raster vrt", make_vrt, use_raster, ("*.vrt",)),
        Subject("raster sidecars", make_sidecars, use_raster, ("*.pgw", "*.prj", "*.xml")),
    ]
    for name in FORMATS:
        found.append(Subject(f"data {name}", _fake(make_fake, name), use_data))
    found += [
        Subject("data tables", _fake(make_fake, "folder"), use_data, ("*.json",)),
        Subject("data draft", _draft(make_fake), use_draft),
        Subject("data coco", make_coco, use_data, ("*.json",)),
        *(
            Subject(f"data {end}", make_vectors(end), use_data, (f"*.{end}", "*.shx", "*.dbf", "*.prj"))
            for end in ("geojson", "gpkg", "fgb", "shp")
        ),
        Subject("options", make_config, use_config),
        Subject("run config.yaml", make_run, use_run, ("config.yaml",)),
        Subject("run checkpoint", make_run, use_run, ("*.ckpt",)),
        Subject(
            "run other files", make_run, use_run, ("*.json", "*.csv", "*.npy", "*.npz", "*.png", "*.jpg")
        ),
        Subject("run resume", make_run, use_resume, ("last.ckpt", "metrics.csv")),
        Subject("weights", make_weights, use_weights),
        Subject("exported model", make_exported, use_exported),
        Subject("list of images", make_list, use_list),
        Subject("journal", make_journal, use_journal),
    ]
    return found


def _image_of(make: Callable[[Path], Any]) -> Callable[[Path], object]:
    def made(folder: Path) -> None:
        place = folder.parent / "made"
        place.mkdir()
        path = make(place).path
        path.rename(folder / f"image{path.suffix}")

    return made


def _fake(make_fake: Callable[..., Path], name: str) -> Callable[[Path], object]:
    return lambda folder: make_fake(name, folder, count=(1, 1, 1))


def _draft(make_fake: Callable[..., Path]) -> Callable[[Path], object]:
    def made(folder: Path) -> None:
        make_fake("folder", folder, count=(1, 1, 1))
        (folder / "classes.json").unlink()
        (folder / "splits.json").unlink()

    return made


# What an input is made of. Numbers that programs stumble over, as bytes and as text.
BYTES = (
    0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1,
)  # fmt: skip
WORDS = (
    "", "0", "-1", "1e999", "-1e999", "nan", ".nan", ".inf", "NaN", "Infinity", "null", "~", "true", "[]",
    "{}", "''", '""', '"a"', "9" * 25, "1.5", "4294967296", "2147483648", "1" + "0" * 400, "\0", "\ud7ff",
    "\u202e", "../..", "/", "[[[[]]]]", '{"a": {}}', "!!int", "!!python/none ''", "!!binary a",
    "!!timestamp 2", "&a [*a]", "*a", "0x10", "1_0", "2001-01-01", "%", "\\", "<", "&lt;", ":", "- ", "\r",
    "\t", "é",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 256, 2**31, 2**63, 10**30, 1.5, -0.0, 1e308, float("nan"), float("inf"), "", "a",
    "../../x", "\0", "é" * 300, [], [None], [[]], [1, "a", None], {}, {"": None}, {"name": 1}, [0] * 3,
    ["a"] * 3,
)  # fmt: skip


def damaged(content: bytes, name: str, draw: random.Random) -> bytes:
    """``content`` with one to four changes that suit its kind."""
    text = None
    if draw.random() < 0.8 and len(content) < 1 << 20:
        with suppress(UnicodeDecodeError):
            text = content.decode()
    if text is not None and name.endswith(("json", ".geojson")) and draw.random() < 0.6:
        with suppress(ValueError, RecursionError):
            return json.dumps(_other_value(json.loads(text), draw)).encode()
    for _ in range(draw.choice((1, 1, 1, 2, 3, 4))):
        if text is None:
            content = _other_bytes(content, draw)
        else:
            text = _other_text(text, draw)
    return content if text is None else text.encode("utf-8", "surrogatepass")


def _other_bytes(content: bytes, draw: random.Random) -> bytes:
    if not content:
        return bytes(draw.choices(range(256), k=draw.choice((1, 8, 300))))
    # Half of the time where headers are.
    reach = min(len(content), draw.choice((64, 512, len(content))))
    at = draw.randrange(reach) if draw.random() < 0.85 else len(content) - 1 - draw.randrange(reach)
    size = draw.choice((1, 2, 4, 8, 16, 100, 1000))
    kind = draw.randrange(7)
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + content[at + size :]
    if kind == 2:
        start = draw.randrange(len(content))
        return content[:at] + content[start : start + size] + content[at:]
    if kind == 3:
        start = draw.randrange(len(content))
        piece = content[start : start + size]
        return content[:at] + piece + content[at + len(piece) :]
    changed = bytearray(content)
    if kind == 4:
        width = draw.choice((1, 2, 4, 8))
        piece = (draw.choice(BYTES) % (1 << 8 * width)).to_bytes(width, draw.choice(("little", "big")))
        changed[at : at + width] = piece
    elif kind == 5:
        changed[at] ^= 1 << draw.randrange(8)
    else:
        for place in range(at, min(at + size, len(changed))):
            changed[place] = draw.randrange(256)
    return bytes(changed)


def _other_text(text: str, draw: random.Random) -> str:
    kind = draw.randrange(6)
    lines = text.splitlines(keepends=True) or [""]
    number = draw.randrange(len(lines))
    if kind == 0:
        del lines[number]
    elif kind == 1:
        lines.insert(draw.randrange(len(lines)), lines[number])
    elif kind == 2:  # one word
        line, words = lines[number], []
        start = None
        for place, letter in enumerate(line + " "):
            if letter.isalnum() or letter in "._-+":
                start = place if start is None else start
            elif start is not None:
                words.append((start, place))
                start = None
        begin, end = draw.choice(words) if words else (0, 0)
        lines[number] = line[:begin] + draw.choice(WORDS) + line[end:]
    elif kind == 3:
        key, colon, rest = lines[number].partition(":")
        lines[number] = key + colon + " " + draw.choice(WORDS) + ("\n" if rest.endswith("\n") else "")
    elif kind == 4:
        at = draw.randrange(len(text) + 1)
        return text[:at] + draw.choice(WORDS) + text[at + draw.choice((0, 1, 5)) :]
    else:
        return _other_bytes(text.encode(), draw).decode("utf-8", "replace")
    return "".join(lines)


def _other_value(value: Any, draw: random.Random) -> Any:
    """JSON with another value at a random place, or without it, or with it twice."""
    here = value
    while isinstance(here, dict | list) and here:
        key = draw.choice(list(here)) if isinstance(here, dict) else draw.randrange(len(here))
        if isinstance(here[key], dict | list) and here[key] and draw.random() < 0.75:
            here = here[key]
            continue
        kind = draw.randrange(5)
        if kind == 0:
            del here[key]
        elif kind == 1 and isinstance(here, list):
            here.append(here[key])
        elif kind == 1:
            here[f"{key} "] = here[key]
        else:
            here[key] = draw.choice(VALUES)
        return value
    return draw.choice(VALUES)


def input_of(subject: Subject, sound: Path, folder: Path, number: int) -> tuple[Path, bytes]:
    """Damages one file of ``folder``, a copy of ``sound``; returns the file, and what it was before."""
    draw = random.Random(f"{subject.name}/{number}")
    files = sorted({path for pattern in subject.damage for path in sound.rglob(pattern) if path.is_file()})
    path = draw.choice(files)
    content = path.read_bytes()
    target = folder / path.relative_to(sound)
    target.write_bytes(damaged(content, path.name, draw))
    return target, content


@dataclass
class Tally:
    """What became of the inputs of a subject."""

    tried: int = 0
    refused: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)

    def add_fault(self, what: str, number: int) -> None:
        self.faults[what] += 1
        self.first.setdefault(what, number)


def place_of(error: BaseException) -> str:
    """The error, and the last line of Saccade's that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/saccade/" in frame.filename] or frames
    file = ours[-1].filename.rpartition("/saccade/")[2]
    return f"{type(error).__name__} at {file}:{ours[-1].lineno} ({frames[-1].name})"


def _serve(line: Connection, subject: Subject, sound: Path, numbers: Iterator[int]) -> None:
    """In a forked process: reads inputs, and tells of each before and after."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    warnings.simplefilter("ignore")
    faulthandler.disable()
    logging.disable()
    most = _address_space() + 4 * MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(dir=sound.parent) as place:
        folder = Path(place) / "input"
        shutil.copytree(sound, folder, symlinks=True)
        try:
            subject.use(folder)  # what loads once
        except BaseException as error:
            line.send(("unsound", f"{type(error).__name__}: {error}"))
            return
        for number in numbers:
            line.send(("begins", number))
            target, content = input_of(subject, sound, folder, number)
            before, told = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, ""
            kind = "read"
            try:
                subject.use(folder)
            except SaccadeError:
                kind = "refused"
            except MemoryError:
                kind, told = "fault", "over 1 GB"
            except BaseException as error:
                kind, told = "fault", place_of(error)
            if (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 > MEMORY:
                kind, told = "fault", "over 1 GB"
            line.send((kind, told))
            target.write_bytes(content)
    line.send(("over", ""))


def _address_space() -> int:
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    return 8 * MEMORY


def _processor_seconds(process: int) -> float:
    with suppress(OSError, ValueError):
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def attempt(subject: Subject, sound: Path, first: int, count: int, tally: Tally, until: float) -> int:
    """Forks a process for inputs from ``first`` on, and watches it; returns the number of the next input."""
    ours, theirs = Pipe()
    process = os.fork()
    if process == 0:
        ours.close()
        try:
            _serve(theirs, subject, sound, iter(range(first, first + count)))
        finally:
            os._exit(0)
    theirs.close()
    number, started, used, ended = first - 1, time.monotonic(), 0.0, False
    fault = ""
    while True:
        try:
            if not ours.poll(0.2):
                if number < first:
                    if time.monotonic() - started > 300:
                        raise SystemExit(f"{subject.name}: cannot be read undamaged in 5 minutes")
                elif _processor_seconds(process) - used > SECONDS or time.monotonic() - started > 6 * SECONDS:
                    fault = f"over {SECONDS:.0f} s"
                    break
                continue
            kind, value = ours.recv()
        except (EOFError, OSError):
            break
        if kind == "begins":
            number, started, used = value, time.monotonic(), _processor_seconds(process)
        elif kind == "unsound":
            raise SystemExit(f"{subject.name}: cannot be read undamaged: {value}")
        elif kind == "over":
            ended = True
            break
        else:
            tally.tried += 1
            tally.seconds += time.monotonic() - started
            tally.refused += kind == "refused"
            if kind == "fault":
                tally.add_fault(value, number)
            if time.monotonic() > until:
                ended = True
                break
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if not ended:
        tally.tried += 1
        signalled = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "vanished"
        tally.add_fault(fault or signalled, number)
    ours.close()
    return number + 1


def load_libraries() -> None:
    """So that each forked process has them already."""
    import rasterio  # noqa: F401
    import tifffile  # noqa: F401
    import zarr  # noqa: F401

    import saccade.api
    import saccade.cli.info
    import saccade.report.page
    import saccade.training.run_folder  # noqa: F401
    from saccade.runtime import _kernels  # noqa: F401


def make_sound(subject: Subject, folder: Path) -> Path:
    """Writes the subject, in a process of its own."""
    folder.mkdir(parents=True)
    sound = folder / "sound"
    sound.mkdir()
    process = os.fork()
    if process == 0:
        code = 1
        try:
            subject.make(sound)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(process, 0)
    if status:
        raise SystemExit(f"{subject.name}: could not be made")
    return sound


def main() -> int:
    """The command; exits with 1 where anything was neither read nor refused."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5, help="in all, shared among the subjects")
    parser.add_argument("--inputs", type=int, help="of each subject, instead of a time")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--only", default="", help="subjects whose names hold one of these words, by commas")
    parser.add_argument("--number", type=int, help="this input alone, with its traceback")
    parser.add_argument("--keep", type=Path, help="with --number: where the damaged input is left")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args()
    words = options.only.split(",")
    chosen = [subject for subject in subjects() if any(word in subject.name for word in words)]
    if not chosen:
        parser.error(f"no subject's name holds {options.only!r}")
    load_libraries()
    end = time.monotonic() + options.minutes * 60
    tallies = {subject.name: Tally() for subject in chosen}
    with tempfile.TemporaryDirectory(prefix="saccade-fuzz-") as place:
        if options.number is not None:
            return _once(chosen[0], make_sound(chosen[0], Path(place) / "0"), options.number, options.keep)
        for turn, subject in enumerate(chosen):
            sound, tally, number = make_sound(subject, Path(place) / str(turn)), tallies[subject.name], 0
            share = max(1.0, end - time.monotonic()) / (len(chosen) - turn)
            until = float("inf") if options.inputs else time.monotonic() + share
            while number < (options.inputs or 1 << 60) and (number == 0 or time.monotonic() < until):
                count = min(INPUTS, (options.inputs or 1 << 60) - number)
                number = attempt(subject, sound, options.first + number, count, tally, until) - options.first
            print(_line(subject.name, tally), flush=True)
    return _told(tallies, options.json)


def _once(subject: Subject, sound: Path, number: int, keep: Path | None) -> int:
    folder = keep or sound.parent / "input"
    shutil.copytree(sound, folder)
    target, _ = input_of(subject, sound, folder, number)
    print(f"{subject.name}, input {number}: {target.relative_to(folder)} is damaged")
    try:
        subject.use(folder)
        print("read, or refused in part")
    except SaccadeError as error:
        print(f"refused: {error}")
    return 0


def _line(name: str, tally: Tally) -> str:
    faults = sum(tally.faults.values())
    done = f"{tally.tried:8,} tried {tally.refused:8,} refused {faults:6,} faults"
    return f"{name:28} {done} {tally.seconds:7.0f} s"


def _told(tallies: dict[str, Tally], file: Path | None) -> int:
    tried, faults = sum(t.tried for t in tallies.values()), 0
    print()
    for name, tally in tallies.items():
        for what, count in tally.faults.most_common():
            faults += count
            print(f"{name}: {count} x {what}; --only '{name}' --number {tally.first[what]}")
    print(f"{tried:,} inputs, {faults:,} faults")
    if file:
        rows = {
            name: {"tried": t.tried, "refused": t.refused, "faults": dict(t.faults), "first": t.first}
            for name, t in tallies.items()
        }
        file.write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
