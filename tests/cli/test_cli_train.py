"""``saccade train``: what it makes, what it refuses, and that nothing is lost on the way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from saccade.cli import main
from saccade.runtime.files import exclusively
from saccade.training import load_run, read_config

TINY = ["network.name=small:4", "sampler.size=8x12", "training.batch_size=2", "training.epochs=2"]
Result = tuple[int, str, str]
Saccade = Callable[..., Result]


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Every training here is tiny."""


@pytest.fixture
def saccade(capfd: pytest.CaptureFixture[str]) -> Saccade:
    """``saccade("train", ...)`` gives exit code, standard output and standard error, of libraries too."""

    def call(*argv: object) -> Result:
        code = main([str(word) for word in argv])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def assert_refused(result: Result, words: str, code: int | tuple[int, ...] = (1, 2)) -> None:
    found, out, err = result
    assert found in (code if isinstance(code, tuple) else (code,)), err
    assert out == ""
    assert err.startswith("saccade: error: ") and words in err, err
    assert err.count("\n") == 1 and "defect" not in err, err


def test_training_makes_a_run_and_says_so(saccade: Saccade, tiny_data: Path, tmp_path: Path) -> None:
    before = contents(tiny_data)
    code, out, err = saccade("train", tiny_data, tmp_path / "run", *TINY)
    assert (code, out) == (0, "")
    first, *_, best, last = [line for line in err.splitlines() if not line.startswith("note")]
    assert "on cpu: 8 x 12 samples (rows x columns) of 4 images, 2 epochs of 2 steps of 2 images" in first
    assert best.startswith(f"{tmp_path / 'run'}: best weights after epoch ") and "IoU on val 0." in best
    assert last.startswith(f"next: saccade evaluate {tmp_path / 'run'} {tiny_data}, saccade predict ")
    assert "note: 4 steps in all are few" in err
    assert [line for line in err.splitlines() if "arning" in line or "Tip" in line or "GPU" in line] == []
    assert contents(tiny_data) == before
    assert load_run(tmp_path / "run").config.sampler.size == (8, 12)


def test_quiet_training_says_nothing(saccade: Saccade, tiny_data: Path, tmp_path: Path) -> None:
    assert saccade("train", tiny_data, tmp_path / "run", *TINY, "-q") == (0, "", "")


def test_options_file_and_keys_come_together(saccade: Saccade, tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("sampler: {name: uniform, size: 4x4}\ntraining: {epochs: 9}\n")
    options = ["--config", tmp_path / "a.yaml", "--network", "small:2", "--size", "6x8", "--epochs", "1"]
    assert saccade("train", tiny_data, tmp_path / "run", *options, "--seed", "3", "--batch-size", "4")[0] == 0
    config = load_run(tmp_path / "run").config
    assert (config.sampler.name, config.sampler.size, config.network.name) == ("uniform", (6, 8), "small:2")
    assert (config.training.epochs, config.training.seed, config.training.batch_size) == (1, 3, 4)


def test_the_configuration_that_is_kept_repeats_the_run(
    saccade: Saccade, tiny_data: Path, trained_folder: Path, tmp_path: Path
) -> None:
    assert saccade("train", tiny_data, tmp_path / "run", "--config", trained_folder / "config.yaml")[0] == 0
    assert read_config(tmp_path / "run" / "config.yaml") == read_config(trained_folder / "config.yaml")
    kept = [(path / "metrics.csv").read_text().splitlines() for path in (tmp_path / "run", trained_folder)]
    first, second = ([line.rpartition(",")[0] for line in lines] for lines in kept)
    assert first == second


def test_a_dry_run_checks_everything_and_writes_nothing(
    saccade: Saccade, tiny_data: Path, tmp_path: Path
) -> None:
    code, out, _ = saccade("train", tiny_data, tmp_path / "run", *TINY, "--dry-run")
    assert code == 0
    assert "on 8 x 12 samples of 4 images, 2 epochs, 4 steps" in out
    assert list(tmp_path.iterdir()) == []
    assert_refused(
        saccade("train", tiny_data, tmp_path / "run", "--network", "unet:x", "--dry-run"), "encoder"
    )


def test_a_run_that_is_there_is_resumed_or_replaced_only_when_told(
    saccade: Saccade, tiny_data: Path, run_folder: Path
) -> None:
    before = contents(run_folder)
    assert_refused(saccade("train", tiny_data, run_folder, *TINY), "--resume to go on, or --overwrite", 1)
    assert_refused(
        saccade("train", tiny_data, run_folder, "--resume", "--size", "4x4", "sampler.blur=2"),
        "sampler.size=4x4 (the run has 8x12), sampler.blur=2.0 (the run has",
        2,
    )
    assert contents(run_folder) == before
    assert saccade("train", tiny_data, run_folder, "--resume")[0] == 0
    assert saccade("train", tiny_data, run_folder, "--resume", *TINY)[0] == 0
    assert contents(run_folder) == before
    assert saccade("train", tiny_data, run_folder, *TINY, "--overwrite", "--size", "4x6")[0] == 0
    assert load_run(run_folder).config.sampler.size == (8, 12)


def test_a_run_that_another_program_trains_is_left_alone(
    saccade: Saccade, tiny_data: Path, run_folder: Path
) -> None:
    before = contents(run_folder)
    with exclusively(run_folder, "a free one"):
        words = "a run that no other program trains, but got one being written now; wait until it is done"
        assert_refused(saccade("train", tiny_data, run_folder, *TINY, "--overwrite"), words, 1)
    assert contents(run_folder) == before


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        (["--size", "0x10"], "ROWSxCOLUMNS", 2),
        (["--size", "axb"], "ROWSxCOLUMNS", 2),
        (["--size", "64"], "64x128", 2),
        (["--sampler", "deformed"], "did you mean 'deformation'?", 2),
        (["--epochs", "none"], "a whole number", 2),
        (["--seed", "-1"], "", 2),
        (["training.epoch=3"], "did you mean 'training.epochs'?", 2),
        (["--epoch", "3"], "did you mean '--epochs'?", 2),
        (["--network", "unett:resnet18"], "did you mean 'unet'?", 1),
        (["--device", "cuda:99"], "one that this machine has (auto, cpu", 1),
        (["--device", "gpu"], "one that this machine has (auto, cpu", 1),
        (["--config", "nothing.yaml"], "nothing.yaml: expected a YAML file of options", 1),
        (["training.precision=16-mixed", "--device", "cpu"], "bf16-mixed on a CPU", 1),
        (["loss.class_weights=[1,2]"], "one number for each of the 4 classes", 1),
        (["--resume", "--overwrite"], "not allowed with argument", 2),
        (["--resume"], "train without --resume", 1),
    ],
)
def test_wrong_options_are_one_clear_line_and_leave_nothing(
    saccade: Saccade, tiny_data: Path, tmp_path: Path, options: list[str], words: str, code: int
) -> None:
    assert_refused(saccade("train", tiny_data, tmp_path / "run", *options), words, code)
    assert not (tmp_path / "run").exists()


