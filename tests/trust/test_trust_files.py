"""What lies in a folder of a stranger: pipes, links, names of other places, values without end."""

from __future__ import annotations

import http.server
import json
import os
import pickle
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saccade.cli import main
from saccade.data.classes import read_classes
from saccade.errors import FileProblem, SaccadeError
from saccade.rasters import open_raster
from saccade.rasters.own_files import parse_xml
from saccade.report import read_run, write_report
from saccade.runtime.reading import inside, open_regular, read_json_value
from saccade.runtime.trust import trusting
from saccade.training import load_run, read_config
from saccade.training.run_folder import read_checkpoint

AT_ONCE = 3.0


@pytest.fixture(autouse=True)
def at_once():
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 60


def test_a_pipe_is_refused_at_once_wherever_a_file_is_read(tmp_path, run_folder):
    os.mkfifo(pipe := tmp_path / "pipe")
    for read in (
        lambda: open_regular(pipe, "a file"),
        lambda: open_raster(pipe),
        lambda: read_config(pipe),
        lambda: read_json_value(pipe, "JSON"),
        lambda: read_checkpoint(pipe),
    ):
        with pytest.raises(FileProblem, match="a pipe"):
            read()
    with pytest.raises(FileProblem, match="a device"):
        open_regular("/dev/zero", "a file")
    assert read_classes(pipe)[1][0].found == "a pipe"
    for name in ("config.yaml", "checkpoints/best.ckpt"):
        kept = (run_folder / name).rename(run_folder / "kept")
        os.mkfifo(run_folder / name)
        with pytest.raises(FileProblem):
            load_run(run_folder)
        (run_folder / name).unlink()
        kept.rename(run_folder / name)


def test_a_pipe_in_a_zarr_image_is_refused(tmp_path):
    zarr = pytest.importorskip("zarr")
    zarr.save_array(str(tmp_path / "a.zarr"), np.ones((8, 8), np.uint8))
    chunk = next(p for p in (tmp_path / "a.zarr" / "c").rglob("*") if p.is_file())
    chunk.unlink()
    os.mkfifo(chunk)
    with pytest.raises(FileProblem, match="pipe"), open_raster(tmp_path / "a.zarr") as raster:
        raster.read()


@pytest.mark.parametrize("name", ["config.yaml", "environment.json", "metrics.csv", "evaluation_test.json"])
def test_a_link_in_a_run_is_not_followed_out_of_it(name, run_folder, tmp_path):
    (tmp_path / "secret").write_text('{"password": "swordfish"}')
    (run_folder / name).unlink(missing_ok=True)
    (run_folder / name).symlink_to(tmp_path / "secret")
    with pytest.raises(FileProblem, match="leads out"):
        read_run(run_folder)


def figures_of(run: Path, file: str) -> Path:
    place = run / "figures" / "examples"
    place.mkdir(parents=True, exist_ok=True)
    rows = [{"file": file, "name": "image", "caption": "c", "alt": "a"}]
    (place / "examples.json").write_text(
        json.dumps([{"stem": "s", "rank": "worst", "score": 0.5, "figures": rows}])
    )
    return place


def test_figures_are_files_of_their_folder(run_folder, tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    place = figures_of(run_folder, "a.png")
    (place / "a.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(FileProblem, match="leads out"):
        read_run(run_folder)
    for name in ("../../../secret.png", str(tmp_path / "secret.png"), "", "..", "a\0.png"):
        figures_of(run_folder, name)
        with pytest.raises(FileProblem, match="names of files"):
            read_run(run_folder)


def test_a_folder_of_figures_that_is_a_link_is_not_emptied(tmp_path):
    from saccade.report import save_examples

    (tmp_path / "elsewhere" / "examples").mkdir(parents=True)
    (tmp_path / "elsewhere" / "examples" / "mine").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "figures").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileProblem, match="leads out"):
        save_examples([], tmp_path / "run" / "figures")
    assert (tmp_path / "elsewhere" / "examples" / "mine").exists()


