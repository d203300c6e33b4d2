"""A run that was stopped and goes on is, bit for bit, the run that was never stopped."""

from __future__ import annotations

import logging
import shutil
import signal
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from training_runs import assert_same_weights, rows, weights_of

import saccade
from saccade.data import DataFolder, SampleCache, open_data
from saccade.data.scenes import make_scenes
from saccade.errors import FileProblem, InvalidInput, SaccadeError, UsageError
from saccade.samplers import DensityNet
from saccade.training import Config, Run, load_run, train
from saccade.training.loop import Interrupted

Train = Callable[..., Run]


def press_ctrl_c_after(epochs: int) -> Callable[[int, int, dict], None]:
    def on_epoch(done: int, _: int, __: dict) -> None:
        if done == epochs:
            raise KeyboardInterrupt

    return on_epoch


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("training.variant=staged", "training.first_stage_epochs=2", "training.validate_every=2"),
        ("sampler.name=oracle", "training.precision=bf16-mixed", "optimizer.schedule=step"),
    ],
)
def test_a_resumed_run_equals_an_unbroken_one(tiny_train: Train, options: tuple[str, ...]) -> None:
    options = ("training.epochs=4", *options)
    whole = tiny_train("whole", *options)
    with pytest.raises(Interrupted):
        tiny_train("broken", *options, on_epoch=press_ctrl_c_after(2))
    torch.manual_seed(99)
    resumed = tiny_train("broken", *options, resume=True)
    for checkpoint in ("last", "best"):
        assert_same_weights(weights_of(resumed, checkpoint), weights_of(whole, checkpoint))
    assert rows(resumed.path) == rows(whole.path)
    assert resumed.epoch == whole.epoch


def test_a_stop_in_the_middle_of_an_epoch_repeats_that_epoch(
    tiny_train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from saccade.training.task import SegmentationTask

    whole = tiny_train("whole", "training.epochs=3")
    step = SegmentationTask.training_step

    def stopping(self: SegmentationTask, batch: list, batch_index: int) -> torch.Tensor:
        if (self.current_epoch, batch_index) == (1, 1):
            raise KeyboardInterrupt
        return step(self, batch, batch_index)

    with monkeypatch.context() as patch, pytest.raises(Interrupted, match="--resume"):
        patch.setattr(SegmentationTask, "training_step", stopping)
        tiny_train("broken", "training.epochs=3")
    resumed = tiny_train("broken", "training.epochs=3", resume=True)
    assert_same_weights(weights_of(resumed), weights_of(whole))
    assert rows(resumed.path) == rows(whole.path)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tiny_train: Train) -> None:
    first, again, other = tiny_train("a"), tiny_train("b"), tiny_train("c", "training.seed=1")
    assert_same_weights(weights_of(again), weights_of(first))
    assert rows(again.path) == rows(first.path)
    key = "segmenter.network.head.weight"
    assert not torch.equal(weights_of(other)[key], weights_of(first)[key])


def test_an_interruption_says_how_to_go_on(tiny_train: Train, tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match=r"saccade train '?\S.*run'? --resume"):
        tiny_train("run", on_epoch=press_ctrl_c_after(1))
    assert load_run(tmp_path / "run").epoch == 1


def test_a_stop_before_the_first_epoch_says_to_start_again(
    tiny_train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from saccade.training.task import SegmentationTask

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SegmentationTask, "on_train_epoch_start", stop)
    with pytest.raises(Interrupted, match="--overwrite"):
        tiny_train("run")


def test_ctrl_c_warnings_and_log_levels_are_afterwards_as_before(tiny_train: Train) -> None:
    logger = logging.getLogger("lightning.pytorch")
    before = (signal.getsignal(signal.SIGINT), logger.level, list(warnings.filters))
    with pytest.raises(Interrupted):
        tiny_train("run", on_epoch=press_ctrl_c_after(1))
    assert (signal.getsignal(signal.SIGINT), logger.level, list(warnings.filters)) == before


def test_other_options_are_refused_by_name_and_value(tiny_train: Train) -> None:
    run = tiny_train("run")
    kept = weights_of(run)
    with pytest.raises(UsageError) as refused:
        tiny_train("run", "sampler.floor=0.2", "training.epochs=1", resume=True)
    assert "sampler.floor=0.2 (the run has 0.1)" in str(refused.value)
    assert "training.epochs=1 (the run has 2)" in str(refused.value)
    assert "sampler.size" not in str(refused.value)
    assert_same_weights(weights_of(run), kept)


