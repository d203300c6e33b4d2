"""Situations of public bug reports on training, evaluation and Python use, each as small input through the
real commands and names: what comes out is right, or one line that is true."""

from __future__ import annotations

import copy
import csv
import io
import json
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import saccade as package
from saccade.cli import main
from saccade.data import open_data
from saccade.evaluation.results import load_evaluation
from saccade.networks import build_network
from saccade.training import load_run

TINY = ["network.name=small:4", "sampler.size=8x12", "training.batch_size=2", "training.epochs=1"]
BINARY = [{"index": 0, "name": "ground"}, {"index": 1, "name": "lesion"}]
Saccade = Callable[..., tuple[int, str, str]]
Mask = Callable[[int, NDArray[np.uint8]], NDArray[Any] | Image.Image]


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Every training here is tiny."""


@pytest.fixture
def saccade(capfd: pytest.CaptureFixture[str]) -> Saccade:
    """``saccade("train", ...)`` gives exit code, standard output and standard error."""

    def call(*argv: object) -> tuple[int, str, str]:
        code = main([str(word) for word in argv])
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err and "defect" not in captured.err, captured.err
        return code, captured.out, captured.err

    return call


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """``make("name", mask=..., ignore=255)``: 4 train, 2 val and 2 test images of 16 x 24, a disc in each."""

    def call(
        name: str = "data",
        *,
        mask: Mask = lambda number, disc: disc,
        image: Mask | None = None,
        classes: list[dict[str, Any]] | None = None,
        ignore: int | None = 255,
        stems: list[str] | None = None,
        count: tuple[int, int, int] = (4, 2, 2),
        **save: Any,
    ) -> Path:
        root, rng = tmp_path / name, np.random.default_rng(0)
        stems = stems or [f"i{number}" for number in range(sum(count))]
        rows, columns = np.mgrid[:16, :24]
        for number, stem in enumerate(stems):
            disc = ((rows - 8) ** 2 + (columns - 9 - number % 4) ** 2 < 30).astype(np.uint8)
            pixels = (rng.integers(0, 60, (16, 24, 3)) + 150 * disc[..., None]).astype(np.uint8)
            for part in ("images", "masks"):
                (root / part / stem).parent.mkdir(parents=True, exist_ok=True)
            seen = pixels if image is None else image(number, pixels)
            as_image(seen).save(root / "images" / f"{stem}.png")
            as_image(mask(number, disc)).save(root / "masks" / f"{stem}.png", **save)
        table: dict[str, Any] = {"classes": BINARY if classes is None else classes}
        table |= {} if ignore is None else {"ignore_index": ignore}
        (root / "classes.json").write_text(json.dumps(table))
        ends = np.cumsum((0, *count)).tolist()
        splits = {split: stems[ends[k] : ends[k + 1]] for k, split in enumerate(("train", "val", "test"))}
        (root / "splits.json").write_text(json.dumps(splits))
        return root

    return call


def as_image(pixels: NDArray[Any] | Image.Image) -> Image.Image:
    return pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)


def shown(page: Path) -> str:
    """The words of a page."""
    text = re.sub(r"<(style|script).*?</\1>", " ", page.read_text(), flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


# 01, 06: what is ignored and what is absent


def test_a_foreground_that_is_ignored_is_told_and_not_trained(
    saccade: Saccade, make: Callable[..., Path], tmp_path: Path
) -> None:
    data = make(mask=lambda _, disc: disc * 255)
    share = 100 * np.mean([np.asarray(Image.open(data / "masks" / f"i{k}.png")) == 255 for k in range(4)])
    cause = f"255 covers {share:.0f} % and is ignored; did you mean class 1 (lesion)?"
    code, out, _ = saccade("info", data)
    assert code == 0 and cause in out
    code, _, err = saccade("train", data, tmp_path / "run", *TINY)
    assert code == 1 and "nothing can be learned" in err and cause in err
    assert not (tmp_path / "run").exists()


def test_masks_of_255_without_a_rule_name_both_ways_out(saccade: Saccade, make: Callable[..., Path]) -> None:
    code, _, err = saccade("info", make(mask=lambda _, disc: disc * 255, ignore=None))
    assert code == 1 and "if 255 means lesion, give that class the index 255" in err
    assert '"ignore_index": 255' in err


@pytest.mark.parametrize(("split", "where"), [("train", range(4)), ("val", range(4, 6)), ("test", (6, 7))])
def test_a_split_of_ignored_pixels_alone_is_refused_where_it_is_needed(
    saccade: Saccade, make: Callable[..., Path], tmp_path: Path, split: str, where: Any
) -> None:
    data = make(mask=lambda number, disc: disc * 0 + 255 if number in where else disc)
    code, _, err = saccade("train", data, tmp_path / "run", *TINY)
    if split == "test":
        assert code == 0, err
        code, _, err = saccade("evaluate", tmp_path / "run", data)
        assert "choose another split, such as val" in err
    else:
        assert "255 covers 100 % and is ignored; did you mean class 0 (ground)" in err
    assert code == 1 and f"expected labels in {split}, found only ignored pixels" in err


@pytest.mark.parametrize(
    ("classes", "ignore"), [([BINARY[0]], 1), (BINARY, 0), ([{"index": 1, "name": "all"}], 0)]
)
def test_one_scored_class_trains_and_scores(
    saccade: Saccade, make: Callable[..., Path], tmp_path: Path, classes: Any, ignore: int
) -> None:
    data = make(classes=classes, ignore=ignore, count=(1, 1, 1))
    assert saccade("train", data, tmp_path / "run", *TINY, "training.batch_size=1")[0] == 0
    code, out, _ = saccade("evaluate", tmp_path / "run", data, "--json")
    assert code == 0 and json.loads(out)["miou"] == 1.0


# 04: units


def test_the_values_of_black_and_white_can_be_given_and_stay_with_the_run(
    saccade: Saccade, make: Callable[..., Path], tmp_path: Path
) -> None:
    def twelve(_: int, pixels: NDArray[Any]) -> NDArray[np.uint16]:
        return pixels[..., 0].astype(np.uint16) * 16

    data = make(image=twelve)
    assert saccade("train", data, tmp_path / "run", *TINY, "data.value_range=0,4095")[0] == 0
    assert load_run(tmp_path / "run").config.data.value_range == (0.0, 4095.0)
    stored = np.asarray(Image.open(data / "images" / "i0.png")).astype(float)
    options = load_run(tmp_path / "run").config.data
    opened = open_data(data, options)
    pixels = opened.format.image(opened.split("train")[0]).array[..., 0]
    assert np.abs(pixels - stored / 4095 * 255).max() <= 1


# 07: divergence and absurd options


@pytest.mark.parametrize("options", [["--sampler", "uniform"], ["--sampler", "deformation"]])
@pytest.mark.parametrize("rate", ["1e10", "1e30"])
def test_divergence_names_epoch_step_and_rate(
    saccade: Saccade, make: Callable[..., Path], tmp_path: Path, options: list[str], rate: str
) -> None:
    more = ["training.epochs=4", f"optimizer.learning_rate={rate}", "optimizer.warmup=0"]
    code, _, err = saccade("train", make(), tmp_path / "run", *TINY, *options, *more)
    assert code == 1 and re.search(r"epoch \d+, step \d+", err), err
    assert "lower optimizer.learning_rate" in err and "softmax" not in err


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("training.seed=99999999999999999999", "at most"),
        ("loss.class_weights=1,1", "a list as [1,2.5,1]"),
        ("loss.class_weights=[1,1,1]", "one number for each of the 2 classes"),
        ("loss.class_weights=[0,0]", "nothing can be learned"),
        ("optimizer.learning_rate=nan", "finite"),
        ("training.epochs=0", "at least 1"),
        ("data.value_range=5,5", "LOW below HIGH"),
    ],
)
def test_an_option_that_cannot_be_is_refused_before_a_folder_is_made(
    saccade: Saccade, make: Callable[..., Path], tmp_path: Path, option: str, words: str
) -> None:
    code, _, err = saccade("train", make(), tmp_path / "run", *TINY, option)
    assert code in (1, 2) and words in err and err.count("\n") == 1
    assert not (tmp_path / "run").exists()


# 08, 09: files


def test_a_broken_last_checkpoint_names_a_way_that_can_be_gone(
    saccade: Saccade, make: Callable[..., Path], tmp_path: Path
) -> None:
    data, run = make(), tmp_path / "run"
    assert saccade("train", data, run, *TINY)[0] == 0
    last = run / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    code, _, err = saccade("train", data, run, "--resume")
    assert code == 1 and "copy best.ckpt over it and --resume" in err
    last.write_bytes((run / "checkpoints" / "best.ckpt").read_bytes())
    assert saccade("train", data, run, "--resume")[0] == 0


def test_a_disk_that_refuses_leaves_the_checkpoint_before(
    saccade: Saccade, make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from saccade.training import run_folder

    data, run, written = make(), tmp_path / "run", []
    write = run_folder.write_file

    def fill(file: Path, content: bytes | str) -> None:
        written.append(file)
        if file.name == "last.ckpt" and [one.name for one in written].count("last.ckpt") == 2:
            monkeypatch.setattr("os.fsync", refuse)
        write(file, content)

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_folder, "write_file", fill)
    code, _, err = saccade("train", data, run, *TINY, "training.epochs=3")
    assert code == 1 and "last.ckpt" in err and "a disk that is full" in err
    monkeypatch.undo()
    assert load_run(run, "last").epoch == 1
    assert not [left for left in run.rglob("*") if left.name.endswith(".part")]
    assert saccade("train", data, run, "--resume")[0] == 0
    assert load_run(run, "last").epoch == 3


# 12: threads (more in tests/test_segmenter_segment.py)


def test_four_threads_share_the_segmenter_of_the_readme() -> None:
    segmenter = package.Segmenter(package.DeformationSampler((8, 12)), build_network("small:4", classes=3))
    images = [torch.rand(3, 30 + 3 * k, 40 + 5 * k) for k in range(4)]
    wanted = [segmenter.predict(image) for image in images]
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    differing: list[int] = []

    def work(number: int) -> None:
        for k in range(8):
            which = (k + number) % 4
            if not torch.equal(segmenter.predict(images[which]), wanted[which]):
                differing.append(which)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert differing == [] and all(part.training for part in segmenter.modules())
    assert all(torch.equal(value, before[name]) for name, value in segmenter.state_dict().items())


# 14: networks


class Answering(nn.Module):
    """A network that answers in another form."""

    def __init__(self, classes: int, form: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.score, self.form = nn.Conv2d(3, classes, 3, padding=1), form

    def forward(self, image: Tensor) -> Any:
        return self.form(self.score(image))


class Holder:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


FORMS: dict[str, Callable[[int], nn.Module]] = {
    "mapping": lambda k: Answering(k, lambda s: {"aux": s * 2, "out": s}),
    "pair": lambda k: Answering(k, lambda s: (s, s)),
    "logits": lambda k: Answering(k, Holder),
    "one_logit": lambda k: Answering(1, lambda s: s),
    "more": lambda k: Answering(k + 1, lambda s: s),
    "less": lambda k: Answering(k + 2, lambda s: s[:, : k - 1]),
    "grey": lambda k: nn.Conv2d(1, k, 1),
    "array": lambda k: Answering(k, lambda s: s.detach().numpy()),
    "unknown": lambda k: Answering(k, lambda s: {"pred": s}),
    "nan": lambda k: Answering(k, lambda s: s * float("nan")),
    "ids": lambda k: Answering(k, lambda s: s.argmax(1)),
    "doubled": lambda k: Answering(k, lambda s: torch.cat([s, s])),
}


@pytest.fixture
def _own_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ModuleType("networks_of_a_user")
    for name, network in FORMS.items():
        setattr(own, name, network)
    monkeypatch.setitem(sys.modules, "networks_of_a_user", own)


@pytest.mark.usefixtures("_own_networks")
@pytest.mark.parametrize("form", ["mapping", "pair", "logits", "one_logit"])
def test_networks_train_and_predict_whatever_holds_their_scores(
    saccade: Saccade, make: Callable[..., Path], tmp_path: Path, form: str
) -> None:
    data = make()
    code, _, err = saccade(
        "train", data, tmp_path / "run", *TINY, f"network.name=python:networks_of_a_user.{form}"
    )
    assert code == 0, err
    code, out, _ = saccade("evaluate", tmp_path / "run", data, "--json")
    assert code == 0 and set(json.loads(out)["iou"]) == {"ground", "lesion"}
    torch.manual_seed(0)
    network = FORMS[form](2)
    segmenter = package.Segmenter(package.UniformSampler((16, 24)), network)
    pixels = torch.rand(3, 16, 24)
    scores = network.score(segmenter.normalise(pixels[None], [package.warp.Pyramid.of(pixels[None])]))
    wanted = (scores[0, 0] > 0) if form == "one_logit" else scores[0].argmax(0)
    assert torch.equal(segmenter.predict(pixels), wanted.to(torch.uint8))


@pytest.mark.usefixtures("_own_networks")
@pytest.mark.parametrize("form", ["more", "less", "grey", "array", "unknown", "nan", "ids", "doubled"])
def test_networks_that_give_no_scores_are_named_before_a_folder_is_made(
    saccade: Saccade, make: Callable[..., Path], tmp_path: Path, form: str
) -> None:
    name, classes = f"python:networks_of_a_user.{form}", [*BINARY, {"index": 2, "name": "rest"}]
    options = [*TINY, "--quiet", f"network.name={name}"]
    code, _, err = saccade("train", make(classes=classes), tmp_path / "run", *options)
    assert code == 1 and name in err and err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_batch_of_a_single_tiny_image_trains_behind_a_pooling_of_the_whole(
    saccade: Saccade, make: Callable[..., Path], tmp_path: Path
) -> None:
    options = [*TINY, "network.name=deeplabv3:resnet18", "training.batch_size=1"]
    code, _, err = saccade("train", make(count=(1, 1, 1)), tmp_path / "run", *options)
    assert code == 0, err


# 17: a run knows its data


def changed_masks(data: Path) -> None:
    for file in (data / "masks").iterdir():
        Image.fromarray(np.roll(np.asarray(Image.open(file)), (4, 5), (0, 1))).save(file)


def swapped_splits(data: Path) -> None:
    splits = json.loads((data / "splits.json").read_text())
    splits["val"], splits["test"] = splits["test"], splits["val"]
    (data / "splits.json").write_text(json.dumps(splits))


def smaller_val(data: Path) -> None:
    splits = json.loads((data / "splits.json").read_text())
    splits["val"] = splits["val"][:1]
    (data / "splits.json").write_text(json.dumps(splits))


def other_ignored(data: Path) -> None:
    table = json.loads((data / "classes.json").read_text())
    (data / "classes.json").write_text(json.dumps({**table, "ignore_index": 254}))


def larger_images(data: Path) -> None:
    for file in data.glob("*/i0.png"):
        with Image.open(file) as image:
            image.resize((48, 32), Image.Resampling.NEAREST).save(file)


def other_pixel(data: Path) -> None:
    with Image.open(data / "images" / "i0.png") as image:
        image.putpixel((0, 0), (255, 0, 255))
        image.save(data / "images" / "i0.png")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed_masks, "masks with other labels"),
        (swapped_splits, "val has"),
        (smaller_val, "val has 1 images that are missing: i5"),
        (other_ignored, "254 instead of 255"),
        (larger_images, "32x48 instead of 16x24"),
        (other_pixel, "train has 1 images with other pixels: i0"),
    ],
)
def test_resuming_on_other_data_is_refused_with_what_differs(
    saccade: Saccade, make: Callable[..., Path], tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    data, run = make(), tmp_path / "run"
    assert saccade("train", data, run, *TINY)[0] == 0
    kept = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    change(data)
    code, _, err = saccade("train", data, run, "--resume")
    assert code == 1 and words in err, err
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == kept


def test_a_stem_is_no_identity(saccade: Saccade, make: Callable[..., Path], tmp_path: Path) -> None:
    data, run = make(), tmp_path / "run"
    assert saccade("train", data, run, *TINY)[0] == 0
    other = make("renamed", stems=[f"z{number}" for number in range(8)])
    assert saccade("train", other, run, "--resume")[0] == 0


KILLING = """
import os, sys, torch
from saccade.cli import main
from saccade.training.trainer import MetricsTable