def test_names_lead_nowhere_else(tmp_path):
    (tmp_path / "a").touch()
    assert inside(tmp_path, "a", tmp_path) == tmp_path / "a"
    for name in ("../a", "/etc/passwd", "b/a", ".", ""):
        with pytest.raises(FileProblem):
            inside(tmp_path, name, tmp_path)


ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    "text", [ALIASES, "a: &a [*a]\n", "a: &a {b: *a}\n", "[" * 5000], ids=lambda t: t[:12]
)
def test_aliases_of_aliases_are_refused_at_once(text, run_folder, tmp_path):
    (run_folder / "config.yaml").write_text(text)
    started = time.process_time()
    for read in (load_run, read_run):
        with pytest.raises(FileProblem, match="broken one"):
            read(run_folder)
    assert time.process_time() - started < AT_ONCE


def test_an_alias_that_stands_for_little_is_read(tmp_path):
    (tmp_path / "c.yaml").write_text("loss: {class_weights: &w [1.0, 2.0]}\naugment: {brightness: 0.1}\n")
    assert read_config(tmp_path / "c.yaml").loss.class_weights == (1.0, 2.0)


@pytest.mark.parametrize(
    "value",
    ["!!python/object/apply:os.system [id]", "!!bool x", "!!int x", "!!timestamp 0000-00-00", "!!binary x"],
)
def test_tags_of_yaml_make_no_objects_and_no_traceback(value, tmp_path):
    (tmp_path / "c.yaml").write_text(f"training: {{seed: {value}}}\n")
    with pytest.raises(FileProblem):
        read_config(tmp_path / "c.yaml")


class Evil:
    def __reduce__(self):
        return os.mkdir, ("/tmp/saccade_pickle_ran",)


def test_nothing_is_unpickled(run_folder):
    torch.save({"state_dict": Evil(), "epoch": 1}, run_folder / "checkpoints" / "best.ckpt")
    with pytest.raises(FileProblem, match="broken or foreign"):
        load_run(run_folder)
    (run_folder / "foveation").mkdir()
    from saccade.samplers.foveation_maps import field_maps

    for content in (pickle.dumps(Evil()), b"\x93NUMPY\x01\x00v\x00{", b""):
        (run_folder / "foveation" / "epoch_0001.npy").write_bytes(content)
        with pytest.raises(FileProblem, match="fields of view"):
            field_maps(run_folder, (1, 2))
    assert not os.path.exists("/tmp/saccade_pickle_ran")


BOMB = '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><a>&c;</a>'
FILE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'


@pytest.mark.parametrize("text", [BOMB, FILE, "", "no xml", "<a", "\0" * 9])
def test_xml_with_entities_of_its_own_is_none(text):
    assert parse_xml(text) is None


def test_a_description_of_ome_with_entities_is_refused(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8), np.uint8), description=BOMB.replace("<a>", "<OME>"))
    with pytest.raises(FileProblem, match="DOCTYPE"):
        open_raster(tmp_path / "a.tif")


OME = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:a"><Image ID="Image:0">'
    '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="8" SizeY="8" SizeC="{c}" SizeZ="1" '
    'SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData IFD="0" PlaneCount="{n}">'
    '<UUID FileName="{name}">urn:uuid:b</UUID></TiffData></Pixels></Image></OME>'
)


@pytest.mark.parametrize(
    "name", ["../other.ome.tif", "/etc/passwd", "sub/other.ome.tif", "&#46;&#46;/other.ome.tif"]
)
def test_a_set_of_ome_tiff_is_of_one_folder(name, tmp_path):
    import tifffile

    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "other.ome.tif", np.full((8, 8), 9, np.uint8), metadata=None)
    text = OME.format(c=1, n=1, name=name)
    tifffile.imwrite(
        tmp_path / "in" / "a.ome.tif", np.zeros((8, 8), np.uint8), description=text, metadata=None
    )
    with pytest.raises(FileProblem, match="--allow-outside"):
        open_raster(tmp_path / "in" / "a.ome.tif")
    if name == "../other.ome.tif":
        with trusting(outside=True), open_raster(tmp_path / "in" / "a.ome.tif") as raster:
            assert raster.read().max() == 9


