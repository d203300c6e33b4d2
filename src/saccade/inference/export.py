"""Networks of a run as files for other programs: ONNX, and PyTorch's own ``torch.export``."""

from __future__ import annotations

import copy
import io
import json
import logging
import math
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saccade import __version__
from saccade.errors import FileProblem, SaccadeError, nearest_name
from saccade.networks.adapters import Padded, scores_in, scores_of
from saccade.runtime.files import refuse_existing, write_file
from saccade.samplers import DeformationSampler, UniformSampler
from saccade.training.downsampling import training_downsampling
from saccade.training.run_folder import Run

OPSET = 18
"""Of ONNX: the newest that onnxruntime of 2023 and later reads."""

SUFFIXES = (".onnx", ".pt2")

CHECKED = ((1, 64, 96), (2, 83, 70))
"""(batch, rows, columns) at which a file is compared with the network before it is written."""

TRACED = (2, 75, 107)
"""Sides of no multiple of 32, so that what pads and crops them is seen by the tracer."""

CLOSE = 1e-4
"""How far scores may differ, as a share of the largest."""


def export_files(run: Run, file: Path) -> dict[Path, nn.Module]:
    """What is written for a run, and the module that each file is made of.

    Raises:
        FileProblem: for a suffix that is none of :data:`SUFFIXES`.
        SaccadeError: for a sampler that has no export.
    """
    if file.suffix not in SUFFIXES:
        fix = nearest_name(file.suffix, SUFFIXES)
        raise FileProblem(
            file, "a file to write that ends in " + " or ".join(SUFFIXES), file.suffix or "no suffix", fix
        )
    sampler, network = run.segmenter.sampler, run.segmenter.network
    modules: dict[Path, nn.Module] = {
        file: _scores(network, len(run.classes), run.segmenter.reading.channels)
    }
    if isinstance(sampler, DeformationSampler):
        modules[file.with_suffix(".density" + file.suffix)] = _traceable(sampler.net)
    elif not isinstance(sampler, UniformSampler):
        name = type(sampler).__name__
        raise SaccadeError(f"{run.path}: {name} has no export; UniformSampler and DeformationSampler do")
    return modules


def export_run(run: Run, file: Path, *, overwrite: bool = False) -> list[Path]:
    """Writes the segmentation network, and beside it the density net of a sampler that has one.

    Each file is compared with its network at two sizes before it is written.

    Raises:
        FileProblem: for another suffix, or a file that is there and is not to be replaced.
        SaccadeError: for a sampler or a network that cannot be exported, or a library that is missing.
    """
    modules = export_files(run, file)
    for path in modules:
        refuse_existing(path, overwrite)
    made = {}
    for path, module in modules.items():
        kind = "scores" if path == file else "density"
        about = _about(run, kind)
        made[path] = _exported(module, kind, about, path.suffix, run.segmenter.reading.channels)
    for path, content in made.items():
        write_file(path, content)
    return list(made)


def _about(run: Run, kind: str) -> dict[str, str]:
    """What a program needs to know beside the weights, as texts: JSON where it is more than one value."""
    sampler, bands = run.segmenter.sampler, run.segmenter.reading.bands
    options = vars(run.config.sampler)
    if isinstance(sampler, DeformationSampler):  # as it is, whatever made it
        options = {**options, **vars(sampler.to_grid)}
    normalisation = {name: getattr(run.segmenter, name).flatten().tolist() for name in ("mean", "std")}
    about = {
        "output": kind,
        "classes": run.classes.as_dict(),
        **normalisation,
        "sampler": run.config.recipe.name,
        "sampler_options": {name: _plain(value) for name, value in options.items()},
        "size": sampler.size,
        "thumbnail_size": sampler.thumbnail_size,
        "density_size": getattr(sampler, "density_size", None),
        "shares": [[list(size), share] for size, share in getattr(sampler, "shares", {}).items()],
        "antialias": run.segmenter.antialias,
        "value_range": run.config.data.value_range,
        "bands": None if bands is None else list(bands.names),
        "dtype": None if bands is None else bands.dtype,
        "network": run.config.network.name,
        "shrink": training_downsampling(run),
        "opset": OPSET,
        "saccade_version": __version__,
    }
    return {f"saccade.{key}": json.dumps(value) for key, value in about.items()}


def _plain(value: Any) -> Any:
    return (
        value if value is None or isinstance(value, bool | int | float | str | list | tuple) else str(value)
    )


def onnx_of_scores(network: nn.Module, classes: int, channels: int) -> bytes:
    """The segmentation network, from pixels (B, C, h, w) to scores (B, K, h, w), as an ONNX file in memory.

    Raises:
        SaccadeError: where it cannot be exported.
    """
    return _exported(_scores(network, classes, channels), "scores", {}, ".onnx", channels)


def onnx_of_density(net: nn.Module, channels: int) -> bytes:
    """As :func:`onnx_of_scores`, the net of densities of a deformation sampler."""
    return _exported(_traceable(net), "density", {}, ".onnx", channels)


def _scores(network: nn.Module, classes: int, channels: int) -> nn.Module:
    return _Scores(_traceable(network), classes, channels).eval()  # the exporter restores the outermost mode


