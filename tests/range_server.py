"""A web server on this machine that sends parts of files, counts them, and fails as it is told."""

from __future__ import annotations

import http.server
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Served:
    """What a server was asked for and what it does.

    Attributes:
        requests: (path, bytes sent) each.
        fault: called with the number of the request and how often the same was asked for before; what it
            returns goes wrong: a status, "cut" (the connection ends in the middle), "slow" (nothing is sent
            for a while), "whole" (ranges are ignored).
        delay, slow: seconds before each answer, and before a slow one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[tuple[str, int]] = []
        self.fault: Callable[[int, int], Any] = lambda number, again: None
        self.url = ""
        self.asked, self.repeats = 0, Counter[str]()
        self.delay, self.slow = 0.0, 2.0
        self.lock = threading.Lock()

    @property
    def bytes(self) -> int:
        return sum(count for _, count in self.requests)

    def forget(self) -> None:
        with self.lock:
            self.requests, self.asked = [], 0
            self.repeats.clear()


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    served = Served(folder)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            with served.lock:
                key = f"{self.command} {self.path} {self.headers.get('Range')}"
                number, again = served.asked, served.repeats[key]
                served.asked += 1
                served.repeats[key] += 1
            time.sleep(served.delay)
            wrong = served.fault(number, again)
            path = folder / self.path.partition("?")[0].lstrip("/")
            if wrong == "slow":
                time.sleep(served.slow)
            if isinstance(wrong, int) or not path.is_file():
                self._head(wrong if isinstance(wrong, int) else 404, 0)
                return
            size = path.stat().st_size
            found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            first, last = 0, size - 1
            if found and wrong != "whole":
                first, last = int(found[1]), min(int(found[2] or size - 1), size - 1)
            with path.open("rb") as file:
                data = os.pread(file.fileno(), max(0, last - first + 1), first)
            about = {"ETag": f'"{path.stat().st_mtime_ns}"'}
            if found and wrong != "whole":
                about["Content-Range"] = f"bytes {first}-{last}/{size}"
            self._head(206 if "Content-Range" in about else 200, len(data), about)
            if self.command == "HEAD":
                return
            data = data[: len(data) // 2] if wrong == "cut" else data
            with served.lock:
                served.requests.append((self.path, len(data)))
            self.wfile.write(data)
            if wrong == "cut":
                self.close_connection = True

        def _head(self, status: int, length: int, more: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(length), **(more or {})}.items():
                self.send_header(name, value)
            self.end_headers()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *arguments: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
