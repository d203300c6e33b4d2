"""What new users stumbled over: small things that are understood now, or told."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import saccade
from saccade.cli import main
from saccade.inference.files import claim_of, list_jobs
from saccade.inference.options import parse_memory, parse_seconds
from saccade.runtime.files import claimed

RUN = ["--size", "8x12", "--network", "small:4", "--epochs", "1", "--device", "cpu", "-q"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("60", 60), ("60s", 60), ("2 sec", 2), ("1.5min", 90), ("2m", 120), ("1h", 3600)]
)
def test_a_time_may_have_a_unit(text: str, seconds: float) -> None:
    assert parse_seconds(text, "--seconds") == seconds


@pytest.mark.parametrize("text", ["", "s", "-2", "0s", "two", "2x", "1:30", "nan"])
def test_what_is_no_time_is_told_with_the_right_form(text: str) -> None:
    with pytest.raises(saccade.InvalidInput, match="such as 60, 60s or 2min"):
        parse_seconds(text, "--seconds")


@pytest.mark.parametrize("text", ["2GB", "2 gb", "2000MB", "2g", "2000000000"])
def test_memory_may_be_written_in_many_ways(text: str) -> None:
    assert parse_memory(text) == 2_000_000_000


def test_a_time_with_a_unit_is_taken_by_the_command(
    trained_folder: Path, tiny_data: Path, tmp_path: Path
) -> None:
    words = ["predict", str(trained_folder), str(tiny_data / "images"), str(tmp_path / "out"), "-q"]
    assert main([*words, "--total-seconds", "10min", "--device", "cpu"]) == 0
    assert main([*words, "--total-seconds", "ten"]) == 1


def test_a_comparison_whose_places_are_swapped_is_told(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    assert main(["compare", str(tmp_path / "out"), str(tiny_data), "-q"]) == 2
    assert "swap them (saccade compare DATA OUT)" in capsys.readouterr().err


def test_a_dry_run_of_an_unfinished_comparison_says_what_is_left(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, words = (
        tmp_path / "out",
        ["--sizes", "8x12", "--seeds", "1", "--network", "small:4", "--device", "cpu"],
    )
    assert main(["compare", str(tiny_data), str(out), *words, "--epochs", "1", "-q"]) == 0
    run = next((out / "runs").iterdir())
    (run / "checkpoints" / "best.ckpt").unlink()
    metrics = (run / "metrics.csv").read_text()
    capsys.readouterr()
    assert main(["compare", str(tiny_data), str(out), *words, "--epochs", "1", "--dry-run", "-q"]) == 0
    assert (run / "metrics.csv").read_text() == metrics


def test_errors_name_options_as_they_are_given(
    trained_folder: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(saccade.SaccadeError, match="use resume=True to go on, or overwrite=True"):
        saccade.train(tiny_data, trained_folder, device="cpu")
    assert main(["train", str(tiny_data), str(trained_folder), *RUN]) == 1
    assert "use --resume to go on, or --overwrite" in capsys.readouterr().err


def test_what_is_checked_is_named() -> None:
    from saccade.data import DataOptions

    assert DataOptions().unit == "images"
    assert DataOptions(window="16x16").unit == "windows"


def test_an_address_with_one_slash_is_pointed_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "https:/example.com/a.tif"]) != 0
    assert "did you mean https://example.com/a.tif?" in capsys.readouterr().err


def test_a_dry_run_of_a_training_says_its_operations(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(tiny_data), str(tmp_path / "run"), *RUN, "--dry-run"]) == 0
    assert " GFLOPs an image) on 8 x 12 samples" in capsys.readouterr().out


@pytest.mark.parametrize("sampler", ["uniform", "deformation", "foveation", "boundary", "oracle"])
def test_operations_of_every_sampler_are_counted(sampler: str, tiny_data: Path, tmp_path: Path) -> None:
    from saccade.api.training import describe_training

    told = describe_training(
        tiny_data, tmp_path / "run", sampler=sampler, size=(8, 12), network="small:4", epochs=1, device="cpu",
        options={"foveation.shrink": 4} if sampler == "foveation" else {},
    )  # fmt: skip
    assert float(told.partition(" GFLOPs")[0].rpartition(" ")[2]) > 0


def test_a_run_in_the_place_of_data_is_told(trained_folder: Path) -> None:
    with pytest.raises(saccade.FileProblem, match="but got a trained run; name the folder of the images"):
        saccade.evaluate(trained_folder, trained_folder)


def test_the_folder_that_is_meant_is_named_as_it_was_typed(
    trained_folder: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_data.parent)
    with pytest.raises(saccade.FileProblem, match=rf"did you mean {tiny_data.name} \(a data folder\)\?"):
        saccade.evaluate(trained_folder, f"{tiny_data.name}/images")
    with pytest.raises(saccade.FileProblem, match=rf"did you mean {tiny_data.name} \(a data folder\)\?"):
        saccade.evaluate(trained_folder, ".")


def test_zones_are_numbered_from_one_in_every_format(
    trained_folder: Path, tiny_data: Path, tmp_path: Path
) -> None:
    pyogrio = pytest.importorskip("pyogrio")
    shapely = pytest.importorskip("shapely")
    image = sorted((tiny_data / "images").iterdir())[0]
    with Image.open(image) as opened:
        width, height = opened.size
    boxes = [(0, 0, width / 2, height), (width / 2, 0, width, height)]
    features = [
        {
            "type": "Feature",
            "properties": {},
            "geometry": shapely.geometry.mapping(shapely.box(*box)),
        }
        for box in boxes
    ]
    (tmp_path / "zones.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8"
    )
    shapes = np.array([shapely.to_wkb(shapely.box(*box)) for box in boxes], object)
    for suffix, driver in ((".gpkg", "GPKG"), (".shp", "ESRI Shapefile"), (".fgb", "FlatGeobuf")):
        extra = {"SPATIAL_INDEX": "NO"} if driver == "FlatGeobuf" else {}
        pyogrio.raw.write(
            tmp_path / f"zones{suffix}", shapes, [np.array(["a", "b"], object)], ["kind"],
            geometry_type="Polygon", driver=driver, **extra,
        )  # fmt: skip
    seen = {}
    for suffix in (".geojson", ".gpkg", ".shp", ".fgb"):
        out = tmp_path / f"out{suffix}"
        (outcome,) = saccade.predict(trained_folder, image, out, zones=tmp_path / f"zones{suffix}")
        assert outcome.fault is None
        rows = next(out.glob("*_zones.csv")).read_text().splitlines()[1:]
        seen[suffix] = {row.split(",")[1] for row in rows}
    assert seen == {suffix: {"1", "2"} for suffix in seen}


def test_two_programs_at_one_folder_both_end_well(
    trained_folder: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [str(path) for path in sorted((tiny_data / "images").iterdir())[:3]]
    out, jobs = tmp_path / "out", list_jobs([Path(image) for image in images], tmp_path / "out")
    words = ["predict", str(trained_folder), *images, str(out), "--device", "cpu"]
    out.mkdir()
    begun = threading.Event()
    codes: list[int] = []
    with claimed(claim_of(jobs[0]), jobs[0].image):  # another program is at the first

        def other() -> None:
            begun.set()
            codes.append(main(words))

        thread = threading.Thread(target=other)
        thread.start()
        deadline = threading.Event()
        while thread.is_alive() and not all(
            (out / f"{Path(image).stem}.png").is_file() for image in images[1:]
        ):
            deadline.wait(0.05)
        (out / f"{Path(images[0]).stem}.png").write_bytes((out / f"{Path(images[1]).stem}.png").read_bytes())
    thread.join(60)
    told = capsys.readouterr().err
    assert codes == [0], told
    assert "waiting for 1 image that another program is at" in told
    assert "1 image was labelled by another program meanwhile" in told
    assert "error" not in told
