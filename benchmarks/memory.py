"""Whether programs keep within their memory: ``python benchmarks/memory.py [--only WORD] [--json FILE]``.

Each case is a command as a user gives it, in a process of its own, which is looked at from outside:

- ``predict --memory M`` with the least M that it does not refuse, and with what it would take at best: the
  peak of the program is at most 5 % above M. Whole images and tiles, 3, 19 and 50 classes, everything that
  can be saved, long thin images.
- 300 images in a row: what is held after the last is at most 5 % above what was held after 50.
- 200 epochs: what is held after the last is at most 5 % above what was held after 20.

A case over its bound is measured again, up to three times, and how often it was over is told; the least
counts, for other programs on the machine change what threads hold at one time. Cases whose peak is below two
thirds of M are marked: there ``plan`` foresees too much. ``--quick`` takes the two cases of a minute.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from harness import Watched, campaign_arguments, current_commit, watch

BOUND = 1.05
LOW = 2 / 3
"""Of M: whoever takes less was promised too little."""
MB = 10**6
TURNS = 3
SACCADE = (sys.executable, "-m", "saccade")
CLASSES = (3, 19, 50)
NETWORK = ("network.name=small:16", "sampler.size=64x128", "training.batch_size=2", "training.epochs=1")


@dataclass(frozen=True)
class Case:
    """A prediction within some memory.

    Attributes:
        image: a file of :func:`make_images`.
        classes: of the run.
        words: how it is looked at, and what is saved.
        quick: whether a short run of the campaign has it.
    """

    image: str
    classes: int
    words: tuple[str, ...] = ()
    quick: bool = False

    @property
    def name(self) -> str:
        return " ".join(("predict", self.image, f"{self.classes} classes", *self.words))


WHOLE, TILES = ("--mode", "whole"), ("--mode", "tiles", "--tile", "1024x1024")
FINE = ("--mode", "tiles", "--tile", "512x512", "--size", "256x256")
ALL = ("--save", "labels,scores,density,samples,overlay,polygons,uncertainty,table")


def cases() -> list[Case]:
    """Of predictions; most of what can go together does so once."""
    found = []
    for classes in CLASSES:
        for way in (WHOLE, TILES):
            quick = classes == 19 and way == TILES
            found.append(Case("plain.tif", classes, way, quick))
            found.append(Case("plain.tif", classes, (*way, *ALL)))
            found.append(Case("photo.jpg", classes, (*way, *ALL), quick))
    for image in ("wide.tif", "tall.tif", "widest.tif", "tallest.tif"):
        found += [Case(image, 19, (*way, *save)) for way in (WHOLE, TILES) for save in ((), ALL)]
        found.append(Case(image, 50, (*TILES, *ALL)))
    for save in ("scores", "density", "polygons", "table", "uncertainty"):
        found.append(Case("map.tif", 19, (*TILES, "--save", f"labels,{save}")))
        found.append(Case("photo.jpg", 50, (*FINE, "--save", f"labels,{save}")))
    found += [Case("plain.zarr", 19, (*TILES, "--save", save)) for save in ("labels", "labels,scores")]
    found += [Case("plain.tif", 50, (*FINE, *ALL)), Case("map.tif", 3, (*WHOLE, "--size", "1024x1024"))]
    return found


def make_images(place: Path) -> None:
    """Of random blocks, so that there are polygons and objects, in every format of labels."""
    import rasterio
    import tifffile
    import zarr
    from PIL import Image

    place.mkdir(parents=True)
    sizes = {"plain": (6000, 5000), "wide": (200, 60000), "tall": (60000, 200), "map": (5000, 6000),
             "widest": (700, 60000), "tallest": (60000, 700)}  # fmt: skip
    for name, size in sizes.items():
        pixels = blocks(size)
        how: dict[str, Any] = {"tile": (256, 256), "compression": "deflate", "photometric": "rgb"}
        if name != "map":
            tifffile.imwrite(place / f"{name}.tif", pixels, metadata=None, **how)
            continue
        profile = {"driver": "GTiff", "height": size[0], "width": size[1], "count": 3, "dtype": "uint8"}
        profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
        there = rasterio.Affine(0.5, 0, 500000, 0, -0.5, 5300000)
        with rasterio.open(place / "map.tif", "w", **profile, crs="EPSG:32632", transform=there) as file:
            file.write(pixels.transpose(2, 0, 1))
    Image.fromarray(blocks((3000, 4000))).save(place / "photo.jpg", quality=90)
    pixels = blocks((5000, 5000)).transpose(2, 0, 1)
    zarr.create_array(str(place / "plain.zarr"), data=pixels, chunks=(3, 512, 512))


def blocks(size: tuple[int, int], side: int = 40, seed: int = 0) -> np.ndarray:
    """(H, W, 3) of squares of random colours."""
    small = np.random.default_rng(seed).integers(0, 256, (*(-(-n // side) for n in size), 3), np.uint8)
    return small.repeat(side, 0).repeat(side, 1)[: size[0], : size[1]]


def make_data(folder: Path, classes: int, counts: dict[str, int], size: tuple[int, int]) -> Path:
    """A data folder of random blocks, a class a colour."""
    from PIL import Image

    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (classes, 3), np.uint8)
    splits: dict[str, list[str]] = {}
    for split, count in counts.items():
        splits[split] = [f"{split}_{number:05}" for number in range(count)]
        for stem in splits[split]:
            labels = rng.integers(0, classes, (-(-size[0] // 8), -(-size[1] // 8)), np.uint8)
            labels = labels.repeat(8, 0).repeat(8, 1)[: size[0], : size[1]]
            Image.fromarray(colours[labels]).save(folder / "images" / f"{stem}.png")
            Image.fromarray(labels).save(folder / "masks" / f"{stem}.png")
    write_classes(folder, classes, colours.tolist())
    (folder / "splits.json").write_text(json.dumps(splits))
    return folder


def write_classes(folder: Path, classes: int, colours: list[list[int]]) -> None:
    """The table of a data folder."""
    from saccade.data import ClassTable

    table = ClassTable(tuple(f"class {n}" for n in range(classes)), tuple(range(classes)),
                       tuple((r, g, b) for r, g, b in colours))  # fmt: skip
    (folder / "classes.json").write_text(json.dumps(table.as_dict()))


def command(place: Path, *words: object) -> Watched:
    """``saccade WORDS``, looked at."""
    return watch((*SACCADE, *map(str, words), "-q"), place / "said")


def must(seen: Watched) -> Watched:
    """What has to succeed."""
    if seen.code:
        raise SystemExit(f"a command that must succeed ended with {seen.code}:\n{seen.said}")
    return seen


@dataclass
class Kept:
    """What came of a case. Amounts in MB; ``ratio``: the peak over what was allowed.

    Attributes:
        over: how many of the ``turns`` were over the bound.
        foreseen_much: less than two thirds of what was allowed was taken.
    """

    name: str
    allowed: float
    peak: float
    ratio: float
    turns: int = 1
    over: int = 0
    seconds: float = 0.0
    foreseen_much: bool = False
    kept: bool = True
    why: str = ""


def predicted(case: Case, place: Path) -> Iterator[Kept]:
    """Within the least that is not refused, and within what a plan foresees without a limit."""
    run, image = place / f"run_{case.classes}", place / "images" / case.image
    planned = must(watch((*SACCADE, "plan", str(image), str(run), "--json", *case.words), place / "said"))
    foreseen = json.loads(planned.said[planned.said.index("{") :])["memory_bytes"]
    allowed = least_for(case, place)
    if allowed is None:
        yield Kept(case.name, 0, 0, 0, kept=False, why="no amount was found that is not refused")
        return
    amounts = [("least", allowed)]
    roomy = -(-int(foreseen * 1.02) // (10 * MB)) * 10
    if roomy > 1.03 * allowed:
        amounts.append(("all", roomy))
    for what, megabytes in amounts:
        yield within(case, place, what, megabytes)


def least_for(case: Case, place: Path) -> int | None:
    """MB: what the refusals name, until it is not refused."""
    megabytes = 100
    for _ in range(4):
        seen = one(case, place, megabytes)
        if seen.code == 0:
            return megabytes
        named = re.search(r"at least (\d+)MB", seen.said)
        if named is None:
            raise SystemExit(f"{case.name}: {seen.said}")
        megabytes = max(int(named[1]), megabytes + 1)
    return None


def one(case: Case, place: Path, megabytes: int) -> Watched:
    """The prediction itself."""
    out = place / "out"
    shutil.rmtree(out, ignore_errors=True)
    run, image = place / f"run_{case.classes}", place / "images" / case.image
    return command(
        place, "predict", run, image, out, *case.words, "--memory", f"{megabytes}MB", "--device", "cpu"
    )


def within(case: Case, place: Path, what: str, megabytes: int) -> Kept:
    """Measured again where it is over the bound."""
    best: Kept | None = None
    over = 0
    for turn in range(TURNS):
        seen = one(case, place, megabytes)
        if seen.code:
            why = seen.said.strip().splitlines()[-1] if seen.said.strip() else f"exit code {seen.code}"
            if turn == 0 or "--memory" not in why:
                best = best or Kept(f"{case.name}, {what}", megabytes, 0, 0, kept=False, why=why)
            continue
        ratio = seen.peak / megabytes / MB
        over += ratio > BOUND
        found = Kept(
            f"{case.name}, {what}", megabytes, round(seen.peak / MB), round(ratio, 3),
            seconds=round(seen.seconds, 1), foreseen_much=ratio < LOW, kept=ratio <= BOUND,
        )  # fmt: skip
        if best is None or not best.ratio or found.ratio < best.ratio:
            best = found
        best.turns, best.over = turn + 1, over
        if ratio <= BOUND:
            break
    assert best is not None
    return best


def growth(name: str, place: Path, words: list[object], done: Any, early: int, late: int) -> Kept:
    """What is held after ``early`` steps, as ``done`` counts them, against after ``late``."""
    held: dict[str, list[int]] = {"early": [], "late": []}

    def look(now: int) -> None:
        steps = done()
        if early - 10 <= steps <= early + 10:
            held["early"].append(now)
        if steps >= late - 20:
            held["late"].append(now)

    seen = must(watch((*SACCADE, *map(str, words), "-q"), place / "said", every=0.05, look=look))
    if not held["early"] or not held["late"]:
        return Kept(name, 0, 0, 0, kept=False, why="too quick to be looked at")
    before, after = max(held["early"]), max(held["late"])
    ratio = after / before
    return Kept(
        name, round(before / MB), round(after / MB), round(ratio, 3), seconds=round(seen.seconds, 1),
        kept=ratio <= BOUND,
    )  # fmt: skip


def rows_of(*words: str, count: int = 300) -> Any:
    """300 images of several sizes."""

    def measure(place: Path) -> Kept:
        from PIL import Image

        images, out = place / f"row_{count}", place / "out"
        if not images.exists():
            images.mkdir()
            for number in range(count):
                size = (160 + number * 37 % 200, 200 + number * 53 % 300)
                Image.fromarray(blocks(size, 20, number)).save(images / f"{number:03}.png")
        shutil.rmtree(out, ignore_errors=True)

        def done() -> int:
            names = os.listdir(out) if out.is_dir() else []
            return sum(bool(re.fullmatch(r"\d+\.png", name)) for name in names)

        told = ["predict", place / "run_19", images, out, *words, "--device", "cpu"]
        return growth(" ".join((f"{count} images in a row", *words)), place, told, done, 50, count)

    return measure


def epochs(*words: str, count: int = 200) -> Any:
    """200 epochs of six tiny images."""

    def measure(place: Path) -> Kept:
        data, run = place / "tiny", place / "run_long"
        if not data.exists():
            make_data(data, 4, {"train": 4, "val": 2, "test": 2}, (48, 64))
        shutil.rmtree(run, ignore_errors=True)

        def done() -> int:
            table = run / "metrics.csv"
            return max(0, len(table.read_text().splitlines()) - 1) if table.exists() else 0

        told = ["train", data, run, "network.name=small:4", "sampler.size=12x16", "training.batch_size=2",
                f"training.epochs={count}", "--device", "cpu", *words]  # fmt: skip
        return growth(" ".join((f"{count} epochs", *words)), place, told, done, 20, count)

    return measure


GROWTHS = {
    "300 images in a row": rows_of(),
    "300 images in a row with everything": rows_of(*ALL),
    "300 images in a row as tiles": rows_of("--mode", "tiles", "--tile", "96x96", "--memory", "1500MB"),
    "200 epochs": epochs(),
    "200 epochs sampler.name=uniform": epochs("sampler.name=uniform"),
}


def main() -> int:
    asked = campaign_arguments(__doc__, quick="a few cases, a minute or two")
    chosen = [case for case in cases() if asked.only in case.name and (case.quick or not asked.quick)]
    longer = {name: way for name, way in GROWTHS.items() if asked.only in name and not asked.quick}
    place = asked.place or Path(tempfile.mkdtemp(prefix="saccade_memory_"))
    found: list[Kept] = []
    try:
        prepare(place, {case.classes for case in chosen} | {19})
        for case in chosen:
            for kept in predicted(case, place):
                found.append(tell(kept))
        for way in longer.values():
            found.append(tell(way(place)))
    finally:
        if asked.place is None:
            shutil.rmtree(place, ignore_errors=True)
    broken = [kept for kept in found if not kept.kept]
    much = sum(kept.foreseen_much for kept in found)
    print(f"{len(found)} amounts, {len(broken)} over {BOUND:.0%} of what was allowed, {much} below {LOW:.0%}")
    if asked.json:
        keep(found, asked.json)
    return 1 if broken else 0


def tell(kept: Kept) -> Kept:
    """A line of it."""
    mark = "ok" if kept.kept else "OVER"
    mark = f"{mark} ({kept.over} of {kept.turns} over)" if kept.over else mark
    mark += ", foreseen too much" if kept.foreseen_much else ""
    line = f"{kept.ratio:6.1%} {kept.peak:6.0f} of {kept.allowed:6.0f} MB, {kept.seconds:5.0f} s"
    print(f"{line}  {kept.name}: {mark} {kept.why}".rstrip(), flush=True)
    return kept


def keep(found: list[Kept], path: Path) -> None:
    """As JSON; what was measured before and not now stays."""
    old = json.loads(path.read_text())["cases"] if path.exists() else []
    new = {kept.name: asdict(kept) for kept in found}
    about = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": current_commit(), "bound": BOUND,
        "cores": os.cpu_count(), "load_average": [round(n, 1) for n in os.getloadavg()],
    }  # fmt: skip
    cases = [new.pop(case["name"], case) for case in old] + list(new.values())
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(case) for case in cases)
    path.write_text(f'{{"measured_on": {json.dumps(about)}, "cases": [\n{lines}\n]}}\n')


def prepare(place: Path, classes: set[int]) -> None:
    """Images and runs, where they are not there yet; and kernels, which hold more while they are compiled."""
    if not (place / "images").exists():
        make_images(place / "images")
    for count in sorted(classes):
        run = place / f"run_{count}"
        if not run.exists():
            data = make_data(place / f"data_{count}", count, {"train": 2, "val": 1, "test": 1}, (128, 256))
            must(command(place, "train", data, run, *NETWORK, "--device", "cpu"))
            for way in (WHOLE, TILES):
                out = place / "out"
                shutil.rmtree(out, ignore_errors=True)
                must(command(place, "predict", run, place / "images" / "map.tif", out, *way, *ALL))


if __name__ == "__main__":
    sys.exit(main())
