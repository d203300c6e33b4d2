"""The commands of the program, in the order of its help. A new command is one line here and one module.

A command's module has ``add_parser(subparsers) -> ArgumentParser`` and ``run(args) -> int``, and imports
what is heavy inside ``run``.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import NamedTuple


class Command(NamedTuple):
    """A command's name, its module, and its line in the help."""

    name: str
    module: str
    help: str


COMMANDS = (
    Command("demo", "saccade.cli.demo", "draw scenes, train both ways, predict, report: about two minutes"),
    Command("info", "saccade.cli.info", "what an image or a data folder is, and every fault in it"),
    Command("train", "saccade.cli.train", "train a sampler and a segmentation network together"),
    Command("plan", "saccade.cli.plan", "what a prediction would cost: pixels, operations, memory, time"),
    Command("predict", "saccade.cli.predict", "full-resolution labels of images"),
    Command("evaluate", "saccade.cli.evaluate", "scores of a trained run at full resolution"),
    Command("compare", "saccade.cli.compare", "samplers beside each other: what does a pixel buy?"),
    Command("report", "saccade.cli.report", "one HTML page of a run: scores, curves, examples"),
    Command("view", "saccade.cli.view", "an image, a run or a comparison as a page for the browser"),
)


def load(command: Command) -> ModuleType:
    """The module of a command."""
    return importlib.import_module(command.module)
