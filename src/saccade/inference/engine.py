"""What runs the networks of a prediction: PyTorch, or onnxruntime on the CPU."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saccade.errors import UsageError, one_of
from saccade.inference.export import onnx_of_density, onnx_of_scores, require_onnx
from saccade.runtime.onnx_session import onnx_session
from saccade.samplers import DeformationSampler
from saccade.segmenter import Segmenter

ENGINES = ("torch", "onnx")


@dataclass(frozen=True)
class OnnxNetworks:
    """The networks of a segmenter as ONNX, which travel to other processes as they are.

    Attributes:
        scores: of the network.
        density: of the net of a deformation sampler; None for others.
    """

    scores: bytes
    density: bytes | None = None

    @classmethod
    def of(cls, segmenter: Segmenter, classes: int) -> OnnxNetworks:
        """Exports them, in memory: a file could be older than the weights.

        Raises:
            SaccadeError: for a network that cannot be exported, or a library that is missing.
        """
        sampler, channels = segmenter.sampler, segmenter.reading.channels
        net = onnx_of_density(sampler.net, channels) if isinstance(sampler, DeformationSampler) else None
        return cls(onnx_of_scores(segmenter.network, classes, channels), net)

    def segmenter(self, segmenter: Segmenter) -> Segmenter:
        """The same segmenter, its networks run by onnxruntime. Nets that only choose where to look, but for
        that of densities, are run by PyTorch still."""
        sampler = segmenter.sampler
        if self.density is not None:
            sampler = copy.copy(sampler)
            sampler._modules = {**sampler._modules, "net": OnnxNetwork(self.density)}
        made = copy.copy(segmenter)
        made._modules = {"sampler": sampler, "network": OnnxNetwork(self.scores)}
        made._channels_last = False  # onnxruntime takes channels first
        return made


def require_engine(engine: str, device: str | None) -> None:
    """Refuses an engine that there is not, that is not installed, or that does not run on the device.

    Raises:
        InvalidInput, SaccadeError, UsageError: accordingly.
    """
    one_of("engine", engine, ENGINES)
    if engine == "onnx":
        require_onnx()
        if device not in (None, "auto", "cpu"):
            raise UsageError(f"--engine onnx runs on the CPU, not on {device}; leave --device out")


class OnnxNetwork(nn.Module):
    """An exported network as a module: pixels (B, C, h, w) float32 on the CPU to what it answers.

    Attributes:
        engine, digest: of the library and of the file; a prediction that is resumed must share both.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__()
        import onnxruntime

        self.engine = f"onnxruntime {onnxruntime.__version__}"
        self.digest = hashlib.sha256(content).hexdigest()
        self._session: Any = onnx_session(content, torch.get_num_threads())

    def forward(self, pixels: Tensor) -> Tensor:
        (answer,) = self._session.run(None, {"pixels": pixels.contiguous().numpy()})
        return torch.from_numpy(answer)
