"""Files elsewhere give the pixels that the same files here give; a host that fails is named in one line."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gcs_server import Bucket, gcs
from range_server import Served
from saccade.errors import FileProblem, UsageError
from saccade.geometry import Window
from saccade.rasters import Output, PixelSize, Raster, RasterWriter, open_raster, thumbnail
from saccade.rasters import remote as remote_module
from saccade.rasters.remote import RemoteBytes, traffic
from saccade.runtime.addresses import Address, path_of

pytest.importorskip("fsspec", reason="files elsewhere need the extra remote")
MAP = {"crs": "EPSG:32632", "transform": (0.5, 0.0, 1000.0, 0.0, -0.5, 2000.0)}
FILES = {
    "map.tif": MAP,
    "slide.ome.tif": {"pixel_size": PixelSize(0.5, 0.5, "micron")},
    "store.zarr": MAP,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of 700 x 900 in each format, tiles of 128."""
    folder = tmp_path_factory.mktemp("elsewhere")
    pixels = np.random.default_rng(3).integers(0, 255, (700, 900), np.uint8)
    for name, place in FILES.items():
        with RasterWriter(folder / name, Output(pixels.shape, "scores", tile=128, **place)) as writer:
            writer.append(pixels)
            writer.finish()
    (folder / "text.txt").write_text("no image")
    (folder / "empty.tif").write_bytes(b"")
    (folder / "cut.tif").write_bytes((folder / "map.tif").read_bytes()[:40_000])
    return folder


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_module, "FIRST_WAIT", 0.001)


@pytest.fixture(scope="module")
def bucket(folder: Path) -> Iterator[str]:
    """The same in a bucket of an S3 on this machine."""
    server = pytest.importorskip("moto.server", reason="no S3 to try")
    s3fs = pytest.importorskip("s3fs", reason="the extra remote")
    patch = pytest.MonkeyPatch()
    for name, value in {"AWS_ACCESS_KEY_ID": "AKIAHIDDEN", "AWS_SECRET_ACCESS_KEY": "hidden-word"}.items():
        patch.setenv(name, value)
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    host = server.ThreadedMotoServer(port=0, verbose=False)
    host.start()
    patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{host.get_host_and_port()[1]}")
    fs = s3fs.S3FileSystem(skip_instance_cache=True)
    fs.mkdir("maps")
    fs.put(f"{folder}/", "maps/all", recursive=True)
    yield "s3://maps/all"
    s3fs.S3FileSystem.clear_instance_cache()
    host.stop()
    patch.undo()


def same(address: str, path: Path) -> None:
    """Pixels of every level, what is said of the image, and where it was measured."""

    def said(raster: Raster) -> dict[str, str]:
        return {key: str(value) for key, value in vars(raster.info).items() if key != "path"}

    with open_raster(address) as there, open_raster(path) as here:
        about = [
            {key: str(value) for key, value in vars(r.info).items() if key != "path"} for r in (there, here)
        ]
        assert about[0] == about[1]
        for level in range(len(here.levels)):
            assert np.array_equal(there.read(level=level), here.read(level=level))
        window = Window(100, 300, 50, 450)
        assert np.array_equal(there.valid(window), here.valid(window))


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_a_web_server_is_that_on_the_disk(name: str, served: Served, folder: Path) -> None:
    same(f"{served.url}/{name}", folder / name)


@pytest.mark.parametrize("name", FILES)
def test_a_file_in_a_bucket_is_that_on_the_disk(name: str, bucket: str, folder: Path) -> None:
    same(f"{bucket}/{name}", folder / name)


@pytest.fixture
def google(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """The same in a bucket of a Google Cloud Storage on this machine."""
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # or it asks by gRPC what a bucket is
    gcsfs = pytest.importorskip("gcsfs", reason="the extra gcs, for which pip finds no way beside s3fs")
    with gcs(folder) as bucket:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket.url)
        monkeypatch.setenv("GS_NO_SIGN_REQUEST", "YES")
        monkeypatch.setattr("gcsfs.core.GCSFileSystem.retries", 1)
        gcsfs.GCSFileSystem.clear_instance_cache()
        yield bucket
        gcsfs.GCSFileSystem.clear_instance_cache()


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_google_is_that_on_the_disk(name: str, google: Bucket, folder: Path) -> None:
    same(f"gs://maps/{name}", folder / name)


