"""Networks of other libraries and of one's own, through their names."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from saccade.errors import InvalidInput, SaccadeError
from saccade.networks import Scores, build_network, require_network

OWN = '''
import torch
from torch import nn

class Coarse(nn.Module):
    """Scores at half the size, in a mapping, as torchvision's networks give them."""
    def __init__(self, classes):
        super().__init__()
        self.layer = nn.Conv2d(3, classes, 3, stride=2, padding=1)
    def forward(self, image):
        assert image.shape[2] % 32 == 0 and image.shape[3] % 32 == 0
        return {"out": self.layer(image)}

def make(classes):
    return Coarse(classes)

def broken(classes):
    return "a string"

number = 3
'''


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The images are tiny."""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_networks_8.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "python:own_networks_8"


def answers(network: nn.Module, classes: int) -> None:
    for size in [(8, 16), (33, 47)]:
        network.train()
        found = network(torch.randn(1, 3, *size))
        assert found.shape == (1, classes, *size)
        found.mean().backward()
        with torch.no_grad():
            assert network.eval()(torch.randn(2, 3, *size)).shape == (2, classes, *size)


def test_a_function_of_ones_own_is_a_network_of_any_size(own: str) -> None:
    answers(build_network(f"{own}.make", 4), 4)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("python:no_such_module_8.make", "PYTHONPATH"),
        ("python:make", "PACKAGE.MODULE.FUNCTION"),
        ("{own}.mak", "PACKAGE.MODULE.FUNCTION"),
        ("{own}.number", "which is no function"),
        ("{own}.broken", "torch.nn.Module"),
    ],
)
def test_what_is_no_network_is_refused(own: str, name: str, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        build_network(name.format(own=own), 2)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"out": s}, lambda s: {"logits": s}, lambda s: [s, 1]]
)
def test_scores_are_found_in_what_networks_answer(wrap) -> None:
    scores = torch.randn(1, 2, 3, 4)
    assert Scores(Answer(wrap(scores)))(scores) is scores
    assert Scores(Answer(SimpleNamespace(logits=scores)))(scores) is scores


class Answer(nn.Module):
    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, image: Tensor) -> object:
        return self.answer


@pytest.mark.parametrize("answer", [{}, {"aux": torch.zeros(1, 2, 3, 4)}, [], "scores", torch.zeros(2, 3)])
def test_an_answer_without_scores_is_refused(answer: object) -> None:
    with pytest.raises(InvalidInput, match="the network's answer"):
        Scores(Answer(answer))(torch.zeros(1, 3, 4, 4))


def test_segformer_of_transformers_segments_images_of_any_size() -> None:
    pytest.importorskip("transformers", reason="the optional package transformers is not installed")
    network = build_network("transformers:segformer", 4)
    answers(network, 4)
    count = sum(p.numel() for p in build_network("transformers:segformer", 19).parameters())
    assert count == pytest.approx(3.7e6, abs=0.1e6)  # SegFormer-B0, NeurIPS 2021, table 1


def test_weights_of_a_folder_are_loaded_with_another_head(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(1)
    small = {"hidden_sizes": [8, 8, 16, 16], "num_attention_heads": [1, 1, 2, 2], "decoder_hidden_size": 16}
    config = transformers.SegformerConfig(num_labels=3, depths=[1, 1, 1, 1], **small)
    given = transformers.SegformerForSemanticSegmentation(config)
    given.save_pretrained(tmp_path / "mine")
    loaded = build_network(f"transformers:{tmp_path / 'mine'}", 5, pretrained=True)
    fresh = build_network(f"transformers:{tmp_path / 'mine'}", 5)
    wanted = dict(given.segformer.named_parameters())
    found = {k.removeprefix("network.network.segformer."): p for k, p in loaded.named_parameters()}
    other = {k.removeprefix("network.network.segformer."): p for k, p in fresh.named_parameters()}
    assert all(torch.equal(found[key], one) for key, one in wanted.items())
    assert not all(torch.equal(other[key], one) for key, one in wanted.items())
    with torch.no_grad():
        assert loaded.eval()(torch.randn(1, 3, 32, 32)).shape == (1, 5, 32, 32)


@pytest.mark.parametrize(("name", "words"), [("segformr", "did you mean 'segformer'"), ("gpt2", "segformer")])
def test_a_model_type_that_does_not_segment_is_refused(name: str, words: str) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    with pytest.raises(InvalidInput, match=words):
        require_network(f"transformers:{name}")


def test_a_bare_type_has_no_weights() -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    with pytest.raises(InvalidInput, match="nvidia/mit-b0"):
        build_network("transformers:segformer", 2, pretrained=True)


def test_a_name_on_the_hub_is_one_clear_line_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")

    def offline(*_: object, **__: object) -> None:
        raise OSError("We couldn't connect to 'https://huggingface.co'\nto load the files")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", offline)
    with pytest.raises(SaccadeError) as refused:
        build_network("transformers:nvidia/mit-b0", 2, pretrained=True)
    assert "could not be had" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["SegResNet", "UNet"])
def test_networks_of_monai_segment_images_of_any_size(name: str) -> None:
    pytest.importorskip("monai", reason="the optional package monai is not installed")
    answers(build_network(f"monai:{name}", 3), 3)


def test_networks_of_monai_with_unknown_needs_are_refused() -> None:
    pytest.importorskip("monai", reason="monai is not installed")
    with pytest.raises(InvalidInput, match="did you mean 'SegResNet'"):
        require_network("monai:SegResnet")
    with pytest.raises(InvalidInput, match="a class with known options"):
        require_network("monai:DynUNet")


@pytest.mark.parametrize("library", ["transformers", "monai"])
def test_a_library_that_is_not_there_is_named(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from saccade.networks import adapters

    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(adapters.importlib, "import_module", missing)
    with pytest.raises(InvalidInput, match=f"pip install {library}"):
        require_network(f"{library}:anything")
