"""The page in a real browser: Chromium, where there is one."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from saccade.rasters import write_label_png

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="no Chromium with its chromedriver on this machine"
)

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--force-device-scale-factor=1",
)  # fmt: skip


class Page:
    """What a user does and sees."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, address: str) -> Page:
        self.driver.get("about:blank")
        self.driver.get(address)
        return self.settled()

    def js(self, code: str, *args: Any) -> Any:
        return self.driver.execute_script(code, *args)

    def until(self, condition: str, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not self.js(f"return !!({condition})"):
            assert time.monotonic() < end, f"never: {condition}; {self.text('message')}"
            time.sleep(0.02)

    def settled(self) -> Page:
        self.until("window.saccade && saccade.state.image && saccade.pending() === 0")
        self.js("return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        self.until("saccade.pending() === 0")
        return self

    def key(self, key: str, code: str = "", shift: bool = False) -> Page:
        event = {"key": key, "code": code, "shiftKey": shift, "bubbles": True, "cancelable": True}
        self.js(
            "document.getElementById('canvas').dispatchEvent(new KeyboardEvent('keydown', arguments[0]))",
            event,
        )
        return self.settled()

    def place(self) -> tuple[float, float, float]:
        return tuple(self.js("const s = saccade.state; return [s.x, s.y, s.scale]"))

    def pixel(self, x: float, y: float) -> list[int]:
        """Colour of the canvas where pixel (x, y) of the image is."""
        return self.js(
            """const s = saccade.state, c = document.getElementById('canvas'), [x, y] = arguments;
            const left = (x - s.x) * s.scale + c.clientWidth / 2;
            const top = (y - s.y) * s.scale + c.clientHeight / 2;
            return Array.from(c.getContext('2d').getImageData(left, top, 1, 1).data);""",
            x, y,
        )  # fmt: skip

    def text(self, name: str) -> str:
        return self.js("return document.getElementById(arguments[0]).innerText", name)

    def errors(self) -> list[str]:
        return [line["message"] for line in self.driver.get_log("browser") if line["level"] == "SEVERE"]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    choices = webdriver.ChromeOptions()
    choices.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--window-size=1200,800"):
        choices.add_argument(flag)
    choices.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER)
    with webdriver.Chrome(options=choices, service=service) as browser:
        yield browser


@pytest.fixture
def page(driver: Any) -> Iterator[Page]:
    shown = Page(driver)
    shown.driver.get_log("browser")
    yield shown
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert shown.errors() == []


def near(found: list[int], wanted: tuple[int, ...], tolerance: int = 8) -> bool:
    return max(abs(one - other) for one, other in zip(found[:3], wanted, strict=True)) <= tolerance


@pytest.fixture
def viewed(serving: Callable[..., Any], photograph: Path, masks: tuple[Path, Path], page: Page) -> Page:
    page.client = serving(photograph, labels=masks[0], truth=masks[1])
    return page.open(page.client.viewer.address)


def test_the_whole_image_is_shown_and_zoom_keeps_what_is_under_the_cursor(viewed):
    _, _, scale = viewed.place()
    assert near(viewed.pixel(550, 350), (127, 127, 0))
    viewed.js(
        """const c = document.getElementById('canvas');
        const turn = {deltaY: -240, clientX: 200, clientY: 300, cancelable: true};
        c.dispatchEvent(new WheelEvent('wheel', turn));"""
    )
    viewed.settled()
    x, y, closer = viewed.place()
    assert closer == pytest.approx(2 * scale)
    wide, high = viewed.js(
        "const c = document.getElementById('canvas'); return [c.clientWidth, c.clientHeight]"
    )
    for centre, at, side, full in ((x, 200, wide, 1100), (y, 300, high, 700)):
        assert centre + (at - side / 2) / closer == pytest.approx(full / 2 + (at - side / 2) / scale)


def test_dragging_moves_the_image(viewed):
    viewed.key("1")
    x, y, _ = viewed.place()
    viewed.js(
        """const c = document.getElementById('canvas'), say = (type, x, y) => c.dispatchEvent(
          new PointerEvent(type, {pointerId: 1, clientX: x, clientY: y, bubbles: true}));
        c.setPointerCapture = () => {};
        say('pointerdown', 400, 300); say('pointermove', 460, 270); say('pointerup', 460, 270);"""
    )
    assert viewed.settled().place()[:2] == pytest.approx((x - 60, y + 30))


def test_keys_move_zoom_and_go_back(viewed):
    start = viewed.place()
    viewed.key("+").key("+")
    assert viewed.place()[2] == pytest.approx(start[2] * 2.25)
    viewed.key("ArrowRight")
    assert viewed.place()[0] > start[0]
    assert viewed.key("0").place() == pytest.approx(start)
    assert viewed.key("1").place()[2] == 1
    viewed.key("p")
    assert viewed.js("return document.getElementById('panel').getBoundingClientRect().width") == 0
    viewed.key("p").key("?")
    assert viewed.js("return document.getElementById('help').open")


def test_layers_opacity_and_classes(viewed):
    """Labels: (200, 30, 60) where class 1 is, at half; 0 is the quiet background."""
    viewed.key("1")
    viewed.js("Object.assign(saccade.state, {x: 240, y: 150})")
    viewed.key("0")
    plain = tuple(round(255 * v) for v in (250 / 1099, 150 / 699, 0))
    mixed = tuple((a + b) / 2 for a, b in zip(plain, (200, 30, 60), strict=True))
    assert near(viewed.pixel(250, 150), mixed)
    viewed.key("!", "Digit2", shift=True)
    assert near(viewed.pixel(250, 150), plain)
    viewed.key("!", "Digit2", shift=True)
    viewed.js(
        """const s = document.querySelectorAll('#layers input[type=range]')[1];
        s.value = 100; s.dispatchEvent(new Event('input'));"""
    )
    assert near(viewed.settled().pixel(250, 150), (200, 30, 60), 2)
    viewed.js("document.querySelector('#class-rows tr[data-value=\"1\"] input').click()")
    assert near(viewed.settled().pixel(250, 150), plain)
    viewed.key(" ")
    assert near(viewed.pixel(1000, 650), tuple(round(255 * v) for v in (1000 / 1099, 650 / 699, 0)))


def test_areas_and_the_jump_to_errors(viewed):
    viewed.until("saccade.state.counts")
    assert "class 1" in viewed.text("class-rows") and "0.980" not in viewed.text("place")
    viewed.key("n")
    x, y, scale = viewed.place()
    assert 100 <= x < 180 and 100 <= y < 200 and scale > 1
    assert viewed.text("place").startswith("1 of")
    assert near(viewed.pixel(x, y), (213, 94, 0), 60)
    viewed.key("n")
    assert viewed.place()[:2] != (x, y)


def test_what_is_under_the_cursor_is_told(viewed):
    viewed.js(
        """const s = saccade.state, c = document.getElementById('canvas');
        const left = (250.5 - s.x) * s.scale + c.clientWidth / 2;
        const top = (150.5 - s.y) * s.scale + c.clientHeight / 2;
        c.dispatchEvent(new PointerEvent('pointermove', {clientX: left, clientY: top}));"""
    )
    assert "row 150, column 250" in viewed.text("where") and "labels: class 1" in viewed.text("where")


def test_a_phone_sees_the_image_above_the_panel(viewed):
    viewed.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True},
    )
    viewed.open(viewed.client.viewer.address)
    assert viewed.js("return document.documentElement.scrollWidth") <= 390
    image, panel = viewed.js(
        "return ['canvas', 'panel'].map(id => document.getElementById(id).getBoundingClientRect().toJSON())"
    )
    assert image["width"] == panel["width"] == 390 and image["bottom"] <= panel["top"] + 1
    small = viewed.js(
        "return Math.min(...[...document.querySelectorAll('#tools button')].map(b => b.offsetHeight))"
    )
    assert small >= 44