def test_google_is_read_in_parts_and_its_faults_are_one_line(google: Bucket, folder: Path) -> None:
    with open_raster("gs://maps/map.tif") as raster:
        google.bytes = 0
        raster.read(Window(128, 256, 256, 384))
        assert 0 < google.bytes < 40_000
    with pytest.raises(FileProblem, match="no such file"):
        open_raster("gs://maps/nothing.tif")
    for status, words in ((403, "may not be read"), (503, "an error of its server")):
        google.fault = status
        with pytest.raises(FileProblem, match=words) as failed:
            open_raster("gs://maps/map.tif")
        assert "\n" not in str(failed.value)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("name", FILES)
def test_a_file_in_an_archive_is_that_on_the_disk(
    name: str, compression: int, served: Served, folder: Path, tmp_path: Path
) -> None:
    """Here or elsewhere, packed or not; a Zarr alone in an archive needs no name."""
    path = folder / f"{name}.{compression}.zip"
    files = sorted(p for p in (folder / name).rglob("*") if p.is_file()) or [folder / name]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in files:
            archive.write(file, file.relative_to(folder))
    same(f"zip://{name}::{path}", folder / name)
    same(f"zip://{name}::{served.url}/{path.name}", folder / name)
    same(f"zip://{path}", folder / name)


