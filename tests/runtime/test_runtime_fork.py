"""A process that is forked after a prediction predicts too, and gives the same labels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import saccade

CODE = """
import os, torch, saccade
from saccade.networks import build_network
torch.set_num_threads(2)
torch.manual_seed(0)
model = saccade.Segmenter(saccade.UniformSampler((64, 96)), build_network("small:8", 3)).eval()
image = torch.rand(1, 3, 256, 384)
labels = model.predict(image)
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(model.predict(image), labels) else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(torch.get_num_threads(), torch.equal(model.predict(image), labels))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_after_a_prediction_predicts() -> None:
    settings = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    settings["PYTHONPATH"] = str(Path(saccade.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=settings, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split() == ["0", "2", "True"], done.stderr
