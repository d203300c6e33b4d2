"""Label maps: indices in, the same indices out, and nothing else is taken for one."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image
from raster_files import scene

from saccade.errors import FileProblem, InvalidInput
from saccade.rasters import read_label_map, write_label_png

LABELS = np.random.default_rng(3).integers(0, 7, (31, 45)).astype(np.uint8)
PALETTE = [(10 * i, 255 - 10 * i, i) for i in range(7)]


def test_a_palette_png_gives_its_indices_and_shows_its_colours(tmp_path):
    write_label_png(tmp_path / "l.png", LABELS, PALETTE)
    found = read_label_map(tmp_path / "l.png")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, LABELS)
    with Image.open(tmp_path / "l.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), np.array(PALETTE)[LABELS])


def test_without_a_palette_the_png_is_grey_and_may_hold_many_classes(tmp_path):
    write_label_png(tmp_path / "a.png", LABELS)
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.png"), LABELS)
    many = LABELS.astype(np.int64) * 9000
    write_label_png(tmp_path / "b.png", many)
    found = read_label_map(tmp_path / "b.png")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, many)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_png_of_few_bits_keeps_its_indices(bits, tmp_path):
    labels = LABELS % 2**bits
    if bits == 1:
        Image.fromarray(labels * 255).convert("1").save(tmp_path / "l.png")
    else:
        Image.fromarray(labels).save(tmp_path / "l.png", bits=bits)
    np.testing.assert_array_equal(read_label_map(tmp_path / "l.png"), labels)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_palette_of_few_bits_keeps_its_indices(bits, tmp_path):
    image = Image.fromarray(LABELS % 2**bits)
    image.putpalette([channel for colour in PALETTE for channel in colour])
    image.save(tmp_path / "l.png", bits=bits)
    np.testing.assert_array_equal(read_label_map(tmp_path / "l.png"), LABELS % 2**bits)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64", "bool"])
def test_tiff_of_any_integer_type_is_taken(dtype, tmp_path):
    labels = LABELS.astype(dtype)
    tifffile.imwrite(tmp_path / "l.tif", labels, photometric="minisblack")
    found = read_label_map(tmp_path / "l.tif")
    assert found.dtype in (np.uint8, np.uint16)
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize(
    ("write", "problem"),
    [
        (lambda p: Image.fromarray(scene()).save(p), "colours.*replace each colour by its class index"),
        (lambda p: Image.fromarray(LABELS).convert("RGB").save(p), "channels are equal: save one"),
        (lambda p: Image.fromarray(scene(channels=4)).save(p), "RGBA"),
        (lambda p: Image.fromarray(LABELS).convert("LA").save(p), "save the first channel"),
        (lambda p: Image.fromarray(LABELS).save(p, format="JPEG"), r"a JPEG image; .*save masks as PNG"),
        (lambda p: Image.fromarray(scene()).save(p, format="WEBP"), r"a WEBP image; .*save masks as PNG"),
        (lambda p: tifffile.imwrite(p, LABELS.astype(np.float32) / 2), "float32 values that are no whole"),
        (
            lambda p: tifffile.imwrite(p, np.full((4, 4), np.nan, np.float32)),
            "float32 values that are no whole",
        ),
        (lambda p: tifffile.imwrite(p, LABELS.astype(np.int32) - 3), "values from -3"),
        (lambda p: tifffile.imwrite(p, LABELS.astype(np.uint32) * 99999), "0 to 65535"),
    ],
)
def test_what_is_no_label_map_is_refused_with_the_way_out(write, problem, tmp_path):
    path = tmp_path / "mask.png"
    write(path)
    with pytest.raises(FileProblem, match=problem):
        read_label_map(path)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "float32", "float64"])
def test_a_value_below_zero_is_read_as_another(dtype, tmp_path):
    labels = (LABELS % 5).astype(dtype)
    labels[1, 2:] = -1
    tifffile.imwrite(tmp_path / "l.tif", labels, photometric="minisblack")
    found = read_label_map(tmp_path / "l.tif", ignored=-1, instead=65535)
    np.testing.assert_array_equal(found, np.where(labels < 0, 65535, labels.astype(int)))
    with pytest.raises(FileProblem, match="values from -1"):
        read_label_map(tmp_path / "l.tif")
    with pytest.raises(FileProblem, match="no 3, as which -1 is read"):
        read_label_map(tmp_path / "l.tif", ignored=-1, instead=3)


def test_what_is_no_number_is_ignored_where_something_is(tmp_path):
    labels = (LABELS % 5).astype(np.float32)
    labels[0] = np.nan
    tifffile.imwrite(tmp_path / "l.tif", labels, photometric="minisblack")
    found = read_label_map(tmp_path / "l.tif", ignored=255, instead=255)
    assert (found[0] == 255).all() and (found[1:] == labels[1:]).all()


def test_an_existing_file_is_kept_unless_told(tmp_path):
    path = tmp_path / "l.png"
    write_label_png(path, LABELS)
    before = path.read_bytes()
    with pytest.raises(FileProblem, match=r"exists.*overwrite=True"):
        write_label_png(path, LABELS * 0)
    assert path.read_bytes() == before
    write_label_png(path, LABELS * 0, overwrite=True)
    assert not read_label_map(path).any()


def test_a_failure_while_writing_leaves_nothing_and_keeps_the_old_file(tmp_path, monkeypatch):
    import errno

    path = tmp_path / "l.png"
    write_label_png(path, LABELS)

    def full(self, file, **options):
        file.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(FileProblem, match="disk that is full"):
        write_label_png(path, LABELS * 0, overwrite=True)
    monkeypatch.undo()
    assert [entry.name for entry in tmp_path.iterdir()] == ["l.png"]
    np.testing.assert_array_equal(read_label_map(path), LABELS)


@pytest.mark.parametrize(
    ("labels", "palette", "problem"),
    [
        (LABELS.astype(float), None, "integers"),
        (LABELS[None], None, "integers \\(H, W\\)"),
        (LABELS.astype(int) - 4, None, "0 to 65535"),
        (LABELS.astype(int) * 99, PALETTE, "0 to 255 with a palette"),
        (LABELS, [(1, 2)], "red, green, blue"),
        (LABELS, [(1, 2, 300)], "0 to 255"),
    ],
)
def test_labels_that_do_not_fit_a_png_are_refused(labels, palette, problem, tmp_path):
    with pytest.raises(InvalidInput, match=problem):
        write_label_png(tmp_path / "l.png", labels, palette)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(FileProblem, match="make the folder first"):
        write_label_png(tmp_path / "no" / "l.png", LABELS)
