"""Foveation through training: what is drawn, what learns, what a run is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from training_runs import assert_same_weights, rows, weights_of

from saccade.data import DataFolder, SampleCache
from saccade.errors import FileProblem, InvalidInput, SaccadeError
from saccade.evaluation import evaluate
from saccade.samplers.foveation_lattice import Places, weighted_keys
from saccade.samplers.foveation_training import FoveationStep, advantage, default_bank
from saccade.samplers.recipe import StepInfo
from saccade.segmenter import Segmenter
from saccade.training import Config, Run
from saccade.training.loading import Augmentation
from saccade.training.loop import resolve
from saccade.training.run_folder import build_segmenter

FOVEATION = [
    "sampler.name=foveation", "sampler.size=8x8", "foveation.bank=[12,18,30]", "foveation.shrink=4",
    "foveation.locations=2", "foveation.visits=3",
]  # fmt: skip


@pytest.fixture
def foveation(tiny_config: Callable[..., Config], opened: DataFolder) -> Callable[..., Config]:
    return lambda *more: resolve(tiny_config(*FOVEATION, *more), opened)


def no_change(batch: int, *, x: bool = False, y: bool = False) -> Augmentation:
    flipped = torch.tensor([[x, y]]).expand(batch, 2)
    return Augmentation(flipped, torch.ones(batch, 1, 1, 1), torch.zeros(batch, 3, 1, 1))


def losses(
    config: Config, opened: DataFolder, cache: SampleCache, draw: Augmentation | None = None
) -> tuple[torch.Tensor, torch.Tensor, Segmenter]:
    torch.manual_seed(3)
    segmenter = build_segmenter(config, len(opened.classes))
    batch = [cache.get(opened, item) for item in opened.split("train")[:2]]
    step = config.recipe.training_step(config.loss, config.training.seed)
    found = step(segmenter, batch, draw or no_change(2), StepInfo(0, 0, 6, 2))
    return *found, segmenter


@pytest.mark.parametrize("estimator", ["mean", "mode", "gumbel", "reinforce", "regret"])
@pytest.mark.parametrize("reading", ["aligned", "published"])
def test_both_nets_get_a_gradient(
    foveation: Callable[..., Config], opened: DataFolder, cache: SampleCache, estimator: str, reading: str
) -> None:
    config = foveation(f"foveation.estimator={estimator}", f"foveation.reading={reading}")
    segmentation, taught, segmenter = losses(config, opened, cache)
    (segmentation + taught).backward()
    for part in (segmenter.sampler, segmenter.network):
        first = next(part.parameters()).grad
        assert first is not None and first.abs().sum() > 0
    assert (taught != 0) == (estimator in ("reinforce", "regret"))


def test_regret_is_measured_with_every_field_and_moves_no_statistics(
    foveation: Callable[..., Config], opened: DataFolder, cache: SampleCache
) -> None:
    """Against the losses of patches that are fed one by one, in evaluation mode."""
    config = foveation("foveation.estimator=regret")
    _, _, segmenter = losses(config, opened, cache)
    statistics = {name: value.clone() for name, value in segmenter.network.named_buffers()}
    batch = [cache.get(opened, item) for item in opened.split("train")[:2]]
    step = config.recipe.training_step(config.loss, config.training.seed)
    drawn = [step._drawn(segmenter.sampler, sample, StepInfo(0, 0, 6, 2)) for sample in batch]
    count, fields = sum(map(len, drawn)), len(segmenter.sampler.bank)
    even = torch.full((count, fields), 1 / fields).log().requires_grad_()
    found = step._regret(segmenter, batch, drawn, no_change(2), even)
    after = dict(segmenter.network.named_buffers())
    assert all(torch.equal(value, after[name]) for name, value in statistics.items())
    assert segmenter.training == segmenter.network.training

    segmenter.eval()
    each = torch.zeros(count, fields)
    for field in range(fields):
        n = 0
        for sample, places in zip(batch, drawn, strict=True):
            for place in places:
                weights = torch.eye(fields)[field : field + 1]
                pixels, labels = step._read(
                    segmenter, sample, place[None], torch.tensor([False, False]), weights
                )
                scores = segmenter.sampler.reading(segmenter.score(pixels[:, 0]), weights)
                each[n, field] = config.loss(scores, labels)
                n += 1
    expected = (each - each.min(1, keepdim=True).values).mean()
    found.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    assert even.grad is not None and (even.grad.gather(1, each.argmin(1)[:, None]) == 0).all()


@pytest.mark.parametrize("estimator", ["fixed", "random", "average"])
def test_the_baselines_have_no_net(
    foveation: Callable[..., Config], opened: DataFolder, cache: SampleCache, estimator: str
) -> None:
    segmentation, taught, segmenter = losses(foveation(f"foveation.estimator={estimator}"), opened, cache)
    assert not list(segmenter.sampler.parameters()) and taught == 0
    assert segmentation.requires_grad


def test_a_mirrored_image_is_looked_at_where_it_was(
    foveation: Callable[..., Config], opened: DataFolder, cache: SampleCache
) -> None:
    """Patch and labels of a flipped image are those of the image, flipped."""
    config = foveation()
    segmenter = build_segmenter(config, len(opened.classes))
    step = config.recipe.training_step(config.loss, config.training.seed)
    one = cache.get(opened, opened.split("train")[0])
    drawn = torch.tensor([[3, 2], [0, 5]])
    weights = torch.full((2, 3), 1 / 3, requires_grad=True)
    pixels, labels = step._read(segmenter, one, drawn, torch.tensor([False, False]), weights)
    turned, others = step._read(segmenter, one, drawn, torch.tensor([True, True]), weights)
    torch.testing.assert_close(turned.flip((-1, -2)), pixels, atol=1e-4, rtol=1e-4)
    assert (others.flip((-1, -2)) == labels).float().mean() > 0.97  # nearest: ties fall to either side


def test_the_net_is_asked_at_the_mirrored_place() -> None:
    places = torch.tensor([[0, 0], [2, 5]])
    found = FoveationStep._flipped(places, torch.tensor([True, False]), (4, 9))
    assert found.tolist() == [[0, 8], [2, 3]]
    assert FoveationStep._flipped(places, torch.tensor([False, True]), (4, 9)).tolist() == [[3, 0], [1, 5]]


def test_an_epoch_draws_no_location_twice_and_another_epoch_draws_others(
    opened: DataFolder, cache: SampleCache
) -> None:
    one, size = cache.get(opened, opened.split("train")[0]), (8, 12)
    places = Places(5)
    epoch = [places.of(one, size, (12.0, 12.0), visit, seed=1) for visit in range(19)]
    seen = Counter(tuple(place) for some in epoch for place in some.tolist())
    assert len(seen) == 95 and max(seen.values()) == 1
    other = places.of(one, size, (12.0, 12.0), 0, seed=2)
    assert not torch.equal(other, epoch[0])


def test_rare_classes_are_drawn_in_proportion_to_their_weight() -> None:
    generator = torch.Generator().manual_seed(1)
    weights = torch.tensor([1.0, 2.0, 4.0, 0.0])
    firsts = Counter()
    for _ in range(4000):
        firsts[int(weighted_keys(torch.rand(4, generator=generator), weights).argmax())] += 1
    assert firsts[3] == 0
    for place, share in enumerate((1 / 7, 2 / 7, 4 / 7)):
        assert firsts[place] / 4000 == pytest.approx(share, abs=0.03)


def test_the_weight_of_a_location_is_the_mean_over_its_smallest_field(
    opened: DataFolder, cache: SampleCache
) -> None:
    one = cache.get(opened, opened.split("train")[0])
    weights = (1.0, 3.0, 5.0, 7.0)
    found = Places(1, weights)._made(one, (8, 12), (12.0, 12.0))
    labels = one.labels[0].numpy()
    middle = labels[max(0, round(4 * 31 / 7 - 5.5)) : round(4 * 31 / 7 + 6.4), :]
    x = 6 * 47 / 11
    columns = [n for n in range(48) if abs(n - x) <= 6]
    lines = [n for n in range(32) if abs(n - 4 * 31 / 7) <= 6]
    wanted = sum(weights[labels[i, j]] for i in lines for j in columns) / len(lines) / len(columns)
    assert middle.size and float(found[4, 6]) == pytest.approx(wanted, rel=1e-5)


def test_the_advantage_is_the_loss_less_the_mean_of_the_others() -> None:
    assert advantage(torch.tensor([1.0, 2.0, 6.0])).tolist() == pytest.approx([-3.0, -1.5, 4.5])
    assert advantage(torch.tensor([4.0])).tolist() == [0.0]


def test_the_default_bank_runs_from_the_patch_to_the_smallest_image() -> None:
    assert default_bank((64, 64), [(1024, 2048), (1500, 1100)]) == (64, 128, 256, 512, 1024)
    with pytest.raises(InvalidInput, match="choose a smaller sampler"):
        default_bank((64, 64), [(64, 64)])


@pytest.mark.parametrize("estimator", ["mean", "gumbel"])
def test_a_resumed_run_is_an_unbroken_one(
    tiny_train: Callable[..., Run], estimator: str, tmp_path: Path
) -> None:
    options = [*FOVEATION, f"foveation.estimator={estimator}", "training.epochs=3"]
    whole = tiny_train("whole", *options)

    def stop(done: int, epochs: int, scores: dict[str, float]) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(SaccadeError, match="resume"):
        tiny_train("broken", *options, on_epoch=stop)
    broken = tiny_train("broken", *options, resume=True)
    assert_same_weights(weights_of(broken), weights_of(whole))
    assert rows(broken.path) == rows(whole.path)


def test_an_ensemble_is_put_together_from_the_fixed_baselines(
    tiny_train: Callable[..., Run], opened: DataFolder, cache: SampleCache, tmp_path: Path
) -> None:
    fixed = ["foveation.estimator=fixed", "training.epochs=1"]
    for field in range(3):
        tiny_train(f"fixed{field}", *FOVEATION, *fixed, f"foveation.field={field}")
    members = [str(tmp_path / f"fixed{field}") for field in range(3)]
    run = tiny_train("all", "sampler.name=foveation", "foveation.estimator=ensemble", _listed(members))
    assert run.config.foveation.bank == (12, 18, 30)
    weights, own = weights_of(run), weights_of(Run(tmp_path / "fixed1", *[None] * 4))  # type: ignore[arg-type]
    for name, value in own.items():
        assert torch.equal(weights[name.replace("network.", "network.networks.1.")], value)
    found = evaluate(run.segmenter, cache.iterate(opened, opened.split("val")), opened.classes)
    assert 0 <= found.miou <= 1
    with pytest.raises(FileProblem, match="field 0"):
        turned = _listed(members[::-1])
        tiny_train("turned", "sampler.name=foveation", "foveation.estimator=ensemble", turned)


def _listed(members: list[str]) -> str:
    return f"foveation.members=[{','.join(members)}]"


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("foveation.bank=[12,12]", "increase"),
        ("foveation.estimator=ensemble", "foveation.members"),
        ("foveation.temperature=[0.1,1.0]", "fall"),
        ("foveation.field=7", "from 0 to 2"),
        ("foveation.draw=[1,2]", "one number for each"),
        ("sampler.thumbnail=8x8", "foveation.shrink"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    foveation: Callable[..., Config], option: str, words: str, opened: DataFolder
) -> None:
    with pytest.raises(SaccadeError, match=words):
        build_segmenter(foveation(option), len(opened.classes))


def test_a_shrink_that_leaves_gaps_is_refused_before_anything_is_trained(
    foveation: Callable[..., Config],
) -> None:
    with pytest.raises(InvalidInput, match=r"foveation\.(shrink|stride).*gaps"):
        foveation("foveation.shrink=24")
