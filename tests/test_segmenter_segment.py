"""One image through a segmenter: what comes out, what stays as it was, and which networks take part."""

from __future__ import annotations

import copy
import io
import pickle
import re
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saccade.data.classes import ClassTable
from saccade.errors import InvalidInput, NetworkFault
from saccade.evaluation import evaluate
from saccade.networks import Padded, SmallUNet
from saccade.networks.evaluation_mode import evaluating
from saccade.samplers import (
    BoundarySampler,
    DeformationSampler,
    FoveationSampler,
    OracleSampler,
    UniformSampler,
)
from saccade.segmenter import Segmenter
from saccade.warp import Pyramid, unwarp_labels

SAMPLERS: dict[str, Any] = {
    "uniform": lambda: UniformSampler((8, 12)),
    "deformation": lambda: DeformationSampler((8, 12)),
    "boundary": lambda: BoundarySampler((8, 12), width=4),
    "foveation": lambda: FoveationSampler((8, 8), (12, 20), shrink=4),
}
CLASSES = ClassTable(("sea", "land", "boat"), (0, 1, 2), ((0, 0, 90), (0, 120, 0), (250, 250, 0)), 255)


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The images are tiny."""


class Norm(nn.Module):
    """A network whose scores hang on the statistics of its batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 3, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.layers(pixels)  # type: ignore[no-any-return]


def made(sampler: str = "deformation", network: nn.Module | None = None, **options: Any) -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(SAMPLERS[sampler](), Norm() if network is None else network, **options)


def image(seed: int = 0, size: tuple[int, int] = (24, 40)) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_a_segmentation_holds_the_labels_that_its_scores_give(sampler: str) -> None:
    model = made(sampler)
    segmented = model.segment(image())
    assert torch.equal(segmented.labels, model.predict(image())) and segmented.classes == 3
    assert torch.equal(segmented.labels, model.predict(torch.stack([image(), image(1)]))[0])
    if segmented.scores is not None:
        again = unwarp_labels(segmented.scores, segmented.glimpses.grids, (24, 40))
        assert torch.equal(again[0], segmented.labels)
    assert (segmented.density is not None) == model.sampler.has_density


def test_a_sampler_that_sees_labels_is_given_them() -> None:
    model = Segmenter(OracleSampler((6, 8)), Norm())
    truth = (torch.arange(40) > 20).to(torch.uint8).expand(24, 40)
    assert torch.equal(model.segment(image(), truth).labels, model.segment(image(), truth[None]).labels)
    with pytest.raises(InvalidInput, match="sees the true labels"):
        model.segment(image())


@pytest.mark.parametrize("classes", [None, CLASSES])
@pytest.mark.parametrize("sampler", ["deformation", "foveation"])
def test_a_notebook_shows_image_labels_and_samples_by_itself(
    sampler: str, classes: ClassTable | None
) -> None:
    shown = made(sampler, classes=classes).segment(image())._repr_html_()
    assert shown.count("data:image/png;base64,") == 3 and not re.search(r'src="(?!data:)', shown)
    assert all(word in shown for word in ("image", "labels", "samples"))
    assert ("class 0" in shown) == (classes is None) and ("sea" in shown or "land" in shown) == bool(classes)


def state(model: nn.Module) -> dict[str, Tensor]:
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    return buffers | {name: value.detach().clone() for name, value in model.named_parameters()}


@pytest.mark.parametrize("sampler", ["deformation", "boundary", "foveation"])
def test_threads_get_the_answers_of_one_thread_and_change_nothing(sampler: str) -> None:
    model = made(sampler).train()
    images = [image(n, (20 + 3 * n, 30 + 5 * n)) for n in range(4)]
    wanted, before = [model.predict(one) for one in images], state(model)
    wrong: list[object] = []

    def work(number: int) -> None:
        try:
            for n in range(6):
                which = (n + number) % len(images)
                if not torch.equal(model.segment(images[which]).labels, wanted[which]):
                    wrong.append(which)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and all(part.training for part in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in state(model).items())


def test_modes_of_compiled_networks_come_back_when_the_last_of_several_is_done() -> None:
    model = made().train()
    model.network.layers[1].eval()  # type: ignore[union-attr,index,operator]
    model.network = torch.compile(model.network, backend="eager")  # type: ignore[assignment]
    modes = [part.training for part in model.modules()]
    first, second = evaluating(model), evaluating(model.network)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not any(part.training for part in model.network.modules()) and model.training
    assert model.network.training is False
    second.__exit__(None, None, None)
    assert [part.training for part in model.modules()] == modes


