"""A training starts from weights of another, freezes its encoder, and goes on for longer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from torch import nn
from training_runs import assert_same_weights, rows, weights_of

from saccade.cli import main
from saccade.errors import FileProblem, InvalidInput, UsageError
from saccade.networks import SmallUNet, build_network
from saccade.samplers import UniformSampler
from saccade.segmenter import Segmenter
from saccade.training import Run, load_run
from saccade.training.weights import load_weights, read_state

Train = Callable[..., Run]


def segmenter(name: str, classes: int = 3) -> Segmenter:
    return Segmenter(UniformSampler((8, 8)), build_network(name, classes))


def encoder_of(made: Segmenter) -> nn.Module:
    return made.network.network.encoder  # type: ignore[union-attr,return-value]


@pytest.mark.parametrize("wrap", ["", "module.", "backbone."])
def test_a_classifier_of_timm_fills_the_encoder(tmp_path: Path, wrap: str) -> None:
    classifier = timm.create_model("resnet18", num_classes=7)
    state = {wrap + name: tensor for name, tensor in classifier.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "a.pth")
    made = segmenter("unet:resnet18")
    loaded = load_weights(made, tmp_path / "a.pth")
    assert loaded.part.endswith("encoder") and loaded.left == () and loaded.tensors == loaded.of
    for name, tensor in encoder_of(made).state_dict().items():
        assert torch.equal(tensor, classifier.state_dict()[name]), name


def test_tensors_that_are_safe_are_read_too(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    classifier = timm.create_model("efficientnet_lite0", num_classes=7)
    save_file(classifier.state_dict(), tmp_path / "a.safetensors")
    made = segmenter("unet:tu-efficientnet_lite0")
    assert load_weights(made, tmp_path / "a.safetensors").left == ()
    first = classifier.state_dict()["conv_stem.weight"]
    assert torch.equal(encoder_of(made).state_dict()["model.conv_stem.weight"], first)


def test_a_whole_network_of_other_classes_keeps_its_own_head(tmp_path: Path) -> None:
    given = build_network("unet:resnet18", 5)
    torch.save(given.network.state_dict(), tmp_path / "a.pt")  # as segmentation-models-pytorch has it
    made = segmenter("unet:resnet18")
    before = {name: tensor.clone() for name, tensor in made.network.state_dict().items()}
    loaded = load_weights(made, tmp_path / "a.pt")
    assert [name.partition("segmentation_head")[1] for name in loaded.left] == ["segmentation_head"] * 2
    for name, tensor in made.network.state_dict().items():
        same = before if name in loaded.left else given.state_dict()
        assert torch.equal(tensor, same[name]), name


def test_what_is_no_such_weights_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    made = segmenter("unet:resnet18")
    before = {name: tensor.clone() for name, tensor in made.network.state_dict().items()}
    torch.save(SmallUNet(3, width=4).state_dict(), tmp_path / "other.pt")
    torch.save(SmallUNet(3, width=4), tmp_path / "code.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "text.pt").write_text("no tensors")
    (tmp_path / "folder").mkdir()
    for name, words in {
        "other.pt": "0% of them", "code.pt": "state_dict", "list.pt": "no tensors",
        "text.pt": "broken file", "folder": "without checkpoints/best.ckpt", "nothing": "no such file",
    }.items():  # fmt: skip
        with pytest.raises(FileProblem, match=words):
            load_weights(made, tmp_path / name)
    assert_same_weights(dict(made.network.state_dict()), before)


def test_one_layer_of_another_network_that_happens_to_fit_is_not_enough(tmp_path: Path) -> None:
    given = build_network("unet:resnet18", 3).network.state_dict()
    few = {name: tensor for name, tensor in given.items() if name.startswith("encoder.bn1.")}
    foreign = {f"other.{name}": torch.zeros(100_000) for name in few}
    torch.save({**few, **foreign}, tmp_path / "a.pt")
    with pytest.raises(FileProblem, match="0% of them"):
        load_weights(segmenter("unet:resnet18"), tmp_path / "a.pt")


def test_a_classifier_with_a_head_larger_than_itself_is_taken(tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet18", num_classes=30000).state_dict(), tmp_path / "a.pt")
    assert load_weights(segmenter("unet:resnet18"), tmp_path / "a.pt").left == ()


def test_a_run_starts_from_another_run_sampler_too(tiny_train: Train, tmp_path: Path) -> None:
    first = tiny_train("first")
    said: list[str] = []
    weights = f"network.weights={tmp_path / 'first'}"
    second = tiny_train("second", weights, "optimizer.learning_rate=0", say=said.append)
    assert "and the sampler's" in said[-1]
    wanted = weights_of(first, "best")
    for name, tensor in weights_of(second, "best").items():
        if not ("running" in name or "num_batches" in name):
            assert torch.equal(tensor, wanted[name]), name
    (tmp_path / "first").rename(tmp_path / "moved")  # what is trained needs them no more
    assert load_run(tmp_path / "second").epoch == second.epoch
    resumed = tiny_train("second", weights, "optimizer.learning_rate=0", "training.epochs=3", resume=True)
    assert resumed.config.training.epochs == 3


def test_a_frozen_encoder_stays_as_it_is_and_then_learns(tiny_train: Train) -> None:
    options = [
        "network.name=unet:resnet18",
        "sampler.size=32x32",
        "training.epochs=2",
        "network.freeze_epochs=1",
    ]
    seen: list[dict[str, torch.Tensor]] = []
    from saccade.training.task import SegmentationTask

    start, kept = SegmentationTask.on_train_epoch_start, []

    def watch(self: SegmentationTask) -> None:
        kept.append(self)
        seen.append({k: v.clone() for k, v in self.segmenter.network.state_dict().items()})
        start(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SegmentationTask, "on_train_epoch_start", watch)
        tiny_train("frozen", *options)
    after = kept[0].segmenter.network.state_dict()
    names = [name for name in after if ".encoder." in name]
    assert names and all(torch.equal(seen[0][name], seen[1][name]) for name in names)
    assert any(not torch.equal(seen[0][n], seen[1][n]) for n in after if n not in names)
    assert any(not torch.equal(seen[1][name], after[name]) for name in names)


def test_freezing_needs_an_encoder(tiny_train: Train, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="one with an encoder"):
        tiny_train("small", "network.freeze_epochs=1")
    assert not (tmp_path / "small").exists()


def test_a_run_goes_on_for_longer_and_not_for_shorter(tiny_train: Train) -> None:
    first = tiny_train("run", "training.epochs=2", "optimizer.schedule=constant")
    table = rows(first.path)
    longer = tiny_train("run", "training.epochs=4", "optimizer.schedule=constant", resume=True)
    assert [row["epoch"] for row in rows(longer.path)] == ["0", "1", "2", "3"]
    assert rows(longer.path)[:2] == table
    assert load_run(longer.path).config.training.epochs == 4
    with pytest.raises(UsageError, match=r"training\.epochs=2"):
        tiny_train("run", "training.epochs=2", "optimizer.schedule=constant", resume=True)


def test_a_constant_rate_makes_the_longer_run_that_of_one_go(tiny_train: Train) -> None:
    options = ("optimizer.schedule=constant", "optimizer.warmup=0")
    tiny_train("parts", "training.epochs=2", *options)
    parts = tiny_train("parts", "training.epochs=4", *options, resume=True)
    whole = tiny_train("whole", "training.epochs=4", *options)
    assert_same_weights(weights_of(parts), weights_of(whole))


def test_weights_are_looked_at_before_the_data(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(tiny_data), str(tmp_path / "run"), "network.weights=nowhere.pt"]
    assert main(words) == 1
    assert "nowhere.pt: expected a run, or a state dict" in capsys.readouterr().err
    assert main([*words, "network.pretrained=true"]) == 2
    assert not (tmp_path / "run").exists()


def test_no_code_in_a_file_is_run(tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return (Path(tmp_path / "made").mkdir, ())

    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"state_dict": Evil()}))
    with pytest.raises(FileProblem):
        read_state(tmp_path / "evil.pt")
    assert not (tmp_path / "made").exists()
