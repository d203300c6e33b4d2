"""What several rooms' tests share: a tiny data folder, and a tiny trained run."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import torch

from range_server import Served, serving
from saccade.data.scenes import make_scenes
from saccade.runtime import kernels

if TYPE_CHECKING:
    from saccade import Segmenter

hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")
"""The same examples in every run; ``pytest --hypothesis-profile=default`` looks for others."""

TINY = ["network.name=small:4", "sampler.size=8x12", "training.batch_size=2", "training.epochs=2"]
"""Options with which a training takes a second."""


def pytest_configure() -> None:
    """Signals mean what they usually do, however the tests were started: ``nohup`` and ``&`` ignore some,
    which tests and the programs that they start would take over. No test is told that kernels are compiled,
    which only the first on a machine would be."""
    kernels.PATIENCE = float("inf")
    if threading.current_thread() is not threading.main_thread():
        return
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            usual = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
            signal.signal(number, usual)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call() -> None:
    """Tests run in another order every time, yet draw the same numbers: a failure can be repeated."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of 4 train, 2 val and 2 test scenes of 32 x 48 pixels; never changed by a test."""
    return make_scenes(tmp_path_factory.mktemp("tiny") / "data", count=(4, 2, 2), size=(32, 48), seed=1)


@pytest.fixture(scope="session")
def trained_folder(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs on ``tiny_data``; never changed by a test."""
    from saccade.data import open_data
    from saccade.training import read_config, train

    root = tmp_path_factory.mktemp("runs") / "run"
    with single_thread():  # whichever test asks first: sums depend on the number of threads
        train(open_data(tiny_data), root, read_config(overrides=TINY), device="cpu")
    return root


@pytest.fixture
def run_folder(trained_folder: Path, tmp_path: Path) -> Path:
    """A copy of the trained run, for tests that write into it."""
    return Path(shutil.copytree(trained_folder, tmp_path / "run"))


@pytest.fixture(scope="module")
def lively(trained_folder: Path, tiny_data: Path) -> Segmenter:
    """The trained run, whose answers are of many classes: their scores are equal on average."""
    import saccade

    model = saccade.load(trained_folder, device="cpu")
    layers = [module for module in model.network.modules() if isinstance(module, torch.nn.Conv2d)]
    last = [layer for layer in layers if layer.out_channels == len(model.classes)][-1]
    image = min((tiny_data / "images").iterdir())
    with torch.no_grad():
        last.bias -= model.segment(image).scores.mean((0, 2, 3))
    return model


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A client of Dask with two workers in processes of their own."""
    from saccade.runtime.cluster import connected

    with connected("local:2") as client:
        client.wait_for_workers(2, timeout=200)
        yield client


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    """A web server of the files of the test's ``folder``, which counts what it is asked."""
    with serving(folder) as server:
        yield server


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one core: for networks this small a second only waits, and long on a busy machine."""
    with single_thread():
        yield


@contextmanager
def single_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
