"""The papers' networks: as large as published, of any size, trainable on a single tiny image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from saccade.errors import InvalidInput, SaccadeError
from saccade.networks import build_network, require_network
from saccade.networks.published import BatchNorm, PyramidPooling

CITYSCAPES = 19
SMALL = [
    "hrnetv2:w18_small",
    "pspnet:resnet18",
    "upernet:resnet18/128",
    "deeplabv3plus:resnet18",
    "unet:original",
    "unet:resnet18",
]


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The images are tiny."""


def on_paper(name: str, classes: int) -> nn.Module:
    """A network without memory for its weights."""
    with torch.device("meta"):
        return build_network(name, classes).eval()


def millions(network: nn.Module) -> float:
    return sum(p.numel() for p in network.parameters()) / 1e6


def gigaproducts(network: nn.Module, size: tuple[int, int]) -> float:
    """10^9 multiplications with addition, which papers call GFLOPs."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 3, *size, device="meta"))
    return counter.get_total_flops() / 2e9


@pytest.mark.parametrize(
    ("name", "classes", "published", "near"),
    [
        ("hrnetv2:w48", CITYSCAPES, 65.9, 0.05),  # arXiv 1904.04514, table 3; 66 M in MICCAI 2020
        ("hrnetv2:w18_small", CITYSCAPES, 1.5, 0.05),  # the authors' HRNet-Semantic-Segmentation, README
        ("hrnetv2:w18_small_v2", CITYSCAPES, 3.9, 0.05),  # the same
        ("unet:original", 2, 31.03, 0.02),  # of the paper's layers, by their sizes; norm adds 0.01
        ("pspnet:resnet101", CITYSCAPES, 65.9, 0.4),  # arXiv 1904.04514, table 3; its stem has one layer more
        ("deeplabv3plus:tu-xception71", CITYSCAPES, 43.5, 0.05),  # the same table
        ("upernet:resnet101", 150, 86 - 2.4, 0.6),  # Swin Transformer, table 3, less the auxiliary head there
    ],
)
def test_a_network_has_as_many_parameters_as_published(
    name: str, classes: int, published: float, near: float
) -> None:
    assert millions(on_paper(name, classes)) == pytest.approx(published, abs=near)


@pytest.mark.parametrize(
    ("name", "size", "published"),
    [
        ("hrnetv2:w48", (1024, 2048), 747.3),  # arXiv 1904.04514, table 3
        ("pspnet:resnet101", (1024, 2048), 2017.6),  # the same
        ("deeplabv3plus:tu-xception71/8", (1024, 2048), 1444.6),  # the same
        ("pspnet:resnet50", (256, 256), 44.05),  # ICCV 2019, table 3
        ("pspnet:resnet50", (128, 128), 11.08),
        ("deeplabv3plus:tu-xception65/8", (160, 160), 17.23),
        ("deeplabv3plus:tu-xception65/8", (224, 224), 33.77),
    ],
)
def test_a_network_costs_what_was_published(name: str, size: tuple[int, int], published: float) -> None:
    assert gigaproducts(on_paper(name, CITYSCAPES), size) == pytest.approx(published, rel=0.03)


@pytest.mark.parametrize("name", SMALL)
def test_a_network_takes_any_size(name: str) -> None:
    network = build_network(name, 5).eval()
    with torch.no_grad():
        for size in [(8, 16), (32, 32), (33, 47)]:
            assert network(torch.randn(2, 3, *size)).shape == (2, 5, *size)


@pytest.mark.parametrize("name", SMALL)
def test_every_weight_learns_from_one_tiny_image(name: str) -> None:
    network = build_network(name, 3).train()
    network(torch.randn(1, 3, 8, 16)).square().mean().backward()
    idle = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not idle


def test_a_constant_image_has_constant_pyramid_means() -> None:
    """Each branch sees the same mean in every bin, so the answer is constant too."""
    torch.manual_seed(0)
    pooling = PyramidPooling(4, 2).eval()
    found = pooling(torch.ones(1, 4, 7, 9) * torch.randn(1, 4, 1, 1))
    assert found.shape == (1, 4 + 4 * 2, 7, 9)
    assert torch.allclose(found, found[..., :1, :1].expand_as(found), atol=1e-6)


def test_norm_of_one_value_uses_what_it_remembers() -> None:
    norm = BatchNorm(3).train()
    norm.running_mean, norm.running_var = torch.tensor([1.0, 2, 3]), torch.tensor([4.0, 4, 4])
    x = torch.tensor([3.0, 2, 1]).reshape(1, 3, 1, 1)
    assert torch.allclose(norm(x).flatten(), torch.tensor([1.0, 0, -1]), atol=1e-4)
    twice = norm(torch.cat([x, x]))
    assert torch.allclose(twice, torch.zeros_like(twice), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hrnetv2:W48", "did you mean 'w48'?"),
        ("hrnetv2:large", "choose one of w18"),
        ("hrnetv:w48", "did you mean 'hrnetv2'?"),
        ("pspnet:resnet81", "did you mean 'resnet18'?"),
        ("pspnet:resnet50/12", "for example pspnet:resnet50/16"),
        ("upernet:resnet18/16", "one of 64, 128, 256, 512"),
        ("upernets:resnet18", "did you mean 'upernet'?"),
    ],
)
def test_a_wrong_part_of_a_name_is_refused_with_the_way_out(name: str, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        require_network(name)
    assert words in str(refused.value)


def test_an_encoder_that_cannot_be_dilated_is_one_clear_line() -> None:
    with pytest.raises(SaccadeError, match="the network 'pspnet:xception' could not be made"):
        build_network("pspnet:xception", 2)


@pytest.mark.parametrize("name", ["hrnetv2:w18_small", "pspnet:resnet18", "unet:tu-mobilenetv3_small_050"])
def test_pretrained_weights_are_asked_for_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loaders of both libraries end at the hub, or at an address; here both are cut off."""
    import huggingface_hub
    import segmentation_models_pytorch.encoders as smp
    import timm.models._builder as timm_builder
    import timm.models._hub as timm_hub

    asked: list[str] = []

    def offline(repo_id: str, *_: object, **__: object) -> Tensor:
        asked.append(repo_id)
        raise ConnectionError("the hub is out of reach:\nno route to host")

    for place in (huggingface_hub, smp, timm_hub):
        monkeypatch.setattr(place, "hf_hub_download", offline)
    monkeypatch.setattr(timm_builder, "load_state_dict_from_url", offline)
    with pytest.raises(SaccadeError) as refused:
        build_network(name, 2, pretrained=True)
    assert asked
    encoder = name.partition(":")[2].removeprefix("tu-")
    assert encoder.split("_")[0] in asked[0]
    assert str(refused.value).endswith("go online, or train without them")
    assert "\n" not in str(refused.value)
