"""The run folder: what a training leaves, what it is built again from, and whether it may be resumed."""

from __future__ import annotations

import csv
import io
import json
import math
import platform
import subprocess
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from saccade import figures
from saccade.data import DataFolder
from saccade.data.classes import ClassTable, classes_from_dict
from saccade.data.record import DataRecord
from saccade.errors import FileProblem, SaccadeError, UsageError
from saccade.networks import build_network
from saccade.networks.adapters import Given
from saccade.rasters.bands import COLOUR, Bands
from saccade.runtime.files import finished_file, remove_unfinished, write_file, writing
from saccade.runtime.plugins import GIVEN_PREFIX, name_of_code
from saccade.runtime.reading import open_regular, read_text
from saccade.samplers.recipe import Recipe, SamplerConfig
from saccade.segmenter import Segmenter
from saccade.training.budgets import BUDGETS, read_budgets
from saccade.training.config import Config, ScheduleConfig, flat, read_config, save_config, to_dict


def build_segmenter(
    config: Config, classes: int, *, weights_follow: bool = False, network: Given | None = None
) -> Segmenter:
    """The segmenter that ``config`` describes, for K ``classes``, with fresh weights, or with any where
    others ``weights_follow``; of a ``network`` that was handed over in Python a copy.

    Raises:
        InvalidInput: for a network that cannot be made, or options that do not go together.
    """
    name, recipe, bands = config.network.name, config.recipe, bands_of(config)
    pretrained = config.network.pretrained and not weights_follow
    count = 3 if bands is None else len(bands.names)
    how: dict[str, Any] = {"weights_follow": weights_follow, "channels": count, "given": network}
    first = build_network(name, classes, pretrained=pretrained, **how)
    whole = recipe.network(first, lambda: build_network(name, classes, **how))
    recipe.bands = count
    sampler = recipe.build()
    if config.sampler.fit:
        sampler.follow_images()
    sampler.sizes = config.sampler.sizes
    return Segmenter(sampler, whole, antialias=config.network.antialias, classes=classes, bands=bands)


def bands_of(config: Config, path: Path | None = None) -> Bands | None:
    """The bands of a run, None for colour of eight bits; raises FileProblem where ``path`` tells none."""
    return None if config.bands is None else Bands.from_dict(config.bands, path or Path(CONFIG))


BEFORE = Config(sampler=SamplerConfig(net=None), training=ScheduleConfig(every_image=False))
"""What a run had that does not name an option, since there was none yet: it keeps all that there are."""

CONFIG, ENVIRONMENT, METRICS, CHECKPOINTS = "config.yaml", "environment.json", "metrics.csv", "checkpoints"
DATA = "data"
"""Where a checkpoint keeps what was trained on, by content."""
TRAINED_ON = ("train", "val")
BEST, LAST = "best.ckpt", "last.ckpt"
SEGMENTER = "segmenter."
"""What the names of a segmenter's weights begin with in a checkpoint."""
PAGE = "report.html"
RESULTS = ("evaluation_*.json", "figures/examples/*.json")
"""Of the weights that were best so far."""
PACKAGES = ("saccade", "torch", "lightning", "segmentation-models-pytorch", "timm", "numpy", "numba")


