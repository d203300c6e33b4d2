"""Processes that torchrun or srun has started, on one machine or many, and that train one run together.

What they are is asked of Lightning. The first reads options and data; the others are told what it found.
"""

from __future__ import annotations

import os
import pickle
import re
import socket
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from saccade.errors import SaccadeError, UsageError
from saccade.runtime.devices import DistributedContext, lightning_device
from saccade.runtime.reading import read_json_value
from saccade.runtime.trust import take_over, trust
from saccade.training import run_folder as folder

if TYPE_CHECKING:
    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment

PATIENCE = timedelta(hours=2)
"""A process may decode and validate so long while the others wait for it."""


class FirstRefused(SaccadeError):
    """What the first process of a training refused, in the others."""


def launcher() -> ClusterEnvironment | None:
    """What Lightning knows of the processes beside this one; None where nobody has started any.

    Raises:
        UsageError: for a step of SLURM that Lightning does not take.
    """
    # A batch script has SLURM_NTASKS too, but is alone: only srun starts several.
    if not {"TORCHELASTIC_RUN_ID", "SLURM_STEP_NUM_TASKS"} & set(os.environ):
        return None  # without Lightning, which loads slowly
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return SLURMEnvironment(auto_requeue=False) if SLURMEnvironment.detect() else None
        except RuntimeError:
            raise UsageError("srun: give --ntasks-per-node (and --nodes) in the place of --ntasks") from None


def training_place(device: str) -> DistributedContext:
    """Where this process trains: as :func:`saccade.runtime.devices.lightning_device`, or as it was started.

    Raises:
        UsageError: where processes were started, and the device asks for others.
        InvalidInput: for a device that there is not.
    """
    environment = launcher()
    if environment is None or environment.world_size() == 1:
        return lightning_device(device)
    kind = lightning_device(device)
    if kind.count > 1 or (device.startswith("cuda:")):
        expected = "--device is auto, cpu or cuda where torchrun or srun starts processes"
        raise UsageError(
            f"{expected}, not {device!r}: they say how many, and each takes the GPU of its number"
        )
    local = _local_count(environment)
    gpus = tuple(range(local)) if kind.accelerator == "cuda" else ()
    if gpus and torch.cuda.device_count() < local:
        raise UsageError(
            f"{local} processes on a machine, of which each sees {torch.cuda.device_count()} GPUs"
        )
    return DistributedContext(
        kind.accelerator, gpus, environment.global_rank(), environment.world_size(), launched=True
    )


def _local_count(environment: ClusterEnvironment) -> int:
    """Processes on each machine."""
    share = os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("SLURM_NTASKS_PER_NODE", "1")
    local = int(share) if share.isdigit() else 0
    if not local or environment.world_size() % local:
        raise UsageError(
            f"expected as many processes on every machine, but got {environment.world_size()}, {share} each"
        )
    return local


def machines(place: DistributedContext) -> int:
    """On how many the processes run."""
    environment = launcher()
    return 1 if environment is None or not place.launched else place.count // _local_count(environment)


def rank() -> int:
    """Of this process among those that were started; 0 where it is alone."""
    environment = launcher()
    return 0 if environment is None else environment.global_rank()


@contextmanager
def group(place: DistributedContext) -> Iterator[None]:
    """The processes know each other inside of the ``with`` statement; nothing where there is one, or where
    the first starts the others itself."""
    if not place.launched:
        yield
        return
    environment = launcher()
    assert environment is not None
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = (
        environment.main_address,
        str(environment.main_port),
    )
    backend = "gloo" if place.accelerator == "cpu" else "cpu:gloo,cuda:nccl"
    from torch.distributed import PrefixStore  # type: ignore[attr-defined]
    from torch.distributed.rendezvous import rendezvous

    how: dict[str, Any] = {"rank": place.rank, "world_size": place.count, "timeout": PATIENCE}
    # Those of torchrun meet in a store that outlives them: where they were before is no longer true.
    attempt = f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"
    try:
        store, _, _ = next(rendezvous("env://", place.rank, place.count, timeout=PATIENCE))
        store = PrefixStore(attempt, store)
        torch.distributed.init_process_group(backend, store=store, **how)
    except (RuntimeError, ValueError) as error:
        line = " ".join(str(error).split())[:200]
        raise SaccadeError(f"the processes of the training do not find each other ({line})") from None
    try:
        yield
    except RuntimeError as error:
        if not _LOST.search(str(error)):
            raise
        raise SaccadeError("another process of the training ended; its own last line says why") from error
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


