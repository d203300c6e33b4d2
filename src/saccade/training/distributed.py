"""The processes of a training, as Lightning wants to know them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch.strategies import DDPStrategy

from saccade.networks.build import ADAPTED
from saccade.runtime.devices import DistributedContext
from saccade.training.config import Config

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
