"""A device that is not the CPU, pretended on the CPU: real numbers, and the rules of a GPU about mixtures.

Tensors on it say that they lie on ``meta``, compute on the CPU, and refuse to meet a tensor of the CPU
that has an axis, as CUDA does (but for copies, and for indices). What asks for their memory (``numpy``) is
refused too. So a whole program runs there, with its gradients, and its answers are compared with the CPU's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
COPIES = {"aten::copy_", "aten::_to_copy"}
INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}


class Pretended(Tensor):
    """A tensor that says it lies on another device."""

    held: Tensor
    is_meta = property(lambda _: False)  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, held: Tensor) -> Pretended:
        shape = {"strides": held.stride(), "storage_offset": held.storage_offset()}
        made = Tensor._make_wrapper_subclass(cls, held.size(), dtype=held.dtype, device=DEVICE, **shape)
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def new_tensor(self, data: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
        return torch.tensor(data, dtype=dtype or self.dtype).to(device or DEVICE)

    def tolist(self) -> Any:
        return self.held.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError("can't convert a tensor of another device to numpy; use Tensor.cpu() first")

    def __array__(self, *_: Any) -> Any:
        return self.numpy()

    def data_ptr(self) -> int:
        raise RuntimeError("the memory of a tensor of another device is asked for")


class _Pretending(TorchDispatchMode):
    """Tensors that are made on the device are pretended ones."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    pretended = [leaf for leaf in leaves if isinstance(leaf, Pretended)]
    others = [leaf for leaf in leaves if not isinstance(leaf, Pretended) and leaf.ndim]
    name = func._schema.name
    if pretended and others and name not in COPIES:
        indices = name in INDEXING and others_are_indices(args, others)
        if not indices:
            shapes = ", ".join(str(tuple(one.shape)) for one in others)
            raise RuntimeError(f"{name} mixes devices: a tensor of the CPU ({shapes}) meets one of another")
    asked = kwargs.get("device")
    inside_args, inside = tree_map(
        lambda leaf: leaf.held if isinstance(leaf, Pretended) else leaf, (args, kwargs)
    )
    if asked is not None:
        inside["device"] = "cpu"
    out = func(*inside_args, **inside)
    here = torch.device(asked).type == DEVICE.type if asked is not None else bool(pretended)
    if not here:
        return out
    known = {id(leaf.held): leaf for leaf in pretended}

    def moved(leaf: Any) -> Any:
        # What an operation in place gives back is the very tensor that it was given.
        return known[id(leaf)] if id(leaf) in known else Pretended(leaf) if isinstance(leaf, Tensor) else leaf

    return tree_map(moved, out)


def others_are_indices(args: Any, others: list[Tensor]) -> bool:
    """Whether the tensors of the CPU are indices alone, which CUDA takes from there."""
    indices = [index for index in args[1] if index is not None]
    return all(any(one is index for index in indices) for one in others)


@contextmanager
def pretending(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """The device, while it is pretended."""
    autocast, tensor, as_tensor = torch.autocast, torch.tensor, torch.as_tensor

    def autocast_there(device_type: str, *args: Any, **options: Any) -> Any:
        return autocast("cpu" if device_type == DEVICE.type else device_type, *args, **options)

    def made_by(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def made(data: Any, *, device: Any = None, **options: Any) -> Tensor:
            if isinstance(data, Pretended):
                return data.to(device=device or DEVICE, **options)
            out = function(data, **options)
            return out if device is None else out.to(device)

        return made

    with monkeypatch.context() as patch, _Pretending():
        # These two copy from Python below the level at which a mode sees what is made.
        patch.setattr(torch, "tensor", made_by(tensor))
        patch.setattr(torch, "as_tensor", made_by(as_tensor))
        patch.setattr(torch, "autocast", autocast_there)
        yield DEVICE
