"""Devices by name, and what is said when their memory is used up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from saccade.errors import InvalidInput, SaccadeError

_SEVERAL_CPU = re.compile(r"cpu:([1-9][0-9]{0,2})")
_CUDA = re.compile(r"cuda(?::([0-9]{1,3}(?:,[0-9]{1,3})*))?")


@dataclass(frozen=True)
class DistributedContext:
    """Where one process of a training runs.

    Attributes:
        accelerator: "cpu" or "cuda".
        gpus: numbers of the GPUs of all processes; empty on the CPU.
        rank: of this process, in [0, count).
        count: of processes.
        port: on which process 0 awaits the others.
        launched: whether the processes were started by another program (torchrun, srun).
    """

    accelerator: str
    gpus: tuple[int, ...] = ()
    rank: int = 0
    count: int = 1
    port: int = 0
    launched: bool = False

    def __str__(self) -> str:
        return self.accelerator if self.count == 1 else f"{self.count} processes on {self.accelerator}"


def lightning_device(device: str) -> DistributedContext:
    """Where a training runs.

    Args:
        device: auto, cpu, cuda, cuda:1; or several processes: cpu:2 (two on the CPU), cuda:0,1 (two GPUs).

    Raises:
        InvalidInput: for a device that there is not.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    name = ("cuda" if count else "cpu") if device == "auto" else device
    several = _SEVERAL_CPU.fullmatch(name)
    if name == "cpu" or several:
        return DistributedContext("cpu", count=int(several[1]) if several else 1)
    match = _CUDA.fullmatch(name)
    gpus = [int(number) for number in (match[1] or "0").split(",")] if match else []
    if not gpus or max(gpus) >= count or len(set(gpus)) < len(gpus):
        there = ", ".join(["auto", "cpu", *(f"cuda:{k}" for k in range(count))])
        fix = "cpu:2 means two processes, cuda:0,1 two GPUs"
        raise InvalidInput("device", f"one that this machine has ({there})", repr(device), fix)
    return DistributedContext("cuda", tuple(gpus), count=len(gpus))


def devices_of(device: str) -> list[str]:
    """The single devices that a name stands for: of cuda:0,1 cuda:0 and cuda:1, of cpu:2 cpu and cpu.

    Raises:
        InvalidInput: for a device that there is not.
    """
    place = lightning_device(device)
    if place.count == 1:
        return [device]
    return [f"cuda:{number}" for number in place.gpus] or ["cpu"] * place.count


def dealt_out(device: str, number: int) -> torch.device:
    """Of the devices that a name stands for the one of a process, by its number among them."""
    devices = devices_of(device)
    return torch_device(devices[number % len(devices)])


def torch_device(device: str) -> torch.device:
    """The same names for a single torch device.

    Raises:
        InvalidInput: for one that there is not, and for several.
    """
    place = lightning_device(device)
    if place.count > 1:
        fix = "training and predict alone take several"
        raise InvalidInput("device", "a single one", repr(device), fix)
    return torch.device(place.accelerator, *place.gpus)


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