@dataclass(frozen=True)
class Run:
    """A trained run.

    Attributes:
        path: its folder.
        config: every option it was trained with.
        classes: of its data.
        segmenter: with the weights of the checkpoint that was asked for, on the CPU, in evaluation mode.
        epoch: passes over the training images that these weights saw.
        checkpoint: which weights these are, "best" or "last".
        shrink: pixels of an image that a sample stood for along an axis, median over the images (or the parts
            of them) of that epoch; None of runs that did not keep it.

    Examples:
        >>> from saccade.data import open_data
        >>> from saccade.testing import make_fake
        >>> from saccade.training import Run, read_config, train
        >>> options = ["network.name=small:4", "sampler.size=8x12", "training.epochs=1"]
        >>> data = open_data(make_fake("folder", "leaves", size=(16, 24)))
        >>> run = train(data, "run", read_config(overrides=options), device="cpu")
        >>> isinstance(run, Run), run.segmenter.training
        (True, False)
    """

    path: Path
    config: Config
    classes: ClassTable
    segmenter: Segmenter
    epoch: int
    shrink: float | None = None
    checkpoint: str = "best"

    def _repr_html_(self) -> str:
        """Curves and the last scores, for a notebook."""
        rows = read_metrics(self.path / METRICS)
        config = self.config
        budget = config.sampler.budget
        about = (
            f"{config.recipe.name} {budget}, {config.network.name}, epoch {self.epoch} of {config.all_epochs}"
        )
        curves = {name: [row.get(name) for row in rows] for name in ("train_loss", "val_miou")}
        validated = [row for row in rows if row.get("val_miou") is not None]
        best = max(validated, key=lambda row: row["val_miou"], default={})
        scores = [(name, best.get(f"val_iou_{name}")) for name in self.classes.names]
        shown = [("mean", best.get("val_miou")), *scores] if best else []
        table = figures.table_html(
            ("class", "IoU on val"), shown, dict(zip(self.classes.names, self.classes.colours, strict=True))
        )
        return figures.titled_html(f"{self.path}: {about}", figures.curves_html(curves, "epoch") + table)


def load_run(path: Path | str, checkpoint: str = "best", *, network: str | Given | None = None) -> Run:
    """Opens a run folder.

    Args:
        path: the folder that ``saccade train`` made.
        checkpoint: "best" (by validation mIoU) or "last".
        network: that it was trained with, where that was handed over in Python and has no name.

    Raises:
        FileProblem: when it is no run folder, has no checkpoint yet, or one that does not fit; when its
            network was handed over in Python and is not now, or is another.

    Examples:
        >>> from saccade.data import open_data
        >>> from saccade.testing import make_fake
        >>> from saccade.training import load_run, read_config, train
        >>> options = ["network.name=small:4", "sampler.size=8x12", "training.epochs=1"]
        >>> data = open_data(make_fake("folder", "leaves", size=(16, 24)))
        >>> _ = train(data, "run", read_config(overrides=options), device="cpu")
        >>> load_run("run").segmenter.sampler.size
        (8, 12)
    """
    root = Path(path)
    config, classes = open_config(root)
    file = root / CHECKPOINTS / f"{checkpoint}.ckpt"
    if not file.is_file():
        fix = "train it: saccade train DATA RUN, with --resume to go on"
        raise FileProblem(file, "a checkpoint", "no such file", fix)
    saved = read_checkpoint(file)
    name, given = _network_of(root, config, network)
    described = replace(config, network=replace(config.network, name=name))
    segmenter = build_segmenter(
        without_pretrained(described), len(classes), weights_follow=True, network=given
    )
    segmenter.classes = classes
    try:
        segmenter.load_state_dict(weights_in(saved))
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        if network is not None:
            fix = "hand over the network that it was trained with"
            raise FileProblem(file, "weights that fit the network", "others", fix) from error
        raise FileProblem(file, f"weights that fit {CONFIG}", "others", "train the run anew") from error
    epoch, shrink = saved["epoch"] + 1, saved.get("shrink")
    if shrink is not None and not (isinstance(shrink, int | float) and 0 < shrink < math.inf):
        raise FileProblem(file, "pixels for each sample, a number above 0", repr(shrink)[:40])
    if config.recipe.draws_shares:
        segmenter.sampler.shares = {one.size: one.share for one in read_budgets(root)}  # type: ignore[assignment]
    run = Run(root, config, classes, segmenter.eval(), epoch, shrink, checkpoint)
    segmenter.run = run
    return run


def _network_of(root: Path, config: Config, network: str | Given | None) -> tuple[str, Given | None]:
    """The name of the network of a run, and what was handed over where that is no name."""
    own = config.network.name
    without_name = own.startswith(GIVEN_PREFIX)
    if network is None:
        if without_name:
            found = f"{own}, which was handed over in Python"
            fix = f"open it there: saccade.load({str(root)!r}, network=...), and give what that returns"
            raise FileProblem(root / CONFIG, "a network with a name", found, fix)
        return own, None
    name = network if isinstance(network, str) else name_of_code(network)
    if not without_name and name != own:
        raise FileProblem(root / CONFIG, f"the network {name}", own, "leave network= out")
    return name, network if not isinstance(network, str) and name.startswith(GIVEN_PREFIX) else None


