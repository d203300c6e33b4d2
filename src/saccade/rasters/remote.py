"""Files elsewhere (``https://``, ``s3://``, ``gs://``, ``zip://``), through fsspec: read in ranges, several
at once, again after a failure; what was read last stays in memory."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from saccade.errors import FileProblem, FinalProblem
from saccade.rasters.decoders import load
from saccade.runtime.addresses import Address, path_of, without_secrets

CACHE_BYTES = 64 << 20
"""Bytes of a file that stay in memory, as they came."""
BLOCK = 1 << 15
"""Bytes of a request for what is no tile: headers and tables."""
GAP, LARGEST_REQUEST = 1 << 11, 1 << 23
"""Ranges that are no further apart are one request, up to its largest."""
AT_ONCE = 16
TRIES, FIRST_WAIT, SECONDS = 5, 0.2, 30.0
"""How often something is asked for, the first pause, and how long an answer may take to begin or go on."""
LARGEST_MEMBER = 1 << 28
"""Bytes of a compressed file in an archive, which is unpacked in memory."""

_EXPECTED = "a file that can be read from there"
Range = tuple[int, int]
_T = TypeVar("_T")


@dataclass
class Traffic:
    """What was asked for so far: answers that came, and the bytes in them."""

    requests: int = 0
    bytes: int = 0

    def add(self, count: int) -> None:
        with _COUNTING:
            self.requests += 1
            self.bytes += count


_COUNTING = threading.Lock()
_TRAFFIC: dict[str, Traffic] = {}


def traffic(address: Address) -> Traffic:
    """Of a file, in this process."""
    return _TRAFFIC.setdefault(without_secrets(address.url), Traffic())


class Kept:
    """The last bytes read, up to ``most`` of them, by what they are."""

    def __init__(self, most: int = CACHE_BYTES) -> None:
        self.most, self.size = most, 0
        self._entries: OrderedDict[Any, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any) -> bytes | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
            return entry

    def put(self, key: Any, data: bytes) -> None:
        with self._lock:
            old = self._entries.pop(key, b"")
            self._entries[key] = data
            self.size += len(data) - len(old)
            while self.size > self.most and len(self._entries) > 1:
                self.size -= len(self._entries.popitem(last=False)[1])


class RemoteBytes:
    """The bytes of one file; any number of threads may read.

    Attributes:
        size: how many.
        state: changes when the file does.
    """

    def __init__(self, size: int, state: str, fetch: Callable[[list[Range]], list[bytes]]) -> None:
        self.size, self.state, self._fetch, self._kept = size, state, fetch, Kept()

    def exact(self, ranges: Sequence[Range]) -> list[bytes]:
        """The bytes of ranges, all at once and in few requests: for tiles, whose places are known."""
        contents = {part: self._kept.get(part) for part in ranges}
        missing = sorted(part for part, data in contents.items() if data is None)
        joined: list[list[Range]] = []
        for part in missing:
            last = joined[-1] if joined else None
            if last and part[0] - last[-1][1] <= GAP and part[1] - last[0][0] <= LARGEST_REQUEST:
                last.append(part)
            else:
                joined.append([part])
        spans = [(parts[0][0], max(end for _, end in parts)) for parts in joined]
        for parts, (start, _), data in zip(joined, spans, self._fetched(spans), strict=True):
            for part in parts:
                piece = contents[part] = data[part[0] - start : part[1] - start]
                self._kept.put(part, piece)
        return [contents[part] or b"" for part in ranges]

    def read(self, start: int, end: int) -> bytes:
        """The bytes from ``start`` to ``end``, or to the end of the file, by whole blocks."""
        end = min(end, self.size)
        if start >= end:
            return b""
        blocks = [
            (first, min(first + BLOCK, self.size)) for first in range(start // BLOCK * BLOCK, end, BLOCK)
        ]
        return b"".join(self.exact(blocks))[start - blocks[0][0] : end - blocks[0][0]]

    def _fetched(self, ranges: list[Range]) -> list[bytes]:
        return self._fetch(ranges) if ranges else []


class RemoteFile(io.RawIOBase):
    """A file elsewhere as decoders take it, with a position of its own."""

    def __init__(self, data: RemoteBytes) -> None:
        super().__init__()
        self.data, self._at = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.data.size}[whence]
        self._at = max(0, origin + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self.data.read(self._at, self._at + len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def remote_bytes(address: Address) -> RemoteBytes:
    """Opens a file elsewhere; its first block, or what its host tells of it, is asked for.

    Raises:
        FileProblem: it is not there, may not be read, or its host does not answer.
    """
    if address.protocol == "zip":
        return _member(address)
    if address.protocol in ("http", "https"):
        return _of_http(address)
    return _of_bucket(address)


def _of_http(address: Address) -> RemoteBytes:
    fs, states = _filesystem(address), set()

    async def part(span: Range) -> tuple[bytes, int]:
        session = await fs.set_session()
        headers = {"Range": f"bytes={span[0]}-{span[1] - 1}", "Accept-Encoding": "identity"}
        async with session.get(fs.encode_url(address.url), headers=headers) as answer:
            answer.raise_for_status()
            total = answer.headers.get("Content-Range", "").rpartition("/")[2]
            if answer.status != 206 or not total.isdigit():
                fix = "download it, and name the file"
                raise FileProblem(address, "a server that sends parts of files", "one that does not", fix)
            states.add(answer.headers.get("ETag") or answer.headers.get("Last-Modified") or total)
            if len(states) > 1:
                raise FileProblem(address, "a file that stays as it is", "one that changed while it was read")
            data = await answer.read()
            return _whole(data, (span[0], min(span[1], int(total)))), int(total)

    def fetch(spans: list[Range]) -> list[bytes]:
        return [data for data, _ in _asked(fs, address, part, spans)]

    ((first, size),) = _asked(fs, address, part, [(0, BLOCK)])
    remote = RemoteBytes(size, f"{size} {next(iter(states))}", fetch)
    remote._kept.put((0, min(BLOCK, size)), first)
    return remote


MOST_TEXT = 1 << 24
"""Bytes of a text that is read whole."""


def text_of(address: Address) -> str:
    """A text elsewhere, also of a server that does not send parts of it.

    Raises:
        FileProblem: as :func:`remote_bytes`; it is too long, or no UTF-8.
    """
    if address.protocol in ("http", "https"):
        fs = _filesystem(address)

        async def whole(_: None) -> bytes:
            session = await fs.set_session()
            async with session.get(fs.encode_url(address.url)) as answer:
                answer.raise_for_status()
                found = bytearray()
                async for piece in answer.content.iter_any():
                    found += piece
                    if len(found) > MOST_TEXT:
                        break
                return bytes(found)

        (data,) = _asked(fs, address, whole, [None])
    else:
        data = remote_bytes(address).read(0, MOST_TEXT + 1)
    if len(data) > MOST_TEXT:
        raise FileProblem(address, "a text", f"more than {MOST_TEXT >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FileProblem(address, "a text", "bytes that are not UTF-8") from None


def _of_bucket(address: Address) -> RemoteBytes:
    fs = _filesystem(address)

    async def about(_: None) -> dict[str, Any]:
        details: dict[str, Any] = await fs._info(address.url)
        traffic(address).add(0)
        return details

    async def part(span: Range) -> bytes:
        return _whole(await fs._cat_file(address.url, start=span[0], end=span[1]), span)

    (info,) = _asked(fs, address, about, [None])
    if info.get("type") == "directory" or info.get("size") is None:
        raise FileProblem(address, "a file", "a folder", "name the images in it, or a Zarr")
    state = " ".join(str(info.get(key, "")) for key in ("size", "ETag", "etag", "LastModified", "mtime"))
    return RemoteBytes(info["size"], state, lambda spans: list(_asked(fs, address, part, spans)))


def _whole(data: bytes, span: Range) -> bytes:
    if len(data) != span[1] - span[0]:
        raise ConnectionError("the answer ended early")
    return data


def _asked(fs: Any, address: Address, ask: Callable[[Any], Awaitable[_T]], each: Sequence[Any]) -> list[_T]:
    """What came for each, several at once."""
    from fsspec.asyn import sync

    async def everything() -> list[_T]:
        doors = asyncio.Semaphore(AT_ONCE)

        async def one(item: Any) -> _T:
            async with doors:
                got = await patiently(address, partial(ask, item))
                answers = got[0] if isinstance(got, tuple) else got
                if isinstance(answers, bytes):
                    traffic(address).add(len(answers))
                return got

        return await asyncio.gather(*map(one, each))

    answers: list[_T] = sync(fs.loop, everything)
    return answers


async def patiently(address: Address, ask: Callable[[], Awaitable[_T]], *, missing: bool = False) -> _T:
    """What comes for a request, which is made again where another try may help.

    Args:
        address: for the message.
        ask: makes the request.
        missing: let FileNotFoundError through.

    Raises:
        FileProblem: in words that hold no secret, for errors of hosts name the whole address.
    """
    for number in range(TRIES):
        try:
            return await ask()
        except FileProblem:
            raise
        except Exception as error:
            if not isinstance(error, OSError | EOFError | asyncio.TimeoutError) and not _of_network(error):
                raise
            absent = isinstance(error, FileNotFoundError) and _status(error) in (0, 404, 410)
            if absent and missing:
                raise
            if number == TRIES - 1 or not _may_pass(error):
                problem = _problem(address, error)
                break
        await asyncio.sleep(FIRST_WAIT * 2**number)
    raise problem


def _of_network(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in ("aiohttp", "botocore", "aiobotocore", "gcsfs", "s3fs")


def _causes(error: BaseException) -> list[BaseException]:
    causes: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in causes:
        causes.append(following)
        following = following.__cause__ or following.__context__
    return causes


def _status(error: BaseException) -> int:
    """Of HTTP; 0 where none came."""
    for cause in _causes(error):
        response = getattr(cause, "response", None)
        code = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else 0
        status = getattr(cause, "status", None) or code
        if isinstance(status, int) and status:
            return status
        if str(cause).startswith("Forbidden: "):  # an OSError of gcsfs, which has no number
            return 403
    return 0


def _may_pass(error: BaseException) -> bool:
    """Whether another try may help."""
    status = _status(error)
    if status:
        return status in (408, 425, 429) or status >= 500
    final = ("NoCredentials", "InvalidURL", "PartialCredentials", "ParamValidation", "CertificateError")
    named = any(word in type(cause).__name__ for cause in _causes(error) for word in final)
    return not named and not isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError)


_SIGN = (
    "credentials are taken from where your tools have them (AWS_PROFILE, ~/.netrc, a signed address); for a "
    "public bucket set AWS_NO_SIGN_REQUEST=YES (S3) or GS_NO_SIGN_REQUEST=YES (Google)"
)


class _Absent(FileProblem):
    """Its host knows no such file."""


def _problem(address: Address, error: BaseException) -> FileProblem:
    status, names = _status(error), {type(cause).__name__ for cause in _causes(error)}
    http = f" (HTTP {status})" if status else ""
    if status in (401, 403, 407) or isinstance(error, PermissionError):
        return FileProblem(address, _EXPECTED, f"one that may not be read{http}", _SIGN)
    if any("Credentials" in name for name in names):
        return FileProblem(address, _EXPECTED, "a bucket, and no credentials for it", _SIGN)
    if status in (404, 410) or isinstance(error, FileNotFoundError):
        return _Absent(address, "an image", f"no such file{http}")
    if status == 416:
        return FileProblem(address, "an image", "an empty file (0 bytes)")
    if any("InvalidURL" in name or "ParamValidation" in name for name in names):
        return FileProblem(address, _EXPECTED, "no address of a file")
    fix = f"tried {TRIES} times; go on later, predict with --resume"
    if status:
        fix = fix if _may_pass(error) else ""
        return FileProblem(address, _EXPECTED, f"an error of its server{http}", fix)
    if any("Timeout" in name for name in names):
        return FileProblem(address, _EXPECTED, f"no answer in {SECONDS:g} s", fix)
    if names & {"ClientConnectorDNSError", "gaierror", "EndpointConnectionError", "ConnectionRefusedError",
                "ClientConnectorError"}:  # fmt: skip
        return FileProblem(address, _EXPECTED, "no connection to its host", fix)
    if any("Certificate" in name or "SSL" in name for name in names):
        return FileProblem(address, _EXPECTED, "a host whose certificate is not valid")
    return FileProblem(address, _EXPECTED, "a connection that breaks off", fix)


_LIBRARIES = {"http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}


def _filesystem(address: Address, **more: Any) -> Any:
    """Of fsspec; credentials are left to its libraries, which find them where the user's other tools do."""
    fsspec = load("fsspec", "remote", address, "files elsewhere")
    protocol = address.protocol
    load(_LIBRARIES[protocol], "remote", address, f"{protocol}:// files")
    if protocol == "s3":
        unsigned = _told("AWS_NO_SIGN_REQUEST")
        config = {"connect_timeout": SECONDS, "read_timeout": SECONDS, "retries": {"max_attempts": 1}}
        fs = fsspec.filesystem("s3", anon=unsigned, max_concurrency=1, config_kwargs=config, **more)
        fs.retries = 1  # they are made here, alike for every host
        return fs
    if protocol in ("gs", "gcs"):
        if _told("GS_NO_SIGN_REQUEST"):
            more["token"] = "anon"
        return fsspec.filesystem("gs", **more)
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=SECONDS, sock_read=SECONDS)
    client = {"trust_env": True, "timeout": timeout}
    return fsspec.filesystem("http", client_kwargs=client, encoded="%" in address.url, **more)


