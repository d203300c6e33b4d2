"""Every option is listed with its default and a meaning, and arguments in the wrong order are recognised."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import get_type_hints

import pytest

from saccade.cli import main
from saccade.cli.declared_options import declared_options, sections
from saccade.training import Config, read_config
from saccade.training.config import sampler_sections, to_dict


def test_every_option_of_a_configuration_is_listed_with_a_meaning() -> None:
    listed = {option.name: option for option in declared_options()}
    written = to_dict(read_config())
    expected = {
        f"{section}.{key}"
        for section, options in written.items()
        if isinstance(options, dict)
        for key in options
    }
    assert set(listed) == expected
    assert not [name for name, option in listed.items() if not option.meaning]
    assert not [
        name for name, option in listed.items() if "`" in option.meaning or ":class:" in option.meaning
    ]


def test_what_is_listed_can_be_given() -> None:
    given = [f"{option.name}={option.default}" for option in declared_options() if option.default]
    assert len(given) > 40 and len(sections()) >= 8
    kept = [word for word in given if not word.startswith(("data.path", "foveation.members"))]
    assert read_config(overrides=kept) == read_config()


def test_the_command_prints_a_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["options", "loss"]) == 0
    text = capsys.readouterr().out
    assert "loss.edge_weight=0.3\n    weight of the edge loss" in text and "sampler." not in text
    assert main(["options", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [set(one) for one in found] == [{"name", "default", "meaning"}] * len(found)
    assert main(["options", "los"]) == 2
    assert "did you mean 'loss'?" in capsys.readouterr().err


def test_a_wrong_key_is_told_with_its_section(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["train", str(tmp_path), str(tmp_path / "run"), "training.epoch=1"]) == 2
    assert "did you mean 'training.epochs'?" in capsys.readouterr().err


def test_the_program_alone_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2  # a script that forgot the command has not done its work
    shown = capsys.readouterr()
    assert "predict   full-resolution labels" in shown.out and not shown.err


@pytest.mark.parametrize(
    ("words", "right"),
    [
        (["plan", "RUN", "DATA/images/scene_000.png"], "saccade plan IMAGE RUN"),
        (["predict", "DATA/images/scene_000.png", "RUN", "OUT"], "saccade predict RUN IMAGE... OUT"),
        (["predict", "DATA/images/scene_000.png", "OUT", "RUN"], "saccade predict RUN IMAGE... OUT"),
        (["evaluate", "DATA", "RUN"], "saccade evaluate RUN DATA"),
        (["train", "RUN", "DATA"], "saccade train DATA RUN"),
    ],
)
def test_swapped_arguments_are_recognised(
    words: list[str], right: str, trained_folder: Path, tiny_data: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    places = {"RUN": str(trained_folder), "DATA": str(tiny_data), "OUT": str(tmp_path / "out")}
    given = [places.get(word, word.replace("DATA", places["DATA"])) for word in words]
    assert main(given) == 2
    told = capsys.readouterr().err
    assert "swap them" in told and right in told and len(told.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_defaults_are_those_of_the_classes() -> None:
    hints = get_type_hints(Config)
    kinds = {name: hints[name] for name in sections() if name in hints} | sampler_sections()
    assert set(kinds) == set(sections())
    for section, kind in kinds.items():
        assert [f"{section}.{field.name}" for field in dataclasses.fields(kind)] == [
            option.name for option in declared_options(section)
        ]