def test_dark_mode(viewed):
    def ground() -> str:
        return viewed.js("return getComputedStyle(document.body).backgroundColor")

    scheme = {"name": "prefers-color-scheme", "value": "light"}
    viewed.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    assert ground() == "rgb(255, 255, 255)"
    viewed.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{**scheme, "value": "dark"}]})
    assert ground() == "rgb(20, 23, 26)"


def test_names_are_shown_as_text_whatever_is_in_them(serving, page, tmp_path, photograph):
    evil = tmp_path / "<img src=x onerror=document.title='evil'>.png"
    Image.open(photograph).save(evil)
    write_label_png(tmp_path / "l.png", np.zeros((700, 1100), np.uint8), [(1, 2, 3)])
    name = "<script>document.title='evil'</script><b>bold</b>"
    (tmp_path / "classes.json").write_text(
        json.dumps({"classes": [{"index": 0, "name": name, "colour": [1, 2, 3]}]})
    )
    client = serving(evil, photograph.parent / "photo.png", classes=tmp_path / "classes.json")
    page.open(client.viewer.address)
    assert evil.name in page.text("name") and evil.name in page.text("list")
    client = serving(evil, labels=tmp_path / "l.png", classes=tmp_path / "classes.json")
    page.open(client.viewer.address)
    assert name in page.text("class-rows")
    assert page.js("return document.querySelectorAll('#panel img, #panel b, #panel script').length") == 0
    assert "evil" not in page.js("return document.title").replace(evil.name, "")