def _told(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "yes", "true", "on")


def archive_of(address: Address) -> zipfile.ZipFile:
    """The archive of ``zip://PART::ARCHIVE``, elsewhere or here.

    Raises:
        FileProblem: there is none.
    """
    where = path_of(address.archive)
    if isinstance(where, Address) and where.protocol == "zip":
        raise FileProblem(address, "an archive", "an archive in an archive", "unpack the outer one")
    try:
        if isinstance(where, Address):
            return zipfile.ZipFile(io.BufferedReader(RemoteFile(remote_bytes(where))))
        return zipfile.ZipFile(where)
    except OSError as error:
        raise FileProblem(address, "a ZIP archive", (error.strerror or "no such file").lower()) from None
    except zipfile.BadZipFile:
        raise FileProblem(address, "a ZIP archive", "another file, or a damaged one") from None


ZARR = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
"""Files that a Zarr image or group has one of."""


def _member(address: Address) -> RemoteBytes:
    """A file of an archive: where it is stored as it is, read in ranges."""
    archive = archive_of(address)
    files = [entry for entry in archive.infolist() if not entry.is_dir()]
    alone = not address.part and len(files) == 1
    chosen = files if alone else [entry for entry in files if entry.filename == address.part]
    if not chosen:
        shown = ", ".join(entry.filename for entry in files[:4]) + (", ..." if len(files) > 4 else "")
        fix = f"name one of its files: zip://NAME::{without_secrets(address.archive)} (there are {shown})"
        raise FileProblem(address, "a file of the archive", "none of that name", fix)
    entry, lock = chosen[0], threading.Lock()
    state = f"{entry.file_size} {entry.CRC} {entry.date_time}"
    if entry.flag_bits & 1:
        raise FileProblem(address, "a file that can be read", "one with a password", "unpack it")
    if entry.compress_type == zipfile.ZIP_STORED:
        file: Any = archive.fp
        archive.fp = None  # an archive that nothing holds any more would close it
        # Name and extra field stand twice, and their lengths may differ: those before the bytes count.
        file.seek(entry.header_offset)
        header = file.read(30)
        if header[:4] != b"PK\x03\x04":
            raise FinalProblem(address, "a ZIP archive", "a damaged one")
        lengths = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        begin = entry.header_offset + 30 + sum(lengths)

        def fetch(spans: list[Range]) -> list[bytes]:
            places = [(begin + start, begin + end) for start, end in spans]
            inner = getattr(getattr(file, "raw", None), "data", None)
            if inner is not None:
                return list(inner.exact(places))
            with lock:
                return [_piece(file, span) for span in places]

        return RemoteBytes(entry.file_size, state, fetch)
    if entry.file_size > LARGEST_MEMBER:
        got = f"one that unpacks to {entry.file_size >> 20:,} MiB"
        raise FileProblem(address, "a file stored as it is, or a small one", got, "unpack it")
    with archive.open(entry) as packed:
        data = packed.read(LARGEST_MEMBER)
    return RemoteBytes(len(data), state, lambda spans: [data[start:end] for start, end in spans])


