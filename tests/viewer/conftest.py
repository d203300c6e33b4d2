from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.rasters import write_label_png
from saccade.viewer.open import Overlays, open_gallery
from saccade.viewer.server import Viewer


class Client:
    """Asks a viewer as a browser would, or as nobody should."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer, self.port = viewer, viewer.server_address[1]

    def raw(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def get(self, rest: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return self.raw(f"/{self.viewer.token}/{rest}", **headers)


@pytest.fixture
def serving() -> Iterator[Callable[..., Client]]:
    """Serves files until the test ends."""
    viewers: list[Viewer] = []

    def start(*paths: Path, port: int = 0, classes: Path | None = None, **over: Path) -> Client:
        viewer = Viewer(open_gallery(paths, Overlays(**over), classes=classes), port)
        viewers.append(viewer)
        threading.Thread(target=viewer.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return Client(viewer)

    yield start
    for viewer in viewers:
        viewer.shutdown()
        viewer.close()


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """700 x 1100 pixels, red to the right and green downwards."""
    pixels = np.zeros((700, 1100, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.linspace(0, 255, 1100), np.linspace(0, 255, 700)[:, None]
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def masks(tmp_path: Path) -> tuple[Path, Path]:
    """Labels and truth of the photograph: a box of class 1, of which the labels miss a part and invent
    another."""
    truth = np.zeros((700, 1100), np.uint8)
    truth[100:200, 100:300], truth[600:, 900:] = 1, 2
    labels = truth.copy()
    labels[100:200, 100:180], labels[400:420, 700:720] = 0, 1
    palette = [(0, 0, 0), (200, 30, 60), (20, 90, 200)]
    for name, values in (("labels", labels), ("truth", truth)):
        write_label_png(tmp_path / f"{name}.png", values, palette)
    return tmp_path / "labels.png", tmp_path / "truth.png"