def test_a_description_of_ome_that_claims_planes_without_end_is_refused(tmp_path):
    import tifffile

    for text in (OME.format(c=1, n=2**40, name="a.ome.tif"), OME.format(c=2**40, n=1, name="a.ome.tif")):
        tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((8, 8), np.uint8), description=text, metadata=None)
        with pytest.raises(FileProblem, match="planes"):
            open_raster(tmp_path / "a.ome.tif")


VRT = (
    '<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1"{sub}>{inner}'
    "</VRTRasterBand></VRTDataset>"
)
SIMPLE = (
    '<SimpleSource><SourceFilename relativeToVRT="{own}">{name}</SourceFilename>'
    "<SourceBand>1</SourceBand></SimpleSource>"
)
RAW = (
    '<SourceFilename relativeToVRT="{own}">{name}</SourceFilename><ImageOffset>0</ImageOffset>'
    "<PixelOffset>1</PixelOffset><LineOffset>8</LineOffset>"
)


@pytest.fixture
def server():
    """An address on this machine, and the paths that were asked of it."""
    asked: list[str] = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None: ...

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}", asked
    listening.shutdown()
    listening.server_close()


@pytest.fixture
def near(tmp_path):
    """A folder for VRTs, with an image in it, one beside it, and a file of secrets."""
    folder = tmp_path / "near"
    folder.mkdir()
    for place in (folder / "a.png", tmp_path / "far.png"):
        Image.new("L", (8, 8), 7).save(place)
    (tmp_path / "passwd").write_bytes(b"root:x:0:0:root:/root:/bin/bash\n" * 4)
    return folder


def test_a_vrt_is_made_of_images_in_its_own_folder(near, tmp_path, server):
    pytest.importorskip("rasterio")
    address, asked = server
    vrt = near / "a.vrt"
    (near / "link.png").symlink_to(tmp_path / "far.png")
    (near / "service.xml").write_text(
        f'<GDAL_WMS><Service name="WMS"><ServerUrl>{address}/?</ServerUrl><Layers>l</Layers></Service>'
        "<DataWindow><UpperLeftX>0</UpperLeftX><UpperLeftY>8</UpperLeftY><LowerRightX>8</LowerRightX>"
        "<LowerRightY>0</LowerRightY><SizeX>8</SizeX><SizeY>8</SizeY></DataWindow></GDAL_WMS>"
    )
    raw = ' subClass="VRTRawRasterBand"'
    refused = [
        VRT.format(sub="", inner=SIMPLE.format(own=1, name="../far.png")),
        VRT.format(sub="", inner=SIMPLE.format(own=0, name=tmp_path / "far.png")),
        VRT.format(sub="", inner=SIMPLE.format(own=1, name="link.png")),
        VRT.format(sub="", inner=SIMPLE.format(own=0, name=f"/vsicurl/{address}/a.tif")),
        VRT.format(sub="", inner=SIMPLE.format(own=0, name=f"{address}/a.tif")),
        VRT.format(sub="", inner=SIMPLE.format(own=1, name="service.xml")),
        VRT.format(sub="", inner=SIMPLE.format(own=0, name=f"WMS:{address}/?LAYERS=l&amp;SRS=EPSG:4326")),
        VRT.format(sub=raw, inner=RAW.format(own=0, name="/etc/passwd")),
        VRT.format(sub=raw, inner=RAW.format(own=1, name="../passwd")),
        VRT.format(sub="", inner=SIMPLE.format(own=0, name="&lt;VRTDataset/&gt;")),
        FILE.replace("<a>", "<VRTDataset>").replace("</a>", "</VRTDataset>"),
    ]
    for text in refused:
        vrt.write_text(text)
        with pytest.raises(FileProblem), open_raster(vrt) as raster:
            raster.read()
        with pytest.raises(FileProblem), open_raster(vrt):  # nor in a VRT within
            (near / "b.vrt").write_text(VRT.format(sub="", inner=SIMPLE.format(own=1, name="a.vrt")))
            open_raster(near / "b.vrt")
    assert asked == []
    for name, own in (("a.png", 1), (near / "a.png", 0)):
        vrt.write_text(VRT.format(sub="", inner=SIMPLE.format(own=own, name=name)))
        with open_raster(vrt) as raster:
            assert (raster.read() == 7).all()
    vrt.write_text(refused[0])
    with trusting(outside=True), open_raster(vrt) as raster:
        assert (raster.read() == 7).all()
    assert main(["info", str(vrt), "-q"]) == 1
    assert main(["info", str(vrt), "-q", "--allow-outside"]) == 0


