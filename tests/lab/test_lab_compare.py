"""What a comparison needs, what of it is there, and what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch
from comparisons import trial_of

from saccade.data import open_data
from saccade.errors import FileProblem, InvalidInput, SaccadeError, UsageError
from saccade.lab.methods import Method, methods_of, trials_of
from saccade.lab.runner import plan
from saccade.lab.state import run_root, state_of, write_failure
from saccade.lab.studies import STUDIES, load_study
from saccade.training.config import read_config, save_config


def test_arms_have_the_names_and_options_that_were_given():
    uniform, published = methods_of(
        ["uniform", "published=deformation"], ["published:sampler.floor=0", "published:loss.edge=mse"]
    )
    assert uniform == Method("uniform", ("sampler.name=uniform",))
    assert published.options == ("sampler.name=deformation", "sampler.floor=0", "loss.edge=mse")


@pytest.mark.parametrize(
    ("samplers", "own", "said"),
    [
        (["unifrom"], [], "uniform"),
        (["uniform", "uniform"], [], "twice"),
        (["uniform"], ["oracle:sampler.blur=2"], "no sampler 'oracle'"),
        (["uniform"], ["sampler.blur=2"], "SAMPLER:section"),
        (["a/b=uniform"], [], "letters"),
    ],
)
def test_arms_that_make_no_sense_are_refused(samplers, own, said):
    with pytest.raises(SaccadeError, match=said):
        methods_of(samplers, own)


def test_every_arm_has_every_size_and_seed_and_differs_in_nothing_else(six_scenes):
    config = trial_of(six_scenes, seeds=(0, 1))
    trials = trials_of(config, methods_of(["uniform", "deformation"]))
    assert [trial.name for trial in trials][:3] == [
        "uniform_8x12_s0",
        "deformation_8x12_s0",
        "uniform_8x12_s1",
    ]
    assert len({trial.name for trial in trials}) == 8
    configs = {replace(c.config, sampler=config.base.sampler, training=config.base.training) for c in trials}
    assert configs == {config.base}
    assert {(trial.config.sampler.size, trial.config.training.seed) for trial in trials} == {
        (size, seed) for size in ((8, 12), (16, 24)) for seed in (0, 1)
    }


def test_a_size_larger_than_the_image_is_refused(six_scenes):
    with pytest.raises(InvalidInput, match=r"smallest image \(32x48\).*33x48"):
        trials_of(trial_of(six_scenes, sizes=((33, 48),)), methods_of(["uniform"]))


@pytest.fixture
def finished(tiny_data, trained_folder, tmp_path):
    """A comparison, and the trial that the trained run of the tests is, put where it is looked for."""
    config = trial_of(tiny_data, "training.epochs=2", sizes=((8, 12),))
    trial = trials_of(config, methods_of(["deformation"]))[0]
    root = run_root(tmp_path, trial)
    shutil.copytree(trained_folder, root)
    return config, trial, root


def test_a_run_of_the_same_options_and_data_is_used(finished, tmp_path):
    config, trial, root = finished
    assert state_of(trial, root, config.data).kind == "finished"
    planned = plan(config, [trial], tmp_path)
    assert planned.to_train == []
    assert [job.trial for job in planned.queue] == [trial]  # it is not evaluated yet


def test_options_that_do_not_change_what_is_learnt_may_differ(finished):
    config, trial, root = finished
    run_config = read_config(
        overrides=["training.cache_gigabytes=1", "foveation.stride=4"], base=trial.config
    )
    assert state_of(replace(trial, config=run_config), root, config.data).kind == "finished"


@pytest.mark.parametrize(("sampler", "kind"), [("uniform", "finished"), ("deformation", "other")])
def test_the_density_net_counts_only_where_there_is_one(finished, sampler, kind):
    config, trial, root = finished
    asked = read_config(overrides=[f"sampler.name={sampler}"], base=trial.config)
    of_run = read_config(root / "config.yaml", [f"sampler.name={sampler}", "sampler.net=null"])
    save_config(of_run, root / "config.yaml")
    assert state_of(replace(trial, config=asked), root, config.data).kind == kind


def test_a_run_of_other_options_is_refused_with_each_of_them(finished, tmp_path):
    config, trial, root = finished
    other = read_config(overrides=["loss.edge_weight=2", "network.name=small:5"], base=trial.config)
    asked = replace(trial, config=other)
    reason = state_of(asked, root, config.data).reason
    assert "loss.edge_weight=0.3 instead of 2.0" in reason
    assert "network.name=small:4 instead of small:5" in reason
    with pytest.raises(SaccadeError, match=r"deformation_8x12_s0: it has other options"):
        plan(config, [asked], tmp_path)
    assert plan(config, [asked], tmp_path, overwrite=True).to_train == [asked]


def test_a_run_of_other_images_is_refused(finished, six_scenes):
    _, trial, root = finished
    state = state_of(trial, root, open_data(six_scenes))
    assert state.kind == "other"
    assert "other" in state.reason


def test_a_run_of_before_images_were_kept_must_have_lain_at_the_same_place(finished, six_scenes):
    config, trial, root = finished
    file = root / "checkpoints" / "last.ckpt"
    saved = torch.load(file, weights_only=True)
    del saved["training_images"]
    torch.save(saved, file)
    assert state_of(trial, root, config.data).kind == "finished"
    run_config = read_config(root / "config.yaml")
    save_config(
        replace(run_config, data=replace(run_config.data, path=str(six_scenes))), root / "config.yaml"
    )
    assert "trained on" in state_of(trial, root, config.data).reason


def test_an_unfinished_run_waits_for_a_word(finished, tmp_path):
    config, trial, root = finished
    longer = replace(trial, config=read_config(overrides=["training.epochs=5"], base=trial.config))
    save_config(read_config(root / "config.yaml", ["training.epochs=5"]), root / "config.yaml")
    assert state_of(longer, root, config.data).kind == "unfinished"
    with pytest.raises(UsageError, match="resume=True"):
        plan(config, [longer], tmp_path)
    assert plan(config, [longer], tmp_path, resume=True).to_train == [longer]


def test_a_failure_stays_until_it_is_tried_again(finished, tmp_path):
    config, trial, root = finished
    write_failure(root, "the disk was full")
    assert state_of(trial, root, config.data).reason == "the disk was full"
    assert plan(config, [trial], tmp_path).kept_failures == (trial,)
    assert [e.trial for e in plan(config, [trial], tmp_path, resume=True).queue] == [trial]


def test_a_failure_that_cannot_be_written_down_is_said_with_its_place(tmp_path):
    (tmp_path / "runs").write_text("in the way")
    with pytest.raises(FileProblem, match="runs/uniform_8x12_s0: expected a place to write"):
        write_failure(tmp_path / "runs" / "uniform_8x12_s0", "the loss became nan")


def test_a_folder_that_is_no_run_is_left_alone(finished, tmp_path):
    config, trial, _ = finished
    other = replace(trial, seed=7)
    run_root(tmp_path, other).mkdir()
    (run_root(tmp_path, other) / "thesis.txt").write_text("all of it")
    with pytest.raises(SaccadeError, match="no run folder"):
        plan(config, [other], tmp_path)


@pytest.mark.parametrize("name", list(STUDIES))
def test_every_study_says_what_it_asks_and_its_arms_can_be_built(name, six_scenes):
    from saccade.training.loop import resolve

    study = load_study(name)
    assert study.name == name
    assert study.question.endswith("?")
    config = trial_of(six_scenes)
    if study.sizes is not None:
        config = replace(config, sizes=tuple(study.sizes(config)))
    trials = trials_of(config, list(study.methods(config)))
    assert len({trial.name for trial in trials}) == len(trials)
    for trial in trials:
        resolve(trial.config, config.data).recipe.build()


def test_an_unknown_study_names_the_nearest():
    with pytest.raises(UsageError, match="radius"):
        load_study("radus")
