"""The run folder: what a training leaves, and what evaluation and prediction start from."""

from __future__ import annotations

import json
import platform
import subprocess
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from saccade.data.classes import ClassTable
from saccade.data.classesfile import classes_from_dict
from saccade.errors import FileProblem, SaccadeError
from saccade.segmenter import Segmenter
from saccade.training.build import build_segmenter
from saccade.training.config import Config
from saccade.training.configfile import read_config, save_config
from saccade.training.sampler_options import SamplerConfig

BEFORE = Config(sampler=SamplerConfig(net=None))
"""What a run had that does not name an option, since there was none yet: it keeps all that there are."""

CONFIG, ENVIRONMENT, METRICS, CHECKPOINTS = "config.yaml", "environment.json", "metrics.csv", "checkpoints"
BEST, LAST = "best.ckpt", "last.ckpt"
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
        shrink: pixels of an image that a sample stood for along an axis, median over the images (or the parts
            of them) of that epoch; None of runs that did not keep it.
    """

    path: Path
    config: Config
    classes: ClassTable
    segmenter: Segmenter
    epoch: int
    shrink: float | None = None


def load_run(path: Path | str, checkpoint: str = "best") -> Run:
    """Opens a run folder.

    Args:
        path: the folder that ``saccade train`` made.
        checkpoint: "best" (by validation mIoU) or "last".

    Raises:
        FileProblem: when it is no run folder, has no checkpoint yet, or one that does not fit.
    """
    root = Path(path)
    config, classes = open_config(root)
    file = root / CHECKPOINTS / f"{checkpoint}.ckpt"
    if not file.is_file():
        fix = "train it: saccade train DATA RUN, with --resume to go on"
        raise FileProblem(file, "a checkpoint", "no such file", fix)
    saved = read_checkpoint(file)
    segmenter = build_segmenter(without_pretrained(config), len(classes))
    prefix = "segmenter."
    state = {k.removeprefix(prefix): v for k, v in saved["state_dict"].items() if k.startswith(prefix)}
    try:
        segmenter.load_state_dict(state)
    except RuntimeError as error:
        raise FileProblem(file, f"weights that fit {CONFIG}", "others", "train the run anew") from error
    return Run(root, config, classes, segmenter.eval(), int(saved["epoch"]) + 1, saved.get("shrink"))


def open_config(root: Path) -> tuple[Config, ClassTable]:
    """Options and classes of a run folder; raises FileProblem where it is none."""
    if not (root / CONFIG).is_file():
        found = f"no {CONFIG} in it" if root.is_dir() else "a file" if root.exists() else "no such folder"
        raise FileProblem(root, "a run folder made by saccade train", found)
    config = read_config(root / CONFIG, base=BEFORE)
    if config.classes is None:
        raise FileProblem(root / CONFIG, "the classes of a run", "none", "train the run anew")
    return config, classes_from_dict(config.classes, root / CONFIG)


def require_classes(run: Run, classes: ClassTable, data: Path | str) -> None:
    """Refuses data whose classes are not those of the run.

    Raises:
        FileProblem: with both lists of classes.
    """
    require_same_classes(run.classes, classes, data)


def require_same_classes(wanted: ClassTable, found: ClassTable, data: Path | str) -> None:
    """As :func:`require_classes`, for the class table of a run."""
    if (wanted.names, wanted.indices) != (found.names, found.indices):
        expected, got = f"the classes of the run ({_named(wanted)})", _named(found)
        raise FileProblem(data, expected, got, "use the data it was trained on")


def _named(classes: ClassTable) -> str:
    rows = zip(classes.indices, classes.names, strict=True)
    return ", ".join(f"{index} {name}" for index, name in rows)


def without_pretrained(config: Config) -> Config:
    """The same network, its weights coming from a checkpoint and so never fetched."""
    return replace(config, network=replace(config.network, pretrained=False))


def read_checkpoint(file: Path) -> dict[str, Any]:
    """What Lightning saved, tensors and plain values only; raises FileProblem where it is broken."""
    try:
        saved: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        found = "a broken or foreign file"
        raise FileProblem(file, "a checkpoint of a run", found, "train it again, or resume") from error
    if "state_dict" not in saved or "epoch" not in saved:
        raise FileProblem(file, "a checkpoint of a run", "another file of tensors")
    return saved


def save_environment(file: Path, device: str) -> None:
    """Versions, device and commit, so that figures can be traced."""
    facts = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "device": device,
        "threads": torch.get_num_threads(),
        "commit": _commit(),
    }
    file.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _version(package: str) -> str | None:
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


def prepare(root: Path, config: Config, goes_on: bool, device: str) -> None:
    """Makes the folder. Of a run that is there, what no longer holds is removed, and no other file, ever."""
    stale = [root / PAGE, *(file for pattern in RESULTS for file in root.glob(pattern))]
    if not goes_on:
        stale += [root / METRICS, root / CHECKPOINTS / BEST, root / CHECKPOINTS / LAST]
    for file in stale:
        file.unlink(missing_ok=True)
    root.mkdir(parents=True, exist_ok=True)
    if not goes_on:
        save_config(config, root / CONFIG)
    (root / CHECKPOINTS).mkdir(exist_ok=True)
    save_environment(root / ENVIRONMENT, device)


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
