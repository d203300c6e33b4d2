"""Networks that predict, from an overview, how densely to look at each place."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class DensityNet(nn.Module):
    """The deformation module of ICLR 2022 (3 and appendix A.2): three convolutions, one output, a softmax.

    3x3 convolution, batch norm, ReLU with the given channels, then 1x1 to one channel and a softmax over all
    pixels. He initialisation. Works at any input size. 7 pixels of field of view with the paper's three
    layers; ``dilations`` widen it at no cost.

    Args:
        channels: of the 3x3 layers; the paper's are (24, 24, 3).
        dilations: of the 3x3 layers; the paper's are all 1.
    """

    def __init__(self, channels: Sequence[int] = (24, 24, 3), dilations: Sequence[int] = (1, 1, 1)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, dilation in zip((3, *channels), channels, dilations, strict=False):
            kernel = nn.Conv2d(before, after, 3, padding=dilation, dilation=dilation, bias=False)
            layers += [kernel, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels[-1], 1, 1))
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, overview: Tensor) -> Tensor:
        """(B, 3, h, w) normalised image to (B, 1, h, w) float32 density, sums to 1 over each image."""
        return as_density(self.layers(overview))


class DensityOf(nn.Module):
    """Any network with one output, as a net of densities: a softmax of its scores over all pixels.

    Args:
        network: from (B, 3, h, w) to (B, 1, h', w').
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, overview: Tensor) -> Tensor:
        """(B, 3, h, w) normalised image to (B, 1, h', w') float32 density, sums to 1 over each image."""
        return as_density(self.network(overview))


def as_density(scores: Tensor) -> Tensor:
    """(B, 1, h, w) scores as shares, float32, that sum to 1 over each image."""
    scores = scores.float()
    return scores.flatten(1).softmax(dim=1).view_as(scores)
