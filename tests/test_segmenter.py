"""Sampler and network together: what goes in, what comes out, and where the gradient goes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saccade.errors import InvalidInput
from saccade.networks import SmallUNet
from saccade.samplers.deformation import DeformationSampler
from saccade.samplers.oracle import OracleSampler
from saccade.samplers.uniform import UniformSampler
from saccade.segmenter import IMAGENET_MEAN, IMAGENET_STD, Segmenter
from saccade.warp.pyramid import Pyramid


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The images are tiny."""


class Threshold(nn.Module):
    """Class 1 where the first channel is above its mean value."""

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.stack([-pixels[:, 0], pixels[:, 0]], dim=1)


def segmenter(size: tuple[int, int] = (8, 12)) -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(DeformationSampler(size), SmallUNet(3, width=4))


def image(batch: int = 2, size: tuple[int, int] = (24, 40)) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8, generator=generator)


def test_every_kind_of_input_gives_the_same_labels() -> None:
    model, pixels = segmenter(), image()
    wanted = model.predict(pixels)
    assert (wanted.shape, wanted.dtype) == ((2, 24, 40), torch.uint8)
    pyramids = [Pyramid.of(one[None]) for one in pixels]
    assert torch.equal(model.predict(pyramids), wanted)
    assert torch.equal(model.predict(pyramids[0]), wanted[:1])
    assert torch.equal(model.predict(pixels[1]), wanted[1])
    assert torch.equal(model.predict(tuple(pyramids)), wanted)


def test_floats_in_0_to_1_are_the_same_image_but_for_rounding_to_bytes() -> None:
    model, pixels = segmenter(), image()
    seen = [model.thumbnail([Pyramid.of(given[:1])]) for given in (pixels, pixels.float() / 255)]
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=1 / 255 / min(IMAGENET_STD))


def test_at_full_budget_the_answer_is_the_networks_own() -> None:
    """A uniform sampler of the image's own size reads every pixel and gives every answer back."""
    pixels = image(1, (9, 13))
    model = Segmenter(UniformSampler((9, 13)), Threshold(), antialias=False)
    wanted = (pixels[:, 0].double() / 255 > IMAGENET_MEAN[0]).to(torch.uint8)
    assert torch.equal(model.predict(pixels), wanted)


def test_pixels_are_normalised_as_imagenet_was() -> None:
    pixels = image(1, (4, 6))
    seen: list[Tensor] = []

    class Remember(Threshold):
        def forward(self, pixels: Tensor) -> Tensor:
            seen.append(pixels)
            return super().forward(pixels)

    Segmenter(UniformSampler((4, 6)), Remember(), antialias=False)(pixels)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    torch.testing.assert_close(seen[0], (pixels / 255 - mean) / std, rtol=0, atol=1e-5)


def test_views_of_another_size_than_in_training() -> None:
    model = segmenter((8, 12))
    assert model(image(), size=(5, 20)).scores.shape == (2, 3, 5, 20)
    assert model.predict(image(), size=(5, 20)).shape == (2, 24, 40)


def test_scores_of_another_size_are_brought_to_that_of_the_views() -> None:
    class Half(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            return F.avg_pool2d(pixels, 2)

    model = Segmenter(UniformSampler((8, 12)), Half())
    assert model(image()).scores.shape == (2, 3, 8, 12)


def test_predicting_leaves_every_part_in_the_mode_it_was_in() -> None:
    model = segmenter().train()
    model.sampler.eval()
    before = {name: part.training for name, part in model.named_modules()}
    statistics = {name: value.clone() for name, value in model.named_buffers()}
    model.predict(image())
    assert {name: part.training for name, part in model.named_modules()} == before
    assert all(torch.equal(value, statistics[name]) for name, value in model.named_buffers())


def test_the_mode_is_restored_after_a_fault() -> None:
    class Broken(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            raise RuntimeError("broken")

    model = Segmenter(UniformSampler((4, 4)), Broken()).train()
    with pytest.raises(RuntimeError):
        model.predict(image())
    assert model.training and model.network.training


def test_predicting_keeps_no_graph() -> None:
    assert not segmenter().predict(image().float() / 255).requires_grad


def test_the_gradient_of_the_scores_reaches_the_density_net_through_the_places() -> None:
    model = segmenter()
    (model(image()).scores ** 2).sum().backward()
    gradients = [p.grad for p in model.sampler.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)
    assert sum(float(g.abs().sum()) for g in gradients if g is not None) > 0


def test_a_sampler_that_sees_labels_predicts_only_with_them() -> None:
    model = Segmenter(OracleSampler((6, 8)), SmallUNet(3, width=4))
    labels = [torch.zeros(24, 40, dtype=torch.uint8) for _ in range(2)]
    assert model.predict(image(), labels).shape == (2, 24, 40)
    with pytest.raises(InvalidInput, match="sees the true labels"):
        model.predict(image())


def test_images_of_different_sizes_are_scored_together_but_predicted_one_by_one() -> None:
    model = segmenter()
    pyramids = [Pyramid.of(image(1, (24, 40))), Pyramid.of(image(1, (30, 20)))]
    assert model(pyramids).scores.shape == (2, 3, 8, 12)
    with pytest.raises(InvalidInput, match="of one size in one call"):
        model.predict(pyramids)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (torch.zeros(1, 4, 5, 5, dtype=torch.uint8), "drop alpha"),
        (torch.zeros(1, 1, 5, 5), "repeat a grey channel"),
        (torch.zeros(3, 0, 5), "of shape (B, 3, H, W)"),
        (torch.zeros(5, 5), "of shape (B, 3, H, W)"),
        (torch.zeros(1, 3, 5, 5, dtype=torch.int32), "uint8, or floating in [0, 1]"),
        ([], "one or more pyramids"),
    ],
)
def test_other_inputs_are_refused_with_the_way_out(given: object, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        segmenter().predict(given)  # type: ignore[arg-type]
    assert words in str(refused.value)


def test_the_batch_does_not_change_an_images_answer() -> None:
    model, pixels = segmenter().eval(), image()
    with torch.no_grad():
        together = model(pixels).scores
        alone = torch.cat([model(one[None]).scores for one in pixels])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_dilated_networks_train_in_bfloat16() -> None:
    """Their weight gradient in channels-last bfloat16 is NaN on a CPU (PyTorch 2.15)."""
    model = Segmenter(UniformSampler((8, 12)), nn.Conv2d(3, 8, 3, padding=2, dilation=2))
    with torch.autocast("cpu", torch.bfloat16):
        model(image()).scores.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
