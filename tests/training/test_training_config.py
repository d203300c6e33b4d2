"""Options: defaults, YAML, overrides; whatever is wrong is named, with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.errors import FileProblem, InvalidInput, SaccadeError, UsageError, nearest_name
from saccade.geometry import parse_size
from saccade.training import Config, read_config, save_config
from saccade.training.config import OptimizerConfig, SamplerConfig, ScheduleConfig, from_dict, to_dict


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_without_file_and_overrides_the_defaults_come() -> None:
    assert read_config() == Config()


def test_a_file_changes_defaults_and_overrides_change_the_file(tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", "sampler: {floor: 0.3, size: 16x24}\ntraining:\n  epochs: 7\n")
    found = read_config(file, ["training.epochs=9", "optimizer.learning_rate=1e-4"])
    assert found.sampler == SamplerConfig(floor=0.3, size=(16, 24))
    assert found.training == ScheduleConfig(epochs=9)
    assert found.optimizer == OptimizerConfig(learning_rate=1e-4)
    assert found.network == Config().network


def test_a_base_stands_in_the_place_of_the_defaults(tmp_path: Path) -> None:
    base = read_config(overrides=["sampler.floor=0.3", "training.epochs=5"])
    file = write(tmp_path / "a.yaml", "training:\n  epochs: 7\n")
    found = read_config(file, ["sampler.blur=2"], base=base)
    assert (found.sampler.floor, found.sampler.blur, found.training.epochs) == (0.3, 2.0, 7)


def test_what_is_saved_reads_back_the_same(tmp_path: Path) -> None:
    config = read_config(
        overrides=[
            "sampler.size=32x64",
            "sampler.edge_weights=[0.5, 1, 2]",
            "loss.class_weights=[1, 2, 3]",
            "optimizer.learning_rate=1e-05",
            "training.early_stopping=3",
            "network.name=unet:resnet18",
            "data.path=/some/where",
            "classes={ignore_index: null, classes: [{index: 0, name: blätter, colour: [1, 2, 3]}]}",
        ]
    )
    save_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == config
    assert from_dict(Config, to_dict(config)) == config


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 4000),
    st.integers(1, 4000),
    st.floats(1e-6, 1, allow_subnormal=False),
    st.none() | st.lists(st.floats(0, 1e9), min_size=1, max_size=5),
)
def test_any_values_read_back_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    rows: int,
    columns: int,
    floor: float,
    weights: list[float] | None,
) -> None:
    changes = {"sampler": {"size": [rows, columns], "floor": floor}, "loss": {"class_weights": weights}}
    config = from_dict(Config, changes)
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    save_config(config, file)
    assert read_config(file) == config
    assert config.sampler.size == (rows, columns)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("sampler.flor=0.1", "'sampler.flor'; did you mean 'sampler.floor'?"),
        ("smapler.floor=0.1", "'smapler'; did you mean 'sampler'?"),
        ("sampler.name=deform", "did you mean 'deformation'?"),
        ("training.variant=join", "did you mean 'joint'?"),
        ("optimizer.schedule=cosin", "did you mean 'cosine'?"),
        ("training.epochs=many", "training.epochs to be a whole number, but got 'many'"),
        ("training.epochs=2.5", "training.epochs to be a whole number, but got 2.5"),
        ("training.epochs=true", "training.epochs to be a whole number, but got True"),
        ("optimizer.learning_rate=1" + 400 * "0", "optimizer.learning_rate to be a number, but got 1000"),
        ("training.epochs=0", "at least 1, but got 0"),
        ("training.seed=-1", "at least 0, but got -1"),
        ("network.pretrained=7", "network.pretrained to be true or false, but got 7"),
        ("network.name=3", "network.name to be a text, but got 3"),
        (
            "sampler.size=64",
            "sampler.size to be a list of 2 values (rows, columns), such as 64x128, but got 64",
        ),
        ("sampler.size=0x10", "sampler.size to be ROWSxCOLUMNS, both at least 1, such as 64x128"),
        ("sampler.size=axb", "sampler.size to be ROWSxCOLUMNS, both at least 1, such as 64x128"),
        ("sampler.size=[0, 4]", "sampler.size to be a finite number of at least 1, but got 0"),
        ("sampler.size=[1, 2, 3]", "a list of 2 values"),
        ("sampler.floor=.nan", "sampler.floor"),
        ("sampler.floor=0", "in (0, 1] for the elastic grid"),
        ("sampler.channels=[]", "sampler.channels"),
        ("sampler.channels=[3]", "as many as sampler.channels"),
        ("sampler.channels=[8, 8, 3]", "give sampler.net=null for the net that has them"),
        ("sampler.edge_weights=[-1, 2]", "sampler.edge_weights"),
        ("sampler.edge_weights=rare", "did you mean 'rarity'?"),
        ("sampler.radius=0", "sampler.radius"),
        ("loss.edge_weight=.inf", "finite"),
        ("optimizer.learning_rate=fast", "optimizer.learning_rate to be a number, but got 'fast'"),
        ("optimizer.weight_decay=-1", "optimizer.weight_decay"),
        ("optimizer.warmup=1", "a share in [0, 1)"),
        ("training=3", "training to be a mapping of options, but got 3"),
        ("training.epochs.more=3", "training.epochs to be a whole number"),
        ("training.variant=staged", None),
        ("epochs", "section.key=value, but got 'epochs'"),
        ("=3", "section.key=value, but got '=3'"),
        ("training.epochs=2024-99-99", "a whole number"),
        ("training.epochs=[[[", "a whole number"),
        ("training.epochs=!!python/name:os.system", "a whole number"),
    ],
)
def test_wrong_options_are_named_with_what_is_allowed(override: str, words: str | None) -> None:
    if words is None:
        assert read_config(overrides=[override]).training.variant == "staged"
        return
    with pytest.raises(UsageError) as refused:
        read_config(overrides=[override])
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "variant", "epochs"),
    [
        ((), "joint", (0, 30)),
        (("training.variant=staged",), "staged", (5, 35)),
        (("training.variant=staged_joint", "training.first_stage_epochs=7"), "staged_joint", (7, 37)),
        (("sampler.name=boundary",), "staged", (60, 90)),
        (("sampler.name=boundary", "training.variant=joint"), "joint", (0, 30)),
    ],
)
def test_a_first_stage_comes_before_the_epochs_of_the_network(
    options: tuple[str, ...], variant: str, epochs: tuple[int, int]
) -> None:
    config = read_config(overrides=options)
    assert config.variant == variant
    assert (config.first_epochs, config.all_epochs) == epochs


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sampler: {floor: 0.1", "a broken one"),
        ("sampler:\n\tfloor: 1", "a broken one"),
        ("- a\n- b", "a list"),
        ("3", "but got 3"),
        ("sampler: 3", "sampler to be a mapping"),
        ("sampler: {flor: 1}", "did you mean 'sampler.floor'?"),
        ("3: 4", "'3'"),
        ("training: {epochs: 2}\ntraining: {epochs: 3}", "'training' twice"),
        ("a: *b", "a broken one"),
        ("x: 2024-99-99", "a broken one"),
        ("[" * 1200, "a broken one"),
        ("a: !!python/object:os.system {}", "a broken one"),
        ("\0", "a broken one"),
    ],
)
def test_a_broken_file_is_one_line_that_names_it(tmp_path: Path, text: str, words: str) -> None:
    file = write(tmp_path / "broken.yaml", text)
    with pytest.raises(FileProblem) as refused:
        read_config(file)
    assert str(refused.value).startswith(f"{file}: expected a YAML file of options, but got ")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_a_folder_and_other_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "nothing.yaml", tmp_path, tmp_path / "bytes.yaml"):
        with pytest.raises(FileProblem, match="a YAML file of options"):
            read_config(path)


def test_an_empty_file_and_empty_sections_are_the_defaults(tmp_path: Path) -> None:
    assert read_config(write(tmp_path / "a.yaml", "")) == Config()
    empty = write(tmp_path / "b.yaml", "sampler:\ntraining:\n")
    assert read_config(empty, ["training.epochs=4"]).training == ScheduleConfig(epochs=4)


@pytest.mark.parametrize(("text", "size"), [("64x128", (64, 128)), (" 1 x 1 ", (1, 1)), ("8X9", (8, 9))])
def test_sizes_are_read_as_people_write_them(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "64", "0x10", "10x0", "axb", "4x", "x4", "4x5x6", "-1x4", "1.5x2", "²x3"]
)
def test_anything_else_is_no_size(text: str) -> None:
    with pytest.raises(InvalidInput, match="--size to be ROWSxCOLUMNS, both at least 1, such as 64x128"):
        parse_size(text, "--size")


def test_errors_are_of_our_family() -> None:
    with pytest.raises(SaccadeError):
        SamplerConfig(name="none")


def test_a_key_that_is_a_number_is_told_like_a_typo() -> None:
    assert nearest_name(1.5, ["void"]) == "choose one of void"  # type: ignore[arg-type]
