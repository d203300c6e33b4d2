"""The server: what it answers, to whom, and that nothing but what was named can be read."""

from __future__ import annotations

import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from saccade.cli import main
from saccade.errors import UsageError
from saccade.rasters import write_label_png
from saccade.viewer.gallery import Gallery
from saccade.viewer.server import Viewer


def counted(client, number=0):
    for _ in range(400):
        told = json.loads(client.get(f"counts/{number}")[2])
        if told["state"] != "counting":
            return told
        time.sleep(0.02)
    raise AssertionError("still counting")


def test_the_page_its_script_and_the_list(serving, photograph):
    client = serving(photograph)
    for rest, kind in (("", "text/html"), ("viewer.js", "text/javascript"), ("viewer.css", "text/css")):
        status, headers, data = client.get(rest)
        assert status == 200 and headers["Content-Type"].startswith(kind) and data
    told = json.loads(client.get("images")[2])
    assert told["images"] == [{"name": "photo.png", "score": None}]
    about = json.loads(client.get("image/0")[2])
    assert about["size"] == [700, 1100] and about["depth"] == 2
    assert [layer["name"] for layer in about["layers"]] == ["image"]


def test_tiles_are_the_pixels_of_the_file(serving, photograph, masks):
    client = serving(photograph, labels=masks[0], truth=masks[1])
    status, headers, data = client.get("tile/0/0/0/1/0")
    assert status == 200 and headers["Content-Type"] == "image/jpeg" and "X-Partial" not in headers
    shown = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    wanted = np.asarray(Image.open(photograph))[:512, 512:1024]
    assert np.abs(shown - wanted).max() < 12
    labels = np.asarray(Image.open(io.BytesIO(client.get("tile/0/1/0/0/0")[2])))
    assert np.array_equal(labels, np.asarray(Image.open(masks[0]))[:512, :512])
    errors = np.asarray(Image.open(io.BytesIO(client.get("tile/0/3/0/0/0")[2])))
    assert (errors[100:200, 100:180] == 1).all() and (errors[:100] == 0).all()
    errors = np.asarray(Image.open(io.BytesIO(client.get("tile/0/3/0/1/0")[2])))
    assert (errors[400:420, 700 - 512 : 720 - 512] == 2).all()


def test_areas_scores_and_places_of_errors_are_of_every_pixel(serving, photograph, masks):
    told = counted(serving(photograph, labels=masks[0], truth=masks[1]))
    assert told["values"]["1"]["truth"] == 100 * 200
    assert told["values"]["1"]["labels"] == 100 * 120 + 400
    assert told["values"]["1"]["iou"] == round(100 * 120 / (100 * 200 + 400), 4)
    assert told["values"]["2"]["iou"] == 1.0
    (x, y, side, wrong), *rest = told["places"]
    assert 100 <= x < 180 and 100 <= y < 200 and wrong <= side * side
    assert any(abs(x - 710) < 40 and abs(y - 410) < 40 for x, y, _, _ in rest)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1:1", "localhost", "127.0.0.1.evil.example:{port}", ""]
)
def test_another_host_is_refused(serving, photograph, host):
    client = serving(photograph)
    status, _, data = client.get("images", Host=host.format(port=client.port))
    assert status == 403 and b"photo" not in data
    assert client.get("images", Host=f"localhost:{client.port}")[0] == 200


def test_a_request_from_another_site_is_refused(serving, photograph):
    client = serving(photograph)
    assert client.get("images", Origin="https://evil.example")[0] == 403
    assert client.get("images", Origin="null")[0] == 403
    assert client.get("images", Sec_Fetch_Site="cross-site")[0] == 403
    assert (
        client.get("images", Origin=f"http://127.0.0.1:{client.port}", Sec_Fetch_Site="same-origin")[0] == 200
    )


def test_without_the_token_there_is_nothing(serving, photograph):
    client = serving(photograph)
    token = client.viewer.token
    for path in (
        "/",
        "/images",
        f"/{token}",
        f"/{token[:-1]}/images",
        f"/{token}x/images",
        "//",
        f"/x/{token}/images",
    ):
        status, _, data = client.raw(path)
        assert status == 404 and b"photo" not in data
    assert len(token) >= 32 and serving(photograph).viewer.token != token