def test_only_the_tiles_of_a_window_are_asked_for(served: Served, folder: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffFile(folder / "map.tif") as file:
        counts = np.array(file.pages[0].databytecounts).reshape(6, 8)
    with open_raster(f"{served.url}/map.tif") as raster:
        served.forget()
        raster.read(Window(128, 384, 256, 512))
        assert served.bytes <= 1.02 * counts[1:3, 2:4].sum()
        assert len(served.requests) <= 4
        before = served.bytes
        raster.read(Window(150, 200, 300, 400))
        assert served.bytes == before
        found = traffic(Address(f"{served.url}/map.tif"))
        assert found.bytes >= served.bytes


def test_what_is_kept_is_bounded() -> None:
    asked = []

    def fetch(spans):
        asked.extend(spans)
        return [bytes(end - start) for start, end in spans]

    data = RemoteBytes(1 << 24, "", fetch)
    data._kept.most = 1 << 20
    for start in range(0, 1 << 23, 1 << 17):
        data.exact([(start, start + (1 << 17))])
        assert data._kept.size <= 1 << 20
    assert data.read((1 << 24) - 10, 1 << 25) == bytes(10) and data.read(1 << 25, 1 << 26) == b""


def test_near_ranges_are_one_request_and_far_ones_several() -> None:
    asked = []

    def fetch(spans):
        asked.append(list(spans))
        return [bytes(range(256))[start:end] for start, end in spans]

    data = RemoteBytes(256, "", fetch)
    assert data.exact([(10, 20), (0, 5), (20, 30), (0, 5)]) == [
        bytes(range(10, 20)), bytes(range(5)), bytes(range(20, 30)), bytes(range(5))
    ]  # fmt: skip
    assert asked == [[(0, 30)]]


@pytest.mark.parametrize("fault", ["cut", 503])
def test_a_request_that_fails_is_made_again(fault, served: Served, folder: Path) -> None:
    served.fault = lambda number, again: fault if again < 2 else None
    same(f"{served.url}/map.tif", folder / "map.tif")
    with open_raster(f"{served.url}/store.zarr") as there, open_raster(folder / "store.zarr") as here:
        window = Window(0, 200, 0, 300)
        assert np.array_equal(there.read(window), here.read(window))


def test_a_slow_answer_is_waited_for_no_longer_than_said(
    served: Served, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr(remote_module, "SECONDS", 0.1)
    served.slow = 0.6
    served.fault = lambda number, again: "slow" if number == 1 else None
    same(f"{served.url}/map.tif", folder / "map.tif")
    served.fault = lambda number, again: "slow"
    with pytest.raises(FileProblem, match=r"no answer in 0\.1 s; tried 5 times"):
        open_raster(f"{served.url}/map.tif")


SECRET = "hidden-word"


@pytest.mark.parametrize(
    ("name", "fault", "words"),
    [
        ("missing.tif", None, "no such file"),
        ("missing.zarr", None, "no such file"),
        ("map.tif", 403, "may not be read (HTTP 403)"),
        ("map.tif", 401, "may not be read (HTTP 401)"),
        ("store.zarr", 403, "may not be read (HTTP 403)"),
        ("map.tif", 500, "an error of its server (HTTP 500); tried 5 times"),
        ("map.tif", "cut", "a connection that breaks off; tried 5 times"),
        ("map.tif", "whole", "a server that sends parts of files"),
        ("text.txt", None, "a TIFF or a Zarr, which are read where they lie"),
        ("empty.tif", None, "an empty file"),
        ("cut.tif", None, "a damaged or truncated file"),
    ],
)
def test_a_failure_is_one_line_that_holds_no_secret(name: str, fault, words: str, served: Served) -> None:
    served.fault = lambda number, again: fault
    address = f"{served.url.replace('://', f'://me:{SECRET}@')}/{name}?signature={SECRET}"
    if "zarr" in name:
        address = address.partition("?")[0]
    with pytest.raises(FileProblem) as caught:
        open_raster(address)
    line = str(caught.value)
    assert words in line and "\n" not in line and line.startswith(f"{served.url}/{name}: ")
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_a_file_that_changes_while_it_is_read_is_refused(served: Served, folder: Path) -> None:
    copy = folder / "changing.tif"
    copy.write_bytes((folder / "map.tif").read_bytes())
    with open_raster(f"{served.url}/changing.tif") as raster:
        os.utime(copy, (1, 1))
        with pytest.raises(FileProblem, match="changed while it was read"):
            raster.read(Window(0, 700, 0, 900))


def test_buckets_say_what_is_missing(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileProblem, match="no such file"):
        open_raster(f"{bucket}/nothing.tif")
    with pytest.raises(FileProblem, match="a folder"):
        open_raster(bucket)


def test_an_archive_says_what_it_holds(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.write(folder / "map.tif", "a.tif")
        archive.write(folder / "map.tif", "b.tif")
    for address, words in (
        (f"zip://{tmp_path}/two.zip", "name one of its files"),
        (f"zip://c.tif::{tmp_path}/two.zip", "there are a.tif, b.tif"),
        (f"zip://a.tif::{tmp_path}/none.zip", "no such file"),
        (f"zip://a.tif::{folder}/map.tif", "another file, or a damaged one"),
    ):
        with pytest.raises(FileProblem, match=words):
            open_raster(address)


def test_an_address_is_a_path_without_secrets() -> None:
    address = Address("https://me:word@maps.org/a%20b//field.tif?signature=abc#2")
    assert str(address) == "https://maps.org/a%20b//field.tif#2"
    assert (address.name, address.suffix, address.number) == ("field.tif#2", ".tif#2", 2)
    assert address.unnumbered.url == "https://me:word@maps.org/a%20b//field.tif?signature=abc"
    again = pickle.loads(pickle.dumps(address))
    assert again == address and again.url == address.url and "word" not in repr(again)
    assert Address("https://h/x.tif?id=1") != Address("https://h/x.tif?id=2")
    inside = Address("https://me:word@maps.org/a/field.tif?signature=abc")
    assert (inside.parent / "other.tif").url == "https://me:word@maps.org/a/other.tif?signature=abc"
    assert not address.exists() and not address.is_dir()
    zipped = Address("zip://a/b.zarr::s3://maps/all.zip")
    assert (zipped.name, zipped.part, zipped.archive) == ("b.zarr", "a/b.zarr", "s3://maps/all.zip")
    assert str(zipped / "0") == "zip://a/b.zarr/0::s3://maps/all.zip"


def test_only_what_the_user_names_is_an_address(tmp_path: Path) -> None:
    assert not isinstance(path_of(Path("https://maps.org/field.tif")), Address)
    assert not isinstance(path_of("C:/images/field.tif"), Address)
    with pytest.raises(FileProblem, match="no such file"):
        open_raster(Path("https://maps.org/field.tif"))
    for scheme in ("ftp", "file", "memory", "github"):
        with pytest.raises(UsageError, match="no kind of address that is read"):
            path_of(f"{scheme}://maps.org/field.tif")


def test_a_set_of_files_elsewhere_leads_to_no_file_here(
    served: Served, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tifffile would open the other files of the set in the working directory."""
    import tifffile

    pixels = np.zeros((2, 32, 32), np.uint8)
    tifffile.imwrite(folder / "set.ome.tif", pixels, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "private.ome.tif", pixels + 9, metadata={"axes": "ZYX"})
    data = (folder / "set.ome.tif").read_bytes()
    with tifffile.TiffFile(folder / "set.ome.tif") as file:
        uuid = file.ome_metadata.partition('UUID="')[2].partition('"')[0]
    named = f'<TiffData IFD="0" FirstZ="0"><UUID FileName="private.ome.tif">{uuid}</UUID></TiffData>'
    text = data.partition(b"<TiffData")[1:]
    assert text[0] and named
    (folder / "set.ome.tif").write_bytes(data)
    tifffile.tiffcomment(
        folder / "set.ome.tif",
        tifffile.tiffcomment(folder / "set.ome.tif").partition("<TiffData")[0].rstrip()
        + named
        + "</Pixels></Image></OME>",
    )
    monkeypatch.chdir(tmp_path)
    opened = []
    real = tifffile.FileHandle.open
    monkeypatch.setattr(
        tifffile.FileHandle, "open", lambda self: (opened.append(str(self._file)), real(self))[1]
    )
    try:
        with open_raster(f"{served.url}/set.ome.tif") as raster:
            assert raster.read().max() == 0
    except FileProblem:
        pass
    assert not any("private" in name for name in opened)


def huge_cog(path: Path, side: int = 65536, tile: int = 512) -> int:
    """A pyramid of holes: what is no header takes no place on the disk; the size that it claims."""
    sizes = [side >> level for level in range(8)]
    tables, header = 16, b"II" + struct.pack("<HHHQ", 43, 8, 0, 16)
    entries = []
    for size in sizes:
        count = (size // tile) ** 2
        entries.append((tables, size, count))
        tables += 8 + 10 * 20 + 8 + count * 16
    data = tables + 4096
    with path.open("wb") as file:
        file.write(header)
        for level, (at, size, count) in enumerate(entries):
            values = at + 8 + 10 * 20 + 8
            tags = [
                (254, 4, 1, int(level > 0)), (256, 4, 1, size), (257, 4, 1, size), (258, 3, 1, 8),
                (259, 3, 1, 1), (262, 3, 1, 1), (322, 4, 1, tile), (323, 4, 1, tile),
                (324, 16, count, values), (325, 16, count, values + count * 8),
            ]  # fmt: skip
            file.seek(at)
            file.write(struct.pack("<Q", len(tags)) + b"".join(struct.pack("<HHQQ", *tag) for tag in tags))
            following = entries[level + 1][0] if level + 1 < len(entries) else 0
            file.write(struct.pack("<Q", following))
            offsets = data + np.arange(count, dtype="<u8") * tile * tile
            if count == 1:
                file.seek(at + 8 + 8 * 20 + 12)
                file.write(struct.pack("<Q", offsets[0]))
                file.seek(at + 8 + 9 * 20 + 12)
                file.write(struct.pack("<Q", tile * tile))
            else:
                file.write(offsets.tobytes() + np.full(count, tile * tile, "<u8").tobytes())
            data += count * tile * tile
        file.truncate(data)
    return data


def test_a_thumbnail_of_a_huge_file_reads_little_of_it(served: Served, folder: Path) -> None:
    """Under 2 % even were its tiles packed to a tenth."""
    size = huge_cog(folder / "huge.tif")
    assert size > 5e9
    with open_raster(f"{served.url}/huge.tif") as raster:
        assert raster.size == (65536, 65536) and len(raster.levels) == 8
        thumbnail(raster, (512, 512))
    assert served.bytes < 0.02 * size / 10
    assert len(served.requests) < 40