def open_config(root: Path) -> tuple[Config, ClassTable]:
    """Options and classes of a run folder; raises FileProblem where it is none."""
    if not (root / CONFIG).is_file():
        found = f"no {CONFIG} in it" if root.is_dir() else "a file" if root.exists() else "no such folder"
        raise FileProblem(root, "a run folder made by saccade train", found)
    config = read_config(root / CONFIG, base=BEFORE)
    if config.classes is None:
        raise FileProblem(root / CONFIG, "the classes of a run", "none", "train the run anew")
    bands = bands_of(config, root / CONFIG)
    if bands is not None and not bands.mean:
        raise FileProblem(root / CONFIG, "bands with mean and deviation", "none", "train the run anew")
    return config, classes_from_dict(config.classes, root / CONFIG)


def require_classes(run: Run, classes: ClassTable, data: Path | str) -> None:
    """Refuses data whose classes are not those of the run.

    Raises:
        FileProblem: with both lists of classes.
    """
    require_same_classes(run.classes, classes, data)


def require_same_classes(of_run: ClassTable, found: ClassTable, data: Path | str) -> None:
    """As :func:`require_classes`, for the class table of a run."""
    if (of_run.names, of_run.indices) != (found.names, found.indices):
        expected, got = f"the classes of the run ({_named(of_run)})", _named(found)
        raise FileProblem(data, expected, got, "use the data it was trained on")


def reading_of(run: Run) -> Bands | str:
    """What images of data are read as for a run: its bands, or "colour"."""
    return run.segmenter.reading.bands or COLOUR


def require_bands(run: Run, data: DataFolder, split: str) -> None:
    """Refuses data whose bands, type or unit are not those of the run.

    Raises:
        FileProblem: with both sides.
    """
    expected, found = run.segmenter.reading.bands, data.bands
    descriptions = ["colour of eight bits" if bands is None else bands.told() for bands in (expected, found)]
    if expected is None or found is None:
        if expected is not found:
            raise FileProblem(data.path, f"{descriptions[0]}, as of {run.path}", descriptions[1])
        return
    alike = (len(expected.names), expected.dtype) == (len(found.names), found.dtype)
    if not alike or (expected.named and found.named and expected.names != found.names):
        raise FileProblem(data.path, f"{descriptions[0]}, as of {run.path}", descriptions[1])
    for item in data.split(split):
        seen = data.facts[item.stem].bands
        if seen is not None:
            expected.require_scale(item.image, seen.values, like=str(run.path))


def _named(classes: ClassTable) -> str:
    rows = zip(classes.indices, classes.names, strict=True)
    return ", ".join(f"{index} {name}" for index, name in rows)


def without_pretrained(config: Config) -> Config:
    """The same network, its weights coming from a checkpoint and so neither fetched nor looked for."""
    return replace(config, network=replace(config.network, pretrained=False, weights=None))


def read_checkpoint(file: Path) -> dict[str, Any]:
    """What Lightning saved, tensors and plain values only; raises FileProblem where it is broken."""
    open_regular(file, "a checkpoint of a run").close()
    try:
        saved: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        found = "a broken or foreign file"
        raise FileProblem(file, "a checkpoint of a run", found, _way_round(file)) from error
    whole = isinstance(saved, dict) and isinstance(saved.get("state_dict"), dict)
    if not whole or not isinstance(saved.get("epoch"), int):
        raise FileProblem(file, "a checkpoint of a run", "another file of tensors")
    if not all(isinstance(value, torch.Tensor) for value in saved["state_dict"].values()):
        raise FileProblem(file, "a checkpoint of a run", "weights that are no tensors")
    return saved