def test_a_finished_run_stays_as_it_is(tiny_train: Train) -> None:
    run = tiny_train("run")
    (run.path / "evaluation_test.json").write_text("{}")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    again = tiny_train("run", resume=True)
    assert again.epoch == run.epoch
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_other_images_are_refused(
    tiny_train: Train, tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        tiny_train("run", on_epoch=press_ctrl_c_after(1))
    other = open_data(make_scenes(tmp_path / "other", count=(3, 2, 1), size=(32, 48), seed=1))
    config = tiny_config(
        f"sampler.edge_weights={list(load_run(tmp_path / 'run').config.sampler.edge_weights)}"
    )
    with pytest.raises(FileProblem, match="training images"):
        train(other, tmp_path / "run", config, resume=True, device="cpu")


def test_the_data_folder_may_have_moved(
    tiny_train: Train, tiny_config: Callable[..., Config], tiny_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        tiny_train("run", on_epoch=press_ctrl_c_after(1))
    moved = open_data(shutil.copytree(tiny_data, tmp_path / "moved"))
    shutil.move(tmp_path / "run", tmp_path / "renamed")
    resumed = train(moved, tmp_path / "renamed", tiny_config(), resume=True, device="cpu")
    assert_same_weights(weights_of(resumed), weights_of(tiny_train("whole")))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", "half"])
def test_a_broken_checkpoint_is_one_clear_line(
    tiny_train: Train, tmp_path: Path, content: bytes | str
) -> None:
    with pytest.raises(Interrupted):
        tiny_train("run", on_epoch=press_ctrl_c_after(1))
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    whole = last.read_bytes()
    last.write_bytes(content if isinstance(content, bytes) else whole[: len(whole) // 2])
    with pytest.raises(FileProblem, match=r"last\.ckpt: expected a checkpoint of a run, but got a broken"):
        tiny_train("run", resume=True)


def test_nothing_to_resume_and_a_run_in_the_way_are_refused(tiny_train: Train) -> None:
    with pytest.raises(FileProblem, match="train without resume=True"):
        tiny_train("run", resume=True)
    tiny_train("run")
    with pytest.raises(SaccadeError, match="resume=True to go on, or overwrite=True"):
        tiny_train("run")


def test_overwriting_removes_what_the_run_made_and_no_other_file(tiny_train: Train) -> None:
    run = tiny_train("run", "training.epochs=3")
    foreign = [run.path / "notes.txt", run.path / "checkpoints" / "mine.ckpt", run.path / "figures" / "a.png"]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    stale = [run.path / "evaluation_test.json", run.path / "report.html"]
    for path in stale:
        path.write_text("of the run before")
    again = tiny_train("run", overwrite=True)
    assert len(rows(again.path)) == 2
    assert all(path.read_text() == "mine" for path in foreign)
    assert not any(path.exists() for path in stale)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("network.name=unet:resnet8",), InvalidInput),
        (("training.precision=16-mixed",), InvalidInput),
        (("loss.class_weights=[1,2]",), InvalidInput),
    ],
)
def test_what_is_refused_leaves_the_old_run_in_place(
    tiny_train: Train, options: tuple[str, ...], error: type[Exception]
) -> None:
    run = tiny_train("run")
    kept = weights_of(run)
    with pytest.raises(error):
        tiny_train("run", *options, overwrite=True)
    assert_same_weights(weights_of(run), kept)
    assert load_run(run.path).config == run.config


def test_a_run_of_before_density_nets_had_names_keeps_the_papers(tiny_train: Train) -> None:
    run = tiny_train("run", "sampler.net=null")
    options = yaml.safe_load((run.path / "config.yaml").read_text())
    del options["sampler"]["net"]
    (run.path / "config.yaml").write_text(yaml.safe_dump(options))
    assert load_run(run.path).config == run.config
    assert isinstance(load_run(run.path).segmenter.sampler.net, DensityNet)


def test_a_folder_that_is_no_run_is_never_touched(tiny_train: Train, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("photos", "file"):
        with pytest.raises(FileProblem, match="choose another folder"):
            tiny_train(name, overwrite=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.jpg", "file", "photos"]


def test_a_disk_that_fills_up_is_one_clear_line(tiny_train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    import lightning as L

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(L.Trainer, "save_checkpoint", full)
    with pytest.raises(FileProblem, match="a disk that is full; free some space"):
        tiny_train("run")


def test_memory_that_is_used_up_is_one_clear_line(tiny_train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    from saccade.segmenter import Segmenter

    def greedy(*_: object) -> torch.Tensor:
        return torch.empty(1 << 46)

    monkeypatch.setattr(Segmenter, "score", greedy)
    with pytest.raises(SaccadeError, match="not enough memory; lower training"):
        tiny_train("run")


def test_the_run_folder_holds_what_it_should(tiny_train: Train, opened: DataFolder) -> None:
    run = tiny_train("run")
    names = {path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file()}
    checkpoints = {"checkpoints/best.ckpt", "checkpoints/last.ckpt"}
    assert names == {"config.yaml", "environment.json", "metrics.csv", *checkpoints}
    assert run.config.classes == opened.classes.as_dict()


def test_a_run_of_before_goes_on_without_what_was_left_out_of_its_epochs(
    opened: DataFolder, cache: SampleCache, tmp_path: Path, tiny_train: Train
) -> None:
    """A configuration that does not name ``training.every_image`` is of then: three images of four a step."""
    options = ("training.batch_size=3", "training.every_image=false", "training.epochs=3")
    whole = tiny_train("whole", *options)
    with pytest.raises(Interrupted):
        tiny_train("old", *options, on_epoch=press_ctrl_c_after(1))
    file = tmp_path / "old" / "config.yaml"
    table = yaml.safe_load(file.read_text())
    for section, name in (("training", "every_image"), ("network", "weights"), ("network", "freeze_epochs")):
        del table[section][name]
    file.write_text(yaml.safe_dump(table))
    saccade.train(opened, tmp_path / "old", resume=True, device="cpu")
    resumed = load_run(tmp_path / "old", "last")
    assert not resumed.config.training.every_image
    assert_same_weights(weights_of(resumed), weights_of(whole))
    assert [row["step"] for row in rows(resumed.path)] == ["1", "2", "3"]
    assert [row["step"] for row in rows(tiny_train("new", "training.batch_size=3").path)] == ["2", "4"]
