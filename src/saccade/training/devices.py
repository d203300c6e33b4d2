"""Devices by name, and what is said when their memory is used up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from saccade.errors import InvalidInput, SaccadeError


def lightning_device(device: str) -> tuple[str, Any]:
    """Accelerator and devices for Lightning.

    Raises:
        InvalidInput: for a device that there is not.
    """
    kind, colon, index = device.partition(":")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "auto" and not colon:
        kind = "cuda" if count else "cpu"
    if kind == "cpu" and not colon:
        return "cpu", 1
    number = index if colon else "0"
    if kind == "cuda" and number.isdecimal() and int(number) < count:
        return "cuda", [int(number)]
    there = ["auto", "cpu", *(f"cuda:{k}" for k in range(count))]
    raise InvalidInput("device", f"one that this machine has ({', '.join(there)})", repr(device))


def torch_device(device: str) -> torch.device:
    """The same names for a torch device; raises InvalidInput for one that there is not."""
    kind, devices = lightning_device(device)
    return torch.device(kind, devices[0]) if isinstance(devices, list) else torch.device(kind)


@contextmanager
def enough_memory(way_out: str) -> Iterator[None]:
    """Turns what torch raises where memory is used up into one line that ends in the way out."""
    try:
        yield
    except MemoryError:
        raise SaccadeError(f"not enough memory; {way_out}") from None
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise SaccadeError(f"not enough memory on the GPU; {way_out}") from error
        if "can't allocate memory" in str(error):
            raise SaccadeError(f"not enough memory; {way_out}") from error
        raise