torch.set_num_threads(1)
write, epoch = MetricsTable.on_train_epoch_end, int(sys.argv.pop(1))

def die(self, trainer, module):
    write(self, trainer, module)
    if trainer.current_epoch == epoch:
        os.kill(os.getpid(), 9)  # the row is written, the checkpoints are not

MetricsTable.on_train_epoch_end = die
sys.exit(main(sys.argv[1:]))
"""


def test_a_killed_training_ends_as_an_unbroken_one(make: Callable[..., Path], tmp_path: Path) -> None:
    data, whole, broken = make(), tmp_path / "whole", tmp_path / "broken"
    options = [*TINY, "training.epochs=3", "--quiet"]
    assert main(["train", str(data), str(whole), *options]) == 0
    command = [sys.executable, "-c", KILLING, "1", "train", str(data), str(broken), *options]
    assert subprocess.run(command, timeout=300).returncode == -9
    assert main(["train", str(data), str(broken), "--resume", "--quiet"]) == 0
    for name in ("best.ckpt", "last.ckpt"):
        a, b = (torch.load(run / "checkpoints" / name, weights_only=True) for run in (whole, broken))
        assert a["epoch"] == b["epoch"]
        assert all(torch.equal(value, b["state_dict"][key]) for key, value in a["state_dict"].items())
    tables = [list(csv.DictReader((run / "metrics.csv").open())) for run in (whole, broken)]
    for row in [*tables[0], *tables[1]]:
        del row["seconds"]
    assert tables[0] == tables[1]
    assert not [left for left in broken.rglob("*") if left.name.endswith((".part", ".lock"))]


# 20: what a state dict holds, and how models travel


def small(**options: Any) -> package.Segmenter:
    return package.Segmenter(
        package.DeformationSampler((8, 12)), build_network("small:4", classes=3), **options
    )


@pytest.mark.parametrize("own", [False, True])
def test_segmenters_travel_with_their_normalisation(own: bool) -> None:
    options = {"mean": (0.1, 0.2, 0.3), "std": (0.9, 0.8, 0.7)} if own else {}
    model, pixels = small(**options).eval(), torch.rand(3, 40, 60)
    wanted = model.predict(pixels)
    with torch.device("meta"):
        empty = small()
    empty = empty.to_empty(device="cpu")
    empty.load_state_dict(model.state_dict())
    other, file = small(), io.BytesIO()
    other.load_state_dict(model.state_dict())
    torch.save(model, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    for copied in (
        empty.eval(),
        other.eval(),
        loaded,
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ):
        assert torch.equal(copied.predict(pixels), wanted)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_segmenters_of_another_precision_predict(dtype: torch.dtype) -> None:
    model, pixels = small().eval(), torch.rand(3, 40, 60)
    wanted = model.predict(pixels)
    got = copy.deepcopy(model).to(dtype).predict(pixels)
    assert (got != wanted).float().mean() < 0.05


@pytest.mark.parametrize(
    "strange",
    [
        lambda image: image.float() * 255,
        lambda image: image * 2 - 1,
        lambda image: torch.full_like(image, float("nan")),
        lambda image: (image * 255).long(),
        lambda image: image[:1],
        lambda image: image[:, :0],
        lambda image: (image * 255).numpy(),
    ],
)
def test_pixels_in_another_unit_or_shape_are_refused(strange: Callable[[Tensor], Any]) -> None:
    with pytest.raises(package.SaccadeError, match=r"expected images? to be"):
        small().predict(strange(torch.rand(3, 20, 30)))


# 21: a result knows what it is of


def test_answers_to_other_questions_stand_beside_the_runs_own_and_no_page_takes_them(
    saccade: Saccade, make: Callable[..., Path], tmp_path: Path
) -> None:
    data, run = make(), tmp_path / "run"
    other = make("other", mask=lambda _, disc: 1 - disc, stems=[f"z{number}" for number in range(8)])
    assert saccade("train", data, run, *TINY, "training.epochs=2", "optimizer.learning_rate=0.02")[0] == 0
    questions = [
        [data],
        [other],
        [data, "--crop", "8x8"],
        [data, "--checkpoint", "last"],
        [data, "--split", "val"],
    ]
    answers = [json.loads(saccade("evaluate", run, *question, "--json")[1]) for question in questions]
    assert answers[0]["miou"] != answers[1]["miou"]
    assert len(list(run.glob("evaluation_*.json"))) == len(questions)
    own = load_evaluation(run / "evaluation_test.json")
    assert own.to_json()["miou"] == answers[0]["miou"] and own.subject is not None
    assert saccade("report", run)[0] == 0
    assert f"{answers[0]['miou']:.3f} mIoU" in shown(run / "report.html")


def test_a_page_scores_anew_where_masks_were_corrected_or_the_run_trained_anew(
    saccade: Saccade, make: Callable[..., Path], tmp_path: Path
) -> None:
    data, run = make(), tmp_path / "run"
    trained = ["train", data, run, *TINY, "training.epochs=3", "optimizer.learning_rate=0.02"]
    assert saccade(*trained)[0] == 0
    before = json.loads(saccade("evaluate", run, data, "--json")[1])["miou"]
    changed_masks(data)
    assert saccade("report", run)[0] == 0
    after = json.loads(saccade("evaluate", run, data, "--json")[1])["miou"]
    assert before != after and f"{after:.3f} mIoU" in shown(run / "report.html")
    assert saccade(*trained, "--seed", "3", "--overwrite")[0] == 0
    assert not list(run.glob("evaluation_*.json")) and not (run / "report.html").exists()


def test_a_comparison_takes_no_answer_of_the_last_weights(
    saccade: Saccade, make: Callable[..., Path], tmp_path: Path
) -> None:
    data, out = make(), tmp_path / "compared"
    command = ["compare", data, out, "--samplers", "uniform", "--sizes", "8x12", "--seeds", "1"]
    options = ["network.name=small:4", "training.epochs=2", "training.batch_size=2"]
    assert saccade(*command, *options)[0] == 0
    table = (out / "comparison.csv").read_text()
    (run,) = (out / "runs").iterdir()
    assert saccade("evaluate", run, data, "--checkpoint", "last")[0] == 0
    assert saccade("evaluate", run, data, "--crop", "8x8")[0] == 0
    assert saccade(*command, *options, "--resume")[0] == 0
    again = (out / "comparison.csv").read_text().splitlines()
    assert [line.split(",")[:6] for line in again] == [line.split(",")[:6] for line in table.splitlines()]


# one side of a pair is never turned alone; names


@pytest.mark.parametrize("orientation", [3, 6])
def test_an_orientation_of_the_mask_alone_is_refused(
    saccade: Saccade, make: Callable[..., Path], orientation: int
) -> None:
    tag = Image.Exif()
    tag[0x0112] = orientation
    code, _, err = saccade("info", make(exif=tag))
    assert code == 1 and "orientation" in err


def test_names_of_any_form_in_folders_train_and_score(
    saccade: Saccade, make: Callable[..., Path], tmp_path: Path
) -> None:
    stems = ["gru\u0308n", "a b/o\u0308l.v1", "a b/o\u0308l.v2", "c/d/x", "y", "\u00e9/z", "100%", "\u00f1"]
    data = make(stems=stems)
    code, _, err = saccade("train", data, tmp_path / "run", *TINY)
    assert code == 0, err
    assert saccade("evaluate", tmp_path / "run", data)[0] == 0
