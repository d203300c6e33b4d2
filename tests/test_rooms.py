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
    "lite",
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


def modules_after(code: str) -> set[str]:
    """What a fresh interpreter has loaded after running ``code``."""
    report = "import sys; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, timeout=300, check=True
    )
    return set(done.stderr.split())


def loaded_after(code: str) -> set[str]:
    """The top-level packages of :func:`modules_after`."""
    return {name.partition(".")[0] for name in modules_after(code)}


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


COMPILER = {"numba", "scipy"}
"""What loads the kernels; numba brings scipy."""
MAY_LOAD = {
    "predict RUN IMAGE OUT --save scores,density,samples,overlay": {"torch"},
    "evaluate RUN DATA": {"torch"},
    "report RUN": {"torch"},
}
"""Heavy libraries that a command on small files may load beside the compiler."""


@pytest.mark.parametrize("words", MAY_LOAD)
def test_a_command_loads_no_library_that_it_does_not_need(
    words: str, run_folder: Path, tiny_data: Path, tmp_path: Path
) -> None:
    image = tmp_path / "photo.png"
    Image.new("RGB", (48, 32), (90, 120, 60)).save(image)
    places = {"RUN": run_folder, "IMAGE": image, "OUT": tmp_path / "out", "DATA": tiny_data}
    arguments = [str(places.get(word, word)) for word in words.split()]
    loaded = loaded_after(f"from saccade.cli import main\nassert main({arguments}) == 0")
    assert (loaded & HEAVY) - COMPILER <= MAY_LOAD[words]


TABLES = {"numba.np.linalg", "numba.np.npyimpl", "scipy.linalg", "numpy.f2py", "numba.typed.typeddict"}
"""What numba fills its tables from before it compiles: half a second."""


def test_kept_kernels_are_loaded_without_what_compiles_them(
    run_folder: Path, tiny_data: Path, tmp_path: Path
) -> None:
    image = sorted((tiny_data / "images").iterdir())[0]
    words = ["predict", str(run_folder), str(image), str(tmp_path / "out"), "--overwrite"]
    code = f"from saccade.cli import main\nassert main({words}) == 0"
    modules_after(code)  # kernels that were not kept yet are now
    labels = next((tmp_path / "out").iterdir()).read_bytes()
    loaded = modules_after(
        f"{code}\nimport gc; assert gc.isenabled() and gc.get_freeze_count() > 10_000, gc.get_freeze_count()"
    )
    assert "saccade.warp._label_kernels" in loaded
    assert not loaded & TABLES
    assert next((tmp_path / "out").iterdir()).read_bytes() == labels


def test_a_run_of_the_usual_network_is_opened_without_the_library_that_made_it(
    tiny_data: Path, tmp_path: Path
) -> None:
    from dataclasses import replace

    import torch

    from saccade.data import open_data
    from saccade.training import read_config
    from saccade.training.run_folder import BEST, CHECKPOINTS, build_segmenter, prepare

    classes = open_data(tiny_data).classes
    config = read_config(
        overrides=["network.name=unet:resnet18", "sampler.size=8x12", "sampler.name=uniform"]
    )
    run = tmp_path / "run"
    prepare(run, replace(config, classes=classes.as_dict()), False, "cpu")
    segmenter = build_segmenter(config, len(classes))
    state = {f"segmenter.{name}": value for name, value in segmenter.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 0}, run / CHECKPOINTS / BEST)
    loaded = loaded_after(f"import saccade\nsaccade.load({str(run)!r}, device='cpu')")
    assert (loaded & HEAVY) - COMPILER == {"torch"}
