"""The light U-Net is that of segmentation-models-pytorch: the same names, the same scores to the bit."""

from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import torch

from saccade.networks import build_network
from saccade.networks.unet_resnet import LAYERS, UNetOfResNet, is_known


@pytest.mark.parametrize("encoder", LAYERS)
def test_its_tensors_are_those_of_the_library(encoder: str) -> None:
    with torch.device("meta"):
        ours, theirs = UNetOfResNet(encoder, 5), smp.Unet(encoder, encoder_weights=None, classes=5)
    shapes = [{name: tensor.shape for name, tensor in one.state_dict().items()} for one in (ours, theirs)]
    assert shapes[0] == shapes[1] and list(shapes[0]) == list(shapes[1])


@pytest.mark.parametrize("encoder", ["resnet18", "resnet50"])
@pytest.mark.parametrize("training", [False, True])
def test_it_is_the_network_of_the_library(encoder: str, training: bool) -> None:
    theirs = smp.Unet(encoder, encoder_weights=None, classes=5).train(training)
    ours = UNetOfResNet(encoder, 5).train(training)
    ours.load_state_dict(theirs.state_dict())
    image = torch.randn(2, 3, 32, 64)
    scores = [network(image.clone()) for network in (ours, theirs)]
    assert torch.equal(*scores)
    for one in scores:
        one.square().sum().backward()
    gradients = [dict(network.named_parameters()) for network in (ours, theirs)]
    assert all(torch.equal(weight.grad, gradients[1][name].grad) for name, weight in gradients[0].items())
    assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))


def test_fresh_weights_come_from_the_library() -> None:
    """What a seed trained before it trains today."""
    torch.manual_seed(0)
    fresh = build_network("unet:resnet18", 3)
    torch.manual_seed(0)
    theirs = smp.Unet("resnet18", encoder_weights=None, classes=3)
    assert all(map(torch.equal, fresh.state_dict().values(), theirs.state_dict().values()))


def test_only_names_that_are_there_are_known() -> None:
    assert is_known("unet:resnet18")
    assert not any(
        map(is_known, ("unet:resnet19", "fpn:resnet18", "unet", "unet:", "unet:original", "resnet18"))
    )