@pytest.fixture
def predicting() -> Iterator[Callable[[Segmenter], list[object]]]:
    """``predicting(model)``: three threads predict until the test ends; what they did wrong."""
    threads: list[threading.Thread] = []
    ended = threading.Event()

    def start(model: Segmenter) -> list[object]:
        images = [image(n, (20, 30)) for n in range(3)]
        wanted, wrong = [model.predict(one) for one in images], list[object]()

        def work(number: int) -> None:
            while not ended.is_set():
                try:
                    if not torch.equal(model.predict(images[number]), wanted[number]):
                        wrong.append(number)
                except Exception as error:
                    wrong.append(error)

        threads.extend(threading.Thread(target=work, args=(n,)) for n in range(3))
        for thread in threads:
            thread.start()
        return wrong

    yield start
    ended.set()
    for thread in threads:
        thread.join()


def test_modes_set_while_threads_predict_stay_and_copies_have_them(
    predicting: Callable[[Segmenter], list[object]],
) -> None:
    model = made().train()
    before, wrong = state(model), predicting(model)
    for _ in range(10):
        assert model.eval().training is False
        assert not any(part.training for part in copy.deepcopy(model).modules())
        model.train()
        assert all(part.training for part in copy.deepcopy(model).modules())
    assert wrong == []
    assert all(torch.equal(value, before[name]) for name, value in state(model).items())


def test_a_training_is_the_same_with_predictions_beside_it(
    predicting: Callable[[Segmenter], list[object]],
) -> None:
    def trained(model: Segmenter) -> dict[str, Tensor]:
        optimizer = torch.optim.SGD(model.parameters(), 1e-3)
        pixels = torch.stack([image(7), image(8)])
        for _ in range(4):
            model(pixels).scores.square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        return state(model)

    alone, beside = made().train(), made().train()
    beside.load_state_dict(alone.state_dict())
    wanted = trained(alone)
    predicting(beside)
    assert all(torch.equal(value, wanted[name]) for name, value in trained(beside).items())


class Bound(Norm):
    """A network that keeps a method of its own, a part in a list, and, if asked, a function around a part."""

    def __init__(self, captured: bool) -> None:
        super().__init__()
        self.whole, self.parts = self.layers.forward, [self.layers]
        layers = self.layers
        self.again = (lambda pixels: layers(pixels)) if captured else None

    def forward(self, pixels: Tensor) -> Tensor:
        scores: Tensor = self.whole(pixels) + self.parts[0](pixels)
        return scores if self.again is None else scores + self.again(pixels)


@pytest.mark.parametrize("captured", [True, False])
def test_what_a_network_keeps_of_its_parts_is_in_evaluation_mode_too(captured: bool) -> None:
    model = made(network=Bound(captured)).eval()
    wanted = model.predict(image())
    before = state(model.train())
    assert torch.equal(model.predict(image()), wanted)
    assert all(part.training for part in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in state(model).items())


def test_eval_is_not_called_because_some_modules_merge_weights_in_it() -> None:
    class Merging(Norm):
        def train(self, mode: bool = True) -> Norm:
            if not mode:
                self.layers[0].weight.data += 1
            return super().train(mode)

    model = made(network=Merging()).train()
    before = state(model)
    model.predict(image())
    assert all(torch.equal(value, before[name]) for name, value in state(model).items())


def test_an_evaluation_changes_nothing() -> None:
    model = made().train()
    before = state(model)
    truth = torch.zeros(1, 24, 40, dtype=torch.uint8)
    sample = SimpleNamespace(stem="a", pyramid=Pyramid.of(image()[None]), labels=truth)
    evaluate(model, [sample], CLASSES)
    assert all(part.training for part in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in state(model).items())