class _Scores(nn.Module):
    """(B, C, h, w) normalised pixels to scores (B, K, h, w), as a segmenter takes them from its network."""

    @torch.no_grad()
    def __init__(self, network: nn.Module, classes: int, channels: int) -> None:
        super().__init__()
        self.network = network
        example = torch.zeros(TRACED[0], channels, *TRACED[1:])
        scores_in(network, example, classes)  # tells what is wrong; it asks for lengths, which fixes them
        scores = _first(network(example))
        self.one_logit = scores.shape[1] == 1 and classes != 1
        self.coarse = scores.shape[2:] != example.shape[2:]

    def forward(self, pixels: Tensor) -> Tensor:
        scores = _first(self.network(pixels))
        if self.one_logit:
            scores = torch.cat([torch.zeros_like(scores), scores], dim=1)
        if self.coarse:
            scores = F.interpolate(scores, pixels.shape[2:], mode="bilinear", align_corners=False)
        return scores


def _first(answer: Any) -> Tensor:
    return answer if isinstance(answer, Tensor) else scores_of(answer)


def _traceable(network: nn.Module) -> nn.Module:
    """A copy on the CPU in float32 and evaluation mode, its adaptive poolings written as slices."""
    copied = copy.deepcopy(network).cpu().float().eval()
    if isinstance(copied, Padded):
        copied = _AlwaysPadded(copied.network, copied.stride).eval()
    for module in list(copied.modules()):
        for name, part in module.named_children():
            if isinstance(part, nn.AdaptiveAvgPool2d) and part.output_size not in (1, (1, 1)):
                setattr(module, name, _SlicedPooling(part.output_size))
    return copied


class _AlwaysPadded(Padded):
    """Pads by nothing too: a file knows no branch that depends on the size."""

    def forward(self, image: Tensor) -> Tensor:
        rows, columns = image.shape[2:]
        padding = (0, -columns % self.stride, 0, -rows % self.stride)
        image = F.pad(image, padding, mode="replicate")
        scores = _first(self.network(image))
        if scores.shape[2:] != image.shape[2:]:
            scores = F.interpolate(scores, image.shape[2:], mode="bilinear", align_corners=False)
        return scores[:, :, :rows, :columns]


class _SlicedPooling(nn.Module):
    """Adaptive average pooling as ONNX can say it at any size: the mean of each slice."""

    def __init__(self, count: Any) -> None:
        super().__init__()
        self.count = (count, count) if isinstance(count, int) else count

    def forward(self, pixels: Tensor) -> Tensor:
        for axis, count in zip((2, 3), self.count, strict=True):
            if count is None:
                continue
            side = pixels.shape[axis]
            means = []
            for n in range(count):
                first, last = n * side // count, ((n + 1) * side + count - 1) // count
                part = pixels[:, :, first:last] if axis == 2 else pixels[:, :, :, first:last]
                means.append(part.mean(axis, keepdim=True))
            pixels = torch.cat(means, axis)
        return pixels


@torch.no_grad()
def _exported(module: nn.Module, kind: str, about: dict[str, str], suffix: str, channels: int) -> bytes:
    if suffix == ".onnx":
        require_onnx()
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            content = (_onnx if suffix == ".onnx" else _pt2)(module, kind, about, channels)
            answers = _answers_onnx if suffix == ".onnx" else _answers_pt2
            shapes = [(b, channels, h, w) for b, h, w in CHECKED]
            inputs = [torch.linspace(-2, 2, math.prod(shape)).sin().view(shape) for shape in shapes]
            exported, expected = answers(content, inputs), [module(pixels).numpy() for pixels in inputs]
    except (SaccadeError, MemoryError):
        raise
    except Exception as error:
        if str(error).startswith("Guard failed"):
            raise _refusal(suffix, "torch.export fixes sizes of it; take .onnx") from error
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise _refusal(suffix, " ".join(lines[0].split())[:300]) from error
    for answer, truth in zip(exported, expected, strict=True):
        if answer.shape != truth.shape or np.abs(answer - truth).max() > CLOSE * max(1, np.abs(truth).max()):
            raise _refusal(suffix, "the exported network answers otherwise at another size")
    return content


def _refusal(suffix: str, reason: str) -> SaccadeError:
    return SaccadeError(f"the network cannot be exported to {suffix} ({reason}); nothing was written")


def require_onnx() -> None:
    """Raises SaccadeError where the libraries of the extra ``onnx`` are missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise SaccadeError("ONNX needs onnx and onnxruntime; pip install 'saccade[onnx]'") from error


def _onnx(module: nn.Module, kind: str, about: dict[str, str], channels: int) -> bytes:
    """By the tracer: its files are smaller, and made in a tenth of the time of the exporter by dynamo."""
    import onnx

    batch, rows, columns = TRACED
    axes = {0: "batch", 2: "height", 3: "width"}
    file = io.BytesIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    torch.onnx.export(
        module, (torch.randn(batch, channels, rows, columns),), file,  # type: ignore[arg-type]
        dynamo=False, opset_version=OPSET,
        input_names=["pixels"], output_names=[kind], dynamic_axes={"pixels": axes, kind: axes},
    )  # fmt: skip
    model = onnx.load_model_from_string(file.getvalue())
    onnx.helper.set_model_props(model, about)
    content: bytes = model.SerializeToString()
    return content


def _answers_onnx(content: bytes, inputs: Sequence[Tensor]) -> list[Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return [session.run(None, {"pixels": pixels.numpy()})[0] for pixels in inputs]


def _pt2(module: nn.Module, kind: str, about: dict[str, str], channels: int) -> bytes:
    batch, rows, columns = TRACED
    any_size = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        module, (torch.randn(batch, channels, rows, columns),),
        dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},), strict=False,
    )  # fmt: skip
    file = io.BytesIO()
    torch.export.save(program, file, extra_files=about)
    return file.getvalue()


def _answers_pt2(content: bytes, inputs: Sequence[Tensor]) -> list[Any]:
    module = torch.export.load(io.BytesIO(content)).module()
    return [module(pixels).numpy() for pixels in inputs]
