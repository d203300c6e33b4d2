"""Mirroring the places that are read is mirroring the image."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from saccade.data import DataFolder, Sample
from saccade.errors import InvalidInput
from saccade.runtime.seeds import seed_of
from saccade.segmenter import IMAGENET_MEAN, IMAGENET_STD
from saccade.training import Config
from saccade.training.config import AugmentConfig
from saccade.training.loading import Augmentation
from saccade.training.loop import resolve
from saccade.training.run_folder import build_segmenter
from saccade.training.task import SegmentationTask
from saccade.warp import Pyramid, sample

FLIPS = [(False, False), (True, False), (False, True), (True, True)]


def drawn(flips: list[tuple[bool, bool]]) -> Augmentation:
    count = len(flips)
    return Augmentation(
        torch.tensor(flips), torch.full((count, 1, 1, 1), 1.2), torch.full((count, 3, 1, 1), 0.1)
    )


def flipped(maps: torch.Tensor, x: bool, y: bool) -> torch.Tensor:
    return maps.flip([axis for axis, wanted in ((-1, x), (-2, y)) if wanted])


def test_mirroring_flips_each_map_by_its_own_draw() -> None:
    maps = torch.rand(4, 2, 5, 7)
    found = drawn(FLIPS).flip(maps)
    for one, given, (x, y) in zip(found, maps, FLIPS, strict=True):
        assert torch.equal(one, flipped(given, x, y))


@pytest.mark.parametrize("antialias", [False, True])
def test_reading_mirrored_places_is_reading_the_mirrored_image(antialias: bool) -> None:
    images = torch.rand(4, 3, 8, 16)  # sides that halve evenly: else a flip image has another pyramid
    grids = torch.rand(4, 6, 5, 2) * 2 - 1
    grids = grids.sort(dim=1).values.sort(dim=2).values
    places = drawn(FLIPS).flip_grid(grids)
    turned = torch.stack([flipped(image, x, y) for image, (x, y) in zip(images, FLIPS, strict=True)])
    found = sample(images, places, antialias=antialias)
    torch.testing.assert_close(found, sample(turned, grids, antialias=antialias), rtol=0, atol=2e-5)


@pytest.mark.parametrize("flips", FLIPS)
@pytest.mark.parametrize(
    "options",
    [
        ("sampler.name=deformation", "loss.through_grid=true"),
        ("sampler.name=oracle",),
        ("sampler.name=uniform",),
    ],
)
def test_a_mirrored_step_is_the_step_on_the_mirrored_image(
    tiny_config: Callable[..., Config], opened: DataFolder, flips: tuple[bool, bool], options: tuple[str, ...]
) -> None:
    """The whole road: thumbnail, density, grid, pixels, labels and both losses; by attraction, since the
    relaxation of the elastic grid ends a little differently on a flipped density. The sides halve evenly,
    or the levels of an image's pyramid would not be those of its flip image."""
    generator = torch.Generator().manual_seed(4)
    image = torch.rand(1, 3, 32, 48, generator=generator)
    labels = torch.randint(0, 4, (1, 5, 7), generator=generator, dtype=torch.uint8)
    labels = labels.repeat_interleave(7, 1)[:, :32].repeat_interleave(7, 2)[:, :, :48].contiguous()
    losses = []
    for draw, x, y in ((drawn([flips]), False, False), (drawn([(False, False)]), *flips)):
        torch.manual_seed(0)
        config = resolve(tiny_config("sampler.size=[9,13]", "sampler.grid=attraction", *options), opened)
        task = SegmentationTask(build_segmenter(config, 4), config, opened.classes.names, 1)
        one = Sample("a", Pyramid.of(flipped(image, x, y).contiguous()), flipped(labels, x, y).contiguous())
        views = task._propose([one], draw)
        parts = [task._segmentation(task._see([one], views, draw))]
        if task.auxiliary_loss is not None:
            parts.append(task.auxiliary_loss([one], views, draw))
        losses.append(torch.stack(parts))
    torch.testing.assert_close(losses[0], losses[1], rtol=2e-4, atol=1e-5)


def test_a_draw_follows_from_its_generator_and_its_options() -> None:
    def draw(options: AugmentConfig, seed: int) -> Augmentation:
        return Augmentation.random(64, options, torch.Generator().manual_seed(seed))

    first, again, other = (draw(AugmentConfig(), seed) for seed in (1, 1, 2))
    assert torch.equal(first.flipped, again.flipped) and torch.equal(first.gain, again.gain)
    assert not torch.equal(first.flipped, other.flipped)
    assert 10 < int(first.flipped[:, 0].sum()) < 54
    none = draw(AugmentConfig(False, False, 0, 0), 1)
    pixels = torch.rand(64, 3, 2, 2)
    assert torch.equal(none.colour_jitter(none.flip(pixels)), pixels)
    assert not draw(AugmentConfig(flip_vertical=False), 1).flipped[:, 1].any()


def test_the_tint_is_a_gain_and_a_shift_of_each_channel() -> None:
    pixels = torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(drawn(FLIPS[:2]).colour_jitter(pixels), 1.2 * pixels + 0.1)


def test_seeds_are_the_same_on_every_machine_and_differ_for_different_numbers() -> None:
    assert seed_of(0, 1, 2) == 3071860871404845570
    seeds = {seed_of(a, b, c) for a in range(5) for b in range(5) for c in range(5)}
    assert len(seeds) == 125


def test_salt_and_pepper_is_black_or_white_for_the_share_that_was_asked_for() -> None:
    options = AugmentConfig(False, False, 0.0, 0.0, salt_and_pepper=0.1)
    draw = Augmentation.random(2, options, torch.Generator().manual_seed(3))
    pixels = torch.full((2, 3, 200, 250), 0.1)
    found = draw.colour_jitter(pixels)
    changed = (found != pixels).any(1)
    assert torch.equal(changed, (found != pixels).all(1))
    assert changed.float().mean().item() == pytest.approx(0.1, abs=0.005)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    plain = (found * std + mean).movedim(1, -1)[changed]
    assert plain.sum(1).div(3).round().unique().tolist() == [0, 1]
    torch.testing.assert_close(plain, plain.round().abs(), rtol=0, atol=1e-6)
    assert plain.mean().item() == pytest.approx(0.5, abs=0.02)
    assert not torch.equal(changed[0], changed[1])


def test_salt_and_pepper_is_the_image_s_own_wherever_it_stands_in_the_batch() -> None:
    options = AugmentConfig(salt_and_pepper=0.2)
    draw = Augmentation.random(3, options, torch.Generator().manual_seed(3))
    pixels = torch.rand(3, 3, 20, 30)
    torch.testing.assert_close(
        draw.of([2, 0]).colour_jitter(pixels[[2, 0]]), draw.colour_jitter(pixels)[[2, 0]], rtol=0, atol=0
    )


def test_without_salt_and_pepper_the_other_draws_are_what_they_were() -> None:
    one, other = (
        Augmentation.random(2, AugmentConfig(salt_and_pepper=share), torch.Generator().manual_seed(5))
        for share in (0.0, 0.1)
    )
    assert one.speckles is None
    assert torch.equal(one.gain, other.gain)
    assert torch.equal(one.shift, other.shift)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_an_impossible_share_is_refused(share: float) -> None:
    with pytest.raises(InvalidInput, match="salt_and_pepper"):
        AugmentConfig(salt_and_pepper=share)
