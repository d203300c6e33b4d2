"""Which image of a file is opened, what is said of the others, and files that are none."""

from __future__ import annotations

import os

import numpy as np
import pytest
import tifffile
from raster_files import scene

from saccade.errors import FileProblem
from saccade.rasters import as_rgb, open_raster, read_rgb

FIRST, SECOND = scene((40, 50)), scene((20, 30), seed=1)


def test_another_image_of_a_file_has_a_number(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for pixels in (FIRST, SECOND):
            file.write(pixels, photometric="rgb", metadata=None)
    with open_raster(path) as raster:
        np.testing.assert_array_equal(raster.read(), FIRST)
        assert raster.notices == ("2 images in the file: its first is taken (FILE#2 is the second)",)
    for number, pixels in enumerate((FIRST, SECOND), 1):
        np.testing.assert_array_equal(read_rgb(f"{path}#{number}").array, pixels)
        assert read_rgb(f"{path}#{number}").notices == ()
    for number in (0, 3):
        with pytest.raises(FileProblem, match="from #1 to #2"):
            open_raster(f"{path}#{number}")


@pytest.mark.parametrize("axes", ["ZYX", "TYX", "TZYX", "ZCYX", "CZYX"])
def test_planes_of_a_stack_have_numbers(axes, tmp_path):
    shape = tuple({"T": 2, "Z": 3, "C": 2, "Y": 20, "X": 30}[axis] for axis in axes)
    stack = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, stack, metadata={"axes": axes}, photometric="minisblack")
    planes = np.moveaxis(stack, axes.index("C"), -1) if "C" in axes else stack[..., None]
    planes = planes.reshape(-1, 20, 30, planes.shape[-1])
    for number, plane in enumerate(planes, 1):
        with open_raster(f"{path}#{number}") as raster:
            np.testing.assert_array_equal(raster.read(), plane)


def test_a_file_that_is_really_called_so_is_that_file(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif#2", SECOND, photometric="rgb")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.tif#2").array, SECOND)


def test_a_photograph_has_no_numbers(tmp_path):
    from PIL import Image

    Image.fromarray(FIRST).save(tmp_path / "a.png")
    with pytest.raises(FileProblem, match="leave out #2"):
        open_raster(tmp_path / "a.png#2")


def ome_set(folder, axis: str, count: int) -> np.ndarray:
    """One plane a file, named in the OME-XML of each: (count, y, x)."""
    planes = np.random.default_rng(0).integers(0, 256, (count, 40, 50), np.uint8)
    sizes = {"C": 1, "Z": 1, "T": 1} | {axis: count}
    blocks = "".join(
        f'<TiffData First{axis}="{n}" IFD="0" PlaneCount="1"><UUID FileName="{n}.ome.tif">urn:uuid:{n}</UUID>'
        "</TiffData>"
        for n in range(count)
    )
    channels = "".join(f'<Channel ID="Channel:0:{n}" SamplesPerPixel="1"/>' for n in range(sizes["C"]))
    for n, plane in enumerate(planes):
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
            f' UUID="urn:uuid:{n}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT"'
            f' Type="uint8" SizeX="50" SizeY="40"'
            f' SizeC="{sizes["C"]}" SizeZ="{sizes["Z"]}" SizeT="{sizes["T"]}">'
            f"{channels}{blocks}</Pixels></Image></OME>"
        )
        tifffile.imwrite(folder / f"{n}.ome.tif", plane, description=text, metadata=None, rowsperstrip=8)
    return planes


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("axis", ["C", "Z", "T"])
def test_a_set_of_files_is_read_as_tifffile_reads_it(axis, count, tmp_path):
    planes = ome_set(tmp_path, axis, count)
    for n in range(count):
        path = tmp_path / f"{n}.ome.tif"
        np.testing.assert_array_equal(tifffile.imread(path), planes)
        with open_raster(path) as raster:
            expected = planes.transpose(1, 2, 0) if axis == "C" else planes[0][..., None]
            np.testing.assert_array_equal(raster.read(), expected)
    with open_raster(f"{path}#{count}") if axis != "C" else open_raster(path) as raster:
        np.testing.assert_array_equal(raster.read()[..., -1], planes[-1])


def test_threads_may_read_a_set_of_files_and_closing_closes_them(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    planes = ome_set(tmp_path, "C", 3)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with open_raster(tmp_path / "1.ome.tif") as raster, ThreadPoolExecutor(4) as pool:
        for pixels in pool.map(lambda _: raster.read(), range(16)):
            np.testing.assert_array_equal(pixels, planes.transpose(1, 2, 0))
    after = len(os.listdir("/proc/self/fd")) if before else 0
    assert after <= before


def test_a_file_that_points_to_its_companion_says_so(tmp_path):
    text = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    text += '<BinaryOnly MetadataFile="a.ome"/></OME>'
    tifffile.imwrite(tmp_path / "a.ome.tif", FIRST[..., 0], description=text, metadata=None)
    with open_raster(tmp_path / "a.ome.tif") as raster:
        np.testing.assert_array_equal(raster.read(), FIRST[..., :1])
        assert "OME-TIFF set with a companion" in raster.notices[0]


def test_a_set_with_a_missing_file_is_named(tmp_path):
    ome_set(tmp_path, "C", 3)
    (tmp_path / "2.ome.tif").unlink()
    with pytest.raises(FileProblem, match="all files of the OME-TIFF set"):
        open_raster(tmp_path / "0.ome.tif")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("link.png", "a link to nowhere.png, which is not there"),
        ("loop.png", "a link that leads to itself"),
        ("pipe.png", "a pipe, socket or device"),
        ("x" * 300 + ".png", "too long"),
        ("a\0b.png", "a character that no file has"),
    ],
)
def test_what_is_no_file_is_said_in_one_line_and_never_waited_for(name, words, tmp_path):
    (tmp_path / "link.png").symlink_to("nowhere.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(FileProblem, match=words) as caught:
        as_rgb(open_raster(tmp_path / name))
    assert "\n" not in str(caught.value)
