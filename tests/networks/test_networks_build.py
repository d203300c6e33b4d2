"""Networks by name: built, of any size, and refused with the nearest name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from saccade.errors import InvalidInput, SaccadeError
from saccade.networks import Padded, SmallUNet, build_network, require_network

SIZES = [(32, 32), (33, 47), (8, 12), (1, 5)]


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The images are tiny."""


@pytest.mark.parametrize("size", SIZES)
def test_the_small_network_takes_any_size(size: tuple[int, int]) -> None:
    with torch.no_grad():
        assert build_network("small:4", 5).eval()(torch.randn(2, 3, *size)).shape == (2, 5, *size)


@pytest.mark.parametrize("size", [(4, 4), (8, 1), (1, 1)])
def test_the_small_network_learns_from_one_tiny_image(size: tuple[int, int]) -> None:
    """As each process of several does that share a small batch: batch norm has a single value then."""
    network = build_network("small:4", 2).train()
    for _ in range(2):
        network(torch.randn(1, 3, *size)).square().sum().backward()
    assert all(part.grad is not None and part.grad.isfinite().all() for part in network.parameters())


@pytest.mark.parametrize("name", ["unet:resnet18", "fpn:tu-mobilenetv3_small_050"])
def test_networks_of_the_library_take_any_size(name: str) -> None:
    network = build_network(name, 5).eval()
    with torch.no_grad():
        for size in SIZES[:3]:
            assert network(torch.randn(1, 3, *size)).shape == (1, 5, *size)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_small_network_is_as_small_as_it_says() -> None:
    """Summed by hand: two 3x3 convolutions with batch norm a level, down and up, and the head."""

    def block(before: int, after: int) -> int:
        return 9 * before * after + 9 * after * after + 4 * after

    down = block(3, 16) + block(16, 32) + block(32, 64) + block(64, 128)
    up = block(64 + 128, 64) + block(32 + 64, 32) + block(16 + 32, 16)
    head = 16 * 2 + 2
    assert parameters(build_network("small", 2)) == down + up + head
    assert parameters(SmallUNet(2)) == pytest.approx(0.48e6, rel=0.02)


def test_padding_repeats_the_border_and_is_cut_off_again() -> None:
    seen: list[Tensor] = []

    class Remember(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            seen.append(image)
            return image

    image = torch.randn(2, 3, 5, 9)
    found = Padded(Remember(), stride=8)(image)
    assert torch.equal(found, image)
    assert seen[0].shape == (2, 3, 8, 16)
    assert torch.equal(seen[0][..., 5:, :9], image[..., -1:, :].expand(-1, -1, 3, -1))
    assert torch.equal(seen[0][..., :5, 9:], image[..., -1:].expand(-1, -1, -1, 7))


def test_an_image_that_fits_is_not_padded() -> None:
    image = torch.randn(1, 3, 8, 16)
    assert Padded(nn.Identity(), stride=8)(image).data_ptr() == image.data_ptr()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("smal", "did you mean 'small'?"),
        ("small:0", "architecture"),
        ("small:x", "architecture"),
        ("unet", '"unet:resnet18"'),
        ("unet:", '"unet:resnet18"'),
        ("", '"unet:resnet18"'),
        ("unett:resnet18", "did you mean 'unet'?"),
        ("unet:resnet81", "did you mean 'resnet18'?"),
        ("unet:tu-resnet81", "did you mean 'tu-resnet"),
        ("unet:qqqqqq", "look at the encoders"),
    ],
)
def test_an_unknown_name_is_refused_with_the_way_out(name: str, words: str) -> None:
    for refuse in (require_network, lambda given: build_network(given, 2)):
        with pytest.raises(InvalidInput) as refused:
            refuse(name)
        assert words in str(refused.value)
        assert "\n" not in str(refused.value)


def test_pretrained_weights_offline_are_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import segmentation_models_pytorch as smp

    def offline(self: object, name: str, encoder_weights: str | None = None, **_: object) -> None:
        assert encoder_weights == "imagenet"
        raise ConnectionError("HTTPSConnectionPool(host='huggingface.co'):\nMax retries exceeded")

    monkeypatch.setattr(smp.Unet, "__init__", offline)
    with pytest.raises(SaccadeError) as refused:
        build_network("unet:resnet18", 2, pretrained=True)
    assert "the pretrained weights of 'unet:resnet18' could not be had" in str(refused.value)
    assert str(refused.value).endswith("go online, or train without them")
    assert "\n" not in str(refused.value)


def test_a_network_that_cannot_be_made_is_one_clear_line() -> None:
    with pytest.raises(SaccadeError, match="the network 'dpt:resnet18' could not be made"):
        build_network("dpt:resnet18", 2)


@pytest.mark.parametrize("options", [{"classes": 0}, {"classes": 2, "width": 0}, {"classes": 2, "depth": 0}])
def test_impossible_small_networks_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match="at least 1"):
        SmallUNet(**options)  # type: ignore[arg-type]