class Answering(nn.Module):
    """A convolution whose scores are handed on in some form."""

    def __init__(self, form: Any, classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv, self.form = nn.Conv2d(3, classes, 1), form

    def forward(self, pixels: Tensor) -> Any:
        return self.form(self.conv(pixels))


@pytest.mark.parametrize(
    "form",
    [
        lambda y: {"out": y},
        lambda y: {"logits": y, "aux": y},
        lambda y: (y, y[:1]),
        lambda y: [y],
        lambda y: SimpleNamespace(logits=y),
        lambda y: y.double(),
    ],
)
def test_answers_in_another_form_are_the_same_scores(form: Any) -> None:
    plain = made("uniform", Answering(lambda y: y)).predict(image())
    assert torch.equal(made("uniform", Answering(form)).predict(image()), plain)


def test_one_logit_is_two_classes_whose_softmax_is_its_sigmoid() -> None:
    network = Answering(lambda y: y, 1)
    nn.init.constant_(network.conv.weight, 1.0)
    nn.init.constant_(network.conv.bias, -0.2)
    model = made("uniform", network, mean=(0.5,) * 3)
    segmented = model.segment(image())
    assert segmented.classes == 2 and segmented.scores is not None
    seen = model.read(
        [Pyramid.of(image()[None])], segmented.glimpses.grids, torch.zeros(1, dtype=torch.int64)
    )
    wanted = model.network.conv(seen).sigmoid()[:, 0].detach()  # type: ignore[union-attr,operator]
    torch.testing.assert_close(segmented.scores.softmax(1)[:, 1], wanted)
    assert set(segmented.labels.unique().tolist()) == {0, 1}


def test_a_run_of_one_class_keeps_it() -> None:
    segmented = made("uniform", Answering(lambda y: y, 1), classes=1).segment(image())
    assert segmented.classes == 1 and not segmented.labels.any()


@pytest.mark.parametrize(
    ("form", "shape"),
    [
        (lambda y: y.mean((2, 3)), r"\(1, 3\)"),
        (lambda y: y[0], r"\(3, 8, 12\)"),
        (lambda y: torch.cat([y, y]), r"\(2, 3, 8, 12\)"),
        (lambda y: y.argmax(1, keepdim=True), r"\(1, 1, 8, 12\) of torch.int64"),
        (lambda y: {"pred": y}, "dict"),
        (lambda y: None, "NoneType"),
    ],
)
def test_what_is_no_scores_is_refused_with_the_network_and_the_shape(form: Any, shape: str) -> None:
    with pytest.raises(NetworkFault, match=rf"Answering .*but got .*{shape}"):
        made("uniform", Answering(form)).predict(image())


@pytest.mark.parametrize("classes", [2, 4])
def test_scores_of_another_number_of_classes_are_refused(classes: int) -> None:
    with pytest.raises(NetworkFault, match=rf"Answering to score {classes} classes, .*\(1, 3, 8, 12\)"):
        made("uniform", Answering(lambda y: y), classes=classes).predict(image())


def test_a_network_that_wants_multiples_is_refused_in_its_own_words_or_padded() -> None:
    class Halving(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            if pixels.shape[3] % 32:
                raise RuntimeError(f"Wrong input shape width={pixels.shape[3]}.\nUse multiples of 32")
            return F.avg_pool2d(pixels, 4)

    with pytest.raises(NetworkFault, match=r"Halving to take .* Use multiples of 32; wrap it in .*Padded"):
        made("uniform", Halving()).predict(image())
    assert made("uniform", Padded(Halving())).predict(image()).shape == (24, 40)


def test_a_network_of_other_channels_is_refused_in_its_own_words() -> None:
    with pytest.raises(NetworkFault, match=r"Conv2d to take pixels of shape .* 4 channels"):
        made("uniform", nn.Conv2d(4, 3, 1)).predict(image())


@pytest.mark.parametrize("sampler", list(SAMPLERS))
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_segmenters_of_another_precision_say_about_the_same(sampler: str, dtype: torch.dtype) -> None:
    model = made(sampler, SmallUNet(3, width=4)).eval()
    other = copy.deepcopy(model).to(dtype)
    assert other.mean.dtype == torch.promote_types(dtype, torch.float32)
    assert (other.predict(image()) != model.predict(image())).float().mean() < 0.2


def test_a_network_of_half_precision_gets_pixels_of_its_type() -> None:
    model = made("uniform")
    model.network.to(torch.bfloat16)
    assert model.predict(image()).shape == (24, 40)


OWN = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7)}


