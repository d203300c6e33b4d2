"""The server of a viewer: loopback only, read-only, and only for who knows the token in its address.

Python's own ``http.server`` is enough: a thread a connection, tiles made by as many at a time as there are
cores. The page is ours, a canvas that pans and zooms, in about 700 lines of script: OpenSeadragon and Leaflet
would have to be vendored and know no class indices (colours, names and the class under the cursor come from
the index of each pixel), and Bokeh's 1.3 MB know neither fingers on a tile source that is no map nor a legend
that hides classes.

An address is ``/TOKEN/tile/IMAGE/LAYER/Z/X/Y``: numbers alone, looked up in what was named on the command
line. No part of an address is ever a path.
"""

from __future__ import annotations

import errno
import hmac
import json
import os
import secrets
import selectors
import socket
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

from saccade.errors import SaccadeError, UsageError
from saccade.viewer.gallery import Gallery, Opened, Shelf
from saccade.viewer.tally import Tallies
from saccade.viewer.tiles import Tile, TileCache, encoded, patch_of

TILE_BYTES = 128 << 20
"""Bytes of tiles, as files, that are kept."""

IDLE = 60.0
"""Seconds after which a connection without a request is closed."""

PAGE = {"": ("index.html", "text/html"), "viewer.js": ("viewer.js", "text/javascript"),
        "viewer.css": ("viewer.css", "text/css"), "icon.svg": ("icon.svg", "image/svg+xml")}  # fmt: skip

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Viewer(ThreadingHTTPServer):
    """Serves a gallery at ``address``; ``serve_forever`` until it is shut down, then ``close``.

    Args:
        gallery: what may be seen.
        port: 0 for any that is free.

    Raises:
        UsageError: the port is in use.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256  # connections of many clients at once, before they are taken
    allow_reuse_address = os.name == "posix"

    def __init__(self, gallery: Gallery, port: int = 0) -> None:
        self.gallery, self.shelf = gallery, Shelf(gallery)
        self.tiles = TileCache(TILE_BYTES)
        self.token = secrets.token_urlsafe(24)
        self.tallies = Tallies(self.shelf.use)
        self.rendering = threading.BoundedSemaphore(max(2, os.cpu_count() or 1))
        self.files = {name: (_page(file), kind) for name, (file, kind) in PAGE.items()}
        try:
            super().__init__(("127.0.0.1", port), Handler)
        except OverflowError:
            raise UsageError(f"expected --port to be 0 to 65535, but got {port}") from None
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            why = "in use" if error.errno == errno.EADDRINUSE else "not allowed"
            fix = "choose another with --port, or leave --port out for any that is free"
            raise UsageError(f"port {port} is {why}; {fix}") from None

    @property
    def address(self) -> str:
        """What the browser opens."""
        return f"http://127.0.0.1:{self.server_address[1]}/{self.token}/"

    @property
    def hosts(self) -> tuple[str, str]:
        """What a browser that was really sent here says in ``Host``."""
        return f"127.0.0.1:{self.server_address[1]}", f"localhost:{self.server_address[1]}"

    def tile(
        self, image: int, layer: int, z: int, x: int, y: int, has_left: Callable[[], bool] = lambda: False
    ) -> Tile | None:
        """A tile; None where there is no such. ``has_left``: whether nobody waits for it any more.

        Raises:
            SaccadeError: the image cannot be opened or read.
            ConnectionAbortedError: whoever asked has left before its turn came.
        """
        if not 0 <= image < len(self.gallery.entries):
            return None
        with self.shelf.use(image) as opened:
            if not 0 <= layer < len(opened.layers):
                return None
            patch = patch_of(opened.size, z, x, y)
            if patch is None:
                return None
            plane = opened.layers[layer].plane

            def make() -> Tile:
                with self.rendering:
                    if has_left():
                        raise ConnectionAbortedError
                    drawn = plane.draw(patch)
                    return encoded(drawn.pixels, complete=drawn.complete)

            return self.tiles.get((image, layer, z, x, y), make)

    def warm(self) -> None:
        """Makes the first tile, so that it waits for the browser and not the other way round."""
        try:
            with self.shelf.use(0) as opened:
                depth_now = opened.to_json()["depth"]
            self.tile(0, 0, depth_now, 0, 0)
        except (SaccadeError, OSError):
            pass  # said on the page

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Browsers break connections off when they no longer want what they asked for: nothing to tell."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        """Frees the port and the files; after ``serve_forever`` has ended."""
        self.server_close()
        self.tallies.close()
        self.shelf.close()


def _page(file: str) -> bytes:
    return resources.files("saccade.viewer").joinpath("page", file).read_bytes()


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD of who knows the token."""

    server: Viewer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "saccade", ""
    timeout = IDLE
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        host, site = self.headers.get("Host", ""), self.headers.get("Sec-Fetch-Site", "none")
        if host not in self.server.hosts or site == "cross-site":
            # Another name that leads to this machine: a page elsewhere that would read through the browser.
            return self._plain(HTTPStatus.FORBIDDEN, "another host")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in [f"http://{host}" for host in self.server.hosts]:
            return self._plain(HTTPStatus.FORBIDDEN, "another origin")
        token, _, rest = self.path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode("latin-1", "replace"), self.server.token.encode()):
            return self._plain(HTTPStatus.NOT_FOUND, "not found")
        if not self.path.startswith(f"/{self.server.token}/"):
            return self._plain(HTTPStatus.NOT_FOUND, "not found")
        try:
            return self._answer(rest)
        except (SaccadeError, OSError, MemoryError) as problem:
            if isinstance(problem, ConnectionError | TimeoutError):
                raise
            line = "not enough memory" if isinstance(problem, MemoryError) else str(problem)
            return self._json({"error": line.splitlines()[0] if line else type(problem).__name__}, 500)

    do_HEAD = do_GET

    def _refused(self) -> None:
        self.close_connection = True  # whatever body follows is not read
        self._plain(HTTPStatus.METHOD_NOT_ALLOWED, "read-only")

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _refused

    def _answer(self, rest: str) -> None:
        if rest in self.server.files:
            data, kind = self.server.files[rest]
            return self._send(HTTPStatus.OK, f"{kind}; charset=utf-8", data)
        name, _, numbers = rest.partition("/")
        places = _numbers(numbers) if name != "images" else []
        if rest == "images":
            return self._json(self._images())
        if name == "image" and len(places) == 1 and self._known(places[0]):
            with self.server.shelf.use(places[0]) as opened:
                return self._json(self._image(places[0], opened))
        if name == "counts" and len(places) == 1 and self._known(places[0]):
            return self._json(self.server.tallies.state(places[0]))
        if name == "tile" and len(places) == 5:
            image, layer, z, x, y = places
            tile = self.server.tile(image, layer, z, x, y, self._has_left)
            if tile is not None:
                return self._send(HTTPStatus.OK, tile.kind, tile.data, tile.complete)
        return self._plain(HTTPStatus.NOT_FOUND, "not found")

    def _known(self, image: int) -> bool:
        return 0 <= image < len(self.server.gallery.entries)

    def _images(self) -> dict[str, Any]:
        gallery = self.server.gallery
        listed = [{"name": entry.name, "score": entry.score} for entry in gallery.entries]
        return {"title": gallery.title, "score": gallery.score, "images": listed}

    def _image(self, number: int, opened: Opened) -> dict[str, Any]:
        return {"name": self.server.gallery.entries[number].name, **opened.to_json()}

    def _has_left(self) -> bool:
        """Whether the browser has hung up while this waited its turn."""
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self.connection, selectors.EVENT_READ)
                return bool(selector.select(0)) and self.connection.recv(1, socket.MSG_PEEK) == b""
        except (OSError, ValueError):
            return True

    def _json(self, value: Any, status: int = 200) -> None:
        data = json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
        self._send(status, "application/json; charset=utf-8", data)

    def _plain(self, status: int, words: str) -> None:
        self._send(status, "text/plain; charset=utf-8", words.encode() + b"\n")

    def _send(self, status: int, kind: str, data: bytes, complete: bool = True) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        # The address is another for each start, so nothing stale is ever met; but tiles stay this user's.
        is_tile = status == HTTPStatus.OK and kind.startswith("image/") and complete
        self.send_header("Cache-Control", "private, max-age=86400" if is_tile else "no-store")
        if not complete:
            self.send_header("X-Partial", "1")
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the token is in every line."""


def _numbers(text: str) -> list[int]:
    """Whole numbers of at most nine digits between slashes; [] for anything else."""
    words = text.split("/")
    if all(word.isascii() and word.isdigit() and len(word) <= 9 for word in words):
        return [int(word) for word in words]
    return []
