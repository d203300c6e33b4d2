"""Devices by name, and the processes of a training as Lightning wants to know them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch.strategies import DDPStrategy

from saccade.errors import InvalidInput, SaccadeError
from saccade.networks.build import ADAPTED
from saccade.training.config import Config

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
    """

    accelerator: str
    gpus: tuple[int, ...] = ()
    rank: int = 0
    count: int = 1
    port: int = 0

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
    wanted = _CUDA.fullmatch(name)
    gpus = [int(number) for number in (wanted[1] or "0").split(",")] if wanted else []
    if not gpus or max(gpus) >= count or len(set(gpus)) < len(gpus):
        there = ", ".join(["auto", "cpu", *(f"cuda:{k}" for k in range(count))])
        fix = "cpu:2 means two processes, cuda:0,1 two GPUs"
        raise InvalidInput("device", f"one that this machine has ({there})", repr(device), fix)
    return DistributedContext("cuda", tuple(gpus), count=len(gpus))


def torch_device(device: str) -> torch.device:
    """The same names for a single torch device.

    Raises:
        InvalidInput: for one that there is not, and for several.
    """
    place = lightning_device(device)
    if place.count > 1:
        fix = "only training runs in several processes"
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


PATIENCE = timedelta(hours=2)
"""A process may decode and validate so long while the others wait for it."""


class Cluster(ClusterEnvironment):
    """Processes on one machine that somebody else has started.

    Args:
        place: of this one.
    """

    def __init__(self, place: DistributedContext) -> None:
        super().__init__()
        self.place = place

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        return self.place.port

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self.place.count

    def set_world_size(self, size: int) -> None:
        """It is known."""

    def global_rank(self) -> int:
        return self.place.rank

    def set_global_rank(self, rank: int) -> None:
        """It is known."""

    def local_rank(self) -> int:
        return self.place.rank

    def node_rank(self) -> int:
        return 0


def strategy(place: DistributedContext, config: Config) -> Any:
    """Lightning's strategy: "auto" for one process, else gradients averaged over all (DDP).

    The running statistics of batch norm are those of the first process; on GPUs its means are taken over all.
    """
    if place.count == 1:
        return "auto"
    backend = "gloo" if place.accelerator == "cpu" else "nccl"
    return DDPStrategy(
        cluster_environment=Cluster(place), process_group_backend=backend, timeout=PATIENCE,
        find_unused_parameters=_may_idle(config),
    )  # fmt: skip


class SyncCallback(L.Callback):
    """What is logged is averaged over the processes when it is first looked at: all must look at once."""

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        _ = trainer.callback_metrics


def _may_idle(config: Config) -> bool:
    """Whether a step may leave parameters without a gradient, which costs a search for them in every step."""
    foreign = config.network.name.partition(":")[0] in ADAPTED
    return foreign or config.staged or config.recipe.may_idle


@contextmanager
def no_group_left() -> Iterator[None]:
    """Ends the group of processes, which Lightning keeps until the program ends: the next training needs
    another."""
    try:
        yield
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