def test_a_vrt_within_itself_is_refused(near):
    pytest.importorskip("rasterio")
    (near / "a.vrt").write_text(VRT.format(sub="", inner=SIMPLE.format(own=1, name="a.vrt")))
    with pytest.raises(FileProblem):
        open_raster(near / "a.vrt")


def test_overviews_beside_an_image_lead_nowhere_else(near, server):
    rasterio = pytest.importorskip("rasterio")
    address, asked = server
    profile = {"driver": "GTiff", "width": 8, "height": 8, "count": 1, "dtype": "uint8"}
    place = rasterio.Affine(1, 0, 500000, 0, -1, 5000000)
    with rasterio.open(near / "a.tif", "w", crs="EPSG:32632", transform=place, **profile) as file:
        file.write(np.zeros((1, 8, 8), np.uint8))
    for name in (f"/vsicurl/{address}/a.ovr", "../far.png", "/etc/passwd"):
        (near / "a.tif.aux.xml").write_text(
            f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{name}</MDI></Metadata>'
            "</PAMDataset>"
        )
        with pytest.raises(FileProblem, match="overviews"):
            open_raster(near / "a.tif")
    assert asked == []


@pytest.mark.parametrize("path", ["../../secret", "/secret", "s/../../../secret"])
def test_arrays_of_a_zarr_image_lie_in_it(path, tmp_path):
    zarr = pytest.importorskip("zarr")
    zarr.save_array(str(tmp_path / "secret"), np.full((8, 8), 9, np.uint8))
    group = zarr.open_group(str(tmp_path / "in" / "a.zarr"), mode="w", zarr_format=3)
    axes = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [{"path": path}]}]}
    with pytest.raises(SaccadeError), open_raster(tmp_path / "in" / "a.zarr") as raster:
        raster.read()


def test_stems_of_a_split_are_looked_up_and_never_joined_to_a_path(tiny_data, tmp_path):
    import shutil

    from saccade.data import open_data
    from saccade.errors import DataFaults

    data = Path(shutil.copytree(tiny_data, tmp_path / "data"))
    Image.new("RGB", (48, 32)).save(tmp_path / "secret.png")
    splits = json.loads((data / "splits.json").read_text())
    for stem in ("../../secret", str(tmp_path / "secret"), "../images/../../secret"):
        (data / "splits.json").write_text(json.dumps({**splits, "test": [stem]}))
        with pytest.raises(DataFaults, match="no such file"):
            open_data(data)


def test_a_report_is_no_way_to_write_through_a_link(run_folder, tmp_path):
    (tmp_path / "mine").write_text("mine")
    (run_folder / "report.html").symlink_to(tmp_path / "mine")
    write_report(run_folder)
    assert (tmp_path / "mine").read_text() == "mine"