def test_a_device_that_is_not_there_is_refused(
    saccade: Saccade, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert_refused(
        saccade("train", tiny_data, tmp_path / "run", "--device", "cuda"), "(auto, cpu), but got 'cuda'", 1
    )


def test_data_that_does_not_fit_is_refused_before_anything_is_written(
    saccade: Saccade, tiny_data: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    (data / "splits.json").write_text('{"train": ["scene_000"], "test": ["scene_001"]}')
    code, _, err = saccade("train", data, tmp_path / "run", *TINY)
    assert code == 1 and "a split named 'val'" in err and "defect" not in err
    assert_refused(saccade("train", tmp_path / "nothing", tmp_path / "run"), "no such folder", 1)
    assert_refused(saccade("train", data / "classes.json", tmp_path / "run"), "a file", 1)
    assert not (tmp_path / "run").exists()


def test_a_folder_of_something_else_is_never_a_run(saccade: Saccade, tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("mine")
    for flag in ("--overwrite", "--resume"):
        assert_refused(saccade("train", tiny_data, tmp_path / "mine", flag), "choose another folder", 1)
    assert contents(tmp_path / "mine") == {"a.txt": b"mine"}
    assert_refused(saccade("train", tiny_data, tmp_path / "mine" / "a.txt"), "choose another folder", 1)
    assert_refused(saccade("train", tiny_data, tmp_path / "mine" / "a.txt" / "run", *TINY), "a file where", 1)


def test_other_classes_are_refused_when_a_run_goes_on(
    saccade: Saccade, tiny_data: Path, run_folder: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    (data / "classes.json").write_text((data / "classes.json").read_text().replace("boat", "ship"))
    before = contents(run_folder)
    assert_refused(saccade("train", data, run_folder, "--resume"), "the classes of the run", 1)
    assert contents(run_folder) == before


def test_a_broken_checkpoint_and_a_broken_configuration_are_one_line(
    saccade: Saccade, tiny_data: Path, run_folder: Path
) -> None:
    last = run_folder / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    assert_refused(saccade("train", tiny_data, run_folder, "--resume"), "last.ckpt: expected a checkpoint", 1)
    last.unlink()
    assert_refused(saccade("train", tiny_data, run_folder, "--resume"), "--overwrite", 1)
    last.write_bytes(b"")
    (run_folder / "config.yaml").write_text("sampler: [")
    assert_refused(saccade("train", tiny_data, run_folder, "--resume"), "config.yaml: expected", 1)


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_in_a_terminal_keeps_the_last_epoch_and_says_how_to_go_on(
    tiny_data: Path, tmp_path: Path, ending: signal.Signals
) -> None:
    """The real program in a process of its own, stopped after its first epoch, then resumed as it says."""
    command = [sys.executable, "-m", "saccade", "train", str(tiny_data), str(tmp_path / "run")]
    options = [*TINY[:-1], "training.epochs=100000"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, *options], stderr=subprocess.PIPE, text=True, env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's "&" ignores it
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline:
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.1)
        process.send_signal(ending)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1, err
    line = err.splitlines()[-1]
    assert line.startswith("saccade: stopped; the last finished epoch is kept: go on with saccade train "), (
        err
    )
    assert line.endswith("--resume") and "Traceback" not in err
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["training"]["epochs"] == 100000
    assert load_run(tmp_path / "run", "last").epoch >= 1
