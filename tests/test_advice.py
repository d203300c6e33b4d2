"""What messages advise exists: every ``--option``, ``section.key``, command and name of ours in a string."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import saccade
from saccade.cli.main import COMMANDS, load
from saccade.training import read_config
from saccade.training.config import OLD_NAMES, flat, to_dict

SOURCE = Path(saccade.__file__).parent
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
COMMAND = re.compile(r"(?:`|command |: |with |run )saccade ([a-z]+)")
NAME = re.compile(r"\bsaccade(?:\.[A-Za-z_]\w*)+")


@cache
def strings() -> tuple[tuple[str, str], ...]:
    """(where, text) of every string in the source that is no docstring; the parts of f-strings each."""
    texts = []
    for file in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts += [
            (f"{file.relative_to(SOURCE)}:{node.lineno}", node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare
        ]
    return tuple(texts)


@cache
def options() -> frozenset[str]:
    """Every option of every command."""
    known = {"--help", "--version"}
    for command in COMMANDS:
        parser = load(command).add_parser(argparse.ArgumentParser().add_subparsers())
        known |= {name for action in parser._actions for name in action.option_strings}
    return frozenset(known)


def mentions(pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    return ((where, name) for where, text in strings() for name in pattern.findall(text))


OF_OTHERS = frozenset(
    {"--pyramid", "--bigtiff", "--nodes", "--ntasks", "--ntasks-per-node", "--max-restarts"}
)
"""Options that messages name of other programs: of vips, srun and torchrun."""


@cache
def styles() -> frozenset[str]:
    """Names of variables in the styles of pages, which look like options."""
    texts = [file.read_text(encoding="utf-8") for file in SOURCE.rglob("*.py")]
    used = re.compile(r"var\((--[a-z][a-z0-9-]*)|(--[a-z][a-z0-9]*):")
    return frozenset(name for text in texts for pair in used.findall(text) for name in pair)


def test_every_option_in_a_message_is_one_of_a_command() -> None:
    named = [one for one in mentions(OPTION) if one[1] not in styles()]
    assert len(named) > 60
    assert [one for one in named if one[1] not in options() | OF_OTHERS] == []


def keys() -> frozenset[str]:
    """section.key of every option of a configuration, those of all samplers included."""
    known: set[str] = set()
    for sampler in saccade.samplers.SAMPLERS:
        known |= set(flat(to_dict(read_config(overrides=[f"sampler.name={sampler}"]))))
    return frozenset(known)


def test_every_key_in_a_message_is_one_of_a_configuration() -> None:
    known = keys()
    sections = sorted({key.split(".")[0] for key in known if "." in key})
    pattern = re.compile(rf"(?<![\w./]){'(?:' + '|'.join(sections) + ')'}\.[a-z_]+\b(?![./(])")
    files = ("data.json", "data.py")
    named = [one for one in mentions(pattern) if one[1] not in files]
    assert len(named) > 40
    old = {name for pair in OLD_NAMES.items() for name in pair}
    assert [one for one in named if one[1] not in known and one[1] not in old] == []


def test_every_command_in_a_message_is_one() -> None:
    names = {command.name for command in COMMANDS}
    assert [one for one in mentions(COMMAND) if one[1] not in names] == []


@pytest.mark.parametrize("name", sorted({name for _, name in mentions(NAME)}))
def test_every_name_of_ours_in_a_message_can_be_imported(name: str) -> None:
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            value = getattr(value, part)
        return
