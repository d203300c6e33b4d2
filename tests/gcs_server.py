"""A little of Google Cloud Storage on this machine: objects of a folder by its JSON API, counted."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class Bucket:
    """Attributes: url; bytes, sent so far; fault, a status that is answered instead."""

    def __init__(self) -> None:
        self.url, self.bytes = "", 0
        self.fault: int | None = None


@contextmanager
def gcs(folder: Path, name: str = "maps") -> Iterator[Bucket]:
    bucket = Bucket()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            pass

        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(asked.query).items()}
            found = re.fullmatch(rf"(?:/download)?/storage/v1/b/{name}/o(?:/(.*))?", asked.path)
            if bucket.fault is not None or found is None:
                return self._send(bucket.fault or 404, b"{}")
            if not found[1]:
                return self._send(200, json.dumps(self._listed(**query)).encode())
            key = unquote(found[1])
            path = folder / key
            if not path.is_file():
                return self._send(404, b'{"error": {"code": 404, "message": "Not Found"}}')
            if query.get("alt") != "media":
                return self._send(200, json.dumps(self._about(key)).encode())
            data, status = path.read_bytes(), 200
            span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if span:
                data, status = data[int(span[1]) : int(span[2] or len(data)) + 1], 206
            bucket.bytes += len(data)
            return self._send(status, data)

        def _about(self, key: str) -> dict[str, Any]:
            state = (folder / key).stat()
            about = {"kind": "storage#object", "name": key, "bucket": name, "size": str(state.st_size)}
            times = dict.fromkeys(("timeCreated", "updated"), "2026-01-01T00:00:00Z")
            return about | times | {"etag": str(state.st_mtime_ns), "generation": "1", "metageneration": "1"}

        def _listed(self, prefix: str = "", delimiter: str = "", **_: str) -> dict[str, Any]:
            keys = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
            keys = [key for key in sorted(keys) if key.startswith(prefix)]
            deeper = {key[: key.index("/", len(prefix)) + 1] for key in keys if "/" in key[len(prefix) :]}
            if not delimiter:
                return {"items": [self._about(key) for key in keys]}
            items = [self._about(key) for key in keys if "/" not in key[len(prefix) :]]
            return {"items": items, "prefixes": sorted(deeper)}

        def _send(self, status: int, data: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(data)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *arguments: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    bucket.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield bucket
    finally:
        server.shutdown()
        server.server_close()