def test_a_list_is_filtered_and_the_place_is_kept_in_the_address(serving, page, photograph, tmp_path):
    for number in range(5):
        Image.new("RGB", (90, 60), (number * 40, 0, 0)).save(tmp_path / f"image_{number}.png")
    client = serving(*sorted(tmp_path.glob("image_*.png")))
    page.open(client.viewer.address).key(".")
    assert page.text("name") == "image_1.png"
    page.js(
        "const f = document.getElementById('filter'); f.value = '_4'; f.dispatchEvent(new Event('input'))"
    )
    assert page.js("return document.querySelectorAll('#list button').length") == 1
    page.key("+")
    place = page.place()
    page.until("location.hash.includes('i=1')")
    page.open(page.driver.current_url)
    assert page.text("name") == "image_1.png" and page.place() == pytest.approx(place, rel=1e-3)


def test_a_map_tells_its_own_coordinates(serving, page, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    where = rasterio.transform.from_origin(600_000, 5_200_000, 10, 10)
    how = {"driver": "GTiff", "height": 300, "width": 400, "count": 3, "dtype": "uint16", "crs": "EPSG:32632"}
    with rasterio.open(tmp_path / "map.tif", "w", transform=where, **how) as file:
        file.write(np.linspace(200, 3000, 3 * 300 * 400).reshape(3, 300, 400).astype(np.uint16))
    page.open(serving(tmp_path / "map.tif").viewer.address)
    page.js(
        """const f = document.getElementById('goto'); f.value = '601005, 5199005';
        document.getElementById('go').requestSubmit();"""
    )
    assert page.settled().place()[:2] == pytest.approx((100.5, 99.5))
    page.js(
        """const c = document.getElementById('canvas');
        c.dispatchEvent(new PointerEvent('pointermove', {clientX: c.clientWidth / 2, clientY: c.clientHeight /
        2}));"""
    )
    assert "601005.00, 5199005.00 (EPSG:32632)" in page.text("where")
    assert "m" in page.text("scale") and "shown from" in page.text("notices")


def test_a_huge_image_without_overviews_fills_in(serving, page, tmp_path):
    path = tmp_path / "big.tif"
    values = np.full((5000, 5000), 60, np.uint8)
    values[:2500] = 200
    tifffile.imwrite(path, values, tile=(512, 512), compression="zlib")
    page.open(serving(path).viewer.address)
    end = time.monotonic() + 30
    while not (near(page.pixel(2500, 1000), (200,) * 3) and near(page.pixel(2500, 4000), (60,) * 3)):
        assert time.monotonic() < end
        time.sleep(0.05)
