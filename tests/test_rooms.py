"""Rooms import only from rooms above them, and the doors stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import saccade

SOURCE = Path(saccade.__file__).parent
ROOMS = (
    "errors",
    "geometry",
    "runtime",
    "grids",
    "warp",
    "rasters",
    "networks",
    "losses",
    "samplers",
    "sources",
    "figures",
    "segmenter",
    "metrics",
    "data",
    "training",
    "inference",
    "evaluation",
    "report",
    "viewer",
    "lab",
    "api",
    "cli",
    "testing",
)
DOORS = ("__init__", "__main__")
HEAVY = {
    "cv2",
    "lightning",
    "matplotlib",
    "numba",
    "openslide",
    "pandas",
    "rasterio",
    "scipy",
    "segmentation_models_pytorch",
    "skimage",
    "timm",
    "torch",
    "torchmetrics",
    "torchvision",
}
MODULES = sorted(SOURCE.rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(("saccade", *path.relative_to(SOURCE).with_suffix("").parts))


def room_of(module: str) -> str:
    return module.split(".")[1]


def imported_rooms(path: Path) -> Iterator[tuple[int, str]]:
    """Line and room of each import in a module, those inside functions too."""
    package = name_of(path).split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            targets = [f"saccade.{a.name}" for a in node.names] if module == "saccade" else [module]
        for target in targets:
            parts = target.split(".")
            if parts[0] == "saccade" and len(parts) > 1 and parts[1] in ROOMS:
                yield node.lineno, parts[1]  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_from_its_room_and_those_above(path: Path) -> None:
    room = room_of(name_of(path))
    if room in DOORS:
        return
    assert room in ROOMS, f"{path} is in no room: give it one, or its room a place in the order"
    below = [(line, other) for line, other in imported_rooms(path) if ROOMS.index(other) > ROOMS.index(room)]
    assert not below, f"{path} imports from rooms below its own: {below}"


def test_the_order_of_rooms_can_be_broken(tmp_path: Path) -> None:
    """The reader of imports sees each way of writing one."""
    path = SOURCE / "grids" / "imagined.py"
    code = "from saccade.cli import main\nimport saccade.data.cache\nfrom saccade import report\n"
    code += "def f():\n    from ..training import fit\n"

    class Imagined(type(path)):  # type: ignore[misc]
        def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
            return code

    assert list(imported_rooms(Imagined(path))) == [(1, "cli"), (2, "data"), (3, "report"), (5, "training")]


def loaded_after(code: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded after running ``code``."""
    report = "import sys; print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "code",
    [
        "import saccade",
        "import saccade.errors",
        "from saccade.cli import main\nassert main(['--help']) == 0",
        "from saccade.cli import main\nassert main(['info', '--help']) == 0",
        "from saccade.cli import main\nassert main(['train', '--help']) == 0",
        "from saccade.cli import main\nassert main(['options']) == 0",
        "from saccade.cli import main\nassert main(['trian']) == 2",
        "from saccade.cli.main import COMMANDS, load\nfor command in COMMANDS: load(command)",
    ],
)
def test_what_answers_at_once_loads_nothing_heavy(code: str) -> None:
    assert loaded_after(code) & HEAVY == set()


def test_a_prediction_loads_no_library_that_only_training_needs(trained_folder: Path, tmp_path: Path) -> None:
    """A small photograph is labelled about as soon as torch is there."""
    image = tmp_path / "photo.png"
    Image.new("RGB", (48, 32), (90, 120, 60)).save(image)
    arguments = ["predict", str(trained_folder), str(image), str(tmp_path / "labels"), "-q"]
    loaded = loaded_after(f"from saccade.cli import main\nassert main({arguments}) == 0")
    needed = {"torch", "numba", "scipy"}  # networks, compiled kernels, the solver of the grids
    assert loaded & HEAVY == needed
