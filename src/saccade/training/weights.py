"""Weights to start from: of a run, or a state dict of timm, torchvision or segmentation-models-pytorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saccade.errors import FileProblem, InvalidInput
from saccade.segmenter import Segmenter

_INNER = (
    "state_dict", "model_state_dict", "model_state", "state_dict_ema", "model_ema", "model", "net", "weights",
)  # fmt: skip
"""Where training programs keep the state dict in what they save."""
_OUTER = ("", "module.", "model.", "network.", "net.", "encoder.", "backbone.", "segmenter.network.")
"""What may stand before the names of a network's tensors."""
_SAMPLER, _NETWORK = "segmenter.sampler.", "segmenter.network."
_EXPECTED = "a run, or a state dict (.pt, .pth, .ckpt, .safetensors)"
LEAST = 0.5
"""Share of a part's numbers that must be found: with fewer it is another network."""


@dataclass(frozen=True)
class Loaded:
    """What was taken from a file of weights.

    Attributes:
        path: the file.
        part: the part of the network that they are of; "" for all of it.
        tensors: how many were taken.
        of: how many the part has.
        left: names of its tensors that stay as they were drawn, such as those of other classes.
        sampler: whether the sampler's were taken too.
    """

    path: Path
    part: str
    tensors: int
    of: int
    left: tuple[str, ...]
    sampler: bool

    def line(self) -> str:
        """For people."""
        names = ", ".join(self.left[:3]) + (", ..." if len(self.left) > 3 else "")
        fresh = f"; drawn anew: {names}" if self.left else ""
        sampler = ", and the sampler's" if self.sampler else ""
        part = self.part or "the network"
        return f"weights of {self.path}: {self.tensors} of {self.of} tensors of {part}{sampler}{fresh}"


def file_of(source: Path | str) -> Path:
    """The file of weights: that of the best epoch where ``source`` is a run.

    Raises:
        FileProblem: where there is none.
    """
    path = Path(source)
    file = path / "checkpoints" / "best.ckpt" if path.is_dir() else path
    if not file.is_file():
        found = "a folder without checkpoints/best.ckpt" if path.is_dir() else "no such file or folder"
        raise FileProblem(path, _EXPECTED, found)
    return file


def read_state(file: Path) -> dict[str, Tensor]:
    """The tensors in a file by name, on the CPU; no code in it is run.

    Raises:
        FileProblem: where it cannot be read, or holds something else.
    """
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        saved: Any = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise FileProblem(file, _EXPECTED, error.strerror or "an unreadable file") from error
    except Exception as error:
        fix = "save model.state_dict(), without the model's code"
        raise FileProblem(file, _EXPECTED, "a broken file, or one with code in it", fix) from error
    for name in _INNER:
        if isinstance(saved, Mapping) and isinstance(saved.get(name), Mapping):
            saved = saved[name]
            break
    tensors = {k: v for k, v in saved.items() if isinstance(v, Tensor)} if isinstance(saved, Mapping) else {}
    if not tensors:
        raise FileProblem(file, _EXPECTED, "no tensors by name")
    return {str(name): tensor for name, tensor in tensors.items()}


def load_weights(segmenter: Segmenter, source: Path | str) -> Loaded:
    """Puts the weights of ``source`` where names and shapes fit; all others stay as they are.

    Names are compared below every part of the network and without what programs put before them, so that a
    classifier's state dict finds the encoder. Of a run the sampler's weights are taken too, where all fit.

    Args:
        segmenter: changed in place.
        source: a run folder or a file.

    Raises:
        FileProblem: where it cannot be read, or less than half of a part fits: another network.

    Examples:
        >>> import torch
        >>> from saccade import Segmenter, UniformSampler
        >>> from saccade.networks import SmallUNet
        >>> from saccade.training.weights import load_weights
        >>> torch.save(SmallUNet(5, width=4).state_dict(), "five_classes.pt")
        >>> loaded = load_weights(Segmenter(UniformSampler((8, 8)), SmallUNet(3, width=4)), "five_classes.pt")
        >>> loaded.left  # of other classes
        ('head.weight', 'head.bias')
    """
    file = file_of(source)
    state = read_state(file)
    own = {name: tensor for name, tensor in state.items() if not name.startswith(_SAMPLER)}
    target = segmenter.network.state_dict()
    part, names = _best_match(own, target)
    matched = {
        name: tensor for name, tensor in target.items() if name.startswith(part) and not _is_count(name)
    }
    changed = _numbers({name: target[name] for name in names if name in matched})
    of_part, of_rest = (
        changed / max(1, _numbers(matched)),
        changed / max(1, min(_numbers(own), _numbers(target))),
    )
    # Of a part alone one layer of another network that happens to fit would be all.
    if of_part < LEAST or of_rest < LEAST:
        got = f"{min(of_part, of_rest):.0%} of them"
        fix = "name the network that they are of with --network"
        raise FileProblem(file, "weights of which half or more fit the network", got, fix)
    segmenter.network.load_state_dict(names, strict=False)
    left = tuple(name for name in matched if name not in names)
    return Loaded(
        Path(source), part.rstrip("."), len(names.keys() & matched.keys()), len(matched), left,
        _load_sampler(segmenter, state),
    )  # fmt: skip


def _load_sampler(segmenter: Segmenter, state: Mapping[str, Tensor]) -> bool:
    of_run = {k.removeprefix(_SAMPLER): v for k, v in state.items() if k.startswith(_SAMPLER)}
    target = segmenter.sampler.state_dict()
    fits = of_run.keys() == target.keys() and all(of_run[k].shape == target[k].shape for k in target)
    if fits and target:
        segmenter.sampler.load_state_dict(of_run)
    return fits and bool(target)


def _best_match(state: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """The part of the network that most numbers fit, the smallest of equals, and these tensors by their names
    in the network."""
    parts = {""}
    for name in target:
        pieces = name.split(".")[:-1]
        parts |= {".".join(pieces[: depth + 1]) + "." for depth in range(min(4, len(pieces)))}
    best: tuple[int, int, str, dict[str, Tensor]] = (0, 0, "", {})
    for outer in _OUTER:
        stripped = {name.removeprefix(outer): t for name, t in state.items() if name.startswith(outer)}
        for part in parts if stripped else ():
            matched = {
                part + name: tensor
                for name, tensor in stripped.items()
                if (here := target.get(part + name)) is not None and here.shape == tensor.shape
            }
            numbers = sum(tensor.numel() for name, tensor in matched.items() if not _is_count(name))
            if (numbers, len(part)) > best[:2]:
                best = (numbers, len(part), part, matched)
    return _common_part(best[3], parts), best[3]


def _common_part(names: Mapping[str, Tensor], parts: set[str]) -> str:
    """The smallest part with all of ``names`` in it: encoder weights fill the encoder, not the network."""
    around = [part for part in parts if all(name.startswith(part) for name in names)]
    return max(around, key=len, default="")


def _numbers(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for name, tensor in tensors.items() if not _is_count(name))


def _is_count(name: str) -> bool:
    """Batch norm's count of batches: of no matter, and older files have none."""
    return name.endswith("num_batches_tracked")


def encoders_of(network: nn.Module) -> list[nn.Module]:
    """The parts of a network that are called encoder, as those of segmentation-models-pytorch and ours are.

    Raises:
        InvalidInput: where there is none.
    """
    encoders = [part for name, part in network.named_modules() if name.rpartition(".")[2] == "encoder"]
    if not encoders:
        fix = "leave network.freeze_epochs out, or take a network such as unet:resnet18"
        raise InvalidInput("network", "one with an encoder, for network.freeze_epochs", "one without", fix)
    return encoders