@pytest.mark.parametrize(
    "rest",
    [
        "../../../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "..%2f..%2fetc/passwd",
        "tile/../../etc/passwd", "viewer.js/../server.py", "server.py", "page/viewer.js", "image/-1",
        "image/1", "image/0/0", "image/x", "image/99999999999999999999", "tile/0/0/0/0",
        "tile/0/9/0/0/0", "tile/0/0/-1/0/0", "tile/0/0/0/9999/0", "tile/9/0/0/0/0", "tile/0/0/31/0/0",
        "tile/0/0/0/0/0/0", "tile/0/0/0x1/0/0", "tile/0/0/²/0/0", "counts/7", "images?x=../..", "\x00",
        "image/0\x00",
    ],
)  # fmt: skip
def test_no_address_leads_to_another_file(serving, photograph, rest):
    client = serving(photograph)
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as line:
        ask = f"GET /{client.viewer.token}/{rest} HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\n"
        line.sendall(f"{ask}Connection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    assert answer.split()[1] in (b"404", b"400"), answer[:80]
    assert b"root:" not in answer and b"import" not in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_written(serving, photograph, method):
    client = serving(photograph)
    assert client.raw(f"/{client.viewer.token}/images", method)[0] == 405


def test_every_answer_forbids_other_scripts_and_frames(serving, photograph):
    client = serving(photograph)
    for answer in (client.get(""), client.get("images"), client.raw("/"), client.get("tile/0/0/0/0/0")):
        headers = answer[1]
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"


def test_it_listens_to_this_machine_alone(serving, photograph):
    assert serving(photograph).viewer.socket.getsockname()[0] == "127.0.0.1"


def test_markup_in_names_stays_text_in_json(serving, tmp_path, photograph):
    evil = tmp_path / "<img src=x onerror=alert(1)>.png"
    Image.open(photograph).save(evil)
    classes = tmp_path / "classes.json"
    rows = [{"index": 0, "name": "</script><script>alert(2)</script>", "colour": [1, 2, 3]}]
    classes.write_text(json.dumps({"classes": rows}))
    write_label_png(tmp_path / "l.png", np.zeros((700, 1100), np.uint8), [(1, 2, 3)])
    client = serving(evil, labels=tmp_path / "l.png", classes=classes)
    _, headers, data = client.get("images")
    assert headers["Content-Type"].startswith("application/json")
    assert json.loads(data)["images"][0]["name"] == evil.name
    assert json.loads(client.get("image/0")[2])["legend"]["names"] == {"0": rows[0]["name"]}
    assert b"onerror" not in client.get("")[2] and b"alert" not in client.get("viewer.js")[2]


def test_a_head_has_no_body(serving, photograph):
    client = serving(photograph)
    status, headers, data = client.raw(f"/{client.viewer.token}/images", "HEAD")
    assert status == 200 and int(headers["Content-Length"]) > 0 and data == b""


def test_a_file_that_is_damaged_is_one_line_and_the_others_go_on(serving, photograph, tmp_path):
    other = tmp_path / "broken.png"
    other.write_bytes(photograph.read_bytes()[:3000])
    client = serving(other, photograph)
    status, _, data = client.get("tile/0/0/0/0/0")
    assert status == 500 and "broken.png" in json.loads(data)["error"] and b"\n" not in data
    assert client.get("tile/1/0/0/0/0")[0] == 200


def test_a_port_in_use_is_one_line(serving, photograph, capsys):
    port = serving(photograph).port
    assert main(["view", str(photograph), "--port", str(port), "--no-browser"]) == 2
    heard = capsys.readouterr().err.strip()
    assert f"port {port} is in use" in heard and "--port" in heard and "\n" not in heard
    with pytest.raises(UsageError, match="0 to 65535"):
        Viewer(Gallery(()), 70_000)


def test_fifty_at_once_get_what_one_gets(serving, photograph, masks):
    client = serving(photograph, labels=masks[0])
    wanted = [f"tile/0/{layer}/0/{x}/{y}" for layer in (0, 1) for x in range(3) for y in range(2)]
    alone = {rest: client.get(rest)[2] for rest in wanted}
    client.viewer.tiles._tiles.clear()
    ready = threading.Barrier(50)

    def visit(_: int) -> bool:
        ready.wait(20)
        return all(client.get(rest)[2] == alone[rest] for rest in wanted)

    with ThreadPoolExecutor(50) as pool:
        assert all(pool.map(visit, range(50)))


def test_who_hangs_up_stops_nobody(serving, photograph):
    client = serving(photograph)
    for _ in range(20):
        line = socket.create_connection(("127.0.0.1", client.port))
        line.sendall(f"GET /{client.viewer.token}/tile/0/0/0/0/0 HTTP/1.1\r\nHost: 127.0".encode())
        line.close()
    assert client.get("tile/0/0/0/0/0")[0] == 200


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_ends_it_cleanly(photograph):
    command = [sys.executable, "-m", "saccade", "view", str(photograph), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline()
        assert address.startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        _, heard = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in heard
