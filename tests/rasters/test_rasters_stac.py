"""STAC items lead to the pixels of their assets, and nowhere that they should not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from range_server import Served
from saccade.cli import main
from saccade.errors import FileProblem
from saccade.rasters import Output, RasterWriter, open_raster
from saccade.rasters import remote as remote_module
from saccade.rasters.stac import asset_of
from saccade.runtime.addresses import path_of
from saccade.runtime.trust import trusting

pytest.importorskip("fsspec", reason="files elsewhere need the extra remote")
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
SECRET = "hidden-word"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("catalogue")
    (folder / "files").mkdir()
    place = {"crs": "EPSG:32632", "transform": (0.5, 0.0, 1000.0, 0.0, -0.5, 2000.0)}
    pixels = np.random.default_rng(3).integers(0, 255, (40, 60, 3), np.uint8)
    for number, name in enumerate(("map.tif", "other.tif", "store.zarr")):
        path = folder / "files" / name
        with RasterWriter(path, Output((40, 60), "scores", channels=3, tile=32, **place)) as writer:
            writer.append(pixels + np.uint8(number))
            writer.finish()
    return folder


def item(path: Path, assets: dict[str, Any], **more: Any) -> Path:
    about = {"type": "Feature", "stac_version": "1.0.0", "id": "scene/1", "assets": assets, **more}
    path.write_text(json.dumps(about))
    return path


def same(one: Path | str, other: Path) -> None:
    with open_raster(one) as left, open_raster(other) as right:
        assert np.array_equal(left.read(), right.read()) and left.crs == right.crs


def test_the_asset_of_a_name_or_of_its_role_is_opened(folder: Path, served: Served) -> None:
    assets = {
        "thumbnail": {"href": "files/none.png", "type": "image/png", "roles": ["thumbnail"]},
        "image": {"href": "./files/map.tif", "type": COG, "roles": ["data"]},
        "visual": {"href": f"{served.url}/files/other.tif?signature={SECRET}", "type": COG},
        "cube": {"href": "files/store.zarr", "type": "application/vnd+zarr", "roles": ["overview"]},
    }
    here = item(folder / "item.json", assets)
    for address in (str(here), f"{served.url}/item.json", f"{served.url}/item.json#image"):
        same(address, folder / "files" / "map.tif")
    for address in (f"{here}#cube", f"{served.url}/item.json?token={SECRET}#cube"):
        same(address, folder / "files" / "store.zarr")
    same(f"{served.url}/item.json#visual", folder / "files" / "other.tif")
    with pytest.raises(FileProblem, match="allow it with --allow-outside") as refused:
        open_raster(f"{here}#visual")
    assert SECRET not in str(refused.value)
    with trusting(outside=True):
        same(f"{here}#visual", folder / "files" / "other.tif")


def test_an_api_that_sends_no_parts_and_names_no_files_is_read(folder: Path, served: Served) -> None:
    (folder / "items").mkdir(exist_ok=True)
    item(folder / "items" / "scene_1", {"map": {"href": "../files/map.tif"}})
    served.fault = lambda number, again: "whole" if number == 0 else None
    same(f"{served.url}/items/scene_1", folder / "files" / "map.tif")


@pytest.mark.parametrize(
    ("assets", "name", "words"),
    [
        (
            {"red": {"href": "r.tif", "title": "Red"}, "nir": {"href": "n.tif"}},
            "",
            "there are red (Red), nir",
        ),
        ({"red": {"href": "r.tif"}}, "blue", "expected the name of an asset, but got 'blue'; name it"),
        ({"thumbnail": {"href": "t.png", "type": "image/png"}}, "", "none that is a GeoTIFF or a Zarr"),
        ({"up": {"href": "../../secret.tif"}}, "", "in the folder of the item"),
        ({"root": {"href": "/etc/secret.tif"}}, "", "in the folder of the item"),
        ({"file": {"href": "file:///etc/secret.tif"}}, "", "in the folder of the item"),
        ({"ftp": {"href": "ftp://h/a.tif"}}, "", "at an address that is read"),
        ({}, "", "none that is a GeoTIFF"),
    ],
)
def test_what_is_not_clear_or_not_allowed_is_one_line(assets, name, words, tmp_path: Path) -> None:
    path = item(tmp_path / "item.json", assets)
    with pytest.raises(FileProblem) as refused:
        asset_of(Path(f"{path}#{name}") if name else path)
    assert words in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("href", ["/etc/passwd.tif", "file:///etc/passwd.tif", "C:/x.tif", "zip://a::b.tif"])
def test_an_item_elsewhere_leads_to_no_file_here(href: str, folder: Path, served: Served) -> None:
    item(folder / "sly.json", {"a": {"href": href}})
    with pytest.raises(FileProblem, match="a path of the machine that wrote it"):
        asset_of(path_of(f"{served.url}/sly.json"))


def test_other_json_is_named_as_what_it_is(tmp_path: Path, served: Served, folder: Path) -> None:
    for text, words in (
        ('{"type": "FeatureCollection", "features": []}', "JSON of type FeatureCollection"),
        ('{"type": "Collection", "stac_version": "1.0.0", "assets": {}}', "a STAC Collection"),
        ("[1]", "other JSON"),
        ("{", "broken"),
    ):
        (tmp_path / "a.json").write_text(text)
        (folder / "a.json").write_text(text)
        for address in (tmp_path / "a.json", path_of(f"{served.url}/a.json")):
            with pytest.raises(FileProblem, match=words):
                asset_of(address)
    with pytest.raises(FileProblem, match=r"no such file \(HTTP 404\)"):
        asset_of(path_of(f"{served.url}/nothing.json"))


def test_scenes_of_one_file_name_are_labelled_by_their_names(
    trained_folder, folder, served, tmp_path, capsys, monkeypatch
) -> None:
    """As in archives, where each scene is a folder with a TCI.tif; and no signature is told or kept."""
    monkeypatch.setattr(remote_module, "FIRST_WAIT", 0.001)
    for scene in ("one", "two"):
        (folder / scene).mkdir(exist_ok=True)
        assets = {
            "visual": {"href": f"{served.url}/files/map.tif?{scene}&X-Amz-Signature={SECRET}", "type": COG}
        }
        item(folder / scene / "item.json", assets, id=scene)
    addresses = [f"{served.url}/{scene}/item.json" for scene in ("one", "two")]
    command = ["predict", str(trained_folder), *addresses, str(tmp_path / "out"), "--device", "cpu"]
    assert main([*command, "--mode", "whole", "--size", "8x12"]) == 0
    assert main(["info", addresses[0]]) == 0
    assert main(["plan", addresses[0], str(trained_folder), "--device", "cpu"]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"one_visual.tif", "two_visual.tif"}
    labels = [path.read_bytes() for path in (tmp_path / "out").iterdir()]
    assert labels[0] == labels[1]
    served.fault = lambda number, again: None if number == 0 else 403
    served.forget()
    assert main(["info", addresses[0]]) == 1
    said = capsys.readouterr()
    assert SECRET not in said.out + said.err
    assert all(SECRET.encode() not in content for content in labels)
