"""From files to files: what is predicted, how outputs are called, and that they say what the network said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from inference_files import write_pyramid
from PIL import Image

from saccade import sources as sources_module
from saccade.data.classes import ClassTable
from saccade.errors import FileProblem, InvalidInput, SaccadeError, UsageError
from saccade.inference import (
    Job,
    PredictionConfig,
    SamplingOptions,
    list_jobs,
    make_folder,
    parse_extras,
    predict_all,
    predict_image,
    require_predictor,
    still_to_do,
)
from saccade.inference import files as files_module
from saccade.inference import writers as extras_module
from saccade.inference.files import labels_suffix
from saccade.inference.jobs import Worker, predict_in_processes
from saccade.inference.label_values import Values
from saccade.rasters import Raster, open_raster, write_polygons
from saccade.samplers import DeformationSampler, OracleSampler, UniformSampler
from saccade.samplers.image_scores import TiledScores
from saccade.segmenter import Segmenter
from saccade.warp.unwarping import unwarp_labels


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """The images are tiny."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("b.png", "a.jpg", "c.TIF"):
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    (folder / "deeper.png").mkdir()
    return folder


class Sides(torch.nn.Module):
    """Class 1 in the right half of what it sees, else class 0; class 2 never."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        scores = torch.zeros(len(pixels), 3, *pixels.shape[2:])
        half = pixels.shape[3] // 2
        scores[:, 0, :, :half] = scores[:, 1, :, half:] = 4
        return scores


SEGMENTER = Segmenter(UniformSampler((6, 8)), Sides())
CLASSES = ClassTable(("left", "right", "none"), (3, 200, 7), ((1, 2, 3), (40, 50, 60), (9, 9, 9)), 255)


def test_folders_give_their_images_in_order_and_files_themselves(photos: Path, tmp_path: Path) -> None:
    jobs = list_jobs([photos], tmp_path / "out")
    assert [job.image.name for job in jobs] == ["a.jpg", "b.png", "c.TIF"]
    assert [job.labels for job in jobs] == [tmp_path / "out" / f"{stem}.png" for stem in "abc"]
    twice = list_jobs([photos / "a.jpg", photos / "a.jpg", photos], tmp_path / "out")
    assert len(twice) == 3


def test_what_cannot_be_predicted_is_refused_before_anything_runs(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "b.webp").write_bytes(b"")
    cases: list[tuple[list[Path], Path, str]] = [
        ([tmp_path / "nothing"], tmp_path / "out", "no such file or folder"),
        ([tmp_path / "empty"], tmp_path / "out", "images"),
        ([photos], tmp_path / "file", "a folder for the labels, but got a file"),
        ([photos], photos, "among the images"),
        ([photos / "b.png"], photos, "would replace an image"),
        ([photos / "a.jpg", photos / "b.png"], photos, "would replace an image"),
        ([photos, tmp_path / "b.webp"], tmp_path / "out", "two folders"),
    ]
    for inputs, out, words in cases:
        with pytest.raises(SaccadeError, match=words):
            list_jobs(inputs, out)


def test_an_extra_never_takes_the_name_of_other_labels(photos: Path, tmp_path: Path) -> None:
    (photos / "a_overlay.png").write_bytes((photos / "b.png").read_bytes())
    assert len(list_jobs([photos], tmp_path / "out")) == 4
    with pytest.raises(UsageError, match=r"a_overlay\.png"):
        list_jobs([photos], tmp_path / "out", ["overlay"])


def test_existing_outputs_are_refused_resumed_or_replaced(photos: Path, tmp_path: Path) -> None:
    jobs = list_jobs([photos], tmp_path, ["overlay"])
    (tmp_path / "a.png").write_text("labels without their overlay")
    for path in jobs[1].outputs:
        path.write_text("done")
    with pytest.raises(FileProblem, match=r"a\.png: .* \(and 2 more\); use resume=True"):
        still_to_do(jobs, resume=False, overwrite=False)
    assert still_to_do(jobs, resume=True, overwrite=False) == [jobs[0], jobs[2]]
    assert still_to_do(jobs, resume=False, overwrite=True) == jobs


def test_extras_are_named_and_a_typo_is_refused() -> None:
    assert parse_extras("labels") == ()
    assert parse_extras("samples, labels,density") == ("density", "samples")
    with pytest.raises(UsageError, match="did you mean 'overlay'"):
        parse_extras("overlays")


def test_labels_come_at_full_resolution_with_the_indices_and_colours_of_the_classes(
    photos: Path, tmp_path: Path
) -> None:
    predict_image(SEGMENTER, Job(photos / "a.jpg", tmp_path / "a.png"), PredictionConfig(CLASSES))
    with Image.open(tmp_path / "a.png") as written:
        indices, colours = np.asarray(written), np.asarray(written.convert("RGB"))
    assert indices.shape == (20, 30)
    assert set(np.unique(indices)) == {3, 200}
    assert (indices[:, :15] == 3).all() and (indices[:, 15:] == 200).all()
    assert tuple(colours[0, 0]) == (1, 2, 3) and tuple(colours[0, -1]) == (40, 50, 60)


def test_indices_above_255_are_written_in_16_bits(photos: Path, tmp_path: Path) -> None:
    wide = ClassTable(("left", "right", "none"), (3, 1200, 7), CLASSES.colours)
    predict_image(SEGMENTER, Job(photos / "a.jpg", tmp_path / "a.png"), PredictionConfig(wide))
    with Image.open(tmp_path / "a.png") as written:
        assert set(np.unique(np.asarray(written))) == {3, 1200}


def test_saved_scores_are_enough_to_make_the_labels_again(photos: Path, tmp_path: Path) -> None:
    job = Job(photos / "a.jpg", tmp_path / "a.png", ("scores",))
    predict_image(SEGMENTER, job, PredictionConfig(CLASSES))
    with np.load(tmp_path / "a_scores.npz") as saved, Image.open(job.labels) as labels:
        scores, grid = torch.from_numpy(saved["scores"]).float(), torch.from_numpy(saved["grid"])
        again = unwarp_labels(scores[None], grid[None], saved["size"].tolist())[0]
        assert np.array_equal(CLASSES.decode(again.numpy()), np.asarray(labels))


def test_saved_scores_of_tiles_lie_where_they_were_looked_at(photos: Path, tmp_path: Path) -> None:
    job = Job(photos / "a.jpg", tmp_path / "a.png", ("scores",))
    tiles = SamplingOptions(mode="tiles", tile=(12, 16), size=(6, 8), overlap=0)
    predict_image(SEGMENTER, job, PredictionConfig(CLASSES, tiles))
    with np.load(tmp_path / "a_scores.npz") as saved:
        assert saved["scores"].dtype == np.float16
        assert saved["scores"].shape == (4, 3, 6, 8) and saved["grid"].shape == (4, 6, 8, 2)
        assert saved["regions"].tolist()[0] == [0, 12, 0, 16] and saved["regions"].tolist()[-1][1::2] == [
            20,
            30,
        ]


def test_tiles_of_an_image_with_png_labels_are_not_all_held_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1300, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "tall.png")
    held, patches = [], TiledScores.patches

    def counted(scores: TiledScores, numbers: list[int]) -> list:
        held.append(len(numbers))
        return patches(scores, numbers)

    monkeypatch.setattr(TiledScores, "patches", counted)
    tiles = SamplingOptions(mode="tiles", tile=(100, 40), size=(10, 8), overlap=0)
    done = predict_image(
        SEGMENTER, Job(tmp_path / "tall.png", tmp_path / "l.png"), PredictionConfig(CLASSES, tiles)
    )
    assert sum(held) == done.layout.views == 13
    assert max(held) == 6  # of 512 rows


def test_scores_of_an_image_that_is_empty_all_over_are_none(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((24, 32, 4), np.uint8)).save(tmp_path / "empty.png")
    job = Job(tmp_path / "empty.png", tmp_path / "out.png", ("scores", "samples"))
    tiles = SamplingOptions(mode="tiles", tile=(12, 16), size=(6, 8), overlap=0)
    done = predict_image(SEGMENTER, job, PredictionConfig(CLASSES, tiles))
    assert done.skipped == 4
    with np.load(tmp_path / "out_scores.npz") as saved:
        assert len(saved["scores"]) == len(saved["grid"]) == len(saved["regions"]) == 0


def test_one_bad_image_does_not_stop_the_others(photos: Path, tmp_path: Path) -> None:
    (photos / "aa.png").write_bytes((photos / "b.png").read_bytes()[:100])
    jobs = list_jobs([photos], tmp_path / "out")
    make_folder(tmp_path / "out")
    outcomes = list(predict_all(SEGMENTER, jobs, PredictionConfig(CLASSES)))
    assert [(o.job.image.name, o.fault is None) for o in outcomes] == [
        ("a.jpg", True),
        ("aa.png", False),
        ("b.png", True),
        ("c.TIF", True),
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize("fault", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_an_image_too_large_for_the_memory_is_one_fault_among_others(
    photos: Path, tmp_path: Path, fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(TiledScores, "strips", greedy)
    jobs = [Job(photos / "a.jpg", tmp_path / "a.png")]
    (outcome,) = predict_all(SEGMENTER, jobs, PredictionConfig(CLASSES))
    assert "not enough memory" in str(outcome.fault) and "a.jpg" in str(outcome.fault)


@pytest.mark.parametrize("processes", [1, 2])
def test_memory_that_suffices_for_no_image_is_refused_before_the_first(photos: Path, processes: int) -> None:
    jobs = [Job(photos / name, photos / f"{name}.png") for name in ("a.jpg", "b.png")]
    settings = PredictionConfig(CLASSES, SamplingOptions(memory=10**7))
    worker = Worker(photos, "best", "cpu", 1)
    many = processes > 1
    found = (
        predict_in_processes(worker, jobs, settings, 2) if many else predict_all(SEGMENTER, jobs, settings)
    )
    with pytest.raises(InvalidInput, match=r"--memory to be at least \d+MB, what the program takes .* 10MB"):
        next(found)


def test_a_defect_is_not_taken_for_a_bad_image(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(TiledScores, "strips", broken)
    with pytest.raises(RuntimeError, match="a defect"):
        list(predict_all(SEGMENTER, [Job(photos / "a.jpg", tmp_path / "a.png")], PredictionConfig(CLASSES)))


def test_what_a_sampler_cannot_give_is_refused() -> None:
    require_predictor(SEGMENTER, ("scores", "overlay"))
    require_predictor(Segmenter(DeformationSampler((4, 4)), Sides()), ("density",))
    with pytest.raises(UsageError, match="UniformSampler predicts no density; leave density out"):
        require_predictor(SEGMENTER, ("density",))
    with pytest.raises(UsageError, match="sees the true labels, so it predicts nothing"):
        require_predictor(Segmenter(OracleSampler((4, 4)), Sides()))


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileProblem, match="a file where a folder should be"):
        make_folder(tmp_path / "file" / "out")


@pytest.mark.parametrize("extras", [(), ("overlay", "polygons", "samples", "scores")])
@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_an_image_is_opened_once(
    suffix: str, extras: tuple[str, ...], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [path for path in photos.iterdir() if path.suffix.lower() == suffix]
    opened: list[Path] = []

    def counted(path: Path | str, **options: bool) -> Raster:
        opened.append(Path(path))
        return open_raster(path, **options)

    for module in (extras_module, files_module, sources_module):
        monkeypatch.setattr(module, "open_raster", counted)
    make_folder(tmp_path / "out")
    jobs = still_to_do(list_jobs(images, tmp_path / "out", extras), resume=False, overwrite=False)
    outcomes = list(predict_all(SEGMENTER, jobs, PredictionConfig(CLASSES)))
    assert [outcome.fault for outcome in outcomes] == [None] * len(images)
    assert opened == images


def test_polygons_of_labels_in_memory_are_those_of_the_file(photos: Path, tmp_path: Path) -> None:
    job = Job(photos / "a.jpg", tmp_path / "a.png", ("polygons",))
    predict_image(SEGMENTER, job, PredictionConfig(CLASSES))
    with open_raster(job.labels) as labels:
        again = tmp_path / "again.geojson"
        values = Values(CLASSES)
        options = {"names": values.names, "palette": values.palette, "skip": {values.fill_value}}
        write_polygons(again, labels, **options)
    assert again.read_bytes() == job.extra("polygons").read_bytes()


@pytest.mark.parametrize(
    ("name", "levels", "suffix"), [("a.png", 1, ".png"), ("a.tif", 1, ".png"), ("a.tif", 2, ".ome.tif")]
)
def test_labels_have_the_format_of_their_image(name: str, levels: int, suffix: str, tmp_path: Path) -> None:
    pixels = np.zeros((128, 128, 3), np.uint8)
    if levels > 1:
        write_pyramid(tmp_path / name, pixels, levels)
    else:
        Image.fromarray(pixels).save(tmp_path / name)
    with open_raster(tmp_path / name) as raster:
        assert labels_suffix(raster) == suffix
