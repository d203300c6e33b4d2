"""Losses against closed forms, other implementations, and hand computation."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.errors import InvalidInput
from saccade.losses import edge_loss, segmentation_loss, soft_cross_entropy


def case(seed: int = 0, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(2, classes, 5, 6, generator=generator)
    labels = torch.randint(0, classes, (2, 5, 6), generator=generator)
    labels[0, :2] = 255
    return scores, labels


def test_cross_entropy_is_minus_the_log_of_the_true_class() -> None:
    scores = torch.tensor([[[[math.log(3.0)]], [[0.0]]]])
    found = segmentation_loss(scores, torch.tensor([[[0]]]))
    assert float(found) == pytest.approx(-math.log(3 / 4))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.booleans())
def test_cross_entropy_agrees_with_torch(seed: int, weighted: bool) -> None:
    scores, labels = case(seed)
    weights = torch.tensor([0.5, 1.0, 2.0, 4.0]) if weighted else None
    wanted = F.cross_entropy(scores, labels, weight=weights, ignore_index=255)
    found = segmentation_loss(scores, labels.to(torch.uint8), class_weights=weights)
    torch.testing.assert_close(found, wanted)


def test_two_class_focal_agrees_with_the_binary_focal_loss() -> None:
    """torchvision's, on the difference of the two scores: -(1 - p)^2 log p of the true class."""
    from torchvision.ops import sigmoid_focal_loss

    scores, labels = case(classes=2)
    kept = labels != 255
    difference = (scores[:, 1] - scores[:, 0])[kept]
    wanted = sigmoid_focal_loss(difference, labels[kept].float(), alpha=-1, gamma=2, reduction="mean")
    torch.testing.assert_close(segmentation_loss(scores, labels, "focal"), wanted)


def test_focal_loss_by_hand() -> None:
    scores = torch.log(torch.tensor([0.2, 0.3, 0.5])).view(1, 3, 1, 1)
    found = segmentation_loss(scores, torch.tensor([[[1]]]), "focal", focal_gamma=3.0)
    assert float(found) == pytest.approx(-(0.7**3) * math.log(0.3), rel=1e-5)


def test_focal_loss_without_gamma_is_cross_entropy() -> None:
    scores, labels = case()
    plain = segmentation_loss(scores, labels)
    torch.testing.assert_close(segmentation_loss(scores, labels, "focal", focal_gamma=0), plain)


@pytest.mark.parametrize("kind", ["cross_entropy", "focal"])
def test_ignored_samples_count_nowhere(kind: str) -> None:
    scores, labels = case()
    changed = scores.clone()
    changed[:, :, :2][0] = 1e4
    torch.testing.assert_close(
        segmentation_loss(changed, labels, kind), segmentation_loss(scores, labels, kind)
    )
    scores.requires_grad_()
    segmentation_loss(scores, labels, kind).backward()
    assert scores.grad is not None
    assert torch.all(scores.grad[0, :, :2] == 0)


@pytest.mark.parametrize("kind", ["cross_entropy", "focal"])
@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 3.0, 4.0), (0.0, 0.0, 0.0, 0.0)])
def test_where_all_is_ignored_the_loss_is_0_with_finite_gradient(
    kind: str, weights: tuple[float, ...] | None
) -> None:
    scores, labels = case()
    scores.requires_grad_()
    loss = segmentation_loss(scores, torch.full_like(labels, 255), kind, class_weights=weights)
    loss.backward()
    assert loss.item() == 0
    assert scores.grad is not None and torch.all(scores.grad == 0)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_a_certain_answer_has_a_finite_focal_gradient(gamma: float) -> None:
    """Right or wrong by a thousand: p is 1 or 0 in float32."""
    scores = torch.tensor([[[[1000.0, -1000.0]], [[0.0, 0.0]]]], requires_grad=True)
    segmentation_loss(scores, torch.zeros(1, 1, 2, dtype=torch.long), "focal", focal_gamma=gamma).backward()
    assert scores.grad is not None and torch.isfinite(scores.grad).all()


@pytest.mark.parametrize("kind", ["cross_entropy", "focal"])
def test_low_precision_scores_are_scored_in_float32(kind: str) -> None:
    scores, labels = case()
    found = segmentation_loss(scores.bfloat16(), labels, kind)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, segmentation_loss(scores.bfloat16().float(), labels, kind))


def test_wrong_shapes_kinds_and_weights_are_refused() -> None:
    scores, labels = case()
    with pytest.raises(InvalidInput, match="did you mean 'focal'"):
        segmentation_loss(scores, labels, "focl")
    with pytest.raises(InvalidInput, match="expected labels to be of shape"):
        segmentation_loss(scores, labels[:, :3])
    with pytest.raises(InvalidInput, match="expected labels to be below 3, or 255, but got labels up to 3"):
        segmentation_loss(scores[:, :3], labels)
    with pytest.raises(InvalidInput, match="class_weights to be one number for each of the 4 classes"):
        segmentation_loss(scores, labels, class_weights=(1.0, 2.0))