def test_the_normalisation_travels_with_the_weights() -> None:
    model = made(**OWN).eval()
    other = made()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.eval().predict(image()), model.predict(image()))
    torch.testing.assert_close(other.mean.flatten(), torch.tensor(OWN["mean"]))


def test_weights_of_0_1_load_with_the_normalisation_that_they_were_made_with() -> None:
    model = made(**OWN).eval()
    old = {name: value for name, value in model.state_dict().items() if name not in OWN}
    other = made(**OWN)
    other.load_state_dict(old)
    assert torch.equal(other.eval().predict(image()), model.predict(image()))


@pytest.mark.parametrize("sampler", list(SAMPLERS))
@pytest.mark.parametrize("way", ["deepcopy", "pickle", "torch.save"])
def test_a_copy_says_the_same(sampler: str, way: str) -> None:
    model = made(sampler, **OWN)
    if way == "deepcopy":
        other = copy.deepcopy(model)
    elif way == "pickle":
        other = pickle.loads(pickle.dumps(model))
    else:
        stream = io.BytesIO()
        torch.save(model, stream)
        stream.seek(0)
        other = torch.load(stream, weights_only=False)
    assert torch.equal(other.predict(image()), model.predict(image()))


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_weights_load_into_a_segmenter_made_without_memory(sampler: str) -> None:
    model = made(sampler, **OWN)
    with torch.device("meta"):
        empty: Segmenter = made(sampler)
    other = empty.to_empty(device="cpu")
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.predict(image()), model.predict(image()))


@pytest.mark.parametrize("wrong", [{"mean": (0.5,)}, {"std": (0, 1, 1)}, {"mean": (0,) * 4}])
def test_a_normalisation_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"(three|[14]) numbers each"):
        made(**wrong)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda scores: scores.permute(0, 2, 3, 1), "permute"),
        (lambda scores: scores.transpose(2, 3), "permute"),
        (lambda scores: scores.detach().numpy(), "ndarray"),
        (lambda scores: scores[0], r"\(3, 8, 12\)"),
        (lambda scores: 1 / 0, "division by zero"),
        (lambda scores: {}["out"], "'out'"),
        (lambda scores: [][0], "index out of range"),
    ],
)
def test_a_network_that_answers_otherwise_is_named_in_one_line(answer: Any, reason: str) -> None:
    class Strange(Norm):
        def forward(self, pixels: Tensor) -> Tensor:
            return answer(super().forward(pixels))  # type: ignore[no-any-return]

    with pytest.raises(NetworkFault, match=f"Strange .*{reason}") as refused:
        made(network=Strange()).predict(image())
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"mean": (123.675, 116.28, 103.53), "std": (58.4, 57.1, 57.4)}, "divide both by 255"),
        ({"mean": (float("nan"),) * 3}, "nan"),
        ({"mean": None}, "None"),
        ({"classes": ["sea", "land", "boat"]}, "ClassTable"),
        ({"classes": 0}, "number of classes"),
        ({"network": lambda pixels: pixels}, "a torch.nn.Module"),
        ({"network": Norm}, "make an object of a class"),
        ({"sampler": Norm()}, "one of saccade.samplers"),
    ],
)
def test_a_segmenter_refuses_parts_that_cannot_work(options: dict[str, Any], reason: str) -> None:
    parts = {"sampler": UniformSampler((8, 12)), "network": Norm(), **options}
    with pytest.raises(InvalidInput, match=re.escape(reason)):
        Segmenter(**parts)


def test_batches_of_arrays_are_batches() -> None:
    model = made()
    batch = torch.stack([image(), image(1)])
    wanted = model.predict(batch)
    assert torch.equal(model.predict(batch.numpy()), wanted)
    assert torch.equal(model.predict(batch.permute(0, 2, 3, 1).numpy()), wanted)
    assert torch.equal(model(batch.numpy()).scores, model(batch).scores)


@pytest.mark.parametrize(
    "pixels",
    [
        torch.rand(3, 8, 12).to(torch.float8_e4m3fn),
        torch.rand(3, 8, 12).to_sparse(),
        torch.empty(3, 8, 12, device="meta"),
        torch.rand(3, 8, 12).to(torch.complex64),
    ],
)
def test_tensors_without_pixels_of_a_known_unit_are_refused(pixels: Tensor) -> None:
    with pytest.raises(InvalidInput, match="expected images"):
        made().predict(pixels)
