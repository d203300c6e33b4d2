"""The function behind each command gives what the command gives, to the byte, and refuses what it refuses."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import saccade
from saccade.api.scoring import Unstored, study
from saccade.cli import main
from saccade.data import DataFolder, open_data
from saccade.inference.predict import fingerprint
from saccade.networks import build_network
from saccade.rasters import open as opening
from saccade.training import Run

pytestmark = pytest.mark.usefixtures("one_thread")

TINY: dict[str, Any] = {"network": "small:4", "epochs": 1, "batch_size": 2, "device": "cpu"}
WORDS = ["--network", "small:4", "--epochs", "1", "--batch-size", "2", "--device", "cpu", "-q"]


@pytest.fixture
def images(tiny_data: Path) -> list[Path]:
    return sorted((tiny_data / "images").iterdir())[:3]


def weights(run: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / "checkpoints/best.ckpt", weights_only=True)[
        "state_dict"
    ]
    return state


def same_weights(first: Path, second: Path) -> bool:
    here, there = weights(first), weights(second)
    return here.keys() == there.keys() and all(torch.equal(here[name], there[name]) for name in here)


# --- load ---------------------------------------------------------------------------------------------------


def test_a_loaded_model_knows_its_classes_and_its_run(trained_folder: Path, images: list[Path]) -> None:
    model = saccade.load(trained_folder, device="cpu")
    assert isinstance(model, saccade.Segmenter)
    assert not model.training
    assert model.run.path == trained_folder
    assert (model.run.checkpoint, model.run.segmenter) == ("best", model)
    shown = model.segment(images[0])
    assert shown.names == model.classes.names == ("water", "land", "forest", "boat")
    assert saccade.load(str(trained_folder), checkpoint="last").run.checkpoint == "last"


def test_what_is_no_run_is_refused_in_one_line(tmp_path: Path, trained_folder: Path) -> None:
    with pytest.raises(saccade.FileProblem, match="a run folder made by saccade train"):
        saccade.load(tmp_path)
    with pytest.raises(saccade.InvalidInput, match="checkpoint to be one of best, last"):
        saccade.load(trained_folder, checkpoint="bst")
    with pytest.raises(saccade.InvalidInput, match=r"got SmallUNet; .*saccade.Segmenter\(sampler, network\)"):
        saccade.predict(build_network("small:4", classes=4), np.zeros((8, 8, 3), np.uint8))  # type: ignore[call-overload]
    with pytest.raises(saccade.InvalidInput, match="that of the model, best"):
        saccade.predict(saccade.load(trained_folder), np.zeros((8, 8, 3), np.uint8), checkpoint="last")


# --- train --------------------------------------------------------------------------------------------------


def test_train_leaves_the_run_of_the_command(tiny_data: Path, tmp_path: Path) -> None:
    words = ["--size", "8x12", "--seed", "3", "augment.brightness=0.1", "optimizer.learning_rate=1e-05"]
    assert main(["train", str(tiny_data), str(tmp_path / "told"), *WORDS, *words]) == 0
    options = {"augment.brightness": 0.1, "optimizer": {"learning_rate": 1e-05}}
    run = saccade.train(tiny_data, tmp_path / "called", size=(8, 12), seed=3, options=options, **TINY)
    assert isinstance(run, Run)
    assert run.path == tmp_path / "called"
    assert same_weights(tmp_path / "told", run.path)
    assert (tmp_path / "told/config.yaml").read_bytes() == (run.path / "config.yaml").read_bytes()


def test_train_takes_opened_data_and_a_file_of_options(tiny_data: Path, tmp_path: Path) -> None:
    file = tmp_path / "options.yaml"
    file.write_text("sampler: {size: 8x12}\n")
    first = saccade.train(str(tiny_data), tmp_path / "path", config=file, **TINY)
    second = saccade.train(open_data(tiny_data), tmp_path / "opened", config=str(file), **TINY)
    assert first.config == second.config
    assert same_weights(first.path, second.path)
    with pytest.raises(saccade.InvalidInput, match="opened as the configuration asks"):
        saccade.train(open_data(tiny_data), tmp_path / "cropped", crop="square", config=file, **TINY)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"epoch": 3}, "unknown option 'epoch'; did you mean 'epochs'"),
        ({"options": {"loss.edge_wight": 1}}, "did you mean 'loss.edge_weight'"),
        ({"options": {"losss": {"edge_weight": 1}}}, "did you mean 'loss'"),
        ({"options": "loss.edge_weight=1"}, "a mapping, or a list"),
        ({"sampler": "uniforn"}, "did you mean 'uniform'"),
        ({"size": (8,)}, "sampler.size"),
        ({"network": "smal:4"}, "smal"),
        ({"epochs": 0}, "at least 1"),
        ({"config": "nowhere.yaml"}, "nowhere.yaml"),
    ],
)
def test_a_wrong_option_is_told_in_one_line(
    options: dict[str, Any], line: str, tiny_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(saccade.SaccadeError) as caught:
        saccade.train(tiny_data, tmp_path / "run", **options)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"overwite": True}, "unknown option 'overwite'; did you mean 'overwrite'"),
        ({"vaule_range": "0,1"}, "did you mean 'value_range'"),
        ({"seconnds": 3}, "did you mean 'seconds'"),
    ],
)
def test_a_misspelt_option_is_compared_with_all_of_a_prediction(options: dict[str, Any], line: str) -> None:
    for out in (None, "labels"):
        with pytest.raises(saccade.UsageError, match=line):
            saccade.predict("run", "leaf.png", out, **options)


@pytest.mark.parametrize("name", ["resume", "jobs", "zones", "cluster"])
def test_a_plan_refuses_what_is_of_a_prediction_alone(name: str) -> None:
    with pytest.raises(saccade.UsageError, match=f"unknown option '{name}'"):
        saccade.plan("leaf.png", "run", **{name: 1})  # type: ignore[call-overload]


def test_a_run_that_is_there_is_resumed_or_overwritten_only_when_told(
    tiny_data: Path, run_folder: Path
) -> None:
    with pytest.raises(saccade.SaccadeError, match="there is a run already"):
        saccade.train(tiny_data, run_folder)
    assert saccade.train(tiny_data, run_folder, resume=True).epoch >= 1
    again = saccade.train(tiny_data, run_folder, overwrite=True, size="8x12", **TINY)
    assert again.config.training.epochs == 1


# --- evaluate -----------------------------------------------------------------------------------------------


def test_evaluate_gives_and_stores_what_the_command_does(
    tiny_data: Path, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(run_folder, tmp_path / "other"))
    assert main(["evaluate", str(other), str(tiny_data), "--json", "-q", "--device", "cpu"]) == 0
    told = json.loads(capsys.readouterr().out)
    called = saccade.evaluate(run_folder, tiny_data, device="cpu").to_json()
    (one, two) = (json.loads((run / "evaluation_test.json").read_text()) for run in (other, run_folder))
    for scores in (told, called, one["scores"], two["scores"]):
        scores["cost"] = None  # the clock decides
    assert told == called == one["scores"] == two["scores"]
    assert one["records"] == two["records"]


@pytest.mark.parametrize("opened", [False, True])
def test_a_loaded_model_scores_as_its_folder_and_may_leave_it_alone(
    opened: bool, tiny_data: Path, run_folder: Path
) -> None:
    before = {file: file.stat().st_mtime_ns for file in run_folder.rglob("*")}
    data = open_data(tiny_data) if opened else tiny_data
    found = saccade.evaluate(saccade.load(run_folder, device="cpu"), data, store=False)
    assert {file: file.stat().st_mtime_ns for file in run_folder.rglob("*")} == before
    assert found.miou == saccade.evaluate(run_folder, tiny_data, device="cpu").miou


def test_scores_of_changed_weights_are_not_kept_as_those_of_the_checkpoint(
    tiny_data: Path, run_folder: Path
) -> None:
    model = saccade.load(run_folder, device="cpu")
    with torch.no_grad():
        next(model.network.parameters()).add_(1)
    with pytest.raises(saccade.InvalidInput, match="store=False"):
        saccade.evaluate(model, tiny_data)
    assert not list(run_folder.glob("evaluation_*"))
    assert len(saccade.evaluate(model, tiny_data, store=False).records) == 2


def test_scores_that_cannot_be_kept_are_not_lost(
    tiny_data: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Path:
        raise saccade.FileProblem(run_folder, "a folder to write to", "a full disk")

    monkeypatch.setattr("saccade.api.scoring.keep_evaluation", refuse)
    with pytest.raises(Unstored, match="a full disk") as caught:
        saccade.evaluate(run_folder, tiny_data, device="cpu")
    assert len(caught.value.evaluation.records) == 2


def test_data_of_other_classes_or_another_split_are_refused(trained_folder: Path, tmp_path: Path) -> None:
    from saccade.testing import make_fake

    leaves = make_fake("folder", tmp_path / "leaves", size=(16, 24))
    with pytest.raises(saccade.FileProblem, match="the classes of the run"):
        saccade.evaluate(trained_folder, leaves, store=False)
    with pytest.raises(saccade.SaccadeError, match="tset"):
        saccade.evaluate(trained_folder, leaves, split="tset", store=False)


# --- predict ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", [{}, {"mode": "tiles", "tile": (20, 30), "size": (8, 12)}])
def test_predict_writes_the_bytes_of_the_command(
    sampling: dict[str, Any], trained_folder: Path, images: list[Path], tmp_path: Path
) -> None:
    save = "labels,scores,density,samples,overlay,polygons"
    words = [
        word
        for key, value in sampling.items()
        for word in (f"--{key}", "x".join(map(str, value)) if key != "mode" else value)
    ]
    inputs = list(map(str, images))
    rest = ["--save", save, "--device", "cpu", "-q", *words]
    assert main(["predict", str(trained_folder), *inputs, str(tmp_path / "told"), *rest]) == 0
    outcomes = saccade.predict(
        trained_folder, images, tmp_path / "folder", save=save, device="cpu", **sampling
    )
    model = saccade.load(trained_folder, device="cpu")
    saccade.predict(model, inputs, tmp_path / "model", save=save.split(","), **sampling)
    assert [outcome.fault for outcome in outcomes] == [None] * 3
    assert [outcome.labels for outcome in outcomes] == [
        tmp_path / "folder" / f"{image.stem}.png" for image in images
    ]
    files = sorted(file.name for file in (tmp_path / "told").iterdir())
    assert len(files) == 18
    for name in files:
        told = (tmp_path / "told" / name).read_bytes()
        if name.endswith(".npz"):  # a ZIP, which holds the time
            arrays = [np.load(tmp_path / kind / name) for kind in ("told", "folder", "model")]
            for key in arrays[0].files:
                assert all(np.array_equal(arrays[0][key], other[key]) for other in arrays[1:])
            continue
        assert told == (tmp_path / "folder" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()


def test_a_loaded_model_has_the_fingerprint_of_its_folder(
    trained_folder: Path, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks: list[tuple[str, float | None]] = []

    def heard(segmenter: Any, image: Any, raster: Any, layout: Any, settings: Any, *part: Any) -> str:
        marks.append(
            (fingerprint(segmenter, image, raster, layout, settings, *part), settings.training_downsampling)
        )
        return marks[-1][0]

    monkeypatch.setattr("saccade.inference.predict.fingerprint", heard)
    scaled = tmp_path / "scaled.ome.tif"  # its labels are written tile by tile, which the fingerprint guards
    size = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(
        scaled, np.asarray(Image.open(images[0]).convert("RGB")), metadata={"axes": "YXS", **size}
    )
    saccade.predict(trained_folder, scaled, tmp_path / "folder", device="cpu")
    saccade.predict(saccade.load(trained_folder, device="cpu"), scaled, tmp_path / "model")
    assert marks[0] == marks[1]
    assert marks[0][1] is not None


@pytest.mark.parametrize("sampling", [{}, {"mode": "tiles", "tile": "20x30"}, {"pixels": 200}])
def test_without_a_folder_the_labels_are_the_arrays_that_files_would_hold(
    sampling: dict[str, Any], trained_folder: Path, images: list[Path], tmp_path: Path
) -> None:
    written = saccade.predict(trained_folder, images, tmp_path / "out", device="cpu", **sampling)
    expected = [np.asarray(Image.open(outcome.labels)) for outcome in written]
    model = saccade.load(trained_folder, device="cpu")
    pixels = [np.asarray(Image.open(image).convert("RGB")) for image in images]
    for given in (images, pixels, [torch.from_numpy(p.copy()).permute(2, 0, 1) for p in pixels]):
        labels = saccade.predict(model, given, **sampling)
        assert all(np.array_equal(one, other) for one, other in zip(labels, expected, strict=True))
    alone = saccade.predict(model, pixels[0], **sampling)
    assert np.array_equal(alone, expected[0])


def test_a_fault_of_an_image_alone_is_raised_and_among_several_told(
    trained_folder: Path, images: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    with pytest.raises(saccade.SaccadeError, match=r"bad\.png"):
        saccade.predict(trained_folder, bad, tmp_path / "alone", device="cpu")
    with pytest.raises(saccade.SaccadeError, match=r"bad\.png"):
        saccade.predict(trained_folder, bad, device="cpu")
    outcomes = saccade.predict(trained_folder, [bad, images[0]], tmp_path / "several", device="cpu")
    assert [outcome.fault is None for outcome in outcomes] == [False, True]
    assert outcomes[0].labels is None


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda run, image, out: saccade.predict(run, image, out, sizes="8x12"), "did you mean 'size'"),
        (lambda run, image, out: saccade.predict(run, image, out, save="label"), "did you mean 'labels'"),
        (lambda run, image, out: saccade.predict(run, image, out, jobs=0), "at least 1"),
        (lambda run, image, out: saccade.predict(run, image, out, mpp=1, gsd=1), "choose one"),
        (lambda run, image, out: saccade.predict(run, image, out, value_range=(9, 1)), "LOW below HIGH"),
        (lambda run, image, out: saccade.predict(run, image, out, resume=True, overwrite=True), "exclude"),
        (lambda run, image, out: saccade.predict(run, image, save="scores"), "give a folder"),
        (lambda run, image, out: saccade.predict(run, [np.zeros((8, 8, 3))], out), "paths"),
        (lambda run, image, out: saccade.predict(run, np.zeros((8, 8), np.uint8)), "(B, 3, H, W)"),
        (lambda run, image, out: saccade.predict(run, torch.zeros(2, 3, 8, 8)), "a single one"),
        (lambda run, image, out: saccade.predict(run, out / "nowhere.png", out), "nowhere.png"),
        (lambda run, image, out: saccade.predict(run, image, out, save="table", zones=image), "(.geojson"),
        (lambda run, image, out: saccade.train(image, out, sampler=torch.nn.ReLU()), "python:MODULE.NAME"),
        (lambda run, image, out: saccade.plan(image, run, memry="1GB"), "did you mean 'memory'"),
        (lambda run, image, out: saccade.plan(out / "nowhere.png", run), "nowhere.png"),
    ],
)
def test_wrong_input_is_told_in_one_line(
    call: Callable[..., Any], line: str, trained_folder: Path, images: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(saccade.SaccadeError) as caught:
        call(trained_folder, images[0], tmp_path / "out")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_several_processes_take_a_folder_alone(
    trained_folder: Path, images: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(saccade.InvalidInput, match="give its folder"):
        saccade.predict(saccade.load(trained_folder), images, tmp_path / "out", jobs=2)


def test_an_image_is_opened_once_and_a_checkpoint_once_in_a_prediction(
    trained_folder: Path, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, loaded = counted(monkeypatch)
    saccade.predict(trained_folder, images, tmp_path / "out", device="cpu", save="labels,overlay")
    assert opened == dict.fromkeys(images, 1)
    assert loaded == {trained_folder / "checkpoints/best.ckpt": 1}


def counted(monkeypatch: pytest.MonkeyPatch) -> tuple[Counter[Path], Counter[Path]]:
    """How often each image is opened from now on, and each checkpoint loaded."""
    opened: Counter[Path] = Counter()
    loaded: Counter[Path] = Counter()
    sniff, load = opening.sniff, torch.load

    def sniffing(path: Path) -> Any:
        opened[path] += 1
        return sniff(path)

    def loading(file: Any, *more: Any, **options: Any) -> Any:
        loaded[Path(file)] += 1
        return load(file, *more, **options)

    monkeypatch.setattr(opening, "sniff", sniffing)
    monkeypatch.setattr(torch, "load", loading)
    return opened, loaded


# --- plan ---------------------------------------------------------------------------------------------------


def test_plan_foresees_what_the_command_does(
    trained_folder: Path, images: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    how = ["--mode", "tiles", "--tile", "20x30", "--json", "--device", "cpu"]
    assert main(["plan", str(images[0]), str(trained_folder), *how]) == 0
    told = json.loads(capsys.readouterr().out)
    model = saccade.load(trained_folder, device="cpu")
    foreseen = saccade.plan(images[0], model, mode="tiles", tile=(20, 30))
    assert f"{foreseen.views} views" in str(foreseen)
    called = foreseen.to_json()
    for plan in (told, called):
        plan.update(seconds=None, memory_bytes=None)  # of this machine as it is now
    assert told == called
    array = saccade.plan(np.asarray(Image.open(images[0])), model, mode="tiles", tile=(20, 30))
    assert (array.size, array.pixels, array.gflops) == (tuple(told["size"]), told["pixels"], told["gflops"])


# --- compare ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compared(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """A comparison of two seeds that was called; how often it opened images and loaded checkpoints."""
    out = tmp_path_factory.mktemp("api") / "out"
    with pytest.MonkeyPatch.context() as patch:
        _, loaded = counted(patch)
        found = saccade.compare(
            tiny_data, out, samplers=["uniform", "learned=deformation"], sizes=[(8, 12)], seeds=[0, 2],
            own_options=["learned:augment.brightness=0.1"], **TINY,
        )  # fmt: skip
    return out, found, loaded


def test_compare_gives_the_scores_of_the_command(
    compared: tuple[Path, Any, Any], tiny_data: Path, tmp_path: Path
) -> None:
    out, found, _ = compared
    words = ["--samplers", "uniform,learned=deformation", "--sizes", "8x12", "--seeds", "0,2"]
    words += ["--set", "learned:augment.brightness=0.1"]
    assert main(["compare", str(tiny_data), str(tmp_path / "told"), *WORDS, *words]) == 0
    one, two = (json.loads((folder / "comparison.json").read_text()) for folder in (tmp_path / "told", out))
    for row in one["summary"] + two["summary"]:
        del row["cost"]
    assert one["summary"] == two["summary"]
    assert (one["arms"], one["reference"]) == (two["arms"], two["reference"])
    assert list(found.points) == [("uniform", (8, 12)), ("learned", (8, 12))]
    assert (out / "comparison.html").is_file()


def test_a_checkpoint_is_loaded_once_in_a_comparison(compared: tuple[Path, Any, Any]) -> None:
    _, _, loaded = compared
    assert loaded
    assert set(loaded.values()) == {1}, loaded


def test_what_is_there_is_used(compared: tuple[Path, Any, Any], tiny_data: Path, tmp_path: Path) -> None:
    folder, found, _ = compared
    out = Path(shutil.copytree(folder, tmp_path / "out"))  # a narrower comparison writes another table
    marks = {file: file.stat().st_mtime_ns for file in out.glob("runs/*/checkpoints/*")}
    again = saccade.compare(
        open_data(tiny_data), out, samplers=["uniform"], sizes=["8x12"], seeds=[0, 2], **TINY
    )
    assert {file: file.stat().st_mtime_ns for file in out.glob("runs/*/checkpoints/*")} == marks
    assert again.points["uniform", (8, 12)].scores() == found.points["uniform", (8, 12)].scores()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"sampler": "uniform"}, "sampler.name is what is compared"),
        ({"samplers": ["uniforn"]}, "did you mean 'uniform'"),
        ({"sizes": ["8by12"]}, "8by12"),
        ({"seeds": 0}, "how many"),
        ({"jobs": 0}, "1 or more"),
        ({"sedes": 2}, "did you mean 'seeds'"),
    ],
)
def test_a_wrong_comparison_is_told_in_one_line(
    options: dict[str, Any], line: str, tiny_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(saccade.SaccadeError) as caught:
        saccade.compare(tiny_data, tmp_path / "out", **options)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_study_shows_what_it_found(tiny_data: Path, tmp_path: Path) -> None:
    found = study(tiny_data, tmp_path / "out", "oracle-blur", sizes=["8x12"], seeds=1, **TINY)
    assert found.page.is_file()
    assert found.lines()
    assert "<table" in found._repr_html_()


# --- in a notebook ------------------------------------------------------------------------------------------


def test_what_the_functions_return_shows_itself_in_a_notebook(
    compared: tuple[Path, Any, Any], tiny_data: Path, trained_folder: Path, images: list[Path]
) -> None:
    model = saccade.load(trained_folder, device="cpu")
    scores = saccade.evaluate(model, tiny_data, store=False)
    for shown, words in (
        (model, ("forest", "8 x 12", "small:4")),
        (open_data(tiny_data), ("forest", "train (", "%")),
        (model.run, ("forest", "<svg", "deformation 8x12")),
        (scores, ("forest", "IoU", f"{scores.miou:.3f}")),
        (compared[1], ("learned", "8x12", "mIoU")),
        (saccade.plan(images[0], model), ("GFLOPs", "32")),
        (model.segment(images[0]), ("data:image/png",)),
    ):
        html = shown._repr_html_()
        assert all(word in html for word in words), html
        assert "<script" not in html
        assert "http" not in html.replace("http://www.w3.org", "")


def test_names_are_escaped(trained_folder: Path, tiny_data: Path) -> None:
    from dataclasses import replace

    model = saccade.load(trained_folder, device="cpu")
    run, strange = model.run, replace(model.classes, names=("<b>x", *model.classes.names[1:]))
    for shown in (replace(run, path=Path("<b>x")), replace(run, classes=strange)):
        assert "<b>x" not in shown._repr_html_()
    model.classes = strange
    assert "<b>x" not in model._repr_html_()
    data = open_data(tiny_data)
    for shown in (replace(data, path=Path("<b>x")), replace(data, notices=("<b>x",), classes=strange)):
        assert "<b>x" not in shown._repr_html_()


def test_functions_are_silent_where_nobody_looks(
    tiny_data: Path, run_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    saccade.evaluate(run_folder, tiny_data, device="cpu")
    saccade.predict(run_folder, tiny_data / "images", tmp_path / "out", device="cpu")
    assert capfd.readouterr() == ("", "")


def test_opened_data_need_the_split(tiny_data: Path, trained_folder: Path) -> None:
    train_only: DataFolder = open_data(tiny_data, splits=("train",))
    with pytest.raises(saccade.InvalidInput, match="test"):
        saccade.evaluate(trained_folder, train_only, store=False)


def test_more_time_than_was_given_is_told(
    trained_folder: Path, images: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from saccade.api import prediction

    monkeypatch.setattr(prediction, "OVER", 0.0)
    saccade.predict(
        trained_folder, images[:1], tmp_path / "out", device="cpu", total_seconds=60, progress=True
    )
    assert "s were taken, not 60" in capsys.readouterr().err