def density(seed: int, batch: int = 2) -> torch.Tensor:
    map_ = torch.rand(batch, 1, 4, 5, generator=torch.Generator().manual_seed(seed)) ** 3
    return map_ / map_.sum((2, 3), keepdim=True)


def test_the_divergence_by_its_definition() -> None:
    predicted, target = density(1).double(), density(2).double()
    wanted = (target * (target / predicted).log()).sum((1, 2, 3)).mean()
    assert float(edge_loss(density(1), density(2), "kl")) == pytest.approx(float(wanted), rel=1e-5)


def test_the_published_edge_loss_by_its_definition() -> None:
    """Each map to [0, 1] by its own range, then the mean squared error."""

    def scaled(d: torch.Tensor) -> torch.Tensor:
        return torch.stack([(one - one.min()) / (one.max() - one.min()) for one in d])

    wanted = ((scaled(density(1)) - scaled(density(2))) ** 2).mean()
    torch.testing.assert_close(edge_loss(density(1), density(2), "mse"), wanted)


@pytest.mark.parametrize("kind", ["kl", "mse"])
def test_the_right_density_costs_nothing_and_any_other_something(kind: str) -> None:
    assert float(edge_loss(density(1), density(1), kind)) == pytest.approx(0, abs=1e-6)
    assert float(edge_loss(density(1), density(2), kind)) > 0.01


@pytest.mark.parametrize("kind", ["kl", "mse"])
@pytest.mark.parametrize("which", ["predicted", "target", "both"])
def test_a_constant_density_has_a_finite_loss_and_gradient(kind: str, which: str) -> None:
    flat = torch.full((2, 1, 4, 5), 1 / 20)
    logits = torch.zeros(2, 20) if which != "target" else torch.randn(2, 20, generator=torch.Generator())
    logits.requires_grad_()
    target = density(2) if which == "predicted" else flat
    loss = edge_loss(logits.softmax(1).view(2, 1, 4, 5), target, kind)
    loss.backward()
    assert torch.isfinite(loss) and logits.grad is not None and torch.isfinite(logits.grad).all()
    if which == "predicted":
        assert logits.grad.abs().max() > 0
    if which == "both":
        assert loss.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", ["kl", "mse"])
def test_a_density_of_a_single_place_has_a_finite_loss_and_gradient(kind: str) -> None:
    logits = torch.zeros(1, 20)
    logits[0, 3] = 1e4
    logits.requires_grad_()
    loss = edge_loss(logits.softmax(1).view(1, 1, 4, 5), density(1, 1), kind)
    loss.backward()
    assert torch.isfinite(loss) and logits.grad is not None and torch.isfinite(logits.grad).all()


def test_edge_losses_refuse_other_shapes_and_kinds() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'mse'"):
        edge_loss(density(1), density(2), "msee")
    with pytest.raises(InvalidInput, match="expected target to be of the density's shape"):
        edge_loss(density(1), density(2)[:1])


def test_a_certain_teacher_is_the_cross_entropy_of_its_labels() -> None:
    scores, labels = case()
    shares = F.one_hot(labels.where(labels != 255, 0).long(), 4).permute(0, 3, 1, 2).float()
    found = soft_cross_entropy(scores, shares, labels)
    assert float(found) == pytest.approx(float(segmentation_loss(scores, labels)), rel=1e-5)


def test_soft_cross_entropy_by_its_definition_and_least_where_student_and_teacher_agree() -> None:
    (scores, labels), (teacher, _) = case(), case(1)
    shares, log = teacher.softmax(1).numpy(), scores.log_softmax(1).numpy()
    wanted = -(shares * log).sum(1)[labels.numpy() != 255].mean()
    found = soft_cross_entropy(scores, teacher.softmax(1), labels)
    assert float(found) == pytest.approx(float(wanted), rel=1e-5)
    assert soft_cross_entropy(teacher, teacher.softmax(1), labels) < found


def test_a_teacher_of_ignored_samples_alone_teaches_nothing_and_another_shape_is_refused() -> None:
    scores, labels = case()
    shares = scores.softmax(1)
    leaf = scores.clone().requires_grad_()
    loss = soft_cross_entropy(leaf, shares, torch.full_like(labels, 255))
    loss.backward()
    assert loss.item() == 0 and leaf.grad is not None and not leaf.grad.any()
    with pytest.raises(InvalidInput, match="shares"):
        soft_cross_entropy(scores, shares[..., 1:], labels)
