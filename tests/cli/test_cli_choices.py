"""What can be chosen is listed, the shell completes it, and a demo leaves other folders alone."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from saccade.cli import main
from saccade.cli.declared_options import declared_options
from saccade.cli.main import COMMANDS
from saccade.networks import require_network


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = main([str(word) for word in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_help_of_train_has_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "train", "--help")
    lines = set(out.splitlines())
    assert [o.name for o in declared_options() if not {o.name, f"{o.name}={o.default}"} & lines] == []
    assert "[KEY=VALUE ...]" in out
    assert "KEY=VALUE" not in run(capsys, "train")[2]


def test_no_option_is_guessed_by_its_section_alone(capsys: pytest.CaptureFixture[str]) -> None:
    err = run(capsys, "train", "DATA", "RUN", "network.zzzzz=1")[2]
    assert "did you mean" not in err and "choose one of" in err


def test_the_networks_that_are_listed_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    names = json.loads(run(capsys, "models", "--json")[1])
    for name in names["networks"]:
        if "NAME" not in name:
            require_network(name.replace("WIDTH", "8"))
    for name in names["architectures"]:
        require_network(name.replace("ENCODER", "resnet18"))
    for name in names["encoders"][:20]:
        require_network(f"unet:{name}")
    assert "tu-xception65" in run(capsys, "models", "xception")[1]
    assert "nothing with 'qqq'" in run(capsys, "models", "qqq")[1]


def test_the_shell_completes_commands_and_options(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("shtab")
    code, script, _ = run(capsys, "completion", "bash")
    assert code == 0
    assert all(command.name in script for command in COMMANDS)
    assert "--batch-size" in script
    if bash := shutil.which("bash"):
        (tmp_path / "script").write_text(script)
        assert subprocess.run([bash, "-n", str(tmp_path / "script")], check=False).returncode == 0


def test_a_demo_leaves_other_folders_alone(
    capsys: pytest.CaptureFixture[str], tiny_data: Path, tmp_path: Path
) -> None:
    mine = Path(shutil.copytree(tiny_data, tmp_path / "mine"))
    before = sorted(mine.rglob("*"))
    code, _, err = run(capsys, "demo", mine, "--overwrite")
    assert code == 1 and "a new folder, or one of an earlier demo" in err
    (tmp_path / "other" / "data").mkdir(parents=True)
    (tmp_path / "other" / "data" / "a.txt").write_text("mine")
    assert run(capsys, "demo", tmp_path / "other")[0] == 1
    assert run(capsys, "demo", mine / "classes.json")[0] == 1
    assert sorted(mine.rglob("*")) == before