_LOST = re.compile("gloo|NCCL|Connection|connection|socket|Broken pipe")


class Followers:
    """What the first process tells the others, once: its job, or that there is none, and why.

    A context manager: whatever ends the block before the job is handed over is told.
    """

    def __init__(self, place: DistributedContext) -> None:
        self._told = not place.launched

    def __enter__(self) -> Followers:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        line = None if error is None else " ".join(str(error).split()) or type(error).__name__
        self._tell(("done", None) if line is None else ("refused", line))

    def hand_over(self, job: Any, cache_bytes: int) -> None:
        """The job, pickled apart: code that its options name is allowed there first, as it was here."""
        self._tell(("job", (trust(), pickle.dumps((job, cache_bytes)))))

    def _tell(self, message: tuple[str, Any]) -> None:
        if not self._told:
            self._told = True
            torch.distributed.broadcast_object_list([message], src=0)


def told_by_first() -> tuple[Any, int] | None:
    """In the others: the job and the memory for decoded images; None where nothing is left to do.

    Raises:
        FirstRefused: what the first process refused.
    """
    message: list[Any] = [None]
    torch.distributed.broadcast_object_list(message, src=0)
    kind, value = message[0]
    if kind == "refused":
        raise FirstRefused(value)
    if kind == "done":
        return None
    trusted, content = value
    take_over(trusted)
    job: tuple[Any, int] = pickle.loads(content)
    return job


class Meeting(AbstractContextManager[None]):
    """Where all processes wait for each other, once everything is made; one that fails before tells the
    others, who would wait for it in vain."""

    def __init__(self, place: DistributedContext) -> None:
        self.place, self._met = place, False

    def __enter__(self) -> None:
        self._gather(None)

    def __exit__(self, *raised: object) -> None:
        """Nothing is left to do."""

    def failed(self, error: BaseException) -> None:
        """Tells the others, if they still wait."""
        if not self._met:
            self._gather(" ".join(str(error).split()) or type(error).__name__)

    def _gather(self, line: str | None) -> None:
        self._met = True
        lines: list[str | None] = [None] * self.place.count
        torch.distributed.all_gather_object(lines, line)
        for number, fault in enumerate(lines):
            if line is None and fault is not None:
                raise SaccadeError(f"process {number} of the training failed ({fault})")


def launch() -> str:
    """What processes that were started together have in common, those too that took the place of others."""
    run = os.environ.get("TORCHELASTIC_RUN_ID")
    if run is not None:
        return f"torchrun {f'{socket.gethostname()} {os.getppid()}' if run == 'none' else run}"
    job = os.environ.get("SLURM_JOB_ID")
    return "" if job is None else f"slurm {job}"


def how_to_begin(root: Path, resume: bool, overwrite: bool) -> tuple[bool, bool]:
    """``resume`` and ``overwrite``, as told; of a launch that began the run at ``root`` and was started anew
    (``torchrun --max-restarts``, a job that SLURM put back into the queue): on from its last checkpoint."""
    counts = (os.environ.get(name, "0") for name in ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"))
    if not any(count.isdigit() and int(count) for count in counts):
        return resume, overwrite
    try:
        begun_by = read_json_value(root / folder.ENVIRONMENT, "an environment").get("launch")
    except (SaccadeError, AttributeError):
        begun_by = None
    if not begun_by or begun_by != launch():
        return resume, overwrite
    there = (root / folder.CHECKPOINTS / folder.LAST).is_file()
    return there, not there