def _piece(file: Any, span: Range) -> bytes:
    file.seek(span[0])
    piece: bytes = file.read(span[1] - span[0])
    return piece


def has_zarr(address: Address) -> bool:
    """Whether a Zarr image or group is there.

    Raises:
        FileProblem: its host does not answer, or may not be asked.
    """
    if address.protocol == "zip":
        return _zarr_root(address) is not None
    fs = _filesystem(address)

    async def there(name: str) -> bool:
        try:
            got = await patiently(address, partial(fs._cat_file, (address / name).url), missing=True)
        except FileNotFoundError:
            return False
        traffic(address).add(len(got))
        return True

    from fsspec.asyn import sync

    async def any_there() -> bool:
        outcomes = await asyncio.gather(*map(there, ZARR), return_exceptions=True)
        # A bucket that may not be listed answers 403 for what it does not have.
        problems = [item for item in outcomes if isinstance(item, BaseException)]
        if problems and not any(item is True for item in outcomes):
            raise problems[0]
        return any(item is True for item in outcomes)

    return bool(sync(fs.loop, any_there))


def _zarr_root(address: Address) -> str | None:
    """The folder of the archive that holds the Zarr: the part that is named, else its only folder."""
    with archive_of(address) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    roots = [address.part] if address.part else ["", *(tops if len(tops) == 1 else ())]
    for root in roots:
        if any((f"{root}/{name}" if root else name) in names for name in ZARR):
            return root
    return None


