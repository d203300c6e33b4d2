"""What an output was made by, so that a resume never mixes two makings."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from saccade.data.classes import ClassTable
from saccade.inference.layout import Layout
from saccade.inference.options import Look
from saccade.segmenter import Segmenter


def fingerprint(segmenter: Segmenter, image: Path, layout: Layout, look: Look, classes: ClassTable) -> str:
    """A hash of the weights, the image (name, size, time), what is looked at, and the classes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(segmenter.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    status = image.stat()
    about = [image.name, status.st_size, status.st_mtime_ns, str(layout.tiling), layout.view, look.skip]
    digest.update(json.dumps([*about, classes.as_dict()]).encode())
    return digest.hexdigest()