def weights_in(saved: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The weights of the segmenter in a checkpoint, by their names in it."""
    items = saved["state_dict"].items()
    return {k.removeprefix(SEGMENTER): v for k, v in items if isinstance(k, str) and k.startswith(SEGMENTER)}


def _way_round(file: Path) -> str:
    """What can be done without a checkpoint that is broken: each holds all that a training goes on from."""
    other = file.with_name(BEST if file.name == LAST else LAST)
    if file.name not in (BEST, LAST) or not other.is_file():
        return "train it anew with --overwrite"
    if file.name == LAST:
        return f"copy {BEST} over it and --resume from the best epoch, or train it anew with --overwrite"
    return f"use the weights of {LAST} (--checkpoint last), or train it anew with --overwrite"


def save_checkpoint(saved: dict[str, Any], file: Path) -> None:
    """Writes a checkpoint, whole or not at all; raises FileProblem where the disk is full or refuses."""
    content = io.BytesIO()
    torch.save(saved, content)
    write_file(file, content.getvalue())


def save_environment(file: Path, device: str, launch: str = "") -> None:
    """Versions, device and commit, so that figures can be traced; and who started the processes."""
    facts = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: version_of(name) for name in PACKAGES},
        "device": device,
        "threads": torch.get_num_threads(),
        "commit": _commit(),
        **({"launch": launch} if launch else {}),
    }
    write_file(file, json.dumps(facts, indent=1) + "\n")


def version_of(package: str) -> str | None:
    """Of an installed package; None where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the source tree that runs, where it is one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def prepare(root: Path, config: Config, goes_on: bool, device: str, launch: str = "") -> None:
    """Makes the folder. Of a run that is there, what no longer holds is removed, and no other file, ever."""
    stale = [root / PAGE, root / BUDGETS, *(file for pattern in RESULTS for file in root.glob(pattern))]
    if not goes_on:
        stale += [root / METRICS, root / CHECKPOINTS / BEST, root / CHECKPOINTS / LAST]
    with writing(root):
        for file in stale:
            file.unlink(missing_ok=True)
        (root / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        for place in (root, root / CHECKPOINTS):
            remove_unfinished(place)
    if not goes_on or open_config(root)[0].training.epochs != config.training.epochs:
        with finished_file(root / CONFIG, overwrite=True) as temporary:
            save_config(config, temporary)
    save_environment(root / ENVIRONMENT, device, launch)


def require_new(root: Path, resume: bool, overwrite: bool) -> bool:
    """Whether to go on from what is at ``root``.

    Raises:
        SaccadeError: when there is something and neither ``resume`` nor ``overwrite`` says what to do, or
            it is no run folder, which is never overwritten.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        if resume:
            raise FileProblem(root, "a run to resume", "nothing there", "train without --resume")
        return False
    if not (root / CONFIG).is_file():
        raise FileProblem(root, "a new or empty folder, or a run", "something else", "choose another folder")
    if resume:
        if not (root / CHECKPOINTS / LAST).is_file():
            raise FileProblem(root, "a run with a checkpoint to resume", "none", "use --overwrite")
        return True
    if overwrite:
        return False
    raise SaccadeError(f"{root}: there is a run already; use --resume to go on, or --overwrite")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Rows of metrics.csv, numbers as floats, empty cells as None; [] where there is no file yet.

    Raises:
        FileProblem: the file is damaged.
    """
    rows = metrics_rows(path)
    try:
        return [{k: float(v) if v else None for k, v in row.items() if k} for row in rows]
    except (ValueError, TypeError) as error:
        raise FileProblem(path, "a table of numbers", "something else", "train the run anew") from error


def metrics_rows(path: Path) -> list[dict[str, str]]:
    """Rows of metrics.csv as texts; [] where there is no file yet.

    Raises:
        FileProblem: the file is damaged.
    """
    if not path.is_file():
        return []
    text = read_text(path, "a table of numbers")
    try:
        return list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise FileProblem(path, "a table of numbers", f"a broken one ({error})") from error


def require_same_options(root: Path, config: Config) -> None:
    """Refuses options that are not those of the run; the data folder may have moved, and there may be more
    epochs: the learning rate goes on where the longer schedule is at that step.

    Raises:
        UsageError: with every option that differs.
    """
    of_run = flat(to_dict(open_config(root)[0]))
    differing = [
        f"{key}={_text(value)} (the run has {_text(of_run[key])})"
        for key, value in flat(to_dict(config)).items()
        if value != of_run[key] and key not in ("data.path", "classes", "training.epochs")
    ]
    if config.training.epochs < of_run["training.epochs"]:
        epochs = of_run["training.epochs"]
        differing.append(f"training.epochs={config.training.epochs} (the run has {epochs})")
    if differing:
        way_out = "leave them out to go on, or train a new run"
        raise UsageError(f"{root} was started with other options than {', '.join(differing)}; {way_out}")


def require_same_images(root: Path, data: DataFolder, saved: dict[str, Any]) -> None:
    """Refuses data that is not, by content, what the run was started with.

    A run of version 0.1 kept only the names of its training images: more cannot be asked of its data.

    Raises:
        FileProblem: with what differs: classes, ignored values, images or masks of train or val.
    """
    require_same_classes(open_config(root)[1], data.classes, data.path)
    expected, way_out = f"the training images of {root}", "go on with its own data, or train a new run"
    if DATA in saved:
        expected = f"the data that {root} was started with (training images, masks, val, classes)"
        if differing := why_other_data(saved, data, root):
            raise FileProblem(data.path, expected, f"other data: {differing}", way_out)
    elif saved.get("training_images") != training_images(data):
        raise FileProblem(data.path, expected, "others", way_out)
    if "keep" not in saved.get("callbacks", ()):
        last = root / CHECKPOINTS / LAST
        raise FileProblem(last, "a checkpoint of a training", "one of weights alone", way_out)


def knows_data(root: Path) -> bool:
    """Whether the last checkpoint says what was trained on, which those of version 0.1 do not."""
    return DATA in read_checkpoint(root / CHECKPOINTS / LAST)


def record_of(data: DataFolder) -> DataRecord:
    """What a run keeps of its data, in its checkpoints."""
    return DataRecord.of(data, TRAINED_ON)


def why_other_data(saved: dict[str, Any], data: DataFolder, root: Path) -> str:
    """What differs from the data of a checkpoint of the run at ``root``; "" where nothing does."""
    record = DataRecord.from_json(saved[DATA], root / CHECKPOINTS / LAST)
    return "; ".join(record.differences(record_of(data)))


def training_images(data: DataFolder) -> list[str]:
    """Their stems, in order: the shuffling goes by position."""
    return [item.stem for item in data.split("train")]


def is_finished(saved: dict[str, Any], config: Config) -> bool:
    """Whether a checkpoint is the last that its training would make."""
    patience = config.training.early_stopping
    stopped = patience is not None and saved["callbacks"]["keep"]["since_best"] >= patience
    return stopped or saved["epoch"] + 1 >= config.all_epochs


def _text(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)


def assemble(data: DataFolder, root: Path, config: Config) -> None:
    """Writes a run whose networks are those of trained runs, the members of its sampler's recipe.

    Raises:
        FileProblem: when a run does not belong where it stands among the members.
    """
    recipe = config.recipe
    runs = [load_run(member) for member in recipe.members]
    first = runs[0].config
    for number, run in enumerate(runs):
        _require_member(recipe, run, first, number)
        require_classes(run, data.classes, data.path)
    made = replace(config, sampler=first.sampler, network=without_pretrained(first).network)
    made = made.with_options(recipe.joined(first.recipe.own))
    segmenter = build_segmenter(made, len(data.classes))
    for network, run in zip(segmenter.network.networks, runs, strict=True):  # type: ignore[arg-type]
        network.load_state_dict(run.segmenter.network.state_dict())
    saved = {
        "state_dict": {f"segmenter.{name}": value for name, value in segmenter.state_dict().items()},
        "epoch": max(run.epoch for run in runs) - 1,
        "training_images": training_images(data),
        DATA: record_of(data).to_json(),
        "callbacks": {"keep": {"best": None, "since_best": 0}},
    }
    with writing(root):
        prepare(root, made, False, "cpu")
        for name in (BEST, LAST):
            save_checkpoint(saved, root / CHECKPOINTS / name)


def _require_member(recipe: Recipe[Any], run: Run, first: Config, number: int) -> None:
    config = run.config
    alike = config.sampler == first.sampler and config.network.name == first.network.name
    refusal = recipe.refusal(config.recipe, first.recipe, number)
    if refusal is None and not alike:
        refusal = "the options of the first member", "others"
    if refusal is not None:
        raise FileProblem(run.path, *refusal, recipe.members_fix)