def zarr_store(address: Address) -> Any:
    """A Zarr elsewhere, as zarr takes it: each of its files is read whole, and the last ones are kept."""
    from zarr.storage import FsspecStore

    kept = Kept()

    class Remote(FsspecStore):
        async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
            data = kept.get((key, repr(byte_range)))
            if data is None:
                answer = await patiently(address, partial(super().get, key, prototype, byte_range))
                if answer is None:
                    return None
                data = answer.to_bytes()
                traffic(address).add(len(data))
                kept.put((key, repr(byte_range)), data)
            return prototype.buffer.from_bytes(data)

        async def exists(self, key: str) -> bool:
            return bool(await patiently(address, partial(super().exists, key)))

    missing = (FileNotFoundError, IsADirectoryError, NotADirectoryError, KeyError)
    if address.protocol == "zip":
        from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
        from fsspec.implementations.zip import ZipFileSystem

        where = path_of(address.archive)
        file = RemoteFile(remote_bytes(where)) if isinstance(where, Address) else where.open("rb")
        fs: Any = AsyncFileSystemWrapper(ZipFileSystem(file), asynchronous=True)
        return Remote(fs, read_only=True, path=_zarr_root(address) or "", allowed_exceptions=missing)
    if "?" in address.url:
        raise FileProblem(address, "the address of a Zarr, to which names are added", "one with a query")
    fs = _filesystem(address, asynchronous=True)
    path = address.url if address.protocol in ("http", "https") else address.url.partition("://")[2]
    return Remote(fs, read_only=True, path=path.rstrip("/"), allowed_exceptions=missing)


def opened(address: Address) -> RemoteBytes | None:
    """A file elsewhere; None where a Zarr is there.

    Raises:
        FileProblem: neither is, or it may not be read.
    """
    inside = address.part if address.protocol == "zip" else address.url.partition("?")[0]
    named = address.protocol == "zip" or inside.endswith("/") or ".zarr" in inside
    if named and has_zarr(address):
        return None
    try:
        return remote_bytes(address)
    except _Absent:
        if not named and has_zarr(address):
            return None
        raise


def state_of(address: Address) -> str:
    """What changes when a file elsewhere does; of a Zarr, when its description does."""
    data = opened(address.unnumbered)
    return data.state if data is not None else _described(address.unnumbered)


def _described(address: Address) -> str:
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    store = zarr_store(address)
    parts = [sync(store.get(name, default_buffer_prototype())) for name in ZARR]
    texts = [b"" if part is None else part.to_bytes() for part in parts]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()
